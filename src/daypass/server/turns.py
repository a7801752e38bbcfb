"""Decides when a request begins: a bounded number in each iteration of the event loop, first come, first served as long
as there is time for all.

Without a limit, an iteration takes as long as all requests that arrived during the previous one. Meanwhile no
connection is accepted, no health check is answered and no finished batch of the journal is delivered. On a server with
little load it never delays a request. When requests wait, the source addresses take turns, so that a source that sends
more than its share delays and loses its own requests, and a part of each iteration is reserved for management.
"""

from __future__ import annotations

import asyncio
import time
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Final, Protocol

AT_ONCE: Final = 64  # requests that begin in one iteration: about 10 ms of work
LATE_AT_ONCE: Final = 256  # requests refused in one iteration because they have waited too long
RESERVED: Final = 8  # of AT_ONCE, for management requests, which include revocations


class Startable(Protocol):
    """A connection with a request to serve."""

    def begin(self, *, late: bool) -> None:
        """Begins the request. `late`: it has waited too long and must be refused."""
        ...


class _Queues:
    """Requests that wait, in one queue for each source. Memory is bounded by the number of connections."""

    def __init__(self) -> None:
        self._by_source: OrderedDict[str, deque[tuple[float, Startable]]] = OrderedDict()
        self._overloaded: set[str] = set()  # sources that had late requests in this iteration
        self.count = 0

    def add(self, source: str, now: float, connection: Startable) -> None:
        self._by_source.setdefault(source, deque()).append((now, connection))
        self.count += 1

    def begin_iteration(self) -> None:
        self._overloaded.clear()

    def next(self, oldest: float, refusals: int) -> tuple[Startable | None, list[Startable]]:
        """The next request of the source whose turn it is, None when no request can begin, and the requests that are too
        late.

        In order of arrival, each request of a source that sends too much would be late when its turn comes, and none
        would be served in time. So its newest request is taken once some were late.

        Args:
            oldest: a request that arrived before this time is late.
            refusals: maximum number of late requests to return.
        """
        late: list[Startable] = []
        while self._by_source:
            source, queue = next(iter(self._by_source.items()))
            while queue and queue[0][0] < oldest:
                self._overloaded.add(source)
                if len(late) >= refusals:
                    break
                late.append(queue.popleft()[1])
            taken = None
            if queue and (queue[-1][0] >= oldest or len(late) >= refusals):
                taken = (queue.pop() if source in self._overloaded else queue.popleft())[1]
            if queue:
                self._by_source.move_to_end(source)
            else:
                del self._by_source[source]
            if taken is not None:
                self.count -= len(late) + 1
                return taken, late
        self.count -= len(late)
        return None, late


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
        self._reserved = 0  # management requests among them
        self._refused = 0
        self._scheduled = False
        self._urgent: deque[Startable] = deque()
        self._management = _Queues()
        self._usual = _Queues()

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return len(self._urgent) + self._management.count + self._usual.count

    @property
    def busy(self) -> bool:
        """Whether a request that enters now has to wait, unless it is urgent or for management."""
        return self._begun >= AT_ONCE or self._usual.count > 0

    def enter(self, connection: Startable, *, source: str = "", urgent: bool = False, management: bool = False) -> None:
        """Starts the request now or in a later iteration. An urgent request goes first and is never late.

        Args:
            source: the client's address; "" for connections that serve many clients.
            management: it may use the reserved part.
        """
        if management and not self._management.count and self._reserved < RESERVED:
            self._reserved += 1
            connection.begin(late=False)
        elif self._begun < AT_ONCE and (urgent or not self._usual.count):
            self._begun += 1
            connection.begin(late=False)
        elif urgent:
            self._urgent.append(connection)
        else:
            queues = self._management if management else self._usual
            queues.add(source, self._clock(), connection)
        if not self._scheduled:
            self._scheduled = True
            self._loop.call_soon(self._next_turn)

    def _next_turn(self) -> None:
        self._begun = self._reserved = self._refused = 0
        while self._urgent and self._begun < AT_ONCE:
            self._begun += 1
            self._urgent.popleft().begin(late=False)
        self._reserved = self._take_from(self._management, RESERVED)
        self._begun += self._take_from(self._usual, AT_ONCE - self._begun)
        begun = self._begun or self._reserved or self._refused
        self._scheduled = bool(begun or self.waiting)
        if self._scheduled:
            self._loop.call_soon(self._next_turn)

    def _take_from(self, queues: _Queues, most: int) -> int:
        """Begins at most so many of the requests and returns their number. Late ones are refused, in bounded number."""
        oldest, begun = self._clock() - self._patience, 0
        queues.begin_iteration()
        while begun < most and queues.count:
            connection, late = queues.next(oldest, LATE_AT_ONCE - self._refused)
            for each in late:
                each.begin(late=True)
            self._refused += len(late)
            if connection is None:
                break
            begun += 1
            connection.begin(late=False)
        return begun
