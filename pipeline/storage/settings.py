"""How this process reaches object stores and where its cache is; workers take the driver's settings over."""

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace

from graphquilt.store_clients import StoreSettings, use_store_settings
from pipeline.storage.cache import CacheSettings, use_cache_settings


@dataclass(frozen=True)
class StorageSettings:
    """Nothing of it sets a result, and none of it is secret: credentials are each process's own."""

    store: StoreSettings = field(default_factory=StoreSettings)
    cache: CacheSettings = field(default_factory=CacheSettings)


_settings = StorageSettings()


def current_settings() -> StorageSettings:
    """Return the settings of this process."""
    return _settings


def use_settings(settings: StorageSettings) -> None:
    """Let this process go by these settings; the ones that it has already change nothing."""
    global _settings
    if settings != _settings:
        _settings = settings
        use_store_settings(settings.store)
        use_cache_settings(settings.cache)


@contextlib.contextmanager
def brief_requests() -> Iterator[None]:
    """Let a request take seconds instead of minutes: for last words to a store that may be away."""
    settings = _settings
    use_settings(replace(settings, store=replace(settings.store, max_retries=4, retry_s=2.0, stall_s=5.0)))
    try:
        yield
    finally:
        use_settings(settings)
