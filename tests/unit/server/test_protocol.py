"""The HTTP protocol over a transport of paper: framing, limits, pipelining, and how a connection ends."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from uvicorn.server import ServerState

from daypass.server.protocol import Common, HttpProtocol
from daypass.wire.app import WHOLE_ANSWER, WHOLE_BODY

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET /x?y=1 HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"


class Paper(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self) -> None:
        super().__init__({"peername": ("192.0.2.1", 5), "sockname": ("192.0.2.2", 80)})
        self.sent = b""
        self.writes = 0
        self.closed = False
        self.aborted = False
        self.reading = True

    def write(self, data: Any) -> None:
        self.sent += data
        self.writes += 1

    def close(self) -> None:
        self.closed = True

    def abort(self) -> None:
        self.aborted = self.closed = True

    def is_closing(self) -> bool:
        return self.closed

    def pause_reading(self) -> None:
        self.reading = False

    def resume_reading(self) -> None:
        self.reading = True


class Connection:
    """A connection to an application."""

    def __init__(self, app: App, idle_seconds: float = 60.0) -> None:
        self.state = ServerState()
        config: Any = SimpleNamespace(loaded_app=app)
        self.protocol = HttpProtocol(config, self.state, {}, common=Common(idle_seconds))
        self.paper = Paper()
        self.protocol.connection_made(self.paper)

    async def send(self, *parts: bytes) -> bytes:
        """Sends the parts one by one, and returns what has been answered when nothing moves any more."""
        for part in parts:
            self.protocol.data_received(part)
            for _ in range(10):
                await asyncio.sleep(0)
        sent, self.paper.sent = self.paper.sent, b""
        return sent


def answering(*headers: tuple[bytes, bytes], status: int = 200, parts: tuple[bytes, ...] = (b"ok",)) -> App:
    async def app(_: Any, __: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": headers})
        for index, part in enumerate(parts):
            await send({"type": "http.response.body", "body": part, "more_body": index < len(parts) - 1})

    return app


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body, however it came."""
    body = scope.get(WHOLE_BODY)
    if body is None:
        message: dict[str, Any] = {"more_body": True}
        body = b""
        while message["more_body"]:
            message = await receive()
            if message["type"] == "http.disconnect":
                return
            body += message["body"]
    await answering((b"content-length", b"%d" % len(body)), parts=(body,))(scope, receive, send)


async def test_answer_is_one_write_with_the_common_lines() -> None:
    connection = Connection(answering((b"content-length", b"2")))
    connection.state.default_headers = [(b"date", b"today")]
    assert await connection.send(GET) == b"HTTP/1.1 200 OK\r\ndate: today\r\ncontent-length: 2\r\n\r\nok"
    connection.state.default_headers = [(b"date", b"tomorrow")]
    assert b"tomorrow" in await connection.send(GET)
    assert connection.paper.writes == 2
    assert not connection.state.tasks


