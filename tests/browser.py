"""A real browser for tests of pages: headless Chromium, driven over two pipes by its DevTools protocol."""

from __future__ import annotations

import base64
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
NO_CHROMIUM = "Chromium is not installed (Debian: apt install chromium)"
QUIET = ("--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking")
QUIET = (*QUIET, "--disable-component-update", "--disable-sync", "--hide-scrollbars", "--remote-debugging-pipe")
KEYS = {" ": "Space", "ArrowRight": "", "ArrowLeft": "", "ArrowDown": "", "ArrowUp": "", "Escape": "", "Enter": ""}


class Page:
    """A tab.

    Attributes:
        said: what the page's console said and what went wrong in it.
    """

    def __init__(self, write: int, read: int) -> None:
        self._write, self._read = write, os.fdopen(read, "rb")
        self._number, self._session, self._events = 0, "", list[dict[str, Any]]()
        self.said: list[str] = []
        target = self.call("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.call("Target.attachToTarget", targetId=target, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log"):
            self.call(f"{domain}.enable")

    def call(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Asks the browser for something and waits for the answer."""
        self._number += 1
        message = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._write, json.dumps(message).encode() + b"\0")
        while True:
            answer = self._receive()
            if answer.get("id") == self._number:
                assert "error" not in answer, answer["error"]
                return answer["result"]
            self._events.append(answer)

    def _receive(self) -> dict[str, Any]:
        text = bytearray()
        while not text.endswith(b"\0"):
            waiting = self._read.peek()
            assert waiting, "the browser has ended"
            end = waiting.find(b"\0") + 1
            text += self._read.read(end or len(waiting))
        answer = json.loads(text[:-1])
        if answer.get("method") in ("Runtime.exceptionThrown", "Runtime.consoleAPICalled", "Log.entryAdded"):
            self.said.append(json.dumps(answer["params"]))
        return answer

    def open(self, file: Path, width: int = 1200, height: int = 900, dark: bool = False) -> float:
        """Opens a file and waits until it is loaded; returns the seconds that this took by the page's own clock."""
        self.call("Emulation.setDeviceMetricsOverride", width=width, height=height, deviceScaleFactor=1, mobile=False)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.call("Emulation.setEmulatedMedia", features=[scheme])
        self._events.clear()
        self.call("Page.navigate", url=file.as_uri())
        while not any(event.get("method") == "Page.loadEventFired" for event in self._events):
            self._events.append(self._receive())
        # Twice, so that a frame of the loaded page has been drawn.
        self.evaluate("new Promise((done) => requestAnimationFrame(() => requestAnimationFrame(done)))")
        return self.evaluate("performance.now()") / 1000

    def evaluate(self, script: str) -> Any:
        """The value of an expression in the page; of a promise what it becomes."""
        answer = self.call(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        assert "exceptionDetails" not in answer, answer["exceptionDetails"]
        return answer["result"].get("value")

    def press(self, *keys: str) -> None:
        """Presses keys, one after the other: characters, or names of KEYS."""
        for key in keys:
            code = KEYS.get(key) or (key if key in KEYS else "")
            text = {} if key in KEYS and key != " " else {"text": key}
            self.call("Input.dispatchKeyEvent", type="keyDown", key=key, code=code, **text)
            self.call("Input.dispatchKeyEvent", type="keyUp", key=key, code=code)

    def picture(self) -> bytes:
        """What is on the screen, as a PNG."""
        return base64.b64decode(self.call("Page.captureScreenshot")["data"])

    def printed(self) -> bytes:
        """The page as it prints, a PDF."""
        return base64.b64decode(self.call("Page.printToPDF", printBackground=False)["data"])


@contextmanager
def browser() -> Iterator[Page]:
    """A browser with one tab, and an empty profile."""
    assert CHROMIUM is not None
    to_browser, write = os.pipe()
    read, from_browser = os.pipe()
    with tempfile.TemporaryDirectory() as profile:
        # It reads what it is asked from descriptor 3 and answers on 4; the shell puts the pipes there.
        words = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "about:blank"]
        line = f'exec "$@" 3<&{to_browser} 4>&{from_browser}'
        process = subprocess.Popen(
            ["bash", "-c", line, "bash", *words],
            pass_fds=(to_browser, from_browser),
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        os.close(to_browser)
        os.close(from_browser)
        try:
            yield Page(write, read)
        finally:
            os.close(write)  # which ends it
            process.wait(30)
