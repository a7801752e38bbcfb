"""The status lists of access tokens: one sequence of status lists for each process, made by any process that is asked.

The lists of this process come from memory, so they are served while the database is unavailable. Those of other
processes are read from the record, and again with each request after what was read. Which sessions are revoked is
always decided by the revocations that this process knows. A list never claims to be complete beyond the time until
which the sessions of its process are on the record.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import time
from array import array
from collections import OrderedDict
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, NamedTuple, TypeAlias

import msgspec
from sqlalchemy import Connection, func, select

from daypass.audit.completeness import process_logs
from daypass.audit.rows import hop_of
from daypass.audit.stored import event_bytes
from daypass.crypto.ids import random_bytes
from daypass.domain.errors import DaypassError
from daypass.domain.events import EventType, decode
from daypass.domain.session import LONGEST_SESSION_MS, Hop, SessionClaims
from daypass.domain.status_list import STATUSES, encode_statuses, split_index
from daypass.ports.clock import Clock
from daypass.ports.record import StatusList
from daypass.stores.records import audit_records
from daypass.stores.revocation_feed import RevocationFeed

PATH: Final = "/statuslists/"
TYPE: Final = "statuslist+jwt"
"""The `typ` of a status list token (draft-ietf-oauth-status-list, 5.1)."""
MAX_LOGS: Final = 64
"""Logs of other processes whose sessions are in memory at once."""
_ID = re.compile(r"([0-9a-f]{32})-([0-9]{1,9})")
_SLICE: Final = 500  # sessions compared with the revocations before other requests get a turn
_MIN_PAUSE_MS: Final = 1000
_REST: Final = 20
"""A list is not made again for so many times as long as making it took: anybody may ask for lists."""
_READ_AGAIN_MS: Final = 1000
_ABSENT_MS: Final = 5000  # how long an id that names no log is not looked up again
_MAX_ABSENT: Final = 4096
_LIFETIME: Final = 12  # of a token, in multiples of its ttl: a verifier may accept a copy so long


Read: TypeAlias = Callable[[Callable[[Connection], Any]], Awaitable[Any]]
"""Runs a query of the record on a thread. Raises DaypassError(UNAVAILABLE)."""

Sign: TypeAlias = Callable[[Mapping[str, Any], str], str]
"""The claims as a signed token of a type. Raises DaypassError(UNAVAILABLE)."""


class _List:
    """One list: its sessions, packed, and the token made from them. `last`: when the last of its sessions expires (ms)."""

    def __init__(self) -> None:
        self.entries: dict[int, bytes] = {}
        self.last = 0
        self.lock = asyncio.Lock()
        self.made: StatusList | None = None
        self.made_at = 0
        self.pause = 0  # ms after `made_at` in which no other token is made
        self.version = -1
        self.grown = True  # has entries that came after the token was made

    def current(self, version: int, now: int, ttl: int) -> StatusList | None:
        """The token if another one need not, or must not, be made now. `version`: of the revocations; `ttl` in ms."""
        age = now - self.made_at
        same = self.version == version and not self.grown
        return self.made if 0 <= age < (ttl // 2 if same else min(ttl // 2, self.pause)) else None

    def add(self, place: int, entry: StatusEntry) -> None:
        self.entries[place] = pack(entry)
        self.last = max(self.last, entry.expires_at)
        self.grown = True  # after the token was made

    def expired(self, now: int) -> bool:
        return self.last <= now


class _Places:
    """The places of one list in random order, so that an index shows neither how many tokens were issued before it nor
    which one came next.
    """

    def __init__(self) -> None:
        self._places = array("I")  # all of them from the first token on
        self._taken = 0

    def take(self) -> int | None:
        """The next place; None when there is none left."""
        if self._taken == STATUSES:
            return None
        places, at = self._places, self._taken
        if not places:
            places.extend(range(STATUSES))
        other = at + int.from_bytes(random_bytes(8), "big") % (STATUSES - at)  # the bias is below 2**-40
        places[at], places[other] = places[other], places[at]
        self._taken += 1
        return places[at]


class _Process:
    """The lists of one process, named by its first log.

    For another process, `seqs` says how far each of its logs was read, `read_at` when that was (ms), and
    `complete_until` until when every session that it issued is known (ms).
    """

    def __init__(self) -> None:
        self.lists: dict[int, _List] = {}
        self.lock = asyncio.Lock()
        self.seqs: dict[str, int] = {}
        self.read_at = 0
        self.complete_until = 0

    def add(self, entry: StatusEntry) -> None:
        number, place = split_index(entry.status_index)
        status_list = self.lists.get(number)
        if status_list is None:
            status_list = self.lists[number] = _List()
        status_list.add(place, entry)


class LogStatusLists:
    """Allocates places in the lists of this process, and makes the token of any list.

    Args:
        issuer: the URL of the authorization server; "": no lists are made.
        ttl: seconds after which a verifier fetches a list again.
    """

    def __init__(
        self, log: str, clock: Clock, issuer: str, sign: Sign, feed: RevocationFeed, read: Read, ttl: int
    ) -> None:
        self._log = log
        self._clock = clock
        self._issuer = issuer
        self._sign = sign
        self._feed = feed
        self._read = read
        self._ttl = ttl
        self._number = 0
        self._places = _Places()
        self._own = _Process()
        self._others: OrderedDict[str, _Process] = OrderedDict()
        self._absent: OrderedDict[str, int] = OrderedDict()

    # --- Sessions of this process

    def allocate(self, session: SessionClaims) -> int:
        """The status index of a new session in this process's lists. No I/O."""
        place = self._places.take()
        if place is None:
            self._forget_expired(self._own)
            self._number, self._places = self._number + 1, _Places()
            place = self._places.take()
            assert place is not None
        index = self._number * STATUSES + place
        self._own.add(StatusEntry(index, session.hops, session.source_identity, session.expires_at))
        return index

    def reference(self, index: int) -> tuple[str, int] | None:
        """The URI of the list that holds an index of this process, and the position in it; None if status lists are disabled."""
        if not self._issuer:
            return None
        number, place = split_index(index)
        return f"{self._issuer}{PATH}{self._log}-{number}", place

    def _forget_expired(self, process: _Process) -> None:
        now = self._clock.now()
        process.lists = {
            number: status_list for number, status_list in process.lists.items() if not status_list.expired(now)
        }

    # --- Tokens

    async def token(self, list_id: str) -> StatusList | None:
        """A list by the last part of its URI; None when it is unknown or all its sessions have expired.

        Raises DaypassError(UNAVAILABLE) for a list of another process that cannot be read now.
        """
        match = _ID.fullmatch(list_id)
        if match is None or not self._issuer:
            return None
        own = match[1] == self._log
        process = self._own if own else await self._other(match[1])
        status_list = process.lists.get(int(match[2])) if process is not None else None
        if process is None or status_list is None or status_list.expired(self._clock.now()):
            return None
        async with status_list.lock:  # one of many requests makes the token
            return await self._current(status_list, list_id, None if own else process.complete_until)

    async def _current(self, status_list: _List, list_id: str, complete_until: int | None) -> StatusList:
        now = self._clock.now()
        version = self._feed.version
        current = status_list.current(version, now, self._ttl * 1000)
        if current is not None:
            return current
        status_list.grown = False
        revoked, cost = await self._revoked_in(status_list, now)
        # The list is as old as the older of its two sources, so that a verifier can see when it is stale. It expires
        # after that time, too, for verifiers that look at `exp` alone.
        as_of = min(now, self._feed.state().complete_until, now if complete_until is None else complete_until)
        encoded = encode_statuses(revoked, STATUSES)
        claims = {
            "sub": f"{self._issuer}{PATH}{list_id}",
            "iss": self._issuer,
            "iat": as_of // 1000,
            "exp": as_of // 1000 + _LIFETIME * self._ttl,
            "ttl": self._ttl,
            "status_list": {"bits": 1, "lst": encoded},
        }
        token = self._sign(claims, TYPE)
        tag = hashlib.sha256(f"{encoded}|{as_of // 1000}".encode("ascii")).hexdigest()[:32]
        status_list.made = StatusList(token, tag, max(1, self._ttl // 2))
        status_list.made_at, status_list.version = now, version
        status_list.pause = max(_MIN_PAUSE_MS, int(cost * 1000 * _REST))
        return status_list.made

    async def _revoked_in(self, status_list: _List, now: int) -> tuple[list[int], float]:
        """The places of revoked sessions, and the seconds of work that this took. Expired sessions are removed."""
        revoked, cost = [], 0.0
        entries = [*status_list.entries.items()]
        for start in range(0, len(entries), _SLICE):
            began = time.perf_counter()
            for place, packed in entries[start : start + _SLICE]:
                entry = unpack(packed)
                if entry.expires_at <= now:
                    status_list.entries.pop(place, None)
                elif self._feed.ends(entry.hops, entry.source_identity):
                    revoked.append(place)
            cost += time.perf_counter() - began
            await asyncio.sleep(0)
        return revoked, cost

    # --- Sessions of other processes

    async def _other(self, first: str) -> _Process | None:
        now = self._clock.now()
        if self._absent.get(first, 0) > now:
            return None
        process = self._others.setdefault(first, _Process())
        async with process.lock:
            if now - process.read_at >= _READ_AGAIN_MS:
                try:
                    await self._read_on(first, process, now)
                except DaypassError:
                    if not process.seqs:
                        self._others.pop(first, None)
                        raise
        if not process.seqs:
            self._others.pop(first, None)
            self._absent[first] = now + _ABSENT_MS
            while len(self._absent) > _MAX_ABSENT:
                self._absent.popitem(last=False)
            return None
        self._others.move_to_end(first)
        while len(self._others) > MAX_LOGS:
            self._others.popitem(last=False)
        return process

    async def _read_on(self, first: str, process: _Process, now: int) -> None:
        """Reads what the logs of the process have after the last record read. A list that is read in part only is not
        shown. The statement of completeness is read first, so that the records that it covers exist when they are read.
        """
        listed = await self._read(lambda conn: process_logs(conn, first))
        if listed is None:
            return
        seqs = dict(process.seqs)
        for log in listed.logs:
            if log not in seqs:
                seqs[log] = await self._read(lambda conn, log=log: first_live(conn, log, now))  # type: ignore[misc]  # a lambda with a default
            seqs[log] = await self._read_entries(process, log, seqs[log])
        self._forget_expired(process)
        process.seqs, process.read_at = seqs, now
        process.complete_until = now if listed.recorded_until is None else min(now, listed.recorded_until)

    async def _read_entries(self, process: _Process, log: str, after: int) -> int:
        """Adds the sessions of a log after this record. Returns the last record read."""
        more = True
        while more:
            page = await self._read(lambda conn, at=after: read_entries(conn, log, at))  # type: ignore[misc]  # the same
            for entry in page.entries:
                process.add(entry)
            after, more = page.seq, page.more
        return after


# --- Reads from the record which sessions of a log have a status index, for the status lists of other processes


STATUS_INDEX = "status_index"
"""The member of an event's detail."""
_TYPES = (EventType.SESSION_ISSUED.value, EventType.TOKEN_ISSUED.value)
_PAGE = 500
_r = audit_records.c


class StatusEntry(msgspec.Struct, frozen=True, array_like=True):
    """A session with a status index. `hops` and `source_identity` are what revocations match."""

    status_index: int
    hops: tuple[Hop, ...]
    source_identity: str
    expires_at: int


pack = msgspec.msgpack.Encoder().encode
"""An entry as bytes. Lists hold every live session, and the garbage collector would follow its objects."""
unpack = msgspec.msgpack.Decoder(StatusEntry).decode


class Page(NamedTuple):
    """Sessions of a log. `seq`: the last record read; `more`: whether there may be further ones."""

    entries: tuple[StatusEntry, ...]
    seq: int
    more: bool


def first_live(conn: Connection, log: str, now: int) -> int:
    """A sequence number of the log before which every session has expired; -1 for none."""
    oldest = now - LONGEST_SESSION_MS
    query = select(func.min(_r.seq)).where(_r.log == log, _r.at >= oldest)
    return int(conn.execute(query).scalar() or 0) - 1


def read_entries(conn: Connection, log: str, after: int) -> Page:
    """The next sessions of a log after the record `after`."""
    issued = _r.type.in_(_TYPES)
    query = select(_r.log, _r.seq, _r.bytes).where(_r.log == log, _r.seq > after, issued).order_by(_r.seq).limit(_PAGE)
    rows = conn.execute(query).all()
    data = event_bytes(conn, rows)
    bodies = [decode(data[log, row.seq]) for row in rows if data[log, row.seq]]
    entries = [entry for body in bodies if (entry := _entry(body)) is not None]
    return Page(tuple(entries), rows[-1].seq if rows else after, len(rows) == _PAGE)


def _entry(body: dict[str, Any]) -> StatusEntry | None:
    detail = body.get("detail", {})
    index, session = detail.get(STATUS_INDEX), body.get("session") or detail.get("session")
    if not isinstance(index, int) or index < 0 or not isinstance(session, dict):
        return None
    hops = tuple(map(hop_of, session["hops"]))
    return StatusEntry(index, hops, str(session.get("source_identity", "")), int(session["expires_at"]))