@pytest.mark.parametrize(
    ("request_line", "status", "sent"),
    [
        (b"GET / HTTP/1.1", 200, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"),
        (b"GET / HTTP/1.0", 200, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\nconnection: close\r\n\r\nok"),
        (b"HEAD / HTTP/1.1", 200, b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"),  # not so: by `send`
        (b"GET / HTTP/1.1", 304, b"HTTP/1.1 304 Not Modified\r\ncontent-length: 2\r\n\r\n"),  # nor that
    ],
)
async def test_answer_all_at_once_is_what_send_would_send(request_line: bytes, status: int, sent: bytes) -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        if not scope[WHOLE_ANSWER](status, b"content-length: 2\r\n", b"ok"):
            body = b"" if status == 304 else b"ok"
            await answering((b"content-length", b"2"), status=status, parts=(body,))(scope, receive, send)

    connection = Connection(app)
    assert await connection.send(request_line + b"\r\nHost: h\r\n\r\n") == sent
    assert connection.paper.closed is (b"close" in sent)


async def test_answer_all_at_once_after_another_is_refused() -> None:
    taken: list[bool] = []

    async def app(scope: Any, _: Any, __: Any) -> None:
        taken.extend(scope[WHOLE_ANSWER](200, b"content-length: 2\r\n", b"ok") for _ in range(2))

    assert (await Connection(app).send(GET)).count(b"HTTP/1.1") == 1
    assert taken == [True, False]


async def test_scope_is_what_asgi_says() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(scope)
        await answering()(scope, receive, send)

    await Connection(app).send(b"PUT /a%20b?c=%41 HTTP/1.1\r\nHost: h\r\nX-Y: Z\r\n\r\n")
    scope = seen[0]
    assert (scope["method"], scope["path"], scope["raw_path"], scope["query_string"]) == (
        *("PUT", "/a b", b"/a%20b"),
        b"c=%41",
    )
    assert scope["headers"] == [(b"host", b"h"), (b"x-y", b"Z")]
    assert (scope["client"], scope["scheme"], scope["http_version"]) == (("192.0.2.1", 5), "http", "1.1")


@pytest.mark.parametrize("parts", [(POST + b"hello",), (POST, b"he", b"llo"), (POST[:20], POST[20:] + b"hel", b"lo")])
async def test_body_arrives_whole_however_it_is_cut(parts: tuple[bytes, ...]) -> None:
    connection = Connection(echo)
    for _ in range(2):
        assert (await connection.send(*parts)).endswith(b"\r\n\r\nhello")
    chunked = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\nX-Late: 1\r\n\r\n"
    assert (await connection.send(chunked)).endswith(b"\r\n\r\nhello")


async def test_trailer_is_no_header() -> None:
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await echo(scope, receive, send)
        seen.extend(scope["headers"])

    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    connection = Connection(app)
    for _ in range(2):  # neither of its own request nor of the next one
        seen.clear()
        await connection.send(head, b"5\r\nhello\r\n0\r\nAuthorization: forged\r\n\r\n")
        assert [name for name, _ in seen] == [b"host", b"transfer-encoding"]


async def test_unknown_length_is_chunked_and_for_http_1_0_ends_with_the_connection() -> None:
    connection = Connection(answering(parts=(b"a", b"", b"bc")))
    assert await connection.send(GET) == (
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\n\r\n"
    )
    old = Connection(answering(parts=(b"a", b"bc")))
    assert await old.send(b"GET / HTTP/1.0\r\n\r\n") == b"HTTP/1.1 200 OK\r\nconnection: close\r\n\r\nabc"
    assert old.paper.closed


@pytest.mark.parametrize("status", [200, 204, 304])
async def test_answers_without_a_body_keep_the_framing(status: int) -> None:
    connection = Connection(answering((b"content-length", b"2"), status=status, parts=(b"",)))
    method = b"HEAD" if status == 200 else b"GET"
    head, _, body = (await connection.send(method + b" / HTTP/1.1\r\nHost: h\r\n\r\n")).partition(b"\r\n\r\n")
    assert (b"chunked" in head, body, connection.paper.closed) == (False, b"", False)


async def test_close_is_asked_for_by_either_side() -> None:
    connection = Connection(answering((b"content-length", b"2"), (b"connection", b"close")))
    assert (await connection.send(GET)).count(b"connection: close") == 1
    assert connection.paper.closed
    connection = Connection(answering((b"content-length", b"2")))
    assert b"connection: close" in await connection.send(b"GET / HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n")
    assert connection.paper.closed


@pytest.mark.parametrize(
    "header", [(b"x", b"a\r\nset-cookie: b"), (b"x", b"a\n"), (b"x\r\ny", b"a"), (b"x", b"\0"), (b"x", b"\r")]
)
async def test_header_that_would_forge_another_is_an_error_instead(header: tuple[bytes, bytes]) -> None:
    sent = await Connection(answering(header, (b"content-length", b"2"))).send(GET)
    assert sent.startswith(b"HTTP/1.1 500 ")
    assert b"set-cookie" not in sent


@pytest.mark.parametrize(("length", "parts"), [(b"1", (b"ok",)), (b"3", (b"ok",)), (b"3", (b"o", b"kay"))])
async def test_body_of_another_length_than_said_ends_the_connection(length: bytes, parts: tuple[bytes, ...]) -> None:
    connection = Connection(answering((b"content-length", length), parts=parts))
    sent = await connection.send(GET)
    assert connection.paper.closed
    assert len(sent.partition(b"\r\n\r\n")[2]) <= max(3, len(b"Internal Server Error"))


async def test_pipelined_requests_are_answered_in_order_and_reading_waits() -> None:
    gates = [asyncio.Event(), asyncio.Event()]
    order: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        order.append(scope["path"])
        await gates[len(order) - 1].wait()
        await answering((b"content-length", b"2"), parts=(scope["path"].encode(),))(scope, receive, send)

    connection = Connection(app)
    await connection.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    assert (order, connection.paper.reading) == (["/1"], False)
    gates[0].set()
    assert (await connection.send(b"")).endswith(b"/1")
    assert (order, connection.paper.reading) == (["/1", "/2"], True)
    gates[1].set()
    assert (await connection.send(b"")).endswith(b"/2")


async def test_expectation_is_answered_when_the_body_is_wanted() -> None:
    connection = Connection(echo)
    head = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    assert await connection.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await connection.send(b"hello")).endswith(b"hello")
    assert not (await Connection(answering((b"content-length", b"2"))).send(head)).startswith(b"HTTP/1.1 100")


async def test_body_that_nobody_takes_is_not_read_without_end() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await echo(scope, receive, send)

    connection = Connection(app)
    await connection.send(POST.replace(b"5", b"200000"), b"a" * 70_000)
    assert not connection.paper.reading
    gate.set()
    await connection.send(b"")
    assert connection.paper.reading
    assert (await connection.send(b"a" * 130_000)).endswith(b"a" * 200_000)


async def test_client_that_goes_away_is_told_to_whoever_waits() -> None:
    heard: list[str] = []

    async def app(_: Any, receive: Any, send: Any) -> None:
        heard.append((await receive())["type"])
        heard.append((await receive())["type"])
        await send({"type": "http.response.start", "status": 200})

    connection = Connection(app)
    await connection.send(POST + b"hello")
    connection.protocol.connection_lost(None)
    assert await connection.send() == b""
    await asyncio.sleep(0)
    assert heard == ["http.disconnect", "http.disconnect"]
    assert not connection.state.tasks
    assert not connection.state.connections


async def test_transport_that_is_full_makes_the_application_wait() -> None:
    connection = Connection(answering((b"content-length", b"2")))
    connection.protocol.pause_writing()
    assert await connection.send(GET) == b""
    connection.protocol.resume_writing()
    assert (await connection.send(b"")).endswith(b"ok")


@pytest.mark.parametrize("told", [False, True])
async def test_application_that_fails_is_a_500_or_a_cut_answer(told: bool) -> None:
    async def app(_: Any, __: Any, send: Any) -> None:
        if told:
            await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"9")]})
            await send({"type": "http.response.body", "body": b"half", "more_body": True})
        raise ValueError("a bug")

    connection = Connection(app)
    sent = await connection.send(GET)
    assert sent.startswith(b"HTTP/1.1 200" if told else b"HTTP/1.1 500")
    assert b"a bug" not in sent
    assert connection.paper.closed


