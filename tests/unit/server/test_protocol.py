"""The HTTP protocol over a transport of paper: framing, limits, pipelining, and how a connection ends."""

from __future__ import annotations

import asyncio
import gc
import re
import weakref
from collections.abc import Awaitable, Callable
from types import SimpleNamespace
from typing import Any

import pytest
from tests.patience import eventually
from uvicorn.server import ServerState

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.scheduling.threads import abandonable
from daypass.server import bodies
from daypass.server import bodies as holds
from daypass.server import protocol as protocol_module
from daypass.server.bodies import BodyBudget, ConnectionLimits, Connections, Holds
from daypass.server.protocol import HttpProtocol
from daypass.server.turns import AT_ONCE, LATE_AT_ONCE
from daypass.wire.http import HOLD, LATE, OVERDUE, WHOLE_ANSWER, WHOLE_BODY

App = Callable[[Any, Any, Any], Awaitable[None]]
GET = b"GET /x?y=1 HTTP/1.1\r\nHost: h\r\n\r\n"
POST = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\n"


class Paper(asyncio.Transport):
    """Keeps what is written."""

    def __init__(self, client: str = "192.0.2.1") -> None:
        super().__init__({"peername": (client, 5), "sockname": ("192.0.2.2", 80)})
        self.sent = b""
        self.writes = 0
        self.closed = False
        self.aborted = False
        self.reading = True
        self.half_closed = False

    def can_write_eof(self) -> bool:
        return True

    def write_eof(self) -> None:
        self.half_closed = True

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

    def __init__(
        self, app: App, idle_seconds: float = 60.0, *, common: Connections | None = None, client: str = "192.0.2.1"
    ) -> None:
        self.state = ServerState()
        config: Any = SimpleNamespace(loaded_app=app)
        self.common = common or Connections(ConnectionLimits(idle_seconds=idle_seconds))
        self.protocol = HttpProtocol(config, self.state, {}, common=self.common)
        self.paper = Paper(client)
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


OK = answering((b"content-length", b"2"))


def gated(app: App, gate: asyncio.Event) -> App:
    """The application, which waits for `gate` first."""

    async def waiting(*call: Any) -> None:
        await gate.wait()
        await app(*call)

    return waiting


def noting(notes: list[Any], app: App = OK, key: str = "path") -> App:
    """The application, which first notes this of the scope."""

    async def noted(scope: Any, receive: Any, send: Any) -> None:
        notes.append(scope[key])
        await app(scope, receive, send)

    return noted


async def endless(*_: Any) -> None:
    """Never answers."""
    await asyncio.Event().wait()


async def test_answer_is_one_write_with_the_common_lines() -> None:
    connection = Connection(OK)
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
    connection = Connection(OK)
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


JUNK = b"\x16\x03\x01 junk\r\n\r\n"
BAD_BODY = b"POST /bad HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
LONG = b"GET /long HTTP/1.1\r\n" + b"x: y\r\n" * 20_000


