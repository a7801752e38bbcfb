"""Tells the registry that this process serves, and the other processes on this machine what it revokes in an outage.

Processes that share a directory of spools find one another by files there: `ID.peer` is touched every second
and holds the revocations that its process has made without the database, one JSON object a line. A process must never
count as in contact before its revocations have been applied.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import random
import threading
import time
from collections.abc import Awaitable, Callable, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec

from daypass.client.transport import ClientRequest, NoAnswer, endpoint_of, open_response
from daypass.client.verifier.stream import StreamEvent, events
from daypass.crypto.signing import RingNodeProofs
from daypass.domain.directory import Revocation
from daypass.observability import logs
from daypass.ports.clock import Clock
from daypass.stores.directory import Directory
from daypass.stores.engine import Database
from daypass.stores.feed import FeedChange
from daypass.stores.meta import missing_events
from daypass.stores.nodes import HEARTBEAT_SECONDS, remove_node, report_node

_POLL_SECONDS: Final = 0.5
_ALIVE_SECONDS: Final = 3.0
_decode = msgspec.json.Decoder(Revocation).decode


class Peers:
    """The files of the processes that share `directory`. Use it from one event loop.

    `problem`: what keeps this process from serving, for the others, whose /readyz answers for all; "" for nothing.
    """

    def __init__(self, directory: Path, node: str, known: Directory, problem: Callable[[], str] = lambda: "") -> None:
        self._directory = directory
        self._own = directory / f"{node}.peer"
        self._known = known
        self._lock = -1
        self._read: dict[Path, int] = {}  # how far each file has been read
        self._unreadable: set[Path] = set()
        self._problem = problem
        self._reported = ""
        self._problems: dict[str, str] = {}

    def publish(self, changes: Sequence[FeedChange]) -> None:
        """Writes the revocations among the changes that have no feed position. Call it before they are acknowledged."""
        revocations = [c.revocation for c in changes if c.revocation is not None and not c.position]
        if revocations:
            with self._own.open("ab") as file:
                file.writelines(msgspec.json.encode(revocation) + b"\n" for revocation in revocations)

    def local(self) -> frozenset[str]:
        """The ids of the processes that have or had a file here, this one included."""
        return frozenset({self._own.stem, *(file.stem for file in self._directory.glob("*.peer"))})

    def poll(self) -> None:
        """Renews the file of this process, which shows that it is alive, and reads what the others have written."""
        self._hold()
        os.utime(self._lock)
        now = self._own.stat().st_mtime  # of the same clock as the times of the other files
        self._problems = {}
        for file in self._directory.glob("*.peer"):
            if file != self._own:
                self._read_file(file, now)
        if (problem := self._problem()) != self._reported:
            self._own.with_suffix(".problem").write_text(problem)
            self._reported = problem

    def problems(self) -> list[str]:
        """Why the other running processes cannot serve, as of about half a second ago."""
        return [f"another process: {problem}" for problem in self._problems.values()]

    def _hold(self) -> None:
        """Makes the file of this process, if it is not there, and holds a lock on it, which shows that it is running."""
        if self._lock >= 0 and self._own.exists():
            return
        if self._lock >= 0:
            os.close(self._lock)
        self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._lock = os.open(self._own, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        fcntl.flock(self._lock, fcntl.LOCK_EX)

    def _read_file(self, file: Path, now: float) -> None:
        try:
            age = now - file.stat().st_mtime
            start = self._read.get(file, 0)
            with file.open("rb") as opened:
                opened.seek(start)
                content = opened.read()
        except FileNotFoundError:
            self._read.pop(file, None)
            return
        lines, end, _ = content.rpartition(b"\n")
        try:
            self._known.apply_peer([_decode(line) for line in lines.splitlines()])
        except msgspec.MsgspecError:
            if file not in self._unreadable:
                self._unreadable.add(file)
                logs.get().error("peers.unreadable", file=str(file))
            return  # it does not count as in contact
        self._read[file] = start + len(lines) + len(end)
        if 0 <= age < _ALIVE_SECONDS:
            self._known.freshness.note_contact(file.stem, time.monotonic() - age)
            with contextlib.suppress(FileNotFoundError):
                if problem := file.with_suffix(".problem").read_text():
                    self._problems[file.stem] = problem
        elif age > HEARTBEAT_SECONDS * 720:
            file.unlink(missing_ok=True)
            file.with_suffix(".problem").unlink(missing_ok=True)

    def close(self) -> None:
        self._own.unlink(missing_ok=True)
        self._own.with_suffix(".problem").unlink(missing_ok=True)
        if self._lock >= 0:
            os.close(self._lock)
            self._lock = -1

    async def run(self) -> None:
        """Polls until it is cancelled."""
        failure = ""
        while True:
            try:
                self.poll()
                failure = ""
            except OSError as error:
                if str(error) != failure:
                    failure = str(error)
                    logs.get().warning("peers.failed", error=failure)
            await asyncio.sleep(_POLL_SECONDS)


def running_peers(directory: Path, node: str) -> frozenset[str]:
    """The other processes that share the directory and are running. `node`: this process."""
    return frozenset(file.stem for file in directory.glob("*.peer") if file.stem != node and _is_locked(file))


def _is_locked(file: Path) -> bool:
    try:
        descriptor = os.open(file, os.O_RDWR | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


class Registration:
    """The row of this process in the registry of nodes, and how far its log is complete."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        node: str,
        name: str,
        on_thread: Callable[[Callable[[], Any]], Awaitable[Any]],
        note_recorded: Callable[[], None],
    ) -> None:
        self._database = database
        self._clock = clock
        self._node = node
        self._name = name
        self._on_thread = on_thread
        self._note_recorded = note_recorded
        self.missing = 0
        """How many acknowledged events the database lacks, as of the last report."""
        self.warning = ""
        """The database's warning at the last report; see `Database.warning`."""

    async def report(self) -> None:
        """Writes the row. Raises the database's error."""
        await self._on_thread(lambda: report_node(self._database, self._node, self._name, self._clock.now()))
        await self._on_thread(self._note_recorded)
        self.warning = await self._on_thread(self._database.warning)
        self.missing = await self._on_thread(lambda: self._database.read(missing_events))

    async def run(self) -> None:
        """Writes the row regularly until it is cancelled."""
        while True:
            await asyncio.sleep(HEARTBEAT_SECONDS)
            try:
                await self.report()
            except Exception as error:  # noqa: BLE001 - while the database is unavailable, the next time
                logs.get().debug("nodes.not_reported", error=type(error).__name__)

    async def remove(self) -> None:
        """Removes the row, as far as the database answers."""
        with contextlib.suppress(Exception):
            await self._on_thread(lambda: remove_node(self._database, self._node))


# --- Peer streams


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
        request = ClientRequest(url, "GET", _PATH, headers, b"", self._ca_bundle)
        latency = _Latency()
        with open_response(request, _READ_SECONDS) as response:
            if response.status != 200:
                raise NoAnswer(f"HTTP status {response.status}")
            for event in events(iter(lambda: response.readline(_MAX_LINE + 2), b"")):
                self._hand_over(event, latency)
                if self._stopping.is_set():
                    return

    def _hand_over(self, event: StreamEvent, latency: _Latency) -> None:
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
