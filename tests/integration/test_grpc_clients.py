"""The server of gRPC with grpcio as client: many calls at once, large ones, deadlines, cancellation, its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncGenerator, AsyncIterator
from concurrent.futures import ThreadPoolExecutor

import grpc
import pytest
from tests.http2 import UNARY

from daypass.grpc_server import GrpcCall, GrpcServer

ADDRESS = "127.0.0.1"


class Served:
    def __init__(self) -> None:
        self.begun, self.cancelled = asyncio.Event(), asyncio.Event()
        unary = {**UNARY, "/test/Waits": self.waits}
        self.server = GrpcServer(unary, {"/test/Count": self.count}, connections=8)
        self.listener = socket.create_server((ADDRESS, 0))
        self.address = f"{ADDRESS}:{self.listener.getsockname()[1]}"
        self.go = asyncio.Event()

    async def waits(self, call: GrpcCall) -> bytes:
        self.begun.set()
        try:
            await self.go.wait()
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        return call.message

    async def count(self, call: GrpcCall) -> AsyncGenerator[bytes]:
        for number in range(int(call.message)):
            yield b"%d" % number + bytes(1000)


@pytest.fixture
async def served() -> AsyncIterator[Served]:
    made = Served()
    await made.server.start(made.listener)
    yield made
    await made.server.close(0)


async def test_calls_at_once_get_their_own_answers(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        echo = channel.unary_unary("/test/Echo")

        async def call(size: int) -> bool:
            message = bytes([size % 256]) * size
            return bool(await echo(message, timeout=60, metadata=[("x-padding", "v" * (size % 8_000))]) == message)

        assert all(await asyncio.gather(*map(call, range(0, 65_537, 128))))
        assert len(await channel.unary_unary("/test/Large")(b"", timeout=60)) == 102_400
        numbers = [int(each[:-1000]) async for each in channel.unary_stream("/test/Count")(b"2000")]
        assert numbers == [*range(2000)]


async def test_synchronous_clients_are_served(served: Served) -> None:
    def calls(_: int) -> set[bytes]:
        with grpc.insecure_channel(served.address, options=[("grpc.use_local_subchannel_pool", 1)]) as channel:
            echo = channel.unary_unary("/test/Echo")
            return {echo(b"x", timeout=60) for _ in range(100)}

    with ThreadPoolExecutor(4) as threads:
        loop = asyncio.get_running_loop()
        assert await asyncio.gather(*(loop.run_in_executor(threads, calls, n) for n in range(4))) == [{b"x"}] * 4


async def test_cancelled_call_and_passed_deadline_end_the_method(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        waits = channel.unary_unary("/test/Waits")
        call = waits(b"")
        await served.begun.wait()
        call.cancel()
        await asyncio.wait_for(served.cancelled.wait(), 60)
        served.cancelled.clear()
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await waits(b"", timeout=0.05)
        assert raised.value.code() == grpc.StatusCode.DEADLINE_EXCEEDED
        await asyncio.wait_for(served.cancelled.wait(), 60)


@pytest.mark.parametrize(
    ("path", "message", "more", "code"),
    [
        ("/test/Echo", bytes(65_537), {}, "RESOURCE_EXHAUSTED"),
        ("/test/Echo", bytes(3_000_000), {}, "RESOURCE_EXHAUSTED"),
        ("/test/Echo", bytes(1000), {"compression": grpc.Compression.Gzip}, "UNIMPLEMENTED"),
        ("/test/Other", b"", {}, "UNIMPLEMENTED"),
        ("/test/Echo", b"", {"metadata": [("x", "y" * 20_000)]}, "UNAVAILABLE"),
    ],
)
async def test_call_that_is_refused_has_its_status(
    served: Served, path: str, message: bytes, more: dict[str, object], code: str
) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        with pytest.raises(grpc.aio.AioRpcError) as raised:
            await channel.unary_unary(path)(message, timeout=60, **more)
        assert raised.value.code().name == code


async def test_server_that_closes_answers_calls_that_have_begun(served: Served) -> None:
    async with grpc.aio.insecure_channel(served.address) as channel:
        call = channel.unary_unary("/test/Waits")(b"x")
        await served.begun.wait()
        closing = asyncio.create_task(served.server.close(60))
        await asyncio.sleep(0)
        served.go.set()
        assert await call == b"x"
        await closing
