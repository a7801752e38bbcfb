"""Connections are accepted by the handful, and the listener copes with a full process."""

from __future__ import annotations

import asyncio
import errno
import socket
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import pytest

from daypass.server import listener
from daypass.server.listener import Listener
from daypass.server.loop import Loop


class Greeter(asyncio.Protocol):
    made = 0

    def connection_made(self, transport: Any) -> None:
        Greeter.made += 1
        transport.write(b"hello")
        transport.close()


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    Greeter.made = 0
    with socket.socket() as sock:
        sock.bind(("127.0.0.1", 0))
        yield sock


def run(work: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        await asyncio.wait_for(work(), 20)

    with asyncio.Runner(loop_factory=Loop) as runner:
        runner.run(whole())


def connect(sock: socket.socket) -> socket.socket:
    client = socket.socket()
    client.setblocking(False)
    client.connect_ex(sock.getsockname())
    return client


def test_storm_of_connections_is_accepted_in_few_turns_of_the_loop(listening: socket.socket) -> None:
    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Greeter, sock=listening, backlog=256)
        assert isinstance(server, Listener)
        clients = [connect(listening) for _ in range(160)]
        turns = 0
        while Greeter.made < len(clients) and turns < 1000:
            await asyncio.sleep(0)
            turns += 1
        assert turns < len(clients) / 2  # one in each turn is what libuv does
        server.close()
        await server.wait_closed()
        for client in clients:
            client.close()

    run(work)


def test_closed_listener_takes_nobody_and_keeps_whom_it_has(listening: socket.socket) -> None:
    async def work() -> None:
        server = await asyncio.get_running_loop().create_server(Greeter, sock=listening)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        assert await reader.read() == b"hello"
        writer.close()
        assert server.is_serving()
        server.close()
        await server.wait_closed()
        server.close()  # again
        late = connect(listening)
        await asyncio.sleep(0.05)
        assert Greeter.made == 1
        assert not server.is_serving()
        late.close()

    run(work)


class Full:
    """A socket whose process is full at first."""

    def __init__(self, real: socket.socket, refusals: int) -> None:
        self._real = real
        self.refusals = refusals

    def accept(self) -> Any:
        if self.refusals:
            self.refusals -= 1
            raise OSError(errno.EMFILE, "too many open files")
        return self._real.accept()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_process_without_room_for_one_more_accepts_later(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener, "_PAUSE_SECONDS", 0.02)

    async def work() -> None:
        loop = asyncio.get_running_loop()
        full: Any = Full(listening, 2)
        server = Listener(loop, full, Greeter, 16)
        reader, writer = await asyncio.open_connection(*listening.getsockname())
        assert await reader.read() == b"hello"
        assert full.refusals == 0
        writer.close()
        monkeypatch.setattr(listener, "_PAUSE_SECONDS", 0.3)
        full.refusals = 1
        waiting = connect(listening)
        while full.refusals:  # noqa: ASYNC110  # the loop calls it, and tells nobody
            await asyncio.sleep(0)
        server.close()  # while it pauses: it must not begin again
        await asyncio.sleep(0.4)
        assert not server.is_serving()
        assert Greeter.made == 1
        waiting.close()

    run(work)