@pytest.mark.parametrize("bad", [JUNK, BAD_BODY, LONG, b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n"])
@pytest.mark.parametrize("good", [1, 3])
@pytest.mark.parametrize("together", [True, False])
async def test_a448_requests_before_what_is_no_request_are_answered_and_nothing_behind_it(
    bad: bytes, good: int, together: bool
) -> None:
    common, reported, served = Connections(), [], []
    common.on_refusal = lambda *refusal: reported.append(refusal)
    gate = asyncio.Event()

    connection = Connection(gated(noting(served), gate), common=common)
    first, behind = GET * good, bad + GET * 3
    assert await connection.send(*([first + behind] if together else [first, behind])) == b""
    assert (connection.paper.closed, connection.paper.reading) == (False, False)
    gate.set()
    sent = await connection.send(GET, b"")
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", sent) == [b"200"] * good + [b"400"]
    assert connection.paper.closed
    assert len(served) == good
    assert len(reported) == 1


async def test_a448_junk_behind_an_answer_whose_application_goes_on_is_refused_at_once() -> None:
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await OK(scope, receive, send)
        await asyncio.Event().wait()

    connection = Connection(app)
    assert (await connection.send(GET)).endswith(b"ok")
    assert (await connection.send(JUNK)).startswith(b"HTTP/1.1 400")
    assert connection.paper.closed


async def test_expectation_is_answered_when_the_body_is_wanted() -> None:
    connection = Connection(echo)
    head = POST.replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n")
    assert await connection.send(head) == b"HTTP/1.1 100 Continue\r\n\r\n"
    assert (await connection.send(b"hello")).endswith(b"hello")
    assert not (await Connection(OK).send(head)).startswith(b"HTTP/1.1 100")


async def test_body_that_nobody_takes_is_not_read_without_end() -> None:
    gate = asyncio.Event()

    connection = Connection(gated(echo, gate))
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
    connection = Connection(OK)
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


async def test_a108_refusals_before_a_request_are_reported_with_address_and_reason() -> None:
    common, full, reported = Connections(), Connections(ConnectionLimits(connections=0)), []
    common.on_refusal = full.on_refusal = lambda *refusal: reported.append(refusal)
    Connection(answering(), common=full, client="192.0.2.3")
    first, second = (Connection(answering(), common=common, client=f"192.0.2.{number}") for number in (1, 2))
    await first.send(b"no HTTP at all\r\n\r\n")
    await second.send(b"GET / HTTP/1.1\r\n" + b"x: y\r\n" * 20_000)
    assert reported == [
        ("192.0.2.3", ErrorKind.OVERLOADED, "too many connections"),
        ("192.0.2.1", ErrorKind.MALFORMED_REQUEST, "Invalid HTTP request received."),
        ("192.0.2.2", ErrorKind.MALFORMED_REQUEST, "The request head is too large."),
    ]


@pytest.mark.parametrize(
    "lines",
    [
        b"X: y\r\n",
        b"Host: h\r\nHost: other\r\n",
        b"Host: h\r\nhost: h\r\n",
        b"Host: h\r\nTransfer-Encoding: identity, chunked\r\n",
        b"Host: h\r\nTransfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n",
        b"Host: u@h\r\n",
        b"Host: h/x\r\n",
        b"Host: h, other\r\n",
        b"Host: h other\r\n",
        b"Host: h:80:80\r\n",
        b"Host: h:http\r\n",
        b"Host: [::1\r\n",
        b"Host: h\xff\r\n",
        b"Host: h\r\n other\r\n",
        b"Host: h\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n",
    ],
)
async def test_a108_head_that_others_may_read_differently_is_a_400(lines: bytes) -> None:
    await is_refused(b"POST / HTTP/1.1\r\n" + lines + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "head",
    [
        b"GET /x HTTP/1.0\r\n",  # it needs no Host
        b"GET http://h/x HTTP/1.1\r\nHost: h\r\n",
        b"GET HTTPS://H:8700/x?a://b HTTP/1.1\r\nHost: h:8700 \r\n",
        b"GET http://[::1]:80/x HTTP/1.1\r\nHost: [::1]:80\r\n",
        b"GET http://h/x HTTP/1.0\r\nHost: h\r\n",
        b"GET /x HTTP/1.1\r\nHost: 192.0.2.1:8700\r\n",
        b"GET /x HTTP/1.1\r\nHost: day_pass.example.com.:1\r\n",
        b"GET /x HTTP/1.1\r\nHost:\r\n",
    ],
)
async def test_head_with_one_meaning_is_served(head: bytes) -> None:
    paths: list[str] = []

    async def app(scope: Any, *channel: Any) -> None:
        paths.append(scope["path"])
        await answering()(scope, *channel)

    assert (await Connection(app).send(head + b"\r\n")).startswith(b"HTTP/1.1 200")
    assert paths == ["/x"]


async def is_refused(data: bytes) -> None:
    """Sends it: it is answered with 400, recorded and not served, and the connection is closed."""
    common, reported = Connections(), []
    common.on_refusal = lambda *refusal: reported.append(refusal)

    async def app(*_: object) -> None:
        raise AssertionError("served")

    connection = Connection(app, common=common, client="192.0.2.1")
    assert (await connection.send(data)).startswith(b"HTTP/1.1 400")
    assert connection.paper.closed
    assert reported == [("192.0.2.1", ErrorKind.MALFORMED_REQUEST, "Invalid HTTP request received.")]


@pytest.mark.parametrize(
    "head",
    [
        b"POST http://other/ HTTP/1.1\r\nHost: h\r\n",
        b"POST http://other HTTP/1.1\r\nHost: h\r\n",
        b"POST http://other?h HTTP/1.1\r\nHost: h\r\n",
        b"POST http://h:81/ HTTP/1.1\r\nHost: h:80\r\n",
        b"POST http://u@h/ HTTP/1.1\r\nHost: h\r\n",
        b"POST http://u@h/ HTTP/1.1\r\nHost: u@h\r\n",
        b"POST http://h@other/ HTTP/1.1\r\nHost: h\r\n",
        b"POST http:///x HTTP/1.1\r\nHost:\r\n",
        b"POST http://h/ HTTP/1.0\r\n",
        b"POST http://h/ HTTP/1.1\r\n",
        b"POST ftp://h/ HTTP/1.1\r\nHost: h\r\n",
        b"POST h:80 HTTP/1.1\r\nHost: h:80\r\n",
        b"POST * HTTP/1.1\r\nHost: h\r\n",
        b"OPTIONS * HTTP/1.1\r\nHost: h\r\n",
        b"POST /x#y HTTP/1.1\r\nHost: h\r\n",
        b"CONNECT h:443 HTTP/1.1\r\nHost: h:443\r\n",
        b"CONNECT http://h/ HTTP/1.1\r\nHost: h\r\n",
        b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked\r\n",
    ],
)
async def test_a391_head_whose_target_says_something_else_than_its_host_is_refused(head: bytes) -> None:
    await is_refused(head + b"\r\n0\r\n\r\n")


@pytest.mark.parametrize(
    "data",
    [
        b"GET /\r\n\r\n",
        b"GET / HTTP/0.9\r\n\r\n",
        b"GET / HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.2\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        b"\x16\x03\x01\r\n\r\n",
        b"GET / HTTP/1.1\r\nHost : h\r\n\r\n",
        b"GET / HTTP/1.1\r\n Host: h\r\n\r\n",
        b"GET / HTTP/1.1\nHost: h\n\n",
    ],
)
async def test_a241_request_of_a_version_that_is_not_offered_and_what_is_no_request_are_refused(data: bytes) -> None:
    await is_refused(data)


async def test_a108_head_without_an_end_is_refused() -> None:
    connection = Connection(answering())
    await connection.send(b"GET / HTTP/1.1\r\n")
    sent = b""
    for _ in range(100):
        sent = await connection.send(b"X-Y: " + b"a" * 1000 + b"\r\n")
        if sent:
            break
    assert sent.startswith(b"HTTP/1.1 431")
    assert not await connection.send(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")  # nothing behind it is read


@pytest.mark.parametrize("sent", [b"", b"GET / HTTP/1.1\r\n", GET])
async def test_a108_connection_that_brings_no_request_is_closed_in_time(sent: bytes) -> None:
    connection = Connection(OK, idle_seconds=0.2)
    await connection.send(sent)
    assert not connection.paper.closed
    await asyncio.sleep(0.3)
    assert connection.paper.closed


async def test_a108_client_that_takes_no_answer_is_cut_off_in_time() -> None:
    full = Connection(OK, idle_seconds=0.2)
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


async def test_a368_chunk_extensions_that_are_long_in_sum_end_the_connection() -> None:
    connection = Connection(echo)
    await connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        await connection.send(b"1;" + b"x" * 10_000 + b"\r\na\r\n")
    assert connection.paper.closed


async def test_a108_body_of_many_small_parts_is_no_long_head() -> None:
    connection = Connection(echo)
    await connection.send(b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(10):
        await connection.send(b"9\r\naaaaaaaaa\r\n" * 800)
    assert (await connection.send(b"0\r\n\r\n")).endswith(b"a" * 72_000)


@pytest.mark.parametrize("count", [1, 3])
async def test_a229_more_chunks_than_the_limit_end_the_connection(count: int) -> None:
    """The requests before the last one are complete: pipelining must not multiply the limit."""

    connection = Connection(endless)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    share = protocol_module._MOST_CHUNKS // count - 1  # the last chunk of a request has a header too
    request = head + b"1\r\na\r\n" * share
    await connection.send(b"0\r\n\r\n".join([request] * count))
    assert not connection.paper.closed
    await connection.send(b"1\r\na\r\n" * (count + 2))
    assert connection.paper.closed == (count == 1), "requests in progress are answered first"
    assert connection.protocol._last


async def test_a229_requests_that_were_answered_do_not_count_against_the_limit_of_chunks() -> None:
    connection = Connection(echo)
    head = b"POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
    most = protocol_module._MOST_CHUNKS - 1  # the last chunk has a header too
    for _ in range(3):
        assert b"HTTP/1.1 200 OK" in await connection.send(head + b"1\r\na\r\n" * most + b"0\r\n\r\n")


async def test_a108_requests_without_end_on_one_connection_are_not_kept() -> None:
    asked: list[str] = []
    connection = Connection(noting(asked))
    connection.protocol.data_received(GET * 5_000)
    assert not connection.paper.reading
    for _ in range(5_000):
        await asyncio.sleep(0)
    sent = await connection.send(GET)  # what comes now is not read either
    assert sent.count(b"HTTP/1.1 200") == len(asked) < 100
    assert sent.count(b"connection: close") == 1
    assert connection.paper.closed


async def test_a108_requests_that_come_together_leave_others_their_turn() -> None:
    connection = Connection(OK)
    connection.protocol.data_received(GET * 20)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert 0 < connection.paper.sent.count(b"HTTP/1.1 200") < 20
    assert (await connection.send(b"", b"")).count(b"HTTP/1.1 200") == 20


async def test_request_that_takes_long_is_not_idle() -> None:
    gate = asyncio.Event()

    connection = Connection(gated(answering(), gate), idle_seconds=0.02)
    await connection.send(GET)
    await asyncio.sleep(0.06)
    assert not connection.paper.closed
    gate.set()
    assert await connection.send(b"")


async def test_upgrade_is_not_offered_and_the_connection_goes_on() -> None:
    connection = Connection(OK)
    asking = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert await connection.send(asking) == b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
    assert (await connection.send(asking + GET)).count(b"HTTP/1.1 200 OK") == 2
    assert not connection.paper.closed


@pytest.mark.parametrize(
    "rest", [b"Content-Length: 5\r\n\r\nhello", b"Transfer-Encoding: chunked\r\n\r\n2\r\nhe\r\n3\r\nllo\r\n0\r\n\r\n"]
)
@pytest.mark.parametrize("cut", [10_000, 1, 40, 140])
async def test_body_behind_a_head_that_asks_for_an_upgrade_arrives(rest: bytes, cut: int) -> None:
    """Java's HTTP client asks for HTTP/2 with each request over plain HTTP."""
    connection = Connection(echo)
    asking = b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAEAAEAAAAIAAAAA\r\n"
    sent = (b"POST /x HTTP/1.1\r\nHost: h\r\n" + asking + rest) * 2
    answer = await connection.send(*(sent[start : start + cut] for start in range(0, len(sent), cut)))
    assert answer == b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello" * 2


async def test_a392_requests_without_end_that_ask_for_an_upgrade_are_not_kept() -> None:
    connection = Connection(OK)
    asking = b"GET / HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    assert 0 < (await connection.send(asking * 3_000)).count(b"HTTP/1.1 200 OK") <= 40


async def test_a392_body_cannot_be_read_as_a_request_of_a_head_that_asks_for_an_upgrade() -> None:
    """A proxy that knows no Upgrade sends the body on; a server that took it for a request would be smuggled one."""
    paths: list[Any] = []

    head = b"POST /x HTTP/1.1\r\nHost: h\r\nConnection: upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n"
    hidden = b"GET /hidden HTTP/1.1\r\nHost: h\r\n\r\n"
    await Connection(noting(paths)).send(head % len(hidden) + hidden + GET)
    assert paths == ["/x", "/x"]


async def test_shutdown_lets_the_answer_out_first() -> None:
    gate = asyncio.Event()

    connection = Connection(gated(OK, gate))
    await connection.send(GET)
    connection.protocol.shutdown()
    assert not connection.paper.closed
    gate.set()
    assert b"connection: close" in await connection.send(b"")
    assert connection.paper.closed


async def test_shutdown_ends_a_stream_that_waits_for_its_client() -> None:
    async def stream(_: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": ()})
        await send({"type": "http.response.body", "body": b"event", "more_body": True})
        assert (await receive())["type"] == "http.disconnect"
        await send({"type": "http.response.body", "body": b""})

    connection = Connection(stream)
    assert b"event" in await connection.send(GET)
    assert not connection.paper.closed
    connection.protocol.shutdown()
    assert await connection.send(b"") == b"0\r\n\r\n"
    assert connection.paper.closed


async def test_shutdown_answers_the_next_request_of_an_idle_connection_then_ends_it(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(protocol_module, "_LINGER_SECONDS", 0.0)
    unread = True
    monkeypatch.setattr(protocol_module, "readable", lambda those: set(those) if unread else set())
    busy, quiet = (Connection(OK) for _ in range(2))
    await busy.send(GET)
    busy.protocol.shutdown()
    quiet.protocol.shutdown()
    await asyncio.sleep(0.001)
    assert not busy.paper.closed, "its next request is in the socket"
    assert b"connection: close" in await busy.send(GET)
    assert busy.paper.closed
    unread = False
    quiet.protocol._end_lingering()
    assert quiet.paper.closed


async def test_shutdown_answers_all_requests_that_have_come() -> None:
    gate = asyncio.Event()

    connection = Connection(gated(OK, gate))
    await connection.send(GET * 3)
    connection.protocol.shutdown()
    gate.set()
    sent = await connection.send(b"", b"", b"")
    assert (sent.count(b"HTTP/1.1 200"), sent.count(b"connection: close")) == (3, 1)
    assert connection.paper.closed


async def test_request_whose_task_is_cancelled_is_answered_and_ends_the_connection() -> None:
    connection = Connection(endless)
    await connection.send(GET)
    (task,) = connection.state.tasks
    task.cancel()
    assert (await connection.send(b"")).startswith(b"HTTP/1.1 503")
    assert connection.paper.closed
    assert task.done()


async def test_a115_close_of_all_connections_answers_what_is_in_progress_and_serves_nothing_afterwards() -> None:
    served: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        served.append(scope["path"])
        if scope["path"] == "/slow":
            await asyncio.Event().wait()
        await OK(scope, receive, send)

    common = Connections(ConnectionLimits())
    slow, idle, pipelined = (Connection(app, common=common) for _ in range(3))
    await slow.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
    await idle.send(GET)
    await pipelined.send(b"GET /slow HTTP/1.1\r\nHost: x\r\n\r\n" + GET)
    before = len(served)
    await common.close()
    for connection, answer in ((slow, b"HTTP/1.1 503"), (idle, b""), (pipelined, b"HTTP/1.1 503")):
        sent = await connection.send(GET)
        assert sent.startswith(answer)
        assert sent.count(b"HTTP/1.1") == bool(answer)
        assert connection.paper.closed
        assert not connection.state.tasks
    assert len(served) == before


async def test_application_that_goes_on_after_its_answer_holds_back_the_next_request_alone() -> None:
    gate = asyncio.Event()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await OK(scope, receive, send)
        await gate.wait()

    connection = Connection(app)
    assert (await connection.send(GET)).endswith(b"ok")
    assert await connection.send(GET) == b""
    gate.set()
    assert (await connection.send(b"")).endswith(b"ok")
    gate.clear()
    await connection.send(GET)
    connection.protocol.shutdown()
    connection.protocol._end_lingering()
    assert connection.paper.closed


async def test_nothing_is_started_on_a_connection_that_is_closing() -> None:
    started: list[Any] = []

    connection = Connection(noting(started, answering((b"content-length", b"2"), (b"connection", b"close"))))
    await connection.send(b"GET /1 HTTP/1.1\r\nHost: h\r\n\r\nGET /2 HTTP/1.1\r\nHost: h\r\n\r\n")
    connection.protocol.connection_lost(None)
    await connection.send()
    await asyncio.sleep(0.01)
    assert started == ["/1"]


# --- Limits of all connections together


async def test_a115_requests_that_come_together_begin_in_order_and_not_all_in_one_turn() -> None:
    common, asked = Connections(ConnectionLimits(patience_seconds=60.0)), []

    those = [Connection(noting(asked, key="query_string"), common=common) for _ in range(200)]
    for number, connection in enumerate(those):
        connection.protocol.data_received(b"GET /?%d HTTP/1.1\r\nHost: h\r\n\r\n" % number)
    last = Connection(noting(asked, key="query_string"), common=common)
    last.protocol.data_received(b"GET /healthz?health HTTP/1.1\r\nHost: h\r\n\r\n")
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert len(asked) < 130
    for _ in range(20):
        await asyncio.sleep(0)
    assert [at for at in asked if at != b"health"] == [b"%d" % number for number in range(200)]
    assert asked.index(b"health") < 80


async def test_a115_request_that_waited_too_long_is_late() -> None:
    common, late = Connections(ConnectionLimits(patience_seconds=-1.0)), []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        late.append(scope.get(LATE, False))
        await OK(scope, receive, send)

    for _ in range(100):
        Connection(app, common=common).protocol.data_received(GET)
    for _ in range(20):
        await asyncio.sleep(0)
    assert late[: AT_ONCE + LATE_AT_ONCE] == [False] * AT_ONCE + [True] * LATE_AT_ONCE
    assert len(late) == 100
    assert not common.turns._in_flight


async def test_a115_request_that_has_no_answer_in_time_is_cancelled_as_overdue() -> None:
    ended = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.Event().wait()
        except asyncio.CancelledError:
            ended.append(scope[OVERDUE])
            task = asyncio.current_task()
            assert task is not None
            task.uncancel()
        await answering((b"content-length", b"2"), status=503)(scope, receive, send)

    connection = Connection(app)
    await connection.send(GET)
    now = connection.protocol.loop.time()
    connection.protocol.end_if_overdue(now - 1)
    assert await connection.send(b"") == b""
    connection.protocol.end_if_overdue(now + 1)
    assert (await connection.send(b"")).startswith(b"HTTP/1.1 503")
    assert ended == [True]
    assert not connection.paper.closed, "the next request may come"


async def test_a109_connections_of_one_address_are_bounded_and_idle_ones_end_first() -> None:
    common = Connections(ConnectionLimits(per_address=3))
    gate = asyncio.Event()

    first, second, third = (
        Connection(gated(OK, gate), common=common),
        Connection(OK, common=common),
        Connection(OK, common=common),
    )
    await first.send(GET)
    second.protocol.idle_since, third.protocol.idle_since = 2.0, 1.0
    fourth = Connection(OK, common=common)
    assert [c.paper.closed for c in (first, second, third, fourth)] == [False, False, True, False]
    other = Connection(OK, common=common, client="192.0.2.9")
    assert (await other.send(GET)).endswith(b"ok"), "other addresses have their own"
    for busy in (second, fourth):
        busy.protocol.idle_since = 0.0
    fifth = Connection(OK, common=common)
    assert fifth.paper.sent.startswith(b"HTTP/1.1 503")
    assert b"retry-after" in fifth.paper.sent
    assert fifth.paper.closed
    fifth.protocol.data_received(GET)
    fifth.protocol.connection_lost(None)
    gate.set()
    assert (await first.send(b"")).endswith(b"ok")
    first.protocol.connection_lost(None)
    assert (await Connection(OK, common=common).send(GET)).endswith(b"ok"), "there is room again"


async def test_connections_of_a_trusted_proxy_are_not_limited_by_address() -> None:
    common = Connections(ConnectionLimits(per_address=1, connections=3, trusted_proxies=("192.0.2.0/24",)))
    those = [Connection(OK, common=common) for _ in range(3)]
    for one in those:
        assert (await one.send(GET)).endswith(b"ok")
        one.protocol.idle_since = 0.0
    assert Connection(OK, common=common).paper.sent.startswith(b"HTTP/1.1 503"), "but by the number of all"


async def test_a114_bodies_in_flight_are_bounded_and_their_room_comes_back() -> None:
    common = Connections(ConnectionLimits(bodies=300_000, bodies_per_address=200_000))
    refused = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        try:
            while WHOLE_BODY not in scope and (await receive())["more_body"]:
                pass
        except DaypassError as error:
            refused.append(error.kind)
            await answering((b"content-length", b"2"), (b"connection", b"close"), status=503)(scope, receive, send)
            return
        await OK(scope, receive, send)

    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 150000\r\n\r\n"
    one, two = Connection(app, common=common), Connection(app, common=common)
    for connection in (one, two):
        for _ in range(10):
            await connection.send(head if _ == 0 else b"x" * 10_000)
    assert common.bodies.in_flight == 2 * (90_000 - 8_192)
    assert (await two.send(b"x" * 60_000)).startswith(b"HTTP/1.1 503"), "too much of one address"
    assert two.paper.closed
    other = Connection(app, common=common, client="192.0.2.9")
    assert (await other.send(head + b"x" * 150_000)).endswith(b"ok")
    assert (await one.send(b"x" * 60_000)).endswith(b"ok")
    assert refused == [ErrorKind.OVERLOADED]
    assert common.bodies.in_flight == 0
    three = Connection(app, common=common)
    await three.send(head + b"x" * 100_000)
    three.protocol.connection_lost(None)
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    assert common.bodies.in_flight == 0


async def test_refusal_before_the_body_has_come_reads_on_for_a_moment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(protocol_module, "_DISCARD_SECONDS", 0.0)
    connection = Connection(answering((b"content-length", b"2"), (b"connection", b"close"), status=413))
    head = b"POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 1000000\r\n\r\n"
    assert (await connection.send(head)).startswith(b"HTTP/1.1 413")
    assert connection.paper.half_closed
    assert await connection.send(b"x" * 100_000, GET) == b"", "a reset would take the answer from the client"
    assert connection.paper.reading
    await asyncio.sleep(0.001)
    assert connection.paper.closed
    assert connection.common.bodies.in_flight == 0


@pytest.mark.parametrize("cut", [b"", b"Content-Length: 90000\r\n"], ids=["whole", "in a body"])
async def test_a114_lost_connection_is_freed_at_once_with_its_body(cut: bytes) -> None:
    connection = Connection(OK)
    request = b"POST / HTTP/1.1\r\nHost: x\r\n" + cut + b"\r\n"
    await connection.send(request, *[b"x" * 30_000] * bool(cut))
    freed = weakref.ref(connection.protocol)
    gc.disable()  # a cycle would stay until the collector runs, which is rare
    try:
        connection.protocol.connection_lost(None)
        del connection.protocol
        for _ in range(10):
            await asyncio.sleep(0)
        assert freed() is None
    finally:
        gc.enable()


async def test_a114_memory_is_given_back_once_after_a_burst(monkeypatch: pytest.MonkeyPatch) -> None:
    given: list[int] = []
    monkeypatch.setattr(bodies, "_malloc_trim", given.append)
    monkeypatch.setattr(bodies, "_TRIM_SECONDS", 0.0)
    budget = BodyBudget(100_000_000, 100_000_000)
    for _ in range(100):
        assert budget.charge("192.0.2.1", 1_000_000)
    for _ in range(100):
        budget.release("192.0.2.1", 1_000_000)
    await eventually(lambda: given == [0])
    budget.dropped(9_000_000)
    await eventually(lambda: given == [0, 0])
    budget.dropped(9_000)
    await asyncio.sleep(0.01)
    assert given == [0, 0]


async def test_connection_lost_ends_work_that_may_be_abandoned_and_lets_the_request_record_its_refusal() -> None:
    recorded = []

    async def app(_: Any, __: Any, ___: Any) -> None:
        work = asyncio.get_running_loop().create_future()
        with abandonable(lambda: work.set_exception(DaypassError(ErrorKind.UNAVAILABLE, "gone"))):
            try:
                await work
            except DaypassError as error:
                recorded.append(error.kind)

    connection = Connection(app)
    await connection.send(GET)
    assert not recorded
    connection.protocol.connection_lost(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert recorded == [ErrorKind.UNAVAILABLE]


async def test_connection_lost_does_not_end_a_request_that_writes() -> None:
    durable, done = asyncio.get_running_loop().create_future(), []

    async def app(_: Any, __: Any, ___: Any) -> None:
        with abandonable(lambda: None):  # some heavy work, which has ended
            await asyncio.sleep(0)
        await durable
        done.append(True)

    connection = Connection(app)
    await connection.send(GET)
    connection.protocol.connection_lost(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert not done
    durable.set_result(None)
    for _ in range(10):
        await asyncio.sleep(0)
    assert done == [True]


async def throttled(scope: Any, _: Any, send: Any) -> None:
    """Refuses the path /x because its source is over its rate, and answers any other."""
    if scope["path"] == "/x":
        scope[HOLD] = 1
    await OK(scope, None, send)


OTHER = b"GET /other HTTP/1.1\r\nHost: h\r\n\r\n"


def timers(monkeypatch: pytest.MonkeyPatch) -> list[tuple[float, Callable[[], None]]]:
    """The timers of the loop: they end when the test calls them."""
    found: list[tuple[float, Callable[[], None]]] = []

    def call_later(seconds: float, call: Callable[[], None]) -> SimpleNamespace:
        found.append((seconds, call))
        return SimpleNamespace(cancel=lambda: None)

    monkeypatch.setattr(asyncio.get_running_loop(), "call_later", call_later)
    return found


async def test_a113_connection_of_a_throttled_source_is_held_and_others_are_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = Connection(throttled)
    other = Connection(throttled, common=connection.common)
    held = timers(monkeypatch)
    assert b"200 OK" in await connection.send(GET), "the refusal itself is not delayed"
    ((seconds, end),) = held
    assert seconds == 1
    assert await connection.send(OTHER) == b""
    assert connection.protocol.idle_since, "it may be closed when connections run out"
    assert b"200 OK" in await other.send(OTHER)
    end()
    assert (await connection.send(b"")).count(b"200 OK") == 1
    assert (await connection.send(OTHER)).count(b"200 OK") == 1, "it is held once"
    assert len(held) == 1


async def test_a113_pipelined_requests_of_a_throttled_source_wait(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(throttled)
    held = timers(monkeypatch)
    assert (await connection.send(GET + OTHER + OTHER)).count(b"200 OK") == 1
    held[0][1]()
    assert (await connection.send(b"")).count(b"200 OK") == 2
    assert connection.paper.reading


async def test_shutdown_answers_a_request_that_is_held(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(throttled)
    timers(monkeypatch)
    await connection.send(GET)
    assert await connection.send(OTHER) == b""
    connection.protocol.shutdown()
    assert b"connection: close" in await connection.send(b"")
    assert connection.paper.closed


async def test_held_connection_that_is_lost_serves_nothing_more(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(throttled)
    held = timers(monkeypatch)
    await connection.send(GET, OTHER)
    connection.protocol.connection_lost(None)
    held[0][1]()
    assert await connection.send() == b""


async def test_a113_new_connections_of_a_throttled_source_wait_and_those_of_others_do_not(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = Connection(throttled, client="2001:db8::1")
    held = timers(monkeypatch)
    await connection.send(GET)
    connection.protocol.connection_lost(None)
    again = Connection(throttled, common=connection.common, client="2001:db8::2")  # of the same network
    other = Connection(throttled, common=connection.common, client="2001:db8:0:1::1")
    assert await again.send(OTHER) == b""
    assert b"200 OK" in await other.send(OTHER)
    seconds, end = held[-1]
    assert 0 < seconds <= 1
    end()
    assert b"200 OK" in await again.send(b""), "it is delayed, not refused: an honest client may share the address"


async def test_hold_that_has_ended_delays_no_new_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    connection = Connection(throttled)
    timers(monkeypatch)
    await connection.send(GET)
    loop = connection.protocol.loop
    now = loop.time()
    monkeypatch.setattr(loop, "time", lambda: now + 1)
    assert b"200 OK" in await Connection(throttled, common=connection.common).send(OTHER)
    monkeypatch.undo()  # before the teardown of the loop, which has timers


async def test_connection_that_was_open_before_the_hold_is_not_delayed(monkeypatch: pytest.MonkeyPatch) -> None:
    honest = Connection(throttled)
    flood = Connection(throttled, common=honest.common)
    timers(monkeypatch)
    await flood.send(GET)
    assert b"200 OK" in await honest.send(OTHER)


async def test_health_check_on_a_held_connection_is_answered_and_does_not_end_the_hold(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    connection = Connection(throttled)
    timers(monkeypatch)
    await connection.send(GET)
    new = Connection(throttled, common=connection.common)
    assert b"200 OK" in await new.send(b"GET /healthz HTTP/1.1\r\nHost: h\r\n\r\n")
    assert await new.send(OTHER) == b""


async def test_connections_of_a_trusted_proxy_are_not_held(monkeypatch: pytest.MonkeyPatch) -> None:
    common = Connections(ConnectionLimits(trusted_proxies=("10.0.0.0/8",)))
    connection = Connection(throttled, common=common, client="10.1.2.3")
    held = timers(monkeypatch)
    assert (await connection.send(GET + GET)).count(b"200 OK") == 2
    assert b"200 OK" in await Connection(throttled, common=common, client="10.1.2.3").send(OTHER)
    assert not held
    assert not len(common.holds)


def test_holds_forget_what_has_ended_and_the_oldest_beyond_their_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(holds, "_MAX_HOLDS", 3)
    found = Holds()
    for second in range(5):
        found.begin(f"192.0.2.{second}", second / 10, 1.0)
    assert len(found) == 3
    assert found.left("192.0.2.1", 0.5) == 0.0
    assert found.left("192.0.2.4", 0.5) == pytest.approx(0.9)
    found.begin("192.0.2.9", 10.0, 1.0)
    assert len(found) == 1


def test_limits_by_address_apply_to_the_network_of_an_ipv6_address() -> None:
    common = Connections()
    assert common.limited_address(("2001:db8::1", 1)) == common.limited_address(("2001:db8::ffff", 1)) != ""
    assert common.limited_address(("192.0.2.1", 1)) == "192.0.2.1"


async def test_request_when_answered_is_freed_although_its_connection_stays() -> None:
    class Mark:
        pass

    marks: list[weakref.ref[Mark]] = []

    async def app(scope: Any, _receive: Any, send: Any) -> None:
        scope["mark"] = mark = Mark()
        marks.append(weakref.ref(mark))
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", b"0")]})
        await send({"type": "http.response.body", "body": b""})

    connection = Connection(app)
    gc.disable()  # a cycle would stay until the collector runs, which is rare
    try:
        assert (await connection.send(GET)).startswith(b"HTTP/1.1 200")
        assert not connection.paper.closed
        assert marks[0]() is None
    finally:
        gc.enable()


async def test_a_connection_has_so_few_attributes_that_cpython_keeps_them_in_the_object() -> None:
    connection = Connection(echo)
    assert await connection.send(POST, b"hello")
    assert len(vars(connection.protocol)) < 30
