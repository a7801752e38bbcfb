"""Decides when a request begins: a bounded number in each iteration of the event loop and in flight, in order of
arrival as long as there is time for all.

Without a limit, an iteration takes as long as all requests that arrived during the previous one, and the journal's
batches grow with the requests in flight, in front of the next one. On a server with little load it never delays a
request. When requests wait, the source addresses take turns, so that a source that sends more than its share delays and
loses its own requests, and a part of each iteration is reserved for management.
"""

from __future__ import annotations

import asyncio
import heapq
import time
from collections import deque
from collections.abc import Callable
from typing import Final, NamedTuple, Protocol

AT_ONCE: Final = 16  # requests that begin in one iteration: about 3 ms of work
LATE_AT_ONCE: Final = 16  # requests refused in one iteration because they have waited too long
_LATE_A_SECOND: Final = 500.0  # of them in any case; besides, one for each request that begins
RESERVED: Final = 8  # for management requests, which include revocations, in one iteration
IN_FLIGHT: Final = 24  # requests begun and not answered, before others wait; more only while the event loop is idle
SHARED: Final = 2 * IN_FLIGHT  # the same, of all sources that have nothing waiting, in equal shares
_OF_ONE_SOURCE: Final = 1_000_000  # the same while there is only one source: nobody else waits behind them
_MAX_CREDIT: Final = 16  # turns that a source may be behind the others
_ROOM_SECONDS: Final = 0.001  # between two checks whether the event loop is idle
_SWEEPS: Final = 5  # of late requests, in the time that a request may wait
_IDLE_SECONDS: Final = 0.0025  # an event loop that calls back within this time after a check was idle


class Startable(Protocol):
    """A connection with a request to serve."""

    def begin(self, *, late: bool) -> None:
        """Begins the request. `late`: it has waited too long and must be refused. The connection calls `Turns.leave`
        when the request has ended.
        """
        ...


class _Waiting(NamedTuple):
    arrived: float
    source: str
    connection: Startable


class _Queues:
    """Requests that wait, in one queue for each source. Memory is bounded by the number of connections.

    Sources are served in the order of the turns they have had. One that uses less than the others has turns to spare, so
    a short delay of the server does not leave it behind them.
    """

    def __init__(self) -> None:
        self._by_source: dict[str, deque[_Waiting]] = {}
        self._order: list[tuple[int, int, str]] = []  # heap of the sources that wait, by turns had
        self._turns: dict[str, int] = {}  # had by each source
        self._now = 0  # turns had by the source that was served last
        self._entered = 0
        self._overloaded: set[str] = set()  # sources that had late requests in this iteration
        self.count = 0

    @property
    def has_several_sources(self) -> bool:
        """Whether requests of more than one source wait."""
        return len(self._by_source) > 1

    def has(self, source: str) -> bool:
        """Whether requests of this source wait."""
        return bool(self._by_source.get(source))

    def add(self, request: _Waiting) -> None:
        queue = self._by_source.get(request.source)
        if queue is None:
            queue = self._by_source[request.source] = deque()
            self._enter(request.source, max(self._turns.get(request.source, 0), self._now - _MAX_CREDIT))
        queue.append(request)
        self.count += 1

    def _enter(self, source: str, turns: int) -> None:
        self._turns[source] = turns
        self._entered += 1
        heapq.heappush(self._order, (turns, self._entered, source))

    def begin_iteration(self) -> None:
        self._overloaded.clear()
        if len(self._turns) > 2 * len(self._by_source) + _MAX_CREDIT:
            floor = self._now - _MAX_CREDIT
            self._turns = {source: turns for source, turns in self._turns.items() if turns > floor}

    def next(self, oldest: float, refusals: int) -> tuple[_Waiting | None, list[_Waiting]]:
        """The next request of the source whose turn it is, None when no request can begin, and the requests that are too
        late.

        In order of arrival, each request of a source that sends too much would be late when its turn comes, and none
        would be served in time. So its newest request is chosen once some were late.

        Args:
            oldest: a request that arrived before this time is late.
            refusals: maximum number of late requests to return.
        """
        late: list[_Waiting] = []
        chosen = None
        while chosen is None and self._order:
            turns, _, source = heapq.heappop(self._order)
            queue = self._by_source[source]
            # The last one may be older than the first: it has waited in the system's buffers before.
            while queue and min(queue[0].arrived, queue[-1].arrived) < oldest:
                self._overloaded.add(source)
                if len(late) >= refusals:
                    break
                late.append(queue.popleft() if queue[0].arrived < oldest else queue.pop())
            if queue:
                chosen = queue.pop() if source in self._overloaded else queue.popleft()
            self._now = max(self._now, turns)
            if queue:
                self._enter(source, turns + 1)
            else:
                self._turns[source] = turns + 1
                del self._by_source[source]
        self.count -= len(late) + (chosen is not None)
        return chosen, late

    def take_late(self, oldest: float, most: int) -> list[_Waiting]:
        """Removes at most so many requests that arrived before `oldest`. An emptied queue stays until its turn, or
        until no request waits.
        """
        late: list[_Waiting] = []
        for queue in self._by_source.values():
            while queue and queue[0].arrived < oldest and len(late) < most:
                late.append(queue.popleft())
        self.count -= len(late)
        if not self.count:
            self._by_source.clear()
            self._order.clear()
        return late


