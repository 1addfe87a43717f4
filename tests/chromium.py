"""Headless Chromium, spoken to over a pipe in its DevTools protocol: what a page does, shows, says and asks for."""

from __future__ import annotations

import base64
import contextlib
import itertools
import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import pytest

CHROMIUM = shutil.which("chromium")
SECONDS = 120

QUIET = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--disable-sync",
    "--disable-background-networking",
    "--disable-component-update",
    "--no-first-run",
    "--hide-scrollbars",
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1",
)
"""A browser that does nothing of itself, and that can reach this machine alone."""

needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium here")


class Page:
    """One page of a Chromium that is ours. `console` has what it logged or complained of, `asked` every URL.

    `blocked` are those URLs that the page's own policy kept from being fetched.
    """

    def __init__(self, folder: Path) -> None:
        ours_read, its_write = os.pipe()
        its_read, ours_write = os.pipe()
        assert CHROMIUM is not None

        def at_3_and_4() -> None:  # where Chromium expects its pipes
            read, write = os.dup(its_read), os.dup(its_write)
            os.dup2(read, 3)
            os.dup2(write, 4)

        command = [CHROMIUM, *QUIET, f"--user-data-dir={folder}", "--remote-debugging-pipe", "about:blank"]
        self._process = subprocess.Popen(
            command, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL, preexec_fn=at_3_and_4, close_fds=False
        )
        os.close(its_read)
        os.close(its_write)
        self._from, self._to = os.fdopen(ours_read, "rb"), os.fdopen(ours_write, "wb")
        self._ids = itertools.count(1)
        self._unread = b""
        self._session: str | None = None
        self.console: list[str] = []
        self.asked: list[str] = []
        self.blocked: list[str] = []
        self._urls: dict[str, str] = {}
        target = self.send("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.send("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Network", "Log"):
            self.send(f"{domain}.enable")

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._process.kill()
        self._process.wait()
        self._from.close()
        with contextlib.suppress(OSError):
            self._to.close()

    def send(self, method: str, **parameters: Any) -> dict[str, Any]:
        """The result of one command; what happened meanwhile is noted."""
        number = next(self._ids)
        message: dict[str, Any] = {"id": number, "method": method, "params": parameters}
        if self._session is not None:
            message["sessionId"] = self._session
        self._to.write(json.dumps(message).encode() + b"\0")
        self._to.flush()
        for found in self._messages():
            if found.get("id") == number:
                assert "error" not in found, found
                return dict(found["result"])
        raise AssertionError(f"chromium ended at {method}")

    def _messages(self) -> Iterator[dict[str, Any]]:
        while True:
            while b"\0" not in self._unread:
                more = self._from.read1(1 << 20)
                if not more:
                    return
                self._unread += more
            one, _, self._unread = self._unread.partition(b"\0")
            found = json.loads(one)
            self._note(found)
            yield found

    def _note(self, message: dict[str, Any]) -> None:
        parameters = message.get("params", {})
        match message.get("method"):
            case "Runtime.consoleAPICalled":
                self.console.append(" ".join(str(each.get("value")) for each in parameters["args"]))
            case "Runtime.exceptionThrown":
                self.console.append(str(parameters["exceptionDetails"]))
            case "Log.entryAdded":
                self.console.append(parameters["entry"]["text"])
            case "Network.requestWillBeSent":
                self.asked.append(parameters["request"]["url"])
                self._urls[parameters["requestId"]] = self.asked[-1]
            case "Network.loadingFailed":
                if parameters.get("blockedReason") == "csp":
                    self.blocked.append(self._urls[parameters["requestId"]])

    def open(self, url: str) -> None:
        """Load a page and wait until its scripts ran."""
        self.send("Page.navigate", url=url)
        for found in self._messages():
            if found.get("method") == "Page.loadEventFired":
                break

    def run(self, script: str) -> Any:
        """The value of a JavaScript expression in the page."""
        found = self.send("Runtime.evaluate", expression=script, returnByValue=True, awaitPromise=True)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def look(self, width: int, *, dark: bool = False, height: int = 900) -> None:
        """Give the window a width, in CSS pixels, and the user a taste."""
        phone = {"width": width, "height": height, "deviceScaleFactor": 2 if width < 500 else 1, "mobile": False}
        self.send("Emulation.setDeviceMetricsOverride", **phone)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.send("Emulation.setEmulatedMedia", media="", features=[scheme])

    def key(self, name: str, code: int) -> None:
        """Press a key, as Enter (13)."""
        for kind in ("keyDown", "keyUp"):
            text = {"text": "\r"} if name == "Enter" and kind == "keyDown" else {}
            self.send("Input.dispatchKeyEvent", type=kind, key=name, code=name, windowsVirtualKeyCode=code, **text)

    def picture(self, path: Path, *, from_y: int = 0, height: int | None = None) -> None:
        """A PNG of the page, all of it or `height` pixels from `from_y` on."""
        size = self.send("Page.getLayoutMetrics")["cssContentSize"]
        clip = {"x": 0, "y": from_y, "width": size["width"], "height": height or size["height"] - from_y, "scale": 1}
        found = self.send("Page.captureScreenshot", format="png", clip=clip, captureBeyondViewport=True)
        path.write_bytes(base64.b64decode(found["data"]))

    def pdf(self) -> bytes:
        return base64.b64decode(self.send("Page.printToPDF", printBackground=True, preferCSSPageSize=True)["data"])


@contextmanager
def chromium(folder: Path) -> Iterator[Page]:
    """A browser whose profile is in `folder`."""
    with Page(folder) as page:
        yield page
