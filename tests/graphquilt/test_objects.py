"""What readers know of object stores, without the pipeline."""

from __future__ import annotations

import re
import subprocess
import sys

import pytest

from graphquilt.locations import ObjectPath, parse_location
from graphquilt.store_clients import StoreSettings, client_of, use_store_settings
from graphquilt.store_errors import store_error


class ObstoreError(Exception):
    """An error with words as obstore's have them."""


def path_of(address: str) -> ObjectPath:
    location = parse_location(address)
    assert isinstance(location, ObjectPath)
    return location


def test_obstore_is_imported_where_an_address_needs_it() -> None:
    script = "import sys, graphquilt, graphquilt.objects; print('obstore' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert done.stdout == "False\n"


@pytest.mark.parametrize(
    ("address", "environment", "kind"),
    [
        ("s3://b/t", {}, "S3Store"),
        ("gs://b/t", {}, "GCSStore"),
        ("az://c/t", {"AZURE_STORAGE_ACCOUNT_NAME": "account"}, "AzureStore"),
    ],
)
def test_each_store_has_its_client(
    address: str, environment: dict[str, str], kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    use_store_settings(StoreSettings())
    client = client_of(path_of(address))
    assert type(client).__name__ == kind
    assert client_of(path_of(f"{address}/other")) is client  # one a bucket


@pytest.mark.parametrize(
    ("text", "sentence"),
    [
        ("HTTP error: error sending request\n\nDebug source: kind: Connect, dns error", "its host name is unknown"),
        ("HTTP error: error sending request\n\nDebug source: invalid peer certificate: UnknownIssuer", "not trusted"),
        (
            "Error performing GET http://169.254.169.254/latest/api/token in 1 s - HTTP error",
            "no credentials for s3://b",
        ),
        (
            "non-2xx status code: 403 Forbidden: <Error><Code>AccessDenied</Code></Error>",
            r"credentials.*\(AccessDenied\)",
        ),
        ("non-2xx status code: 404 Not Found: <Error><Code>NoSuchBucket</Code></Error>", "s3://b does not exist"),
        ("non-2xx status code: 503 Service Unavailable: <Error><Code>SlowDown</Code></Error>", "fewer workers"),
        (
            "non-2xx status code: 500 Internal: <Error><Code>InternalError</Code></Error>",
            r"status 500 \(InternalError\)",
        ),
    ],
)
def test_what_a_store_says_becomes_a_sentence(text: str, sentence: str) -> None:
    secret = "?X-Amz-Signature=0123456789abcdef&sig=s%2Fe%2Fcret"
    error = store_error(
        ObstoreError(f"Generic S3 error: {text} {secret}"), "s3://b/t/a.json", "http://u:pw@127.0.0.1:9"
    )
    assert re.search(sentence, str(error))
    assert not any(word in str(error) for word in ("Signature", "cret", "pw@", "Debug"))
