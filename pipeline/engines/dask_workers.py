"""Dask workers that obey this process and nobody else: whoever reaches a Dask port may run code there.

Every socket asks for a certificate whose key is made here, kept in memory and handed down through pipes. All listen
on loopback. The HTTP servers that Dask starts on every node can't ask who is there, so there are none.
"""

import logging
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import dask
from distributed import Client, Nanny, Scheduler, SpecCluster, Worker
from distributed.security import Security

from pipeline.engines.one_thread import ONE_THREAD_WORKER
from pipeline.errors import ConfigError

_SETTINGS = {
    # A kernel may hold the interpreter longer than a worker may stay silent.
    "distributed.scheduler.worker-ttl": None,
    # No task waits in the queue of a busy worker while another is idle.
    "distributed.scheduler.worker-saturation": 1.0,
}


class _WithoutServer:
    def start_http_server(self, *args: Any, **kwargs: Any) -> None:
        """Start none."""


class QuietScheduler(_WithoutServer, Scheduler):
    """A scheduler without HTTP server."""


class QuietWorker(_WithoutServer, Worker):
    """A worker without HTTP server."""


@contextmanager
def own_workers(count: int) -> Iterator[Client]:
    """Yield a client of ``count`` worker processes with a thread each, which end with this process."""
    try:
        security = Security.temporary()
    except ImportError as error:
        raise ConfigError(
            "--workers above 1 needs the package cryptography, for the certificates that keep other users of this "
            "machine away from the workers: pip install 'graphquilt-pipeline[local]', or run with --workers 1"
        ) from error
    common = {"host": "127.0.0.1", "protocol": "tls://", "security": security}
    with (
        # Dask's own name for it is the same for everybody, so that others could be there first.
        tempfile.TemporaryDirectory(prefix="graphquilt-workers-", ignore_cleanup_errors=True) as scratch,
        dask.config.set(_SETTINGS),
        SpecCluster(
            scheduler={"cls": QuietScheduler, "options": {**common, "port": 0, "dashboard": False}},
            workers={
                number: {
                    "cls": Nanny,
                    "options": {
                        **common,
                        "worker_class": QuietWorker,
                        "nthreads": 1,
                        "local_directory": scratch,
                        # No limit: Dask would first pause a worker, and a pause without end says less than a kill.
                        "memory_limit": 0,
                        "env": ONE_THREAD_WORKER,
                        "silence_logs": logging.CRITICAL,
                    },
                }
                for number in range(count)
            },
            security=security,
            silence_logs=logging.CRITICAL,
        ) as cluster,
        Client(cluster, set_as_default=False) as client,
    ):
        yield client