class Turns:
    """The requests that wait for their turn in one process.

    Args:
        patience: seconds. A request that has waited longer when its turn comes is late.
    """

    def __init__(
        self, loop: asyncio.AbstractEventLoop, patience: float, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._loop = loop
        self._patience = patience
        self._clock = clock
        self._begun = 0  # in this iteration
        self._reserved = 0  # management requests, in addition
        self._refused = 0
        self._refusals = float(LATE_AT_ONCE)  # that may follow: a refusal costs time that requests in time need
        self._refusals_at = clock()
        self._swept = clock()  # when late requests were last looked for although there was no room
        self._scheduled = False
        self._in_flight: dict[str, int] = {}  # requests begun and not ended, by source
        self._total = 0
        self._most = _OF_ONE_SOURCE  # in flight, before others wait
        self._idle_check_scheduled = False  # of whether the event loop is idle
        self._urgent: deque[_Waiting] = deque()
        self._management = _Queues()
        self._usual = _Queues()

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._urgent) + self._management.count + self._usual.count

    @property
    def busy(self) -> bool:
        """Whether a request that enters now has to wait, unless it is urgent or for management."""
        return self._begun >= AT_ONCE or self._usual.count > 0 or self._total >= self._most

    def enter(
        self,
        connection: Startable,
        *,
        source: str = "",
        urgent: bool = False,
        management: bool = False,
        age: float = 0.0,
    ) -> None:
        """Starts the request now or in a later iteration. An urgent request goes first and is never late.

        Args:
            source: the client's address; "" for connections that serve many clients.
            management: it may use the reserved part.
            age: seconds that it has waited in the system's buffers.
        """
        if management and not self._management.count and self._reserved < RESERVED:
            self._reserved += 1
            self._begin(connection, source)
        elif self._begun < AT_ONCE and (urgent or ((not age or age <= self._patience) and self._may_begin(source))):
            self._begun += 1
            self._begin(connection, source)
        else:
            waiting = _Waiting(self._clock() - age, source, connection)
            if urgent:
                self._urgent.append(waiting)
            else:
                (self._management if management else self._usual).add(waiting)
        self._schedule()

    def leave(self, source: str) -> None:
        """Called once for each request that has begun: it has ended, or takes so long that it does not count."""
        self._total -= 1
        left = self._in_flight[source] - 1
        if left:
            self._in_flight[source] = left
        else:
            del self._in_flight[source]
        if self._usual.count:
            self._schedule()

    def update_limit(self) -> None:
        """Call it every second: a source that is alone may have more in flight."""
        if len(self._in_flight) <= 1 and not self._usual.has_several_sources:
            self._most = _OF_ONE_SOURCE

    def _may_begin(self, source: str) -> bool:
        """Whether there is room for one more. When there is none, or others wait, a source that uses less than its share
        is not held up: its requests do not wait for those of sources that send too much.
        """
        if self._total < self._most and not self._usual.count:
            return True
        if not source or self._usual.has(source):
            return False
        return self._in_flight.get(source, 0) < SHARED // (len(self._in_flight) + 1)

    def _begin(self, connection: Startable, source: str, *, late: bool = False) -> None:
        self._total += 1
        self._in_flight[source] = self._in_flight.get(source, 0) + 1
        if len(self._in_flight) > 1:
            self._most = IN_FLIGHT
        connection.begin(late=late)

    def _begin_waiting(self, request: _Waiting, *, late: bool = False) -> None:
        self._begin(request.connection, request.source, late=late)

    def _schedule(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self, more: int = 0) -> None:
        """Begins what has its turn. `more`: requests that may begin although there is no room."""
        self._begun = self._reserved = self._refused = 0
        while self._urgent and self._begun < AT_ONCE:
            self._begun += 1
            self._begin_waiting(self._urgent.popleft())
        self._reserved = self._take_from(self._management, RESERVED)
        self._begun += self._take_from(self._usual, min(AT_ONCE - self._begun, max(more, self._most - self._total)))
        if self._usual.count and self._total >= self._most:
            self._refuse_late()
        self._scheduled = False
        if self._begun or self._reserved or self._refused:
            self._schedule()
        elif self.waiting and not self._idle_check_scheduled:
            self._idle_check_scheduled = True
            self._loop.call_later(_ROOM_SECONDS, self._check_idle, self._clock())

    def _check_idle(self, scheduled_at: float) -> None:
        """When there is no room although the event loop is idle, the requests in flight wait for storage or for other
        processes. Then more begin, so that all of the processor can be used.
        """
        self._idle_check_scheduled = False
        if not self._scheduled and self.waiting:
            self._scheduled = True
            self._next_turn(AT_ONCE // 2 if self._clock() - scheduled_at < _IDLE_SECONDS else 0)

    def _refuse_late(self) -> None:
        """Refuses late requests while no request can begin. It costs time to search all sources, so there are only a few
        sweeps in the time that a request may wait.
        """
        now, most = self._clock(), self._refusable()
        if now - self._swept < self._patience / _SWEEPS or not most:
            return
        late = self._usual.take_late(now - self._patience, most)
        for each in late:
            self._begin_waiting(each, late=True)
        self._note_refused(len(late))
        if len(late) < most:
            self._swept = now

    def _refusable(self) -> int:
        """How many late requests may be refused now."""
        now = self._clock()
        self._refusals += (now - self._refusals_at) * _LATE_A_SECOND
        self._refusals = min(self._refusals, 2.0 * LATE_AT_ONCE)
        self._refusals_at = now
        return min(LATE_AT_ONCE - self._refused, int(self._refusals))

    def _note_refused(self, count: int) -> None:
        self._refused += count
        self._refusals -= count

    def _take_from(self, queues: _Queues, most: int) -> int:
        """Begins at most so many of the requests and returns their number. Late ones are refused, in bounded number."""
        oldest, begun = self._clock() - self._patience, 0
        queues.begin_iteration()
        while begun < most and queues.count:
            request, late = queues.next(oldest, self._refusable())
            for each in late:
                self._begin_waiting(each, late=True)
            self._note_refused(len(late))
            if request is None:
                break
            begun += 1
            self._refusals += 1.0
            self._begin_waiting(request)
        return begun
