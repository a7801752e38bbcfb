"""Follows the revocations of other nodes, so that they are known here while the database is unavailable.

There is one thread for each peer. A peer's heartbeat counts for every process from which the peer receives heartbeats, and only after the
revocations before it have been applied. What the database says takes precedence over a peer.
"""

from __future__ import annotations

import asyncio
import json
import random
import threading
import time
from collections.abc import Sequence
from typing import Final

from daypass.client.transport import NoAnswer, Request, endpoint_of, open_response
from daypass.client.verifier.stream import Event, events
from daypass.crypto.signing import RingNodeProofs
from daypass.domain.directory import Revocation
from daypass.observability import logs
from daypass.stores.directory import Directory

_PATH: Final = "/events/revocations"
_READ_SECONDS: Final = 5.0
_PAUSE_SECONDS: Final = 0.25  # before the next attempt; it doubles
_LONGEST_PAUSE: Final = 2.0
_MAX_LINE: Final = 65_536
_FIELDS: Final = (
    "id",
    "account",
    "subject",
    "value",
    "issued_before",
    "created_at",
    "position",
    "block",
    "block_until",
)


class PeerStreams:
    """The streams of all peers. `start` and `stop` belong to the event loop of the directory.

    Args:
        urls: the peers, as http[s]://host:port.
        ca_bundle: a file of certificates that may vouch for them; "" for the system's.
        proofs: makes the proof that this is a node of the installation.
    """

    def __init__(self, urls: Sequence[str], ca_bundle: str, proofs: RingNodeProofs, known: Directory) -> None:
        self._ca_bundle = ca_bundle
        self._proofs = proofs
        self._known = known
        self._stopping = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._threads = [
            threading.Thread(target=self._run, args=(url,), name=f"daypass-peer-{number}", daemon=True)
            for number, url in enumerate(urls)
        ]

    def start(self) -> None:
        """Starts the threads."""
        self._loop = asyncio.get_running_loop()
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Tells the threads to end. They are not waited for: one may be reading for some seconds."""
        self._stopping.set()

    def _run(self, url: str) -> None:
        pause, failing = _PAUSE_SECONDS, False
        while not self._stopping.is_set():
            try:
                self._follow(url)
                pause, failing = _PAUSE_SECONDS, False
            except Exception as error:  # noqa: BLE001  # without this thread the peer would never be read again
                if self._has_ended():
                    return
                if not failing:
                    logs.get().warning("peers.stream_failed", peer=url, error=f"{type(error).__name__}: {error}")
                failing, pause = True, min(_LONGEST_PAUSE, pause * 2)
            self._stopping.wait(pause * (0.5 + random.random() / 2))  # noqa: S311  # not a secret

    def _has_ended(self) -> bool:
        """Whether the server is stopping, or its start has failed: then its loop is closed."""
        return self._stopping.is_set() or self._loop is None or self._loop.is_closed()

    def _follow(self, url: str) -> None:
        """Reads one connection to its end."""
        headers = {
            "host": endpoint_of(url).netloc,
            "accept": "text/event-stream",
            "authorization": f"Daypass-Node {self._proofs.make()}",
        }
        request = Request(url, "GET", _PATH, headers, b"", self._ca_bundle)
        latency = _Latency()
        with open_response(request, _READ_SECONDS) as response:
            if response.status != 200:
                raise NoAnswer(f"HTTP status {response.status}")
            for event in events(iter(lambda: response.readline(_MAX_LINE + 2), b"")):
                self._hand_over(event, latency)
                if self._stopping.is_set():
                    return

    def _hand_over(self, event: Event, latency: _Latency) -> None:
        data, loop = json.loads(event.data), self._loop
        assert loop is not None
        if event.name == "revocation":
            revocation = Revocation(
                **{name: data[name] for name in _FIELDS},
                reason=str(data.get("reason", "")),
                created_by=str(data.get("created_by", "")),
            )
            loop.call_soon_threadsafe(self._known.apply_peer, (revocation,))
        elif event.name == "heartbeat":
            sent = latency.sent_at(int(data["at"]), time.monotonic())
            contacts = {str(node): sent - float(age) / 1000 for node, age in data["nodes"].items()}
            loop.call_soon_threadsafe(self._note_contacts, contacts)

    def _note_contacts(self, contacts: dict[str, float]) -> None:
        for node, at in contacts.items():
            self._known.freshness.note_contact(node, at)


class _Latency:
    """When a heartbeat was sent, on our monotonic clock, by the fastest heartbeat of the connection."""

    def __init__(self) -> None:
        self._offset: float | None = None

    def sent_at(self, at: int, monotonic: float) -> float:
        offset = at / 1000 - monotonic
        self._offset = offset if self._offset is None else max(self._offset, offset)
        return min(monotonic, at / 1000 - self._offset)
