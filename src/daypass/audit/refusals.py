"""Counts refusals of requests that proved nothing, so that a flood of them does not fill the record.

From one source (an IPv4 address, or an IPv6 network of 64 bits), the first few of the same refusal in a window are
recorded one by one, each durable before its answer. The others are counted, and written as one `request.repeated` event
when the window ends or the process stops. Memory is bounded: by sources, by refusals of a source, by bytes of one
count. A kill loses the counts of at most one window.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from typing import Any, Final, NamedTuple

from daypass.audit.journal import Journal
from daypass.domain.arn import network_of
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.status_list import cut, leaves
from daypass.observability import logs
from daypass.ports.clock import Clock

WINDOW_MS: Final = 15_000
_SOURCES: Final = 4_096
_OF_ALL_KINDS: Final = 10  # limit for one source, as a multiple of the limit for one kind of refusal
_KINDS: Final = 32  # kinds of refusals of one source; further ones are counted together
_VALUES: Final = 8  # values of one member that are counted separately
_PATHS: Final = 24
_VALUE_BYTES: Final = 128
_COUNT_BYTES: Final = 4_096  # limit of the texts of one count
_UNWRITTEN: Final = 1_024  # events that wait while the database is unavailable
_SECONDS: Final = 1.0


class _Kind(NamedTuple):
    """The key by which two refusals of one source are the same."""

    type: str = ""
    error: str = ""
    operation: str = ""
    account: str = ""


class _Count:
    """The refusals of one kind from one source in one window."""

    __slots__ = ("_bytes", "first", "last", "others", "recorded", "times", "values")

    def __init__(self) -> None:
        self.recorded = 0
        self.times = 0
        self.first = self.last = 0
        self.values: dict[str, dict[str, int]] = {}
        self.others: dict[str, int] = {}
        self._bytes = 0

    def add(self, event: Event) -> None:
        self.times += 1
        self.first = self.first or event.at
        self.last = event.at
        for path, text in leaves({"source": event.source, "detail": event.detail}):
            self._value(path, cut(text, _VALUE_BYTES))

    def _value(self, path: str, text: str) -> None:
        known = self.values.get(path)
        if known is not None and text in known:
            known[text] += 1
            return
        size = len(text) + (0 if known is not None else len(path))
        full = len(self.values) >= _PATHS if known is None else len(known) >= _VALUES
        if full or self._bytes + size > _COUNT_BYTES:
            place = path if known is not None else "*"  # a value that is not in the list
            self.others[place] = self.others.get(place, 0) + 1
            return
        self._bytes += size
        self.values.setdefault(path, {})[text] = 1


class _Source:
    """The refusals of one source in its window."""

    __slots__ = ("counts", "ends", "name", "recorded")

    def __init__(self, name: str, ends: int) -> None:
        self.name = name
        self.ends = ends
        self.recorded = 0
        self.counts: dict[_Kind, _Count] = {}

    def count_of(self, event: Event) -> _Count:
        kind = _Kind(event.type.value, event.error, event.operation, event.account)
        if kind not in self.counts and len(self.counts) >= _KINDS:
            kind = _Kind()
        return self.counts.setdefault(kind, _Count())


class Refusals:
    """Puts anonymous refusals on the record. Repeats of one refusal from one source are counted. `run` it in a task; `close` when the process stops, before the journal.

    Args:
        full_records: how many of the same refusal from one source in a window are recorded one by one.
    """

    def __init__(self, journal: Journal, clock: Clock, full_records: int) -> None:
        self._full_records = full_records
        self._journal = journal
        self._clock = clock
        self._sources: OrderedDict[str, _Source] = OrderedDict()  # ordered by the end of their windows
        self._unwritten: list[Event] = []
        self.lost = 0

    async def record(self, event: Event) -> None:
        """When it returns, the refusal is durable, or counted together with equal refusals that are durable.

        Raises DaypassError(UNAVAILABLE) when it could not be made durable.
        """
        source = self._source(event)
        count = source.count_of(event)
        if count.recorded >= self._full_records or source.recorded >= self._full_records * _OF_ALL_KINDS:
            count.add(event)
            return
        count.recorded += 1
        source.recorded += 1
        try:
            await self._journal.commit(event)
        except DaypassError:
            count.recorded -= 1  # the next one is not a repeat of a recorded refusal
            source.recorded -= 1
            raise

    def count(self, event: Event) -> None:
        """Counts it without waiting: for requests that are refused because there is too much to do."""
        self._source(event).count_of(event).add(event)

    def count_unparsed(self, source_ip: str, kind: ErrorKind, reason: str) -> None:
        """Counts what was refused before it was a request: bytes that are not HTTP, a connection too many."""
        malformed = kind is ErrorKind.MALFORMED_REQUEST
        event = Event(
            EventType.REQUEST_MALFORMED if malformed else EventType.REQUEST_FAILED,
            self._clock.now(),
            source={"ip": source_ip},
            error=kind.value,
            detail={"reason": reason},
        )
        self.count(event)

    async def run(self) -> None:
        """Writes the counts of windows that have ended, until it is cancelled."""
        while True:
            await asyncio.sleep(_SECONDS)
            await self.write()

    async def close(self) -> None:
        """Writes all counts. Counts that the database does not accept are written to the process log."""
        while self._sources:
            self._end_oldest()
        await self.write()
        for event in self._unwritten:
            logs.get().error("refusals.lost", source=event.source.get("ip"), error=event.error, **event.detail)

    async def write(self) -> None:
        """Writes the counts of windows that have ended. Counts that cannot be written now are retried later."""
        now = self._clock.now()
        while self._sources and (oldest := next(iter(self._sources.values()))).ends <= now:
            self._end(oldest)
        while self._unwritten:
            try:
                await self._journal.commit(self._unwritten[0])
            except DaypassError:
                return
            del self._unwritten[0]

    def _source(self, event: Event) -> _Source:
        name = network_of(str(event.source.get("ip", "")))
        found = self._sources.get(name)
        if found is not None and found.ends > event.at:
            return found
        if found is not None:
            self._end(found)
        elif len(self._sources) >= _SOURCES:
            self._end_oldest()
        source = self._sources[name] = _Source(name, event.at + WINDOW_MS)
        return source

    def _end_oldest(self) -> None:
        self._end(next(iter(self._sources.values())))

    def _end(self, source: _Source) -> None:
        """Ends a window: its counts become events to be written."""
        del self._sources[source.name]
        for kind, count in source.counts.items():
            if not count.times:
                continue
            if len(self._unwritten) >= _UNWRITTEN:
                self.lost += count.times
                logs.get().error("refusals.lost", source=source.name, error=kind.error, count=count.times)
                continue
            self._unwritten.append(_event(source.name, kind, count, self._clock.now()))


def _event(source: str, kind: _Kind, count: _Count, now: int) -> Event:
    detail: dict[str, Any] = {"count": count.times, "first": count.first, "last": count.last, "values": count.values}
    if kind.type:
        detail["type"] = kind.type
    if count.others:
        detail["others"] = count.others
    return Event(
        EventType.REQUEST_REPEATED,
        now,
        account=kind.account,
        source={"ip": source},
        operation=kind.operation,
        error=kind.error,
        detail=detail,
    )
