"""Measures one AssumeRole: CPU time of the event loop and of the writer, and calls made. No socket, no clock on the wall.

The whole server is in this process, from the bytes of a request to the bytes of its answer: the HTTP protocol, the
application, the journal on SQLite with synchronous=FULL. Only the transport is made of paper. CPU time is the least of
several rounds, so that neighbours on the machine hardly show; the number of calls is exact.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import FrameType
from typing import Any

from uvicorn.server import ServerState

import mix
from assume_role import ACCOUNT, EVALUATED, KEY, SECRET, evaluated_setup, mixed_setup, requests, sign
from daypass import config
from daypass.operations.accounts import bootstrap, parse
from daypass.server.application import build
from daypass.server.background import Loop
from daypass.server.process import tune_interpreter, uvicorn_config
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database
from daypass.stores.migrations import prepare

_ENDS = (b"</AssumeRoleResponse>", b"</CreateRoleResponse>", b"</PutUserPolicyResponse>", b"</TagUserResponse>")
_URL = "http://127.0.0.1:1"


class _Paper(asyncio.Transport):
    """A connection whose other end is a pile of requests: each answer draws the next."""

    failed = False

    def __init__(self, loop: asyncio.AbstractEventLoop, pile: Iterator[bytes], done: Callable[[], None]) -> None:
        super().__init__({"sockname": ("127.0.0.1", 1), "peername": ("127.0.0.1", 2)})
        self._loop, self._pile, self._done = loop, pile, done
        self._protocol: Any = None
        self._ended = False

    def serve(self, protocol: Any) -> None:
        self._protocol = protocol
        protocol.connection_made(self)
        self._next()

    def _next(self) -> None:
        raw = next(self._pile, b"")
        if raw:
            self._protocol.data_received(raw)
        else:
            self._ended = True
            self._protocol.connection_lost(None)
            self._done()

    def write(self, data: Any) -> None:
        if data.startswith(b"HTTP/1.1 ") and not data.startswith(b"HTTP/1.1 200"):
            self._fail(f"answered {data!r}")
        if data.endswith(_ENDS):
            self._loop.call_soon(self._next)

    def writelines(self, parts: Any) -> None:
        self.write(b"".join(parts))

    def is_closing(self) -> bool:
        return self._ended

    def close(self) -> None:
        if not self._ended:
            self._fail("the server closed a connection")

    def _fail(self, why: str) -> None:
        """Ends the measurement. The answers to what is cancelled then do not replace the reason."""
        _Paper.failed, first = True, not _Paper.failed
        self._ended = True
        if first:
            raise SystemExit(why)

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Bench:
    """A started server and a pile of signed requests for it."""

    def __init__(self, runtime: Runtime, connections: int) -> None:
        self._runtime = runtime
        self._connections = connections
        serve: Any = build(runtime)
        if runtime.settings.tracing.endpoint:
            from daypass.server.tracing import Tracing  # it replaces functions when it is made

            tracing = Tracing(runtime.settings.tracing)
            serve = tracing.around(build(runtime, tracing.observing(runtime.metrics)))
        self._config = uvicorn_config(serve, runtime.settings)
        self._config.load()
        self._state = ServerState()
        self._made = 0

    def sign(self, count: int, role: str = "deployer") -> list[bytes]:
        self._made += 1
        if role == mix.ROLE[mix.MIXED]:
            return mix.requests(_URL, ACCOUNT, mix.MIXED, [(KEY, SECRET)], count, f"{self._made}", sign)
        return requests(_URL, count, salt=f"{self._made}-", roles=(role,))

    async def set_up(self) -> None:
        """Makes the role whose policies have conditions: one call after the other."""
        for raw in evaluated_setup(_URL):
            await self.play([raw])

    async def set_up_mix(self) -> None:
        """Makes the role of `mix`, and gives the caller its policy instead."""
        for raw in mixed_setup(_URL):
            await self.play([raw])

    async def play(self, pile: list[bytes]) -> None:
        loop = asyncio.get_running_loop()
        ended = loop.create_future()
        left, rest = self._connections, iter(pile)

        def done() -> None:
            nonlocal left
            left -= 1
            if not left:
                ended.set_result(None)

        for _ in range(self._connections):
            protocol = self._config.http_protocol_class(  # type: ignore[call-arg]  # a class once it is loaded
                config=self._config, server_state=self._state, app_state={}
            )
            _Paper(loop, rest, done).serve(protocol)
        await ended


async def started(data: Path, collector: str = "") -> Runtime:
    server = {"data": data, "queue_seconds": 30}  # a neighbour on the machine must not make it refuse requests as late
    settings = config.load(None, {}, {"server": server, "tracing": {"endpoint": collector}})
    database = open_database(settings.database_url())
    prepare(database)
    database.close()
    runtime = Runtime(settings)
    await runtime.start()
    await bootstrap(runtime.env, parse(f"{KEY}:{SECRET}:{ACCOUNT}:bench"), examples=ACCOUNT)
    tune_interpreter()
    return runtime


async def cpu(bench: Bench, rounds: int, count: int, role: str) -> tuple[float, float]:
    """Seconds for each request, on the event loop's thread and on all others."""
    await bench.play(bench.sign(1000, role))
    own: list[float] = []
    others: list[float] = []
    for _ in range(rounds):
        pile = bench.sign(count, role)
        thread, process = time.thread_time(), time.process_time()
        await bench.play(pile)
        thread, process = time.thread_time() - thread, time.process_time() - process
        own.append(thread / count)
        others.append((process - thread) / count)
    return min(own), min(others)


async def calls(bench: Bench, count: int, role: str) -> tuple[float, float]:
    """Calls of Python and of C functions for each request, on the event loop's thread."""
    pile = bench.sign(count, role)
    python = native = 0

    def watch(_: FrameType, event: str, __: Any) -> None:
        nonlocal python, native
        if event == "call":
            python += 1
        elif event == "c_call":
            native += 1

    sys.setprofile(watch)
    await bench.play(pile)
    sys.setprofile(None)
    return python / count, native / count


async def measure(data: Path, args: argparse.Namespace) -> None:
    runtime = await started(data, args.tracing)
    bench = Bench(runtime, args.connections)
    await report(bench, "no conditions", args, "deployer")
    await bench.set_up()  # from here on the caller's own policy has conditions too
    await report(bench, "conditions in every policy", args, EVALUATED)
    await bench.set_up_mix()
    await report(bench, "conditions and two session tags", args, mix.ROLE[mix.MIXED])
    await runtime.stop()


async def report(bench: Bench, kind: str, args: argparse.Namespace, role: str) -> None:
    own, others = await cpu(bench, args.rounds, args.requests, role)
    python, native = await calls(bench, 1000, role)
    print(
        f"{kind}: event loop {own * 1e6:.1f} us, writer {others * 1e6:.1f} us, together {(own + others) * 1e6:.1f} us "
        f"for each request; calls of Python {python:.1f}, of C {native:.1f}"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=2000, help="in each round")
    parser.add_argument("--rounds", type=int, default=8)
    parser.add_argument("--connections", type=int, default=64)
    parser.add_argument("--tracing", default="", metavar="URL", help="export a span of every request to this collector")
    args = parser.parse_args()
    with tempfile.TemporaryDirectory() as data, asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(measure(Path(data), args))


if __name__ == "__main__":
    main()
