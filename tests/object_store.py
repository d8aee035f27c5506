"""An object store on this machine for tests: moto in a process of its own, and a proxy in front of it that fails."""

from __future__ import annotations

import contextlib
import http.client
import http.server
import os
import signal
import socket
import subprocess
import sys
import threading
import time
import zlib
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from uuid import uuid4

import pytest

_SERVER = """
from moto.server import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server
WSGIRequestHandler.protocol_version = "HTTP/1.1"
WSGIRequestHandler.log_request = lambda *arguments: None
server = make_server("127.0.0.1", 0, DomainDispatcherApplication(create_backend_app), threaded=True)
print(server.server_port, flush=True)
server.serve_forever()
"""

CREDENTIALS = {
    "AWS_ACCESS_KEY_ID": "tester",
    "AWS_SECRET_ACCESS_KEY": "a-secret-that-no-message-shows",
    "AWS_REGION": "us-east-1",
    "AWS_EC2_METADATA_DISABLED": "true",
}


@contextlib.contextmanager
def serve_moto() -> Iterator[str]:
    """Run an object store that speaks S3 and yield its endpoint; all it holds goes with it."""
    process = subprocess.Popen([sys.executable, "-c", _SERVER], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
    finally:
        process.kill()
        process.communicate()


def make_bucket(endpoint: str, name: str | None = None) -> str:
    """Make a bucket and return its address; credentials are the environment's."""
    import boto3

    name = name or f"b-{uuid4().hex[:12]}"
    client = boto3.client("s3", endpoint_url=endpoint, region_name=CREDENTIALS["AWS_REGION"])
    client.create_bucket(Bucket=name)
    client.close()
    return f"s3://{name}"


@dataclass(frozen=True)
class Request:
    """A request as the proxy sees it."""

    method: str
    path: str  # with the query
    bytes: int  # of its body


#: What a fault does to a request. Words of _REFUSALS: it is answered so, and nothing is done. "lose": it is done, and
#: the answer is lost. "cut": the connection breaks in the middle of the body that is sent or returned. "damage": a byte
#: of what is returned is another one. "ignore": without its conditions. "late": the
#: connection breaks, and it is done as the next request of its method arrives. A number: seconds to wait first.
Fault = str | float
_REFUSALS: Mapping[Fault, tuple[int, str]] = {
    "throttle": (503, "SlowDown"),
    "busy": (429, "TooManyRequests"),
    "conflict": (409, "ConditionalRequestConflict"),  # two conditional puts overlap
    "deny": (403, "AccessDenied"),
    "too large": (400, "InvalidRequest"),
}


@dataclass
class FaultProxy:
    """Passes requests on to a store, except where ``fault`` says what goes wrong with one."""

    upstream: str
    fault: Callable[[Request], Fault | None] = lambda _: None
    requests: list[Request] = field(default_factory=list)
    returned: int = 0  # bytes of all answers
    late: list[Callable[[], object]] = field(default_factory=list)
    turn: threading.Lock = field(default_factory=threading.Lock)  # stores for tests check conditions without a lock

    @contextlib.contextmanager
    def serve(self) -> Iterator[str]:
        """Run the proxy and yield its endpoint."""
        server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": self}))
        server.daemon_threads = True
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.server_port}"
        finally:
            server.shutdown()
            server.server_close()
            thread.join()

    def fail_first(self, count: int, fault: Fault, *methods: str) -> None:
        """Let the next requests of some methods fail, and all later ones pass."""
        left = iter(range(count))
        lock = threading.Lock()

        def choose(request: Request) -> Fault | None:
            with lock:
                return fault if request.method in methods and next(left, None) is not None else None

        self.fault = choose


def signal_at(
    pid: int, number: signal.Signals, is_due: Callable[[str], bool], fault: Fault
) -> Callable[[Request], Fault | None]:
    """Send a process a signal at the first request that writes to a path that is due, which meets a fault."""
    has_been, lock = threading.Event(), threading.Lock()

    def choose(request: Request) -> Fault | None:
        with lock:
            if request.method in ("GET", "HEAD") or has_been.is_set() or not is_due(request.path):
                return None
            has_been.set()
        os.kill(pid, number)
        return fault

    return choose


