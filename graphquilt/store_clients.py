"""Clients of object stores, one for each bucket: what they are told, and what becomes of their errors.

Credentials come from the environment and the provider's chain, never from an address or a setting. ``obstore`` is
imported when the first address needs it: readers of a folder have numpy and pyarrow only.
"""

import contextlib
import datetime as dt
import importlib.util
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from graphquilt.errors import StoreError
from graphquilt.locations import ObjectPath
from graphquilt.masking import mask_secrets
from graphquilt.store_errors import is_missing_bucket, store_error

T = TypeVar("T")

#: Where an endpoint may stand in the environment.
_ENDPOINTS = {
    "s3": ("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "AWS_ENDPOINT"),
    "gs": ("GOOGLE_BASE_URL",),
    "az": ("AZURE_STORAGE_ENDPOINT", "AZURE_ENDPOINT"),
}


@dataclass(frozen=True)
class StoreSettings:
    """How this process reaches object stores."""

    endpoint: str | None = None  # of S3; None: the environment's, or the provider's own
    region: str | None = None  # of S3; None: the environment's
    max_retries: int = 10  # of a request that was throttled or got no answer
    retry_s: float = 180.0  # after which no request is repeated
    stall_s: float = 20.0  # without a byte, after which a connection is given up


_settings = StoreSettings()
_clients: dict[tuple[str, bool], Any] = {}
_first_user: int | None = None  # the process whose threads obstore works with


def use_store_settings(settings: StoreSettings) -> None:
    """Let all later requests of this process go by these settings."""
    global _settings
    _settings = settings
    _clients.clear()


def obstore() -> Any:
    """Return the module ``obstore``.

    Raises
    ------
    StoreError : it is not installed.
    """
    try:
        import obstore
    except ModuleNotFoundError as error:
        raise StoreError("addresses in object stores need obstore: pip install 'graphquilt[store]'") from error
    return obstore


def client_of(path: ObjectPath, *, repeats: bool = True) -> Any:
    """Return obstore's client for the bucket of an object; one that repeats no request tells how each one ended.

    Raises
    ------
    StoreError : obstore is missing, or this process is a fork of one that used it: there, a request would wait forever.
    """
    global _first_user
    _first_user = _first_user or os.getpid()
    if _first_user != os.getpid():
        raise StoreError(
            f"{path} can't be read in a process that was forked from one that used an object store: start processes by "
            "'spawn' or 'forkserver' (multiprocessing.get_context), or use the store in them only"
        )
    key = (path.bucket, repeats)
    if key not in _clients:
        _clients[key] = _new_client(path.bucket, repeats)
    return _clients[key]


@contextlib.contextmanager
def explain_errors(path: ObjectPath) -> Iterator[None]:
    """Turn obstore's errors into :class:`StoreError`; a missing object is a FileNotFoundError."""
    base = obstore().exceptions.BaseError
    try:
        yield
    except FileNotFoundError as error:
        if is_missing_bucket(error):
            raise store_error(error, str(path), endpoint_of(path.bucket)) from None
        raise FileNotFoundError(2, "No such object", str(path)) from None
    except base as error:
        # Not "from error": it may quote a signature or a token.
        raise store_error(error, str(path), endpoint_of(path.bucket)) from None


def repeat_request(path: ObjectPath, send: Callable[[], T]) -> T:
    """Send a request that does no harm twice; again where its connection broke, or it met another one (409).

    obstore repeats requests as well, but not all: not one whose answer of an error was cut.
    """
    for wait in (0.1, 0.4, 1.6):
        try:
            with explain_errors(path):
                return send()
        except StoreError as error:
            if not error.is_repeatable:
                raise
        time.sleep(wait)
    with explain_errors(path):
        return send()


def endpoint_of(bucket: str) -> str | None:
    """Return where the store is, if that was set; None: at the provider's."""
    scheme = bucket.partition(":")[0]
    variables = _ENDPOINTS[scheme]
    return (_settings.endpoint if scheme == "s3" else None) or next(filter(None, map(os.environ.get, variables)), None)


def _new_client(bucket: str, repeats: bool) -> Any:
    obstore()
    from obstore import store

    scheme, _, name = bucket.partition("://")
    endpoint = endpoint_of(bucket)
    if endpoint and not endpoint.startswith(("http://", "https://")):  # obstore would panic
        raise StoreError(f"the endpoint of {bucket} is '{mask_secrets(endpoint)}'; write http://HOST or https://HOST")
    options: dict[str, Any] = {
        "client_options": {
            "allow_http": (endpoint or "").startswith("http://"),
            "connect_timeout": dt.timedelta(seconds=5),
            "read_timeout": dt.timedelta(seconds=_settings.stall_s),
            "timeout": dt.timedelta(seconds=15 * _settings.stall_s),
        },
        "retry_config": {
            "max_retries": _settings.max_retries if repeats else 0,
            "retry_timeout": dt.timedelta(seconds=_settings.retry_s),
        },
    }
    if scheme == "s3":
        # Under this name: "endpoint" yields to the environment.
        places = {"aws_endpoint_url_s3": endpoint, "region": _settings.region}
        config: Any = {key: value for key, value in places.items() if value}
        return store.S3Store(name, config=config, credential_provider=_profile_credentials(), **options)
    if scheme == "gs":
        return store.GCSStore(name, config={"base_url": endpoint} if endpoint else {}, **options)
    return store.AzureStore(name, config={"endpoint": endpoint} if endpoint else {}, **options)


def _profile_credentials() -> Any:
    """Return boto3's credentials where a profile of AWS is meant, which obstore itself does not read; else None."""
    is_named = "AWS_PROFILE" in os.environ
    file = Path(os.environ.get("AWS_SHARED_CREDENTIALS_FILE", "~/.aws/credentials")).expanduser()
    if "AWS_ACCESS_KEY_ID" in os.environ or not (is_named or file.is_file()):
        return None
    if importlib.util.find_spec("boto3") is None:
        if is_named:
            raise StoreError("AWS_PROFILE is set, and profiles are read by boto3: pip install boto3, or set keys")
        return None
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()