@pytest.mark.parametrize(
    "junk",
    [b"\x16\x03\x01\r\n\r\n", b"GET / HTTP/1.1\r\nHost : h\r\n\r\n", b"CONNECT h:443 HTTP/1.1\r\nHost: h\r\n\r\n"],
)
async def test_what_is_no_http_is_a_400_and_the_end(junk: bytes) -> None:
    connection = Connection(answering())
    assert (await connection.send(junk)).startswith((b"HTTP/1.1 400", b"HTTP/1.1 200"))
    assert connection.paper.closed


async def test_a108_two_framings_are_a_400() -> None:
    both = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\nGET /x"
    connection = Connection(echo)
    assert (await connection.send(both)).startswith(b"HTTP/1.1 400")
    assert connection.paper.closed


async def test_a108_head_without_an_end_is_refused() -> None:
    connection = Connection(answering())
    await connection.send(b"GET / HTTP/1.1\r\n")
    sent = b""
    for _ in range(100):
        sent = await connection.send(b"X-Y: " + b"a" * 1000 + b"\r\n")
        if sent:
            break
    assert sent.startswith(b"HTTP/1.1 400")
    assert connection.paper.closed


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", GET])
async def test_a108_connection_that_brings_no_request_is_closed_in_time(sent: bytes) -> None:
    connection = Connection(answering((b"content-length", b"2")), idle_seconds=0.2)
    await connection.send(sent)
    assert not connection.paper.closed
    await asyncio.sleep(0.3)
    assert connection.paper.closed


