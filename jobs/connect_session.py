"""A session of a Spark Connect server, which somebody else runs: this process needs no Java."""

import os
import socket
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from graphquilt.masking import mask_secrets
from pipeline.errors import ConfigError, GraphquiltError, first_line

_PORT = 15002
#: Set by pyspark for a session of Spark Connect: its functions then make expressions for that, in all of the process.
_MODE = "SPARK_CONNECT_MODE_ENABLED"
_PATIENCE_S = 10.0


def remote_address(option: str | None) -> str | None:
    """Return the address of the server to use: the option's, or SPARK_REMOTE's; None under spark-submit.

    Raises
    ------
    ConfigError : it is no address of a server.
    """
    address = None if "PYSPARK_GATEWAY_PORT" in os.environ else option or os.environ.get("SPARK_REMOTE")
    return parse_remote(address) if address else None


def parse_remote(address: str) -> str:
    """Return an address, once it is known to be that of a server.

    Raises
    ------
    ConfigError : it is not.
    """
    _host_and_port(address)
    return address


@contextmanager
def connect_session(address: str, settings: Mapping[str, str]) -> Iterator[Any]:
    """Yield a session of the server at an address, with these settings, and close it.

    Raises
    ------
    ConfigError : a package is missing, or the server does not let a session change a setting.
    GraphquiltError : no server answers.
    """
    try:
        import pyspark.sql.connect.session  # noqa: F401
        from pyspark.sql import SparkSession
    except ImportError as error:
        raise ConfigError(
            f"Spark Connect needs packages that this Python lacks ({first_line(error)}): pip install "
            "'graphquilt-pipeline[connect]'"
        ) from error
    host, port = _host_and_port(address)
    server = f"sc://{host}:{port}"  # without what follows, which may be a token
    try:
        socket.create_connection((host, port), _PATIENCE_S).close()  # gRPC itself would try again for minutes
    except OSError as error:
        raise GraphquiltError(
            f"no Spark Connect server answers at {server} ({first_line(error)}): check --remote or SPARK_REMOTE, and "
            "start one there by sbin/start-connect-server.sh of Spark 4.1 or later"
        ) from error
    try:
        session = SparkSession.builder.remote(address).create()
        version = session.version  # the first word with the server
    except Exception as error:  # of pyspark or gRPC
        raise GraphquiltError(f"{server} refuses a session: {first_line(error)}") from error
    try:
        for key, value in settings.items():
            try:
                session.conf.set(key, value)
            except Exception as error:
                raise ConfigError(
                    f"--conf {key}={value} can't be set in a session of Spark {version} at {server}: "
                    f"{first_line(error)}. Settings of the cluster are the server's; set it where that is started, or "
                    "leave it out"
                ) from error
        yield session
    finally:
        session.stop()
        os.environ.pop(_MODE, None)


def _host_and_port(address: str) -> tuple[str, int]:
    try:
        parts = urlsplit(address)
        if parts.scheme == "sc" and parts.hostname:
            return parts.hostname, parts.port or _PORT
    except ValueError:  # a port that is no number
        pass
    raise ConfigError(
        f"--remote or SPARK_REMOTE is {mask_secrets(address)!r}, which is no address of a Spark Connect server; write "
        "sc://HOST:15002"
    )
