"""The application's limits, routes, mounts and error boundary."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from tests.unit.wire.fakes import NOW, REQUEST_ID, World, form, signed

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.app import Application, Hooks, HttpLimits

IDENTITY = form(Action="GetCallerIdentity", Version="2011-06-15")
SMALL = HttpLimits(body=1000, headers=1000, target=100, body_seconds=0.05)


def _error(body: bytes) -> dict[str, str]:
    error: dict[str, str] = json.loads(body)["error"]
    return error


# --- Limits --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "request_",
    [
        {"body": b"a" * 1001},
        {"chunks": [b"a" * 600, b"a" * 600]},
        {"headers": [(b"content-length", b"1001")]},
        {"headers": [(b"x", b"a" * 1000)]},
        {"query": b"a" * 100},
    ],
)
async def test_over_a_limit_is_413_in_the_protocols_form_and_recorded(request_: dict[str, Any]) -> None:
    world = World(limits=SMALL)
    answer = await world.send(**request_)
    assert (answer.status, answer.code) == (413, "RequestEntityTooLarge")
    assert answer.headers[b"connection"] == b"close"
    assert world.refusals[0].error.kind is ErrorKind.REQUEST_TOO_LARGE


async def test_at_the_limits_is_read() -> None:
    world = World(limits=SMALL)
    body = IDENTITY + b"&x=" + b"a" * (1000 - len(IDENTITY) - 3)
    answer = await world.send(headers=signed(body), body=body)
    assert answer.status == 200
    answer = await world.send(headers=signed(body), chunks=[body[:10], b"", body[10:]])
    assert answer.status == 200


@pytest.mark.parametrize(
    "headers",
    [
        [(b"content-length", b"5"), (b"content-length", b"6")],
        [(b"content-length", b"5"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"chunked"), (b"content-length", b"5")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"+5")],
        [(b"content-length", b"5, 5")],
        [(b"content-length", b"9" * 20)],
        [(b"content-length", b"")],
    ],
)
async def test_a108_ambiguous_length_is_400(headers: list[tuple[bytes, bytes]]) -> None:
    answer = await World().send(headers=headers, body=b"12345")
    assert (answer.status, answer.code) == (400, "MalformedInput")


@pytest.mark.parametrize("spelling", [b"%d ", b"\t%d", b"00000000000000000%d"])
async def test_length_is_the_number_that_http_parsers_read(spelling: bytes) -> None:
    """Blanks around a header's value are no part of it (RFC 9110, section 5.5). A body that is here with its head is
    not looked at again: what a request is must not depend on how it was cut.
    """
    answer = await World().send(
        headers=[*signed(IDENTITY), (b"content-length", spelling % len(IDENTITY))], body=IDENTITY
    )
    assert answer.status == 200


async def test_a108_slow_body_is_refused_in_time() -> None:
    world = World(limits=SMALL)
    for chunks in ([], [b"Action="]):
        answer = await world.send(headers=[(b"content-length", b"50")], chunks=chunks, after={"type": "wait"})
        assert (answer.status, answer.code) == (400, "MalformedInput")
        assert answer.headers[b"connection"] == b"close"
    assert len(world.refusals) == 2


async def test_client_that_goes_away_gets_no_answer_and_nothing_happens() -> None:
    world = World()
    for chunks in ([], [b"Action=GetCallerIdentity"]):
        answer = await world.send(chunks=chunks, after={"type": "http.disconnect"})
        assert answer.status == 0
    assert (world.calls, world.refusals) == ([], [])
    assert world.observed == [("", "ClientGone")] * 2


# --- Routes --------------------------------------------------------------------------------------------------------


async def test_route_answers_get_and_head() -> None:
    world = World()
    answer = await world.send("GET", b"/healthz")
    assert (answer.status, answer.body, answer.headers[b"content-type"]) == (200, b"ok\n", b"text/plain")
    answer = await world.send("HEAD", b"/healthz")
    assert (answer.status, answer.body, answer.headers[b"content-length"]) == (200, b"", b"3")
    assert world.observed == [("/healthz", "")] * 2


async def test_route_other_method_is_405_and_other_path_404_and_both_are_recorded() -> None:
    world = World()
    answer = await world.send("POST", b"/healthz")
    assert (answer.status, answer.headers[b"allow"]) == (405, b"GET, HEAD")
    for path in (b"/nope", b"/healthz/", b"//", b"/%2e", b"/HEALTHZ"):
        answer = await world.send("GET", path)
        assert answer.status == 404
        assert _error(answer.body)["request_id"] == REQUEST_ID
    assert [refusal.error.kind for refusal in world.refusals] == [ErrorKind.UNKNOWN_OPERATION] * 6


async def test_route_over_a_limit_is_413_and_recorded() -> None:
    world = World(limits=SMALL)
    answer = await world.send("GET", b"/healthz", query=b"a" * 200)
    assert answer.status == 413
    assert [refusal.error.kind for refusal in world.refusals] == [ErrorKind.REQUEST_TOO_LARGE]


async def test_route_whose_refusal_cannot_be_recorded_is_503() -> None:
    world = World(record_raises=DaypassError(ErrorKind.UNAVAILABLE, "away"))
    assert (await world.send("GET", b"/nope")).status == 503


async def test_route_obeys_limits() -> None:
    answer = await World(limits=SMALL).send("GET", b"/healthz", headers=[(b"content-length", b"2000")])
    assert (answer.status, _error(answer.body)["code"]) == (413, "RequestEntityTooLarge")


async def test_route_that_fails_is_a_constant_500() -> None:
    world = World()
    answer = await world.send("POST", b"/boom")
    assert (answer.status, _error(answer.body)["code"]) == (500, "InternalFailure")
    assert b"canary" not in answer.body
    assert world.logged == ["request failed unexpectedly"]
    assert world.observed == [("", "InternalFailure")]


# --- Mounts --------------------------------------------------------------------------------------------------------


async def _mounted(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] == "/api/boom":
        raise RuntimeError("canary")
    body = (await receive())["body"]
    seen = json.dumps({k: v for k, v in scope.items() if k.startswith("daypass.")} | {"body": body.decode()})
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    if scope["path"] == "/api/late":
        raise RuntimeError("canary")
    await send({"type": "http.response.body", "body": seen.encode()})


async def test_mount_is_built_once_and_told_where_the_request_came_from() -> None:
    built: list[int] = []

    def build() -> Any:
        built.append(1)
        return _mounted

    world = World(mounts={"/api/": build})
    for _ in range(2):
        answer = await world.send("POST", b"/api/v1/x", body=b"hello")
        assert answer.status == 200
        assert json.loads(answer.body) == {
            "daypass.request_id": REQUEST_ID, "daypass.source_ip": "10.1.2.3", "daypass.secure": False, "body": "hello",
        }  # fmt: skip
        assert answer.headers[b"x-amzn-requestid"] == REQUEST_ID.encode()
    assert built == [1]
    assert (await world.send("GET", b"/apis")).status == 404
    assert world.observed[0] == ("/api/", "")


async def test_mount_obeys_limits_and_the_error_boundary() -> None:
    world = World(limits=SMALL, mounts={"/api/": lambda: _mounted})
    answer = await world.send("POST", b"/api/x", body=b"a" * 1001)
    assert (answer.status, _error(answer.body)["code"]) == (413, "RequestEntityTooLarge")
    answer = await world.send("POST", b"/api/boom")
    assert (answer.status, _error(answer.body)["code"]) == (500, "InternalFailure")
    assert b"canary" not in answer.body


async def test_mount_that_fails_after_it_began_is_logged_and_not_answered_twice() -> None:
    world = World(mounts={"/api/": lambda: _mounted})
    with pytest.raises(AssertionError):  # only the start was sent: the server cuts the connection
        await world.send("POST", b"/api/late")
    assert world.logged == ["request failed unexpectedly"]
    assert world.observed == [("/api/", "InternalFailure")]


async def test_mount_longest_prefix_wins() -> None:
    async def inner(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    world = World(mounts={"/api/": lambda: _mounted, "/api/docs/": lambda: inner})
    assert (await world.send("GET", b"/api/docs/x")).status == 204


# --- Origin --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("trusted", "client", "forwarded", "expected"),
    [
        ((), "10.0.0.1", [b"1.2.3.4"], "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", [], "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", [b"1.2.3.4"], "1.2.3.4"),
        (("10.0.0.0/8",), "192.0.2.1", [b"1.2.3.4"], "192.0.2.1"),
        (("10.0.0.0/8",), "10.0.0.1", [b"6.6.6.6, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
        (("10.0.0.0/8",), "10.0.0.1", [b"6.6.6.6", b"1.2.3.4"], "1.2.3.4"),
        (("10.0.0.0/8",), "10.0.0.1", [b"1.2.3.4, junk"], "10.0.0.1"),
        (("10.0.0.0/8",), "10.0.0.1", [b"6.6.6.6, junk, 10.0.0.3"], "10.0.0.3"),
        (("10.0.0.0/8",), "10.0.0.1", [b""], "10.0.0.1"),
        (("10.0.0.0/8",), "::ffff:10.0.0.1", [b"::ffff:1.2.3.4"], "1.2.3.4"),
        ((), "::ffff:10.0.0.1", [], "10.0.0.1"),
        ((), "fe80::1%eth0", [], "fe80::1"),
        (("fd00::/8",), "fd00::1", [b"2001:DB8::1"], "2001:db8::1"),
        ((), None, [], ""),
    ],
)
async def test_source_address_is_what_a_trusted_hop_saw(
    trusted: tuple[str, ...], client: str | None, forwarded: list[bytes], expected: str
) -> None:
    world = World(trusted=trusted)
    headers = [*signed(IDENTITY), *((b"x-forwarded-for", value) for value in forwarded)]
    await world.send(headers=headers, body=IDENTITY, client=(client, 1) if client else None)
    assert world.calls[0][1].facts.source_ip == expected


@pytest.mark.parametrize(
    ("trusted", "scheme", "proto", "expected"),
    [((), "http", b"https", False), ((), "https", None, True), (("10.0.0.0/8",), "http", b"https", True),
     (("10.0.0.0/8",), "http", b"https, http", False), (("10.0.0.0/8",), "https", b"http", False)],
)  # fmt: skip
async def test_secure_transport_is_what_a_trusted_hop_saw(
    trusted: tuple[str, ...], scheme: str, proto: bytes | None, expected: bool
) -> None:
    world = World(trusted=trusted)
    headers = [*signed(IDENTITY), *([(b"x-forwarded-proto", proto)] if proto else [])]
    await world.send(headers=headers, body=IDENTITY, scheme=scheme)
    assert world.calls[0][1].facts.secure_transport is expected


def test_trusted_proxies_that_are_no_networks_refuse_to_start() -> None:
    with pytest.raises(ValueError, match=r"10\.0\.0\.0/99"):
        World(trusted=("10.0.0.0/99",))


# --- Start and stop ------------------------------------------------------------------------------------------------


def _application(lifespan: Any) -> Application:
    return Application(World().app._aws, Hooks(clock=lambda: NOW, new_id=lambda: "r"), lifespan=lifespan)


async def _live(app: Application) -> list[str]:
    incoming = [{"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}]
    sent: list[str] = []

    async def receive() -> dict[str, Any]:
        return incoming.pop(0)

    async def send(message: dict[str, Any]) -> None:
        sent.append(message["type"])

    await app({"type": "lifespan"}, receive, send)
    return sent


async def test_lifespan_enters_and_leaves() -> None:
    steps: list[str] = []

    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        steps.append("in")
        yield
        steps.append("out")

    assert await _live(_application(lifespan)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]
    assert steps == ["in", "out"]
    assert await _live(_application(None)) == ["lifespan.startup.complete", "lifespan.shutdown.complete"]


@pytest.mark.parametrize("when", ["start", "stop"])
async def test_lifespan_that_fails_says_so(when: str) -> None:
    @asynccontextmanager
    async def lifespan() -> AsyncIterator[None]:
        if when == "start":
            raise RuntimeError
        yield
        raise RuntimeError

    sent = await _live(_application(lifespan))
    assert sent[-1] == ("lifespan.startup.failed" if when == "start" else "lifespan.shutdown.failed")


async def test_websocket_is_closed() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await World().app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]
