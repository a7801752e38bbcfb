"""The port for gRPC against clients that break HTTP/2 or abuse it (A644). Work and memory are bounded, others are served."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
from tests.http2 import UNARY, Peer, frame, never, server, update

from daypass.grpc_server import GrpcServer
from daypass.http2.connection import MAX_BODY, MAX_BUFFERED, MAX_CONTINUATIONS, MAX_STREAMS
from daypass.http2.frames import (
    ACK,
    CONTINUATION,
    DATA,
    END_HEADERS,
    END_STREAM,
    GOAWAY,
    HEADERS,
    MAX_HEADERS,
    PADDED,
    PING,
    PREFACE,
    PRIORITY,
    PUSH_PROMISE,
    RST_STREAM,
    SETTING,
    SETTINGS,
    WINDOW_UPDATE,
    WITH_PRIORITY,
    ErrorCode,
)
from daypass.http2.sending import PATIENCE

E = ErrorCode
WHOLE = END_HEADERS | END_STREAM


def opened(*fields: tuple[str, str], flags: int = END_HEADERS) -> Callable[[Peer], bytes]:
    return lambda peer: frame(HEADERS, flags, 1, peer.encoder.encode(fields) if fields else peer.head())


def then(*sent: bytes) -> Callable[[Peer], bytes]:
    """A call of a method that never answers, then this."""
    return lambda peer: peer.call(1, path="/test/Never") + b"".join(sent)


def setting(name: int, value: int) -> bytes:
    return frame(SETTINGS, 0, 0, SETTING.pack(name, value))


def reset(number: int) -> bytes:
    return frame(RST_STREAM, 0, number, bytes(4))


GOOD = ((":method", "POST"), (":scheme", "http"), (":path", "/x"))
BLOCK = b"\x83\x86\x84"
BAD: dict[str, tuple[bytes | Callable[[Peer], bytes], int, ErrorCode | None]] = {
    "a frame that is too large": ((1 << 14 | 1).to_bytes(3, "big") + bytes(6), 0, E.FRAME_SIZE_ERROR),
    "a frame of 16 MiB": (b"\xff\xff\xff" + bytes(6), 0, E.FRAME_SIZE_ERROR),
    "DATA of no stream": (frame(DATA, 0, 0, b"x"), 0, E.PROTOCOL_ERROR),
    "DATA of an idle stream": (frame(DATA, 0, 1, b"x"), 0, E.PROTOCOL_ERROR),
    "DATA after the end": (then(frame(DATA, 0, 1, b"x")), 1, E.STREAM_CLOSED),
    "padding as long as its frame": (then(frame(DATA, PADDED, 1, b"\3xx")), 0, E.PROTOCOL_ERROR),
    "padding without a length": (frame(HEADERS, PADDED | WHOLE, 1), 0, E.PROTOCOL_ERROR),
    "a priority that is cut short": (frame(HEADERS, WITH_PRIORITY | WHOLE, 1, b"1234"), 0, E.FRAME_SIZE_ERROR),
    "PRIORITY of another size": (frame(PRIORITY, 0, 1, b"1234"), 0, E.FRAME_SIZE_ERROR),
    "HEADERS of an even stream": (frame(HEADERS, WHOLE, 2, BLOCK), 0, E.PROTOCOL_ERROR),
    "HEADERS after the end": (then(frame(HEADERS, WHOLE, 1, BLOCK)), 0, E.STREAM_CLOSED),
    "HEADERS of an older stream": (
        lambda peer: frame(HEADERS, WHOLE, 5, BLOCK) + frame(HEADERS, WHOLE, 3, BLOCK), 0, E.STREAM_CLOSED),
    "trailers that end nothing": (
        lambda peer: opened()(peer) + frame(HEADERS, END_HEADERS, 1, BLOCK), 1, E.PROTOCOL_ERROR),
    "another frame within a block": (frame(HEADERS, 0, 1, BLOCK) + frame(PING, 0, 0, bytes(8)), 0, E.PROTOCOL_ERROR),
    "another stream within a block": (frame(HEADERS, 0, 1) + frame(CONTINUATION, 4, 3, BLOCK), 0, E.PROTOCOL_ERROR),
    "CONTINUATION of nothing": (frame(CONTINUATION, END_HEADERS, 1, BLOCK), 0, E.PROTOCOL_ERROR),
    "CONTINUATION without an end": (
        frame(HEADERS, 0, 1) + frame(CONTINUATION, 0, 1) * (MAX_CONTINUATIONS + 1), 0, E.ENHANCE_YOUR_CALM),
    "a block that is too large": (
        frame(HEADERS, 0, 1, bytes(MAX_HEADERS)) + frame(CONTINUATION, 0, 1, b"x"), 0, E.ENHANCE_YOUR_CALM),
    "a block that is cut short": (frame(HEADERS, WHOLE, 1, b"\x40\x7f"), 0, E.COMPRESSION_ERROR),
    "an index that is not there": (frame(HEADERS, WHOLE, 1, b"\xff\xff\xff\xff\xff\xff\xff"), 0, E.COMPRESSION_ERROR),
    "a table that is too large": (frame(HEADERS, WHOLE, 1, b"\x3f\xe2\x1f" + BLOCK), 0, E.COMPRESSION_ERROR),
    "a bomb": (frame(HEADERS, WHOLE, 1, b"\x40\1a\x7f\xa1\x1e" + b"x" * 4000 + b"\xbe" * 8000), 0, E.ENHANCE_YOUR_CALM),
    "no method": (opened(*GOOD[1:], flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "two paths": (opened(*GOOD, (":path", "/y"), flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "a pseudo-header of answers": (opened(*GOOD, (":status", "200"), flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "a pseudo-header behind others": (opened(*GOOD[:2], ("a", "b"), GOOD[2], flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "a name in capitals": (opened(*GOOD, ("A", "b"), flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "a header of HTTP/1.1": (opened(*GOOD, ("connection", "te"), flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "another TE": (opened(*GOOD, ("te", "gzip"), flags=WHOLE), 1, E.PROTOCOL_ERROR),
    "RST_STREAM of an idle stream": (reset(1), 0, E.PROTOCOL_ERROR),
    "RST_STREAM of another size": (then(frame(RST_STREAM, 0, 1, b"1")), 0, E.FRAME_SIZE_ERROR),
    "SETTINGS of a stream": (frame(SETTINGS, 0, 1), 0, E.PROTOCOL_ERROR),
    "SETTINGS of another size": (frame(SETTINGS, 0, 0, b"12345"), 0, E.FRAME_SIZE_ERROR),
    "an acknowledgement with settings": (frame(SETTINGS, ACK, 0, bytes(6)), 0, E.FRAME_SIZE_ERROR),
    "push": (setting(2, 2), 0, E.PROTOCOL_ERROR),
    "a window that is too large": (setting(4, 1 << 31), 0, E.FLOW_CONTROL_ERROR),
    "frames that are too small": (setting(5, 16_383), 0, E.PROTOCOL_ERROR),
    "hundreds of settings": (frame(SETTINGS, 0, 0, SETTING.pack(4, 9) * 100), 0, E.ENHANCE_YOUR_CALM),
    "PUSH_PROMISE": (frame(PUSH_PROMISE, END_HEADERS, 1, bytes(4)), 0, E.PROTOCOL_ERROR),
    "PING of a stream": (frame(PING, 0, 1, bytes(8)), 0, E.PROTOCOL_ERROR),
    "PING of another size": (frame(PING, 0, 0, bytes(7)), 0, E.FRAME_SIZE_ERROR),
    "GOAWAY of a stream": (frame(GOAWAY, 0, 1, bytes(8)), 0, E.PROTOCOL_ERROR),
    "WINDOW_UPDATE by nothing": (update(0, 0), 0, E.PROTOCOL_ERROR),
    "WINDOW_UPDATE of a stream by nothing": (then(update(1, 0)), 1, E.PROTOCOL_ERROR),
    "WINDOW_UPDATE of an idle stream": (update(1, 1), 0, E.PROTOCOL_ERROR),
    "WINDOW_UPDATE of another size": (frame(WINDOW_UPDATE, 0, 0, b"1"), 0, E.FRAME_SIZE_ERROR),
    "a window over 2 GiB": (update(0, (1 << 31) - 1), 0, E.FLOW_CONTROL_ERROR),
    "a window of a stream over 2 GiB": (then(update(1, (1 << 31) - 1)), 1, E.FLOW_CONTROL_ERROR),
    "more DATA than the window": (
        lambda peer: opened()(peer) + frame(DATA, PADDED, 1, b"\xff" + bytes(255)) * 520, 1, E.FLOW_CONTROL_ERROR),
    "an unknown frame": (frame(99, 255, 7, b"x" * 100), 0, None),
}  # fmt: skip


@pytest.mark.parametrize("name", BAD)
async def test_a644_frame_that_is_wrong_ends_its_stream_or_the_connection(name: str) -> None:
    sent, stream, code = BAD[name]
    other, peer = Peer(made := server()), Peer(made)
    assert await peer.refused(sent if isinstance(sent, bytes) else sent(peer)) == (stream, code)
    assert peer.wire.closed == (code is not None and not stream)
    assert await other.status(other.call(1)) == {1: "0"}


@pytest.mark.parametrize(
    "opening", [b"GET / HTTP/1.1\r\n\r\n", PREFACE[:-1] + b"x", PREFACE + frame(PING, 0, 0, bytes(8))]
)
async def test_a644_client_of_another_protocol_is_refused(opening: bytes) -> None:
    for split in (len(opening), 1):
        peer = Peer(server(), b"")
        parts = [opening[i : i + split] for i in range(0, len(opening), split)]
        assert await peer.refused(*parts) == (0, E.PROTOCOL_ERROR)


FLOODS: dict[str, Callable[[Peer, int], bytes]] = {
    "SETTINGS": lambda _, n: frame(SETTINGS, 0, 0),
    "PING": lambda _, n: frame(PING, 0, 0, bytes(8)),
    "acknowledgements": lambda _, n: frame(PING, ACK, 0, bytes(8)),
    "PRIORITY": lambda _, n: frame(PRIORITY, 0, n, bytes(5)),
    "unknown frames": lambda _, n: frame(99, 0, 0),
    "WINDOW_UPDATE": lambda _, n: update(0, 1),
    "empty DATA": lambda peer, n: opened()(peer) if n == 1 else frame(DATA, 0, 1),
    "small DATA": lambda peer, n: opened()(peer) if n == 1 else frame(DATA, 0, 1, b"x"),
    "padding": lambda peer, n: opened()(peer) if n == 1 else frame(DATA, PADDED, 1, b"\xff" + bytes(255)),
    "rapid reset": lambda peer, n: peer.call(n, path="/test/Never") + reset(n),
    "resets that it causes": lambda peer, n: peer.call(n, path="/test/Never") + update(n, 0),
    "malformed requests": lambda _, n: frame(HEADERS, WHOLE, n, b"\x83"),
    "DATA of closed streams": lambda peer, n: peer.call(1) if n == 1 else frame(DATA, 0, 1, b"x" * 300),
    "refused streams": lambda peer, n: peer.call(n, path="/test/Never"),
}


@pytest.mark.parametrize("name", FLOODS)
async def test_a644_flood_of_frames_without_a_use_ends_the_connection(name: str) -> None:
    peer, sent = Peer(made := server()), 0
    while not peer.wire.closed:
        sent += 1
        assert sent <= PATIENCE + MAX_STREAMS + 100
        peer.connection.data_received(FLOODS[name](peer, 2 * sent - 1))
        assert len(peer.connection.streams) <= MAX_STREAMS
    last = (await peer.frames())[-1]
    assert (last.kind, last.payload[4:]) == (GOAWAY, E.ENHANCE_YOUR_CALM.to_bytes(4, "big"))
    assert made.buffer.used == 0


async def test_a644_client_that_makes_calls_may_send_such_frames_for_ever() -> None:
    peer = Peer(server())
    for number in range(1, 4 * PATIENCE, 2):
        extra = frame(PING, 0, 0, bytes(8)) + update(0, 100) + frame(SETTINGS, ACK, 0)
        assert await peer.status(peer.call(number) + extra) == {number: "0"}


async def test_a644_streams_over_the_limit_are_refused_and_others_answered() -> None:
    peer = Peer(server())
    await peer.frames(*(peer.call(2 * n + 1, path="/test/Never") for n in range(MAX_STREAMS)))
    number = 2 * MAX_STREAMS + 1
    assert await peer.refused(peer.call(number)) == (number, E.REFUSED_STREAM)
    assert await peer.status(reset(1) + peer.call(number + 2)) == {number + 2: "0"}


async def test_a644_calls_at_once_are_limited_and_reset_calls_do_not_begin() -> None:
    begun = 0

    async def count(call: object) -> bytes:
        nonlocal begun
        begun += 1
        return await never(call)  # type: ignore[arg-type]

    peer = Peer(GrpcServer({"/test/Never": count}, connections=1, at_once=10))
    await peer.frames(*(peer.call(2 * n + 1, path="/test/Never") for n in range(50)))
    assert begun == 10
    await peer.frames(*(reset(2 * n + 1) for n in range(45)))
    assert begun == 15


async def test_a644_message_that_is_too_large_is_refused_before_its_end() -> None:
    peer = Peer(made := server())
    head, part = opened()(peer), frame(DATA, 0, 1, b"\0\0\1\0\0" + bytes(16_000))
    sent = await peer.frames(head, *[part] * 9)
    assert peer.answers(sent)[1][0]["grpc-status"] == "8"
    assert made.buffer.used == 0


async def test_a644_unfinished_messages_of_all_clients_have_a_common_limit() -> None:
    made = server(connections=100)
    peers = [Peer(made) for _ in range(40)]
    part = bytes(16_384)
    refused = 0
    for peer in peers:
        for number in range(1, 2 * MAX_STREAMS, 8):
            sent = await peer.frames(
                frame(HEADERS, END_HEADERS, number, peer.head()), *[frame(DATA, 0, number, part)] * 3
            )
            refused += sum(each.kind == RST_STREAM for each in sent)
            assert made.buffer.used <= MAX_BUFFERED + MAX_BODY
    assert refused
    for peer in peers:
        peer.connection.connection_lost(None)
    assert made.buffer.used == 0


async def test_a644_client_that_reads_nothing_is_not_served_on_and_cut_off() -> None:
    peer = Peer(server())
    peer.connection.pause_writing()
    assert not peer.wire.reads
    now = peer.connection.loop.time()
    peer.connection.sweep(now + 19)
    assert not peer.wire.aborted
    peer.connection.sweep(now + 21)
    assert peer.wire.aborted
    slow = Peer(server(), PREFACE + setting(4, 0))
    await slow.frames(slow.call(1))
    slow.connection.sweep(slow.connection.loop.time() + 21)
    assert await slow.refused() == (1, E.CANCEL)
    ended = Peer(server())
    await ended.refused(frame(PING, 0, 1, bytes(8)))
    ended.connection.sweep(ended.connection.loop.time() + 21)  # closed, and what is left is not read
    assert ended.wire.aborted


async def test_a644_connection_that_is_silent_or_idle_ends() -> None:
    silent = Peer(server(), b"")
    silent.connection.sweep(silent.connection.loop.time() + 11)
    assert silent.wire.aborted
    gone = Peer(server())
    now = gone.connection.loop.time()
    gone.connection.sweep(now + 61)
    assert (PING, 0, 0, bytes(8)) in await gone.frames()
    gone.connection.sweep(now + 81)
    assert gone.wire.aborted
    idle = Peer(server())
    idle.connection.heard = now + 905
    idle.connection.sweep(now + 905)
    assert [each.kind for each in await idle.frames()][-1] == GOAWAY
    assert not idle.wire.closed  # a call may be on its way
    idle.connection.sweep(now + 912)
    assert idle.wire.closed


async def test_a644_request_that_is_never_complete_ends() -> None:
    peer = Peer(server())
    await peer.frames(frame(HEADERS, END_HEADERS, 1, peer.head()), frame(DATA, 0, 1, b"\0"))
    peer.connection.sweep(peer.connection.loop.time() + 11)
    assert await peer.status() == {1: "4"}


async def test_a644_connections_of_a_peer_are_limited() -> None:
    made = server(connections=2)
    peers = [Peer(made, b"") for _ in range(4)]
    assert [peer.wire.aborted for peer in peers] == [False, False, True, True]
    for peer in peers[1:]:
        peer.connection.connection_lost(None)
    assert not Peer(made).wire.aborted


@pytest.mark.parametrize("seed", range(40))
async def test_a644_random_frames_cause_no_exception(seed: int, caplog: pytest.LogCaptureFixture) -> None:
    rng = random.Random(seed)
    peer = Peer(made := server())
    for number in range(1, 400, 2):
        call = bytearray(peer.call(number, path=rng.choice([*UNARY]), **{"x-a": str(rng.random())}))
        if rng.random() < 0.3:
            call[rng.randrange(len(call))] = rng.randrange(256)
        elif rng.random() < 0.2:
            call += frame(
                rng.randrange(12), rng.randrange(256), rng.randrange(number + 3), rng.randbytes(rng.randrange(12))
            )
        peer.connection.data_received(bytes(call))
        if peer.wire.closed:
            peer = Peer(made)
        await peer.frames()
    peer.connection.connection_lost(None)
    await peer.frames()
    assert not caplog.records
