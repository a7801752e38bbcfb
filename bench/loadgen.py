"""A closed-loop HTTP load generator: pre-built requests, N connections, one process. Loopback only; stops by itself.

It sends each request once over kept-alive connections and records every latency. It does as little as possible for each
answer (status line, content length), so that the generator's core is not what is measured.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

_SETTLE_SECONDS = 0.5
_APART_SECONDS = 0.0002  # between the first requests of two connections
_LATE_SECONDS = 1.0
_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(slots=True)
class Result:
    """The measurements of one run. Latencies in seconds; `failed` maps a status to its first body.

    `by_port` has the latencies of each connection, by its own port; `owners` the process that served it, if asked for.
    """

    seconds: float = 0.0
    latencies: list[float] = field(default_factory=list)
    failed: dict[int, bytes] = field(default_factory=dict)
    failures: int = 0
    by_port: dict[int, list[float]] = field(default_factory=dict)
    owners: dict[int, int] = field(default_factory=dict)

    def parts(self) -> list[Result]:
        """The same run, for each process that served a part of it."""
        found: dict[int, Result] = {}
        for port, latencies in self.by_port.items():
            if port in self.owners:
                found.setdefault(self.owners[port], Result(self.seconds)).latencies += latencies
        return [found[pid] for pid in sorted(found)]

    @property
    def rate(self) -> float:
        return len(self.latencies) / self.seconds if self.seconds else 0.0

    def percentile(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.latencies)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000 if ordered else float("nan")


class _Connection(asyncio.Protocol):
    """Sends the next request as soon as the last is answered."""

    def __init__(
        self, queue: list[bytes], result: Result, done: asyncio.Future[None], until: float, again: Callable[[], None]
    ) -> None:
        self.queue, self.result, self.done, self.until, self.again = queue, result, done, until, again
        self.buffer = b""
        self.sent = 0.0

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self.transport = transport
        self.own = self.result.by_port.setdefault(transport.get_extra_info("sockname")[1], [])

    def start(self) -> None:
        """Sends the first request."""
        self._next()

    def _next(self) -> None:
        now = time.perf_counter()
        if not self.queue or now > self.until:
            self.transport.close()
            if not self.done.done():
                self.done.set_result(None)
            return
        self.sent = now
        self.transport.write(self.queue.pop())

    def data_received(self, data: bytes) -> None:
        self.buffer += data
        head_end = self.buffer.find(b"\r\n\r\n")
        if head_end < 0:
            return
        head = self.buffer[:head_end].lower()
        at = head.find(b"content-length:")
        length = int(head[at + 15 :].split(b"\r\n", 1)[0]) if at >= 0 else 0
        if len(self.buffer) < head_end + 4 + length:
            return
        taken = time.perf_counter() - self.sent
        self.result.latencies.append(taken)
        self.own.append(taken)
        status = int(head[9:12])
        if not 200 <= status < 300:
            self.result.failures += 1
            self.result.failed.setdefault(status, self.buffer[head_end + 4 :])
        self.buffer = b""
        if b"connection: close" in head or data.startswith(b"HTTP/1.0"):
            self.transport.close()
        else:
            self._next()

    def connection_lost(self, exc: Exception | None) -> None:  # noqa: ARG002  # asyncio gives it
        """A server that closes after each answer (as HTTP/1.0 does) gets a new connection."""
        if self.done.done():
            return
        if self.sent and self.queue and time.perf_counter() < self.until and not self.buffer:
            self.again()
        else:
            self.done.set_result(None)


async def run(
    url: str,
    requests: Sequence[bytes],
    connections: int,
    seconds: float,
    owners: Callable[[Iterable[int]], dict[int, int]] | None = None,
) -> Result:
    """Sends `requests` (whole HTTP/1.1 requests) until they or the seconds are used up.

    `owners` tells, from the ports of the connections, which process serves each.
    """
    target = urlsplit(url)
    if target.hostname not in _LOOPBACK or target.port is None:
        raise ValueError("load goes to loopback only")
    loop = asyncio.get_running_loop()
    queue, result = list(reversed(requests)), Result()
    until = time.perf_counter() + _SETTLE_SECONDS + seconds
    tasks: set[asyncio.Task[None]] = set()

    async def connect(done: asyncio.Future[None]) -> _Connection:
        def again() -> None:
            tasks.add(asyncio.ensure_future(reconnect(done)))

        _, made = await loop.create_connection(
            lambda: _Connection(queue, result, done, until, again), str(target.hostname), target.port or 80
        )
        return made

    async def reconnect(done: asyncio.Future[None]) -> None:
        (await connect(done)).start()

    done: list[asyncio.Future[None]] = [loop.create_future() for _ in range(connections)]
    ready = [await connect(one) for one in done]
    await asyncio.sleep(_SETTLE_SECONDS)  # the server accepts them all: a storm of connections is another question
    if owners is not None:
        result.owners = owners(result.by_port)
    started = time.perf_counter()
    for connection in ready:
        connection.start()
        await asyncio.sleep(_APART_SECONDS)  # nor is it the question how all first requests fare in the same instant
    await asyncio.wait(done, timeout=seconds + _LATE_SECONDS)  # an answer that never comes ends the run all the same
    result.seconds = min(time.perf_counter() - started, seconds)
    return result