class _Handler(http.server.BaseHTTPRequestHandler):
    proxy: FaultProxy
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *arguments: Any) -> None:
        """Be quiet."""

    def handle(self) -> None:
        """Take requests for as long as there is a client: it may be killed, or give up."""
        with contextlib.suppress(ConnectionError):
            super().handle()

    def do_any(self) -> None:
        """Pass a request on, or let it fail."""
        length = int(self.headers.get("Content-Length", 0))
        request = Request(self.command, self.path, length)
        self.proxy.requests.append(request)
        fault = self.proxy.fault(request)
        if isinstance(fault, float):
            time.sleep(fault)
        if fault == "cut" and length:
            self.rfile.read(length // 2)
            self._hang_up()
            return
        body = self.rfile.read(length)
        if fault in _REFUSALS:
            status, code = _REFUSALS[fault]
            self._answer(status, {}, f"<Error><Code>{code}</Code></Error>".encode())
            return
        if fault == "ignore":
            del self.headers["If-Match"], self.headers["If-None-Match"]
        if fault == "late":
            self.proxy.late.append(partial(_pass_on, self.proxy, self.command, self.path, body, dict(self.headers)))
            self._hang_up()
            return
        while self.proxy.late and self.command == "PUT":
            self.proxy.late.pop()()
        status, headers, answer = _pass_on(self.proxy, self.command, self.path, body, dict(self.headers))
        if fault == "lose":
            self._hang_up()
            return
        if fault == "damage" and answer:
            at = zlib.crc32(answer) % len(answer)
            answer = answer[:at] + bytes([answer[at] ^ 1]) + answer[at + 1 :]
        self._answer(status, headers, answer, cut=fault == "cut")

    do_GET = do_PUT = do_POST = do_DELETE = do_HEAD = do_any  # noqa: N815

    def _answer(self, status: int, headers: dict[str, str], answer: bytes, *, cut: bool = False) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in ("connection", "transfer-encoding", "date", "server", "content-length"):
                self.send_header(name, value)
        known = headers.get("Content-Length") or headers.get("content-length")
        self.send_header("Content-Length", known if self.command == "HEAD" and known else str(len(answer)))
        self.end_headers()
        if self.command != "HEAD":
            sent = answer[: len(answer) // 2] if cut else answer
            self.wfile.write(sent)
            self.proxy.returned += len(sent)
        if cut:
            self._hang_up()

    def _hang_up(self) -> None:
        self.close_connection = True
        with contextlib.suppress(OSError):
            self.wfile.flush()
            self.connection.shutdown(socket.SHUT_RDWR)


def _pass_on(
    proxy: FaultProxy, method: str, path: str, body: bytes, headers: Mapping[str, str]
) -> tuple[int, dict[str, str], bytes]:
    with proxy.turn:
        connection = http.client.HTTPConnection(proxy.upstream.removeprefix("http://"), timeout=60)
        connection.request(method, path, body or None, headers)
        response = connection.getresponse()
        answer = response.read()
        connection.close()
    return response.status, dict(response.getheaders()), answer


@pytest.fixture(scope="session")
def moto_endpoint() -> Iterator[str]:
    """The endpoint of a store for all tests; each makes a bucket of its own."""
    with serve_moto() as endpoint:
        yield endpoint


@pytest.fixture
def bucket(object_store: FaultProxy) -> str:
    """The address of an empty bucket."""
    return make_bucket(object_store.upstream)


@pytest.fixture
def object_store(moto_endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """moto behind a proxy, which this process and its children use; their cache is in the test's folder."""
    yield from use_store(moto_endpoint, tmp_path, monkeypatch)


def use_store(endpoint: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[FaultProxy]:
    """Let this process and its children use a store through a proxy, and a cache below a folder."""
    from graphquilt.store_clients import StoreSettings, use_store_settings
    from pipeline.storage.cache import CacheSettings, use_cache_settings

    for name, value in CREDENTIALS.items():
        monkeypatch.setenv(name, value)
    proxy = FaultProxy(endpoint)
    with proxy.serve() as address:
        monkeypatch.setenv("AWS_ENDPOINT_URL_S3", address)
        monkeypatch.setenv("GRAPHQUILT_SCRATCH", str(tmp_path / "scratch"))
        (tmp_path / "scratch").mkdir()
        use_store_settings(StoreSettings())  # none of this process's clients and caches is of an earlier test
        use_cache_settings(CacheSettings())
        yield proxy
    use_store_settings(StoreSettings())
    use_cache_settings(CacheSettings())