async def test_a108_client_that_takes_no_answer_is_cut_off_in_time() -> None:
    full = Connection(answering((b"content-length", b"2")), idle_seconds=0.2)
    full.protocol.pause_writing()
    await full.send(GET)
    closing = Connection(answering((b"content-length", b"2"), (b"connection", b"close")), idle_seconds=0.2)
    await closing.send(GET)
    assert closing.paper.closed
    assert not full.paper.aborted
    assert not closing.paper.aborted
    await asyncio.sleep(0.3)
    assert full.paper.aborted
    assert closing.paper.aborted  # a transport that closes waits for what is unsent, however long that takes


@pytest.mark.parametrize("between", [b"1;x=", b"0\r\nX-Y: "])
async def test_a108_what_is_between_and_behind_the_parts_of_a_body_has_an_end(between: bytes) -> None:
    connection = Connection(echo)
    await connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n" + between)
    for _ in range(20):
        await connection.send(b"a" * 4096)
    assert connection.paper.closed


async def test_a108_body_of_many_small_parts_is_no_long_head() -> None:
    connection = Connection(echo)
    await connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        await connection.send(b"1\r\na\r\n" * 2000)
    assert (await connection.send(b"0\r\n\r\n")).endswith(b"a" * 20_000)


async def test_a108_requests_without_end_on_one_connection_are_not_kept() -> None:
    asked = 0

    async def app(scope: Any, receive: Any, send: Any) -> None:
        nonlocal asked
        asked += 1
        await answering((b"content-length", b"2"))(scope, receive, send)

    connection = Connection(app)
    connection.protocol.data_received(GET * 5_000)
    assert not connection.paper.reading
    for _ in range(5_000):
        await asyncio.sleep(0)
    sent = await connection.send(GET)  # what comes now is not read either
    assert sent.count(b"HTTP/1.1 200") == asked < 100
    assert sent.count(b"connection: close") == 1
    assert connection.paper.closed


async def test_a108_requests_that_come_together_leave_others_their_turn() -> None:
    connection = Connection(answering((b"content-length", b"2")))
    connection.protocol.data_received(GET * 20)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < connection.paper.sent.count(b"HTTP/1.1 200") < 20
    assert (await connection.send(b"", b"")).count(b"HTTP/1.1 200") == 20


async def test_request_that_takes_long_is_not_idle() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await answering()(scope, receive, send)

    connection = Connection(app, idle_seconds=0.02)
    await connection.send(GET)
    await asyncio.sleep(0.06)
    assert not connection.paper.closed
    gate.set()
    assert await connection.send(b"")


async def test_upgrade_is_not_offered_and_ends_the_connection_after_the_answer() -> None:
    connection = Connection(answering((b"content-length", b"2")))
    sent = await connection.send(
        b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n\x81\x00"
    )
    assert sent.endswith(b"\r\n\r\nok")
    assert b"connection: close" in sent
    assert connection.paper.closed


async def test_shutdown_lets_the_answer_out_first() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await gate.wait()
        await answering((b"content-length", b"2"))(scope, receive, send)

    connection = Connection(app)
    await connection.send(GET)
    connection.protocol.shutdown()
    assert not connection.paper.closed
    gate.set()
    assert b"connection: close" in await connection.send(b"")
    assert connection.paper.closed
    idle = Connection(app)
    idle.protocol.shutdown()
    assert idle.paper.closed


async def test_request_whose_task_is_cancelled_is_answered_and_ends_the_connection() -> None:
    async def app(_: Any, __: Any, ___: Any) -> None:
        await asyncio.Event().wait()

    connection = Connection(app)
    await connection.send(GET)
    (task,) = connection.state.tasks
    task.cancel()
    assert (await connection.send(b"")).startswith(b"HTTP/1.1 500")
    assert connection.paper.closed
    assert task.done()


async def test_application_that_goes_on_after_its_answer_holds_back_the_next_request_alone() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await answering((b"content-length", b"2"))(scope, receive, send)
        await gate.wait()

    connection = Connection(app)
    assert (await connection.send(GET)).endswith(b"ok")
    assert await connection.send(GET) == b""
    gate.set()
    assert (await connection.send(b"")).endswith(b"ok")
    gate.clear()
    await connection.send(GET)
    connection.protocol.shutdown()
    assert connection.paper.closed


async def test_nothing_is_started_on_a_connection_that_is_closing() -> None:
    started: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        started.append(scope["path"])
        await answering((b"content-length", b"2"), (b"connection", b"close"))(scope, receive, send)

    connection = Connection(app)
    await connection.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.protocol.connection_lost(None)
    await connection.send()
    await asyncio.sleep(0.01)
    assert started == ["/1"]
