"""The application's limits, routes, mounts and error boundary."""

from __future__ import annotations

import asyncio
import json
from typing import Any

import pytest
from msgspec.structs import replace
from tests.unit.wire.fakes import REQUEST_ID, World, form, signed

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.app import HttpLimits
from daypass.wire.http import HOLD, LATE, OVERDUE, REQUEST, WHOLE_ANSWER, WHOLE_BODY, FixedHeaders, Response
from daypass.wire.routing import Mount, Route, Routes

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
        {"query": b"a" * 100},
    ],
)
async def test_over_a_limit_is_413_in_the_protocols_form_and_recorded(request_: dict[str, Any]) -> None:
    world = World(limits=SMALL)
    answer = await world.send(**request_)
    assert (answer.status, answer.code) == (413, "RequestEntityTooLarge")
    assert answer.headers[b"connection"] == b"close"
    assert world.refusals[0].error.kind is ErrorKind.REQUEST_TOO_LARGE


async def test_headers_over_the_limit_are_431_in_the_protocols_form_and_recorded() -> None:
    world = World(limits=SMALL)
    answer = await world.send(headers=[(b"x", b"a" * 1000)])
    assert (answer.status, answer.code) == (431, "RequestHeaderSectionTooLarge")
    assert answer.headers[b"connection"] == b"close"
    assert world.refusals[0].error.kind is ErrorKind.HEADERS_TOO_LARGE


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
    """Blanks around a header's value are not part of it (RFC 9110, section 5.5). A body that is here with its head is
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
    assert world.observed == [("/", "ClientGone")] * 2


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
    kinds = [refusal.error.kind for refusal in world.refusals]
    assert kinds == [ErrorKind.MALFORMED_REQUEST, *[ErrorKind.UNKNOWN_OPERATION] * 5]


async def test_send_response_with_fixed_headers_is_one_write_and_with_others_is_not() -> None:
    fixed = FixedHeaders((b"cache-control", b"no-store"), (b"pragma", b"no-cache"))
    sent: list[tuple[int, bytes, bytes]] = []

    def whole(status: int, lines: bytes, body: bytes) -> bool:
        sent.append((status, lines, body))
        return True

    world = World(health=Response(200, b"{}", b"application/json", fixed))
    await world.send("GET", b"/healthz", scope={WHOLE_ANSWER: whole})
    assert [(status, body) for status, _, body in sent] == [(200, b"{}")]
    assert sent[0][1].endswith(b"\r\ncache-control: no-store\r\npragma: no-cache\r\n")
    world.health = replace(world.health, headers=(*fixed, (b"dpop-nonce", b"made for a caller")))
    answer = await world.send("GET", b"/healthz", scope={WHOLE_ANSWER: whole})
    assert len(sent) == 1, "headers that may hold text of a caller take the way on which they are checked"
    assert answer.headers[b"cache-control"] == b"no-store"


async def test_route_below_a_prefix_is_found_as_sent_and_an_exact_path_wins() -> None:
    async def serve(_: object) -> Response:
        return Response(200, b"")

    rows = {path: Route(path, serve, "") for path in ("/", "/a", "/a/", "/a/b/", "/a/b/c")}
    table = Routes(rows.values())
    found = {b"/": "/", b"": "/", b"/a": "/a", b"/a/": "/a/", b"/a/x": "/a/", b"/a/b/x": "/a/b/", b"/a/b/c": "/a/b/c"}
    assert {path: table.find(path) for path in found} == {path: rows[name] for path, name in found.items()}
    for path in (b"/ab", b"/%61", b"//", b"/A/"):
        assert table.find(path) is None


def test_routes_with_two_rows_of_one_path_are_refused() -> None:
    with pytest.raises(ValueError, match="the same path"):
        Routes([Mount("/api/", _mounted, "")] * 2)


async def test_route_whose_handler_refuses_is_recorded_with_its_operation_and_answered_in_its_format() -> None:
    world = World()
    answer = await world.send("GET", b"/refused")
    assert (answer.status, _error(answer.body)) == (
        404,
        {"code": "NoSuchEntity", "message": "Nothing is here.", "request_id": REQUEST_ID},
    )
    refusal = world.refusals[0]
    assert (refusal.facts.operation, refusal.facts.source_ip) == ("daypass:Refused", "10.1.2.3")
    assert (refusal.caller, refusal.error.kind) == (None, ErrorKind.NOT_FOUND)
    assert refusal.detail == {"method": "GET", "path": "/refused"}
    assert world.observed == [("daypass:Refused", "NoSuchEntity")]


async def test_refusal_that_cannot_be_recorded_is_counted_with_its_operation() -> None:
    world = World(record_raises=DaypassError(ErrorKind.UNAVAILABLE, "away"))
    assert (await world.send("GET", b"/refused")).status == 503
    assert world.unrecorded == ["daypass:Refused"]


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
    assert world.observed == [("/boom", "InternalFailure")]


# --- Mounts --------------------------------------------------------------------------------------------------------


async def _mounted(scope: dict[str, Any], receive: Any, send: Any) -> None:
    if scope["path"] == "/api/boom":
        raise RuntimeError("canary")
    body = (await receive())["body"]
    given = scope[REQUEST]
    seen = json.dumps([given.request_id, given.source_ip, given.secure, given.body.decode(), body.decode()])
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    if scope["path"] == "/api/late":
        raise RuntimeError("canary")
    await send({"type": "http.response.body", "body": seen.encode()})


async def test_mount_is_told_where_the_request_came_from() -> None:
    world = World(mounts={"/api/": _mounted})
    answer = await world.send("POST", b"/api/v1/x", body=b"hello")
    assert answer.status == 200
    assert json.loads(answer.body) == [REQUEST_ID, "10.1.2.3", False, "hello", "hello"]
    assert answer.headers[b"x-amzn-requestid"] == REQUEST_ID.encode()
    assert (await world.send("GET", b"/apis")).status == 404
    assert world.observed[0] == ("/api/", "")


async def test_mount_obeys_limits_and_the_error_boundary() -> None:
    world = World(limits=SMALL, mounts={"/api/": _mounted})
    answer = await world.send("POST", b"/api/x", body=b"a" * 1001)
    assert (answer.status, _error(answer.body)["code"]) == (413, "RequestEntityTooLarge")
    answer = await world.send("POST", b"/api/boom")
    assert (answer.status, _error(answer.body)["code"]) == (500, "InternalFailure")
    assert b"canary" not in answer.body


async def test_mount_that_fails_after_it_began_is_logged_and_not_answered_twice() -> None:
    world = World(mounts={"/api/": _mounted})
    with pytest.raises(AssertionError):  # only the start was sent: the server cuts the connection
        await world.send("POST", b"/api/late")
    assert world.logged == ["request failed unexpectedly"]
    assert world.observed == [("/api/", "InternalFailure")]


async def test_mount_longest_prefix_wins() -> None:
    async def inner(scope: dict[str, Any], receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    world = World(mounts={"/api/": _mounted, "/api/docs/": inner})
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
        (("10.0.0.0/8",), "10.0.0.1", [b"10.0.0.9, 10.0.0.2"], "10.0.0.9"),
        (("10.0.0.0/8",), "10.0.0.1", [b"junk, 1.2.3.4, 10.0.0.2"], "1.2.3.4"),
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
    ("reported", "expected"),
    [
        (b"1.2.3.4:50123", "1.2.3.4"),
        (b"6.6.6.6, 1.2.3.4:50123, 10.0.0.2:443", "1.2.3.4"),
        (b"[2001:DB8::1]:50123", "2001:db8::1"),
        (b"[2001:db8::1]", "2001:db8::1"),
        (b"[::ffff:1.2.3.4]:1", "1.2.3.4"),
    ],
)
async def test_a372_source_address_that_is_reported_with_its_port_is_the_clients(
    reported: bytes, expected: str
) -> None:
    world = World(trusted=("10.0.0.0/8",))
    await world.send(headers=[*signed(IDENTITY), (b"x-forwarded-for", reported)], body=IDENTITY, client=("10.0.0.1", 1))
    assert world.calls[0][1].facts.source_ip == expected


@pytest.mark.parametrize(
    "reported",
    [
        [b"1.2.3.4, junk"],
        [b"6.6.6.6, junk, 10.0.0.3"],
        [b"1.2.3.4, unknown"],
        [b"1.2.3.4, _hidden"],
        [b'for="[2001:db8::1]:50123"'],
        [b"unix:"],
        [b""],
        [b"1.2.3.4", b""],
        [b"1.2.3.4, ,10.0.0.2"],
        [b"1.2.3.4:"],
        [b"1.2.3.4:x"],
        [b"[1.2.3.4"],
        [b"[]:1"],
        [b"1.2.3.4 5.6.7.8"],
        [b"1.2.3.4\xb2"],
        [b"6.6.6.6" + b", 10.0.0.2" * 32],
        [b"10.0.0.9" + b", 10.0.0.2" * 32],
        [b"6.6.6.6", *[b"10.0.0.2"] * 32],
    ],
)
async def test_a390_source_address_that_a_proxy_does_not_report_is_unknown_and_not_that_of_the_proxy(
    reported: list[bytes],
) -> None:
    world = World(trusted=("10.0.0.0/8",))
    headers = [*signed(IDENTITY), *((b"x-forwarded-for", value) for value in reported)]
    await world.send(headers=headers, body=IDENTITY, client=("10.0.0.1", 1))
    assert world.calls[0][1].facts.source_ip == ""


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


# --- Other scopes ---------------------------------------------------------------------------------------------------


async def test_websocket_is_closed() -> None:
    sent: list[dict[str, Any]] = []

    async def receive() -> dict[str, Any]:
        return {"type": "websocket.connect"}

    async def send(message: dict[str, Any]) -> None:
        sent.append(message)

    await World().app({"type": "websocket", "path": "/"}, receive, send)
    assert sent == [{"type": "websocket.close", "code": 1000}]


# --- Overload ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", [b"/", b"/api/v1/x", b"/nothing"])
async def test_a115_late_request_is_503_with_retry_after_and_recorded(path: bytes) -> None:
    world = World(mounts={"/api/": _mounted})
    answer = await world.send(path=path, headers=signed(IDENTITY), body=IDENTITY, scope={LATE: True})
    assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")
    assert b"SlowDown" in answer.body
    assert world.calls == []
    assert [(event.error, event.detail) for event in world.overloads] == [("overloaded", {"reason": "queue"})]
    assert [code for _, code in world.observed] == ["SlowDown"]


async def test_a115_overdue_request_is_503_with_retry_after_and_recorded() -> None:
    world, scope = World(), {OVERDUE: True}
    world.raises = asyncio.CancelledError()  # type: ignore[assignment]  # what the server's cancellation is here
    answer = await world.send(headers=signed(IDENTITY), body=IDENTITY, scope=scope)
    assert (answer.status, answer.code, answer.headers[b"retry-after"]) == (503, "SlowDown", b"1")
    assert b"may have been carried out" in answer.body
    assert world.overloads[0].detail == {"reason": "deadline"}
    assert OVERDUE not in scope
    with pytest.raises(asyncio.CancelledError):
        await world.send(headers=signed(IDENTITY), body=IDENTITY)


@pytest.mark.parametrize(("rate", "held"), [("source", 1), ("principal", 0), ("account", 0)])
async def test_a113_throttled_source_is_held_and_a_throttled_principal_is_not(rate: str, held: int) -> None:
    world, scope = World(), dict[str, Any]()
    world.raises = DaypassError(ErrorKind.THROTTLED, "Rate exceeded", private={"rate": rate})
    answer = await world.send(headers=signed(IDENTITY), body=IDENTITY, scope=scope)
    assert (answer.code, answer.headers[b"retry-after"]) == ("Throttling", b"1")
    assert scope.get(HOLD, 0) == held


@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("way", ["declared", "chunked", "here"])
async def test_a114_large_body_needs_credentials(known: bool, way: str) -> None:
    world = World(limits=HttpLimits(body=2_000, anonymous_body=500), known=known)
    body = IDENTITY + b"&x=" + b"a" * 1_000
    more: dict[str, Any] = {"chunks": [body[:600], body[600:]]}
    headers = signed(body)
    if way == "declared":
        headers = [*headers, (b"content-length", b"%d" % len(body))]
    if way == "here":
        more = {"scope": {WHOLE_BODY: body}}
    answer = await world.send(headers=headers, **more)
    assert answer.status == (200 if known else 413)
    assert len(world.asked) == 1
    assert known or world.refusals[0].error.kind is ErrorKind.REQUEST_TOO_LARGE
    assert (await world.send(headers=signed(IDENTITY), scope={WHOLE_BODY: IDENTITY})).status == 200
    assert len(world.asked) == 1, "small bodies are read in any case"


async def test_a114_body_without_room_is_503_with_retry_after_and_recorded() -> None:
    world = World(mounts={"/api/": _mounted})
    for path in (b"/", b"/api/v1/x"):
        error = DaypassError(ErrorKind.OVERLOADED, "No room.")
        answer = await world.send(path=path, receive_raises=error)
        assert (answer.status, answer.headers[b"retry-after"]) == (503, b"1")
        assert answer.headers[b"connection"] == b"close"
        assert world.refusals[-1].error is error
