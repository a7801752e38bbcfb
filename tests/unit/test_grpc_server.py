"""Calls of gRPC, frame by frame: how they are cut into reads does not matter, and each gets its own answer."""

from __future__ import annotations

import asyncio

import pytest
from tests.http2 import OPENING, Peer, echo, frame, prefixed, server, update

from daypass.grpc_server import GrpcCall, GrpcError, GrpcServer, Status
from daypass.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    PADDED,
    PING,
    PRIORITY,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WITH_PRIORITY,
)
from daypass.http2.sending import Stream

ANSWER = prefixed(b"hello")


def session(peer: Peer) -> bytes:
    """Three calls in every form that the RFC allows: padding, priorities, CONTINUATION, parts, unknown frames."""
    block = peer.head(x_a="1" * 300)
    first = frame(HEADERS, PADDED | WITH_PRIORITY, 1, b"\3" + bytes(5) + block[:7] + bytes(3))
    first += frame(CONTINUATION, 0, 1, block[7:9]) + frame(CONTINUATION, END_HEADERS, 1, block[9:])
    first += frame(DATA, 0, 1, ANSWER[:2]) + frame(DATA, PADDED, 1, b"\2" + ANSWER[2:6] + bytes(2))
    second = frame(HEADERS, END_HEADERS, 3, peer.head())
    between = frame(PRIORITY, 0, 5, bytes(5)) + frame(77, 9, 0, b"?") + frame(PING, 0, 0, b"12345678")
    third = peer.call(5)
    rest = frame(DATA, END_STREAM, 3, ANSWER) + frame(DATA, END_STREAM | PADDED, 1, b"\1" + ANSWER[6:] + b"\0")
    return OPENING + first + second + between + third + rest


async def test_call_split_at_any_byte_has_the_same_answer() -> None:
    data = session(Peer(server(), b""))
    splits = [[data], [data[i : i + 1] for i in range(len(data))], *([data[:i], data[i:]] for i in range(len(data)))]
    for split in splits:
        peer = Peer(server(), b"")
        sent = await peer.frames(*split)
        assert (PING, ACK, 0, b"12345678") in sent
        answers = peer.answers(sent)
        assert {number: answers[number][1] for number in (1, 3, 5)} == dict.fromkeys((1, 3, 5), ANSWER)
        assert answers[1][0] == {":status": "200", "content-type": "application/grpc", "grpc-status": "0"}
        assert not peer.connection.streams


async def test_several_calls_of_a_read_are_answered_with_one_write() -> None:
    peer = Peer(server())
    await peer.frames()
    writes: list[bytes] = []
    peer.wire.write = writes.append  # type: ignore[method-assign]
    await peer.frames(b"".join(peer.call(number) for number in range(1, 21, 2)))
    assert len(writes) == 1


async def test_header_block_means_something_else_when_the_table_has_changed() -> None:
    async def path(call: GrpcCall) -> bytes:
        return call.only(b"name").encode()

    def named(number: int, name: bytes) -> bytes:
        head = b"\x83\x86\x04\x0a/test/Echo\x0f\x10\x10application/grpc"  # no part of it changes the table
        return frame(HEADERS, END_HEADERS, number, head + name) + frame(DATA, END_STREAM, number, prefixed(b""))

    peer = Peer(GrpcServer({"/test/Echo": path}, connections=1))
    newest = b"\xbe"
    calls = b"\x40\4name\5first", newest, newest, b"\x40\4name\6second", newest, newest, b"\x40\1a\1b", newest
    answers = peer.answers(await peer.frames(*(named(2 * n + 1, name) for n, name in enumerate(calls))))
    names = [answers[2 * n + 1][1][5:] for n in range(len(calls))]
    assert names == [b"first"] * 3 + [b"second"] * 3 + [b""] * 2


async def test_answer_waits_for_the_windows_of_its_stream_and_of_the_connection() -> None:
    peer = Peer(server(), OPENING[:24] + frame(SETTINGS, 0, 0, SETTING.pack(4, 10)))
    received = b"".join(f.payload for f in await peer.frames(peer.call(1, path="/test/Large")) if f.kind == DATA)
    assert len(received) == 10
    for more, total in ((update(0, 1 << 20), 10), (update(1, 5), 15), (update(1, 99_985), 100_000)):
        received += b"".join(f.payload for f in await peer.frames(more) if f.kind == DATA)
        assert len(received) == total
    sent = await peer.frames(frame(SETTINGS, 0, 0, SETTING.pack(4, 1 << 20)))
    assert received + b"".join(f.payload for f in sent if f.kind == DATA) == prefixed(bytes(range(256)) * 400)
    assert sent[-2].kind == HEADERS
    assert sent[-2].flags & END_STREAM
    peer = Peer(server(), OPENING[:24] + frame(SETTINGS, 0, 0, SETTING.pack(4, 1 << 20)))
    received = b"".join(f.payload for f in await peer.frames(peer.call(1, path="/test/Large")) if f.kind == DATA)
    assert len(received) == 65_535
    received += b"".join(f.payload for f in await peer.frames(update(0, 1 << 20)) if f.kind == DATA)
    assert len(received) == 5 + 102_400


