"""Headless Chromium, driven over its debugging pipe: as much of the DevTools protocol as a demo needs, without a further package."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import signal
import time
from pathlib import Path
from typing import Any

_ARGUMENTS = (
    "--headless=new",
    "--no-sandbox",  # the demo opens only its own server
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-extensions",
    "--remote-debugging-pipe",
)
_HIGH = 10  # above the two descriptors that Chromium reads and writes
_SECONDS = 60.0


class Chromium:
    """One page. `folder`: an empty folder for the browser's profile."""

    def __init__(self, program: str, folder: Path) -> None:
        commands, self._out = _pipe()
        self._in, answers = _pipe()
        actions = [
            (os.POSIX_SPAWN_DUP2, commands, 3),
            (os.POSIX_SPAWN_DUP2, answers, 4),
            (os.POSIX_SPAWN_OPEN, 2, os.devnull, os.O_WRONLY, 0),
        ]
        argv = [program, *_ARGUMENTS, f"--user-data-dir={folder}", "about:blank"]
        environment = {**os.environ, "HOME": str(folder)}
        self._process = os.posix_spawn(program, argv, environment, file_actions=actions, setpgroup=0)
        os.close(commands)
        os.close(answers)
        self._last, self._buffer, self._session = 0, b"", ""
        target = self.send("Target.createTarget", {"url": "about:blank"})["targetId"]
        attached = self.send("Target.attachToTarget", {"targetId": target, "flatten": True})
        self._session = attached["sessionId"]
        self.send("Page.enable")

    def send(self, method: str, parameters: dict[str, Any] | None = None) -> dict[str, Any]:
        """The result of a command. Events are passed over."""
        self._last += 1
        message = {"id": self._last, "method": method, "params": parameters or {}}
        if self._session:
            message["sessionId"] = self._session
        os.write(self._out, json.dumps(message).encode() + b"\0")
        deadline = time.monotonic() + _SECONDS
        while True:
            answer = self._received(deadline)
            if answer.get("id") != self._last:
                continue
            if "error" in answer:
                raise RuntimeError(f"{method}: {answer['error']['message']}")
            return dict(answer["result"])

    def _received(self, deadline: float) -> dict[str, Any]:
        while b"\0" not in self._buffer:
            ready, _, _ = select.select([self._in], [], [], max(0.0, deadline - time.monotonic()))
            data = os.read(self._in, 65_536) if ready else b""
            if not data:
                raise RuntimeError("Chromium does not answer")
            self._buffer += data
        message, _, self._buffer = self._buffer.partition(b"\0")
        return dict(json.loads(message))

    def open(self, url: str) -> None:
        """Opens a page and waits until it is complete."""
        failed = self.send("Page.navigate", {"url": url}).get("errorText")
        if failed:
            raise RuntimeError(f"{url}: {failed}")
        self.wait(f"location.href !== 'about:blank' && {json.dumps(url)}.startsWith(location.origin)")

    def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; None while the page is being replaced."""
        try:
            answer = self.send("Runtime.evaluate", {"expression": expression, "returnByValue": True})
        except RuntimeError as error:
            if "Chromium" in str(error):
                raise
            return None
        return answer["result"].get("value")

    def wait(self, condition: str) -> None:
        """Waits until the page is complete and a JavaScript condition is true."""
        deadline = time.monotonic() + _SECONDS
        while self.evaluate(f"document.readyState === 'complete' && ({condition})") is not True:
            if time.monotonic() > deadline:
                shown = self.evaluate("location.pathname + ' ' + document.body.innerText.slice(0, 500)")
                raise RuntimeError(f"this did not happen: {condition}, but {shown}")
            time.sleep(0.05)

    def fill(self, fields: dict[str, str]) -> None:
        """Values of fields, by selector."""
        for selector, value in fields.items():
            self.wait(f"!!document.querySelector({json.dumps(selector)})")
            self.evaluate(f"document.querySelector({json.dumps(selector)}).value = {json.dumps(value)}")

    def submit(self, form: str) -> None:
        """Clicks the button that sends a form, which has been replaced when this returns or will be soon."""
        button = f"document.querySelector({json.dumps(form)}).querySelector('button[type=submit]')"
        self.wait(f"!!{button}")
        self.evaluate(f"{button}.click()")

    def close(self) -> None:
        """Ends the browser and its processes."""
        with contextlib.suppress(OSError, RuntimeError):
            self._session = ""
            self.send("Browser.close")
        with contextlib.suppress(OSError):
            os.killpg(self._process, signal.SIGKILL)
        os.waitpid(self._process, 0)
        os.close(self._in)
        os.close(self._out)


def _pipe() -> tuple[int, int]:
    """Both ends above the descriptors that the browser gets; neither is inherited otherwise."""
    made = os.pipe()
    ends = tuple(fcntl.fcntl(end, fcntl.F_DUPFD_CLOEXEC, _HIGH) for end in made)
    for end in made:
        os.close(end)
    return ends[0], ends[1]
