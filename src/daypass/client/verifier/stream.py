"""Follows the stream of revocations on a thread, and connects again whenever it ends.

Source: HTML Living Standard, 9.2.5 and 9.2.6 (parsing and interpreting an event stream).
"""

from __future__ import annotations

import json
import logging
import random
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, NamedTuple

from daypass.client.http import signed_request
from daypass.client.transport import NoAnswer, open_response
from daypass.client.verifier.revocations import Revocations
from daypass.client.verifier.settings import VerifierSettings, elapsed

_LOG = logging.getLogger("daypass.verifier")
_PATH: Final = "/events/revocations"
_MAX_LINE: Final = 65_536
_PAUSE_SECONDS: Final = (0.1, 5.0)  # before the next attempt: at first, at most


class StreamEvent(NamedTuple):
    """A dispatched event. `last_id`: of the last event that had an id."""

    name: str
    data: str
    last_id: str


def events(lines: Iterable[bytes]) -> Iterator[StreamEvent]:
    """The events in the lines of a stream. Raises ValueError for a line that is too long."""
    name, last_id = "", ""
    data: list[str] = []
    for raw in lines:
        if len(raw) > _MAX_LINE:
            raise ValueError("a line of the stream is too long")
        line = raw.decode("utf-8", "replace").rstrip("\r\n")
        if not line:
            if data:
                yield StreamEvent(name or "message", "\n".join(data), last_id)
            name, data = "", []
            continue
        field, _, value = line.partition(":")
        value = value.removeprefix(" ")
        if field == "event":
            name = value
        elif field == "data":
            data.append(value)
        elif field == "id" and "\0" not in value:
            last_id = value


class Follower:
    """Keeps `Revocations` current until `stop`. `clock` is the wall clock in seconds, for signatures."""

    def __init__(
        self,
        settings: VerifierSettings,
        revocations: Revocations,
        *,
        clock: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = elapsed,
    ) -> None:
        self._settings = settings
        self._revocations = revocations
        self._clock = clock
        self._monotonic = monotonic
        self._last_id = ""
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="daypass-revocations", daemon=True)

    def start(self) -> None:
        """Starts the thread."""
        self._thread.start()

    def stop(self) -> None:
        """Ends the thread, at the latest with the next heartbeat."""
        self._stopping.set()
        self._thread.join()

    def _run(self) -> None:
        pause, longest = _PAUSE_SECONDS
        while not self._stopping.is_set():
            try:
                if self._follow():
                    pause = _PAUSE_SECONDS[0]
            except Exception as error:  # noqa: BLE001  # without this thread every token would be refused for ever
                _LOG.warning("The stream of revocations failed: %s: %s", type(error).__name__, error)
            self._stopping.wait(pause * (0.5 + random.random() / 2))  # noqa: S311  # not a secret
            pause = min(longest, pause * 2)

    def _follow(self) -> bool:
        """Reads one connection to its end. Returns whether it had events."""
        profile = self._settings.current_profile()
        query = "&".join(f"account={'%2A' if a == '*' else a}" for a in self._settings.accounts)
        request = signed_request(profile, "GET", _PATH, query, service="daypass", now=self._clock())
        headers = {**request.headers, "accept": "text/event-stream"}
        if self._last_id:
            headers["last-event-id"] = self._last_id
        seen = False
        self._revocations.connected()
        with open_response(request.with_headers(headers), self._settings.limit_seconds) as response:
            if response.status != 200:
                raise NoAnswer(f"HTTP status {response.status}: {response.read(512).decode('utf-8', 'replace')}")
            for event in events(iter(lambda: response.readline(_MAX_LINE + 2), b"")):
                data: Any = json.loads(event.data)
                self._revocations.apply(event.name, data, self._monotonic())
                self._last_id = event.last_id or self._last_id
                seen = True
                if self._stopping.is_set():
                    break
        return seen