async def test_long_session_never_runs_out_of_window() -> None:
    peer = Peer(server())
    for number in range(1, 201, 2):
        await peer.frames(update(0, 20_000))
        sent = await peer.frames(peer.call(number, b"x" * 16_000))
        assert peer.answers(sent)[number][0]["grpc-status"] == "0"


async def test_stream_of_messages_is_sent_as_the_client_reads_it() -> None:
    made = 0

    async def count(_: GrpcCall) -> object:
        nonlocal made
        for made in range(1, 100):  # noqa: B007
            yield b"x" * 1000

    peer = Peer(GrpcServer({}, {"/test/Echo": count}, connections=1))
    await peer.frames(peer.call(1))
    assert made == 66  # the window of a connection
    sent = await peer.frames(update(0, 100_000), update(1, 100_000))
    assert made == 99
    assert sent[-1].flags & END_STREAM


async def test_method_that_fails_ends_its_call_alone(caplog: pytest.LogCaptureFixture) -> None:
    async def fails(call: GrpcCall) -> bytes:
        if call.message == b"refused":
            raise GrpcError(Status.PERMISSION_DENIED, "100 % no: \N{SNOWMAN}\n")
        raise KeyError

    peer = Peer(GrpcServer({"/test/Fails": fails, "/test/Echo": echo}, connections=1))
    calls = peer.call(1, path="/test/Fails"), peer.call(3, b"refused", path="/test/Fails"), peer.call(5)
    answers = peer.answers(await peer.frames(*calls))
    assert [answers[number][0]["grpc-status"] for number in (1, 3, 5)] == ["13", "7", "0"]
    assert answers[3][0]["grpc-message"] == "100 %25 no: %E2%98%83%0A"
    assert "KeyError" in caplog.text


@pytest.mark.parametrize(
    ("body", "limit", "status"),
    [
        *((body, "5S", "3") for body in (b"", b"\0\0", b"\0\0\0\0\5\x0a", b"\0\0\0\0\0\0", b"\2\0\0\0\0")),
        (b"\1\0\0\0\0", "5S", "12"),
        *((body, "5S", "8") for body in (b"\0\xff\xff\xff\xff", b"\0\0\1\0\1")),
        *((prefixed(b""), timeout, "3") for timeout in ("9" * 400 + "H", "-1S", "1", "")),
        (b"\0\0", "99999999H", "3"),
        (prefixed(b""), "99999999H", "0"),
    ],
)
async def test_a608_message_or_timeout_that_is_wrong_is_refused(body: bytes, limit: str, status: str) -> None:
    peer = Peer(server())
    head = frame(HEADERS, END_HEADERS, 1, peer.head(grpc_timeout=limit))
    assert await peer.status(head + frame(DATA, END_STREAM, 1, body)) == {1: status}


@pytest.mark.parametrize("limit", ["1n", "0S", "00000000H", "1m"])
async def test_a608_deadline_that_passes_ends_the_call(limit: str) -> None:
    peer = Peer(server())
    late = peer.call(1, path="/test/Never", grpc_timeout=limit)
    cut = frame(HEADERS, END_HEADERS, 3, peer.head(grpc_timeout=limit)) + frame(DATA, 0, 3, b"\0")
    ended, close = asyncio.Event(), peer.connection.close_stream

    def closing(stream: Stream) -> None:
        close(stream)
        if not peer.connection.streams:
            ended.set()

    peer.connection.close_stream = closing  # type: ignore[method-assign]
    sent = await peer.frames(late, cut)
    await asyncio.wait_for(ended.wait(), 60)
    sent += await peer.frames()
    answers = peer.answers(sent)
    assert [answers[number][0]["grpc-status"] for number in (1, 3)] == ["4", "4"]
    assert [each.stream for each in sent if each.kind == RST_STREAM] == [3]  # its client need not send the rest


@pytest.mark.parametrize(
    ("more", "status"),
    [({"content-type": "text/plain"}, "415"), ({":method": "GET"}, "415"), ({"path": "/test/Other"}, "12")],
)
async def test_request_that_is_no_call_is_refused(more: dict[str, str], status: str) -> None:
    peer = Peer(server())
    fields = peer.answers(await peer.frames(peer.call(1, **more)))[1][0]
    assert status in (fields[":status"], fields.get("grpc-status"))


async def test_closing_server_answers_what_is_under_way_and_takes_no_more() -> None:
    go = asyncio.Event()

    async def waits(call: GrpcCall) -> bytes:
        await go.wait()
        return call.message

    served = GrpcServer({"/test/Echo": waits}, connections=1)
    peer = Peer(served)
    await peer.frames(peer.call(1))
    peer.connection.leave()
    sent = await peer.frames(peer.call(3))
    assert [each.kind for each in sent] == [GOAWAY, RST_STREAM]
    go.set()
    assert await peer.status() == {1: "0"}
    assert peer.wire.closed
