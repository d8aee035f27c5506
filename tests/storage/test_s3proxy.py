"""What must hold on every store that speaks S3, on another one than moto: S3Proxy, which also checks signatures."""

from __future__ import annotations

import os
import shutil
import subprocess
import traceback
from collections.abc import Iterator
from pathlib import Path

import pytest

from graphquilt.store_clients import StoreSettings, use_store_settings
from pipeline.errors import StorageError
from pipeline.storage import objects
from tests.object_store import CREDENTIALS, FaultProxy, make_bucket, use_store
from tests.processes import free_port, serve_at
from tests.storage.store_checks import (
    check_against_folder,
    check_that_a_reader_sees_one_version,
    check_that_one_holds_it,
    check_that_swaps_count,
    object_path,
)

pytestmark = pytest.mark.slow
POM = Path(__file__).parents[1] / "s3proxy" / "pom.xml"
_CONFIG = """
s3proxy.endpoint=http://127.0.0.1:{port}
s3proxy.authorization=aws-v2-or-v4
s3proxy.identity={AWS_ACCESS_KEY_ID}
s3proxy.credential={AWS_SECRET_ACCESS_KEY}
jclouds.provider=transient-nio2
jclouds.identity=none
jclouds.credential=none
"""
_QUIET = "<configuration><root level='off'/></configuration>"


@pytest.fixture(scope="module")
def s3proxy_endpoint(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("s3proxy")
    java = shutil.which("java", path=f"{os.environ.get('JAVA_HOME', '')}/bin:{os.environ['PATH']}")
    if java is None or shutil.which("mvn") is None:
        pytest.skip("S3Proxy needs Java and Maven")
    jars = ["mvn", "-q", "-B", "-f", str(POM), "dependency:copy-dependencies", f"-DoutputDirectory={folder}"]
    if subprocess.run(jars, cwd=folder, capture_output=True, timeout=300).returncode:
        pytest.skip("the jars of S3Proxy can't be had here")
    port = free_port()
    (folder / "s3proxy.conf").write_text(_CONFIG.format(port=port, **CREDENTIALS))
    (folder / "logback.xml").write_text(_QUIET)
    command = [java, f"-Dlogback.configurationFile={folder}/logback.xml", "-cp", f"{folder}/*"]
    command += ["org.gaul.s3proxy.Main", "--properties", str(folder / "s3proxy.conf")]
    with serve_at(port, command) as endpoint:
        yield endpoint


@pytest.fixture
def second_store(s3proxy_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    yield from use_store(s3proxy_endpoint, tmp_path, monkeypatch)


@pytest.fixture
def second_bucket(second_store: FaultProxy) -> str:
    return make_bucket(second_store.upstream)


def test_it_answers_like_a_folder(second_bucket: str) -> None:
    check_against_folder(second_bucket, 8)


def test_it_obeys_conditions(second_bucket: str) -> None:
    objects.require_conditional_puts(object_path(second_bucket))


def test_no_swap_is_lost_or_done_twice(second_store: FaultProxy, second_bucket: str) -> None:
    check_that_swaps_count(second_store, object_path(f"{second_bucket}/counter"))


def test_one_process_at_a_time_holds_a_lease(second_store: FaultProxy, second_bucket: str, tmp_path: Path) -> None:
    check_that_one_holds_it(object_path(f"{second_bucket}/.lock"), tmp_path)


def test_a_reader_sees_one_version(second_bucket: str) -> None:
    check_that_a_reader_sees_one_version(object_path(f"{second_bucket}/a.bin"))


def test_a_wrong_key_is_named_without_being_shown(second_bucket: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "another-secret-that-no-message-shows")
    use_store_settings(StoreSettings(max_retries=0))
    with pytest.raises(StorageError, match="may not be used with the credentials found here") as error:
        objects.read(object_path(f"{second_bucket}/a"))
    assert "that-no-message-shows" not in "".join(traceback.format_exception(error.value))


def test_a_profile_of_aws_signs_requests(second_bucket: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = object_path(f"{second_bucket}/a")
    objects.write(path, b"1")
    keys = {name: os.environ[name] for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY")}
    (tmp_path / "credentials").write_text(
        "[team]\n" + "".join(f"{name.lower()} = {value}\n" for name, value in keys.items())
    )
    for name in keys:
        monkeypatch.delenv(name)
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))
    monkeypatch.setenv("AWS_PROFILE", "team")
    use_store_settings(StoreSettings())
    assert objects.read(path) == b"1"
