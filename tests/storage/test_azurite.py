"""What must hold on every store, on Azure Blob Storage: Azurite, Microsoft's own stand-in, which checks signatures."""

from __future__ import annotations

import base64
import datetime as dt
import hashlib
import hmac
import http.client
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from uuid import uuid4

import pytest

from graphquilt.store_clients import StoreSettings, use_store_settings
from pipeline.errors import StorageError
from pipeline.storage import objects
from tests.object_store import FaultProxy, use_store
from tests.processes import free_port, serve_at
from tests.storage.store_checks import (
    check_against_folder,
    check_that_a_reader_sees_one_version,
    check_that_one_holds_it,
    check_that_swaps_count,
    object_path,
)

pytestmark = pytest.mark.slow
PACKAGE = Path(__file__).parents[1] / "azurite" / "package.json"
ACCOUNT = "tester"
KEY = base64.b64encode(b"a-secret-that-no-message-shows").decode()


@pytest.fixture(scope="module")
def azurite_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("azurite")
    if shutil.which("node") is None or shutil.which("npm") is None:
        pytest.skip("Azurite needs Node.js and npm")
    shutil.copy(PACKAGE, folder)
    install = ["npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts"]
    if subprocess.run(install, cwd=folder, capture_output=True, timeout=300).returncode:
        pytest.skip("Azurite can't be had here")
    port = free_port()
    script = folder / "node_modules" / "azurite" / "dist" / "src" / "blob" / "main.js"
    options = ["--silent", "--inMemoryPersistence", "--skipApiVersionCheck", "--disableTelemetry"]
    command = ["node", str(script), *options, "--blobPort", str(port)]
    environment = {**os.environ, "AZURITE_ACCOUNTS": f"{ACCOUNT}:{KEY}"}
    with serve_at(port, command, cwd=folder, env=environment, stdout=subprocess.DEVNULL) as endpoint:
        yield endpoint


@pytest.fixture
def azure_store(azurite_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_NAME", ACCOUNT)
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", KEY)
    for proxy in use_store(azurite_endpoint, tmp_path, monkeypatch):
        monkeypatch.setenv("AZURE_STORAGE_ENDPOINT", f"{os.environ['AWS_ENDPOINT_URL_S3']}/{ACCOUNT}")
        yield proxy


@pytest.fixture
def container(azure_store: FaultProxy) -> str:
    """The address of an empty container."""
    name = f"c-{uuid4().hex[:12]}"
    headers = {
        "x-ms-date": dt.datetime.now(dt.UTC).strftime("%a, %d %b %Y %H:%M:%S GMT"),
        "x-ms-version": "2021-08-06",
    }
    lines = ["PUT", *[""] * 11, *(f"{key}:{value}" for key, value in headers.items())]
    signed = "\n".join([*lines, f"/{ACCOUNT}/{ACCOUNT}/{name}", "restype:container"])
    signature = base64.b64encode(hmac.digest(base64.b64decode(KEY), signed.encode(), hashlib.sha256)).decode()
    connection = http.client.HTTPConnection(azure_store.upstream.removeprefix("http://"), timeout=30)
    headers["Authorization"] = f"SharedKey {ACCOUNT}:{signature}"
    connection.request("PUT", f"/{ACCOUNT}/{name}?restype=container", headers=headers)
    assert connection.getresponse().status == 201
    connection.close()
    return f"az://{name}"


def test_it_answers_like_a_folder(container: str) -> None:
    check_against_folder(container, 8)


def test_it_obeys_conditions(container: str) -> None:
    objects.require_conditional_puts(object_path(container))


def test_no_swap_is_lost_or_done_twice(azure_store: FaultProxy, container: str) -> None:
    check_that_swaps_count(azure_store, object_path(f"{container}/counter"))


def test_one_process_at_a_time_holds_a_lease(container: str, tmp_path: Path) -> None:
    check_that_one_holds_it(object_path(f"{container}/.lock"), tmp_path)


def test_a_reader_sees_one_version(container: str) -> None:
    check_that_a_reader_sees_one_version(object_path(f"{container}/a.bin"))


def test_errors_say_what_to_do(container: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(StorageError, match="az://no-such does not exist"):
        objects.require_reachable(object_path("az://no-such/w"))
    monkeypatch.setenv("AZURE_STORAGE_ACCOUNT_KEY", base64.b64encode(b"another").decode())
    use_store_settings(StoreSettings(max_retries=0))
    with pytest.raises(StorageError, match="may not be used with the credentials found here"):
        objects.read(object_path(f"{container}/a"))
