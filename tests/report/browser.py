"""A real browser without a window, asked over a pipe: what a page says, asks for and looks like."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: A page of 200 kB on a busy machine.
_PATIENCE_S = 60.0

NAMES = ("chromium", "chromium-browser", "google-chrome", "chrome")
_ARGUMENTS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--hide-scrollbars", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-extensions"),
)


def find_browser() -> str | None:
    """Return the path of a Chromium; None where there is none."""
    return next((path for name in NAMES if (path := shutil.which(name))), None)


class Browser:
    """One page of a browser; ``requests`` and ``complaints`` grow while it is at work."""

    def __init__(self, out_of: int, into: int) -> None:
        self._out_of, self._into, self._number, self._rest = out_of, into, 0, b""
        self.requests: list[str] = []
        self.complaints: list[str] = []
        target = self._ask("Target.createTarget", url="about:blank")["targetId"]
        self._session = self._ask("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Network", "Runtime", "Log"):
            self.ask(f"{domain}.enable")

    def ask(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Call a method of Chrome's DevTools protocol on the page; return its result."""
        return self._ask(method, session=self._session, **parameters)

    def open(self, page: Path, width: int, height: int, *, is_dark: bool = False) -> None:
        """Show a page in a window of some size, and wait until it is there."""
        scheme = {"name": "prefers-color-scheme", "value": "dark" if is_dark else "light"}
        self.ask("Emulation.setEmulatedMedia", media="", features=[scheme])
        self.ask(
            "Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=width < 600
        )
        self.ask("Page.navigate", url=page.as_uri())
        end = time.monotonic() + _PATIENCE_S
        while self.value("document.readyState + location.href") != f"complete{page.as_uri()}":
            assert time.monotonic() < end, f"the browser does not show {page}"

    def value(self, expression: str) -> Any:
        """Return what an expression in the page's language comes to."""
        return self.ask("Runtime.evaluate", expression=expression, returnByValue=True)["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write a picture of the whole page."""
        size = self.ask("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": 0, "width": size["width"], "height": size["height"], "scale": 1}
        data = self.ask("Page.captureScreenshot", clip=clip, captureBeyondViewport=True)["data"]
        path.write_bytes(base64.b64decode(data))

    def print_to(self, path: Path) -> None:
        """Write the page as a PDF on A4."""
        size = {"paperWidth": 8.27, "paperHeight": 11.69, "marginTop": 0.4, "marginBottom": 0.4}
        data = self.ask("Page.printToPDF", printBackground=True, marginLeft=0.4, marginRight=0.4, **size)["data"]
        path.write_bytes(base64.b64decode(data))

    def _ask(self, method: str, session: str | None = None, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        text = json.dumps(message | ({"sessionId": session} if session else {}))
        os.write(self._into, text.encode() + b"\0")
        while True:
            answer = self._next()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer
                result: dict[str, Any] = answer["result"]
                return result
            self._note(answer.get("method"), answer.get("params", {}))

    def _note(self, method: str | None, parameters: dict[str, Any]) -> None:
        if method == "Network.requestWillBeSent":
            self.requests.append(parameters["request"]["url"])
        elif method in ("Runtime.consoleAPICalled", "Runtime.exceptionThrown", "Log.entryAdded"):
            self.complaints.append(json.dumps(parameters))

    def _next(self) -> dict[str, Any]:
        while b"\0" not in self._rest:
            data = os.read(self._out_of, 2**16)
            assert data, "the browser is gone"
            self._rest += data
        message, self._rest = self._rest.split(b"\0", 1)
        found: dict[str, Any] = json.loads(message)
        return found


@contextmanager
def open_browser(program: str, profile: Path) -> Iterator[Browser]:
    """Start a browser with a profile of its own; it ends with the block."""
    (to_read, into), (out_of, to_write) = os.pipe(), os.pipe()

    def hand_over() -> None:
        # The protocol's fixed places. First out of the way: one of them may be the other's.
        reads, writes = os.dup(to_read), os.dup(to_write)
        os.dup2(reads, 3)
        os.dup2(writes, 4)

    process = subprocess.Popen(
        [program, *_ARGUMENTS, "--remote-debugging-pipe", f"--user-data-dir={profile}"],
        preexec_fn=hand_over,
        close_fds=False,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    os.close(to_read)
    os.close(to_write)
    try:
        yield Browser(out_of, into)
    finally:
        process.kill()
        process.wait()
        os.close(into)
        os.close(out_of)
