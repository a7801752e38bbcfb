"""GET /events/revocations: revocations as server-sent events, with resume. GET /statuslists/{id}: status list tokens.

Each follower has a cursor and at most one batch in flight. A follower that does not read is dropped.
Sources: HTML Living Standard, 9.2 (server-sent events); draft-ietf-oauth-status-list, 8 (HTTP).
"""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import aclosing, suppress
from dataclasses import dataclass
from typing import Any, Final
from urllib.parse import parse_qs

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.revocation_index import what_ends
from daypass.domain.session import FeedPosition
from daypass.operations.sessions.follow_revocations import (
    Change,
    Heartbeat,
    Reset,
    RevocationBatch,
    Subscription,
    follow,
    subscribe,
    subscribe_node,
)
from daypass.wire.access_token import SCHEMES, UNPROVEN, authenticated_by_any, authorization_of, challenge, with_nonce
from daypass.wire.front import Front, RequestProgress
from daypass.wire.health import Health
from daypass.wire.http import REQUEST, Request, Response, entity_tag, public_document
from daypass.wire.json_errors import JSON_ERRORS
from daypass.wire.routing import GET, Route

STREAMS: Final = "/events/"
STREAM: Final = b"/events/revocations"
FOLLOW: Final = "daypass:FollowRevocations"
SERVICE: Final = "daypass"
_TOKENS: Final = 10.0
_NODE: Final = b"daypass-node "
_SLOW_SECONDS: Final = 5.0  # how long a follower may take to read what was sent
_CURSOR = re.compile(r"([0-9a-f]{16})-([0-9]{1,18})")
_HEADERS: Final = [
    (b"content-type", b"text/event-stream"),
    (b"cache-control", b"no-store"),
    (b"x-accel-buffering", b"no"),  # nginx would hold events back
    (b"x-content-type-options", b"nosniff"),
]


@dataclass(frozen=True, slots=True)
class StreamLimits:
    """Streams of accounts in one process, and of one account in it, and the seconds between two heartbeats. Nodes have as
    many places as all accounts, for themselves: accounts cannot keep revocations from them.
    """

    streams: int = 1000
    per_account: int = 100
    heartbeat_seconds: float = 1.0


class RevocationStream:
    """The ASGI application of the stream. `health`: told the number of streams when it changes.
    `certificate_header`: see `RouteSettings`.
    """

    def __init__(self, front: Front, limits: StreamLimits, health: Health, certificate_header: str = "") -> None:
        self._front = front
        self._limits = limits
        self._health = health
        self._certificate_header = certificate_header.lower()
        self._open: Counter[str] = Counter()

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        """Serves one follower, or refuses it."""
        request: Request = scope[REQUEST]
        progress = RequestProgress(request, FOLLOW)
        try:
            account, changes = await self._admitted(progress)
        except DaypassError as error:
            await _answer(send, with_nonce(self._front.env, progress, await self._refused(progress, error)))
            return
        self._count(account, 1)
        try:
            await _stream(changes, receive, send)
        finally:
            self._count(account, -1)

    async def _refused(self, progress: RequestProgress, error: DaypassError) -> Response:
        """An access token that is not accepted is a 401 with a challenge; everything else is answered as in the API."""
        by_token = authorization_of(progress.request)[0] in SCHEMES and error.kind.family in UNPROVEN
        response = await self._front.refuse(progress, error, JSON_ERRORS, status=401 if by_token else 0)
        if response.status == 401:
            response = replace(response, headers=(*response.headers, challenge(progress.request, error.kind)))
        return response

    async def _admitted(self, progress: RequestProgress) -> tuple[str, AsyncIterator[Change]]:
        """The follower's account ("" for a node), and what it is sent."""
        request = progress.request
        if request.raw_path != STREAM or request.method != "GET":
            raise DaypassError(ErrorKind.UNKNOWN_OPERATION, "This stream does not exist.")
        subscription = await self._subscription(progress)
        account = subscription.call.caller.account if subscription.call is not None else ""
        if self._is_full(account):
            raise DaypassError(ErrorKind.THROTTLED, "There are too many streams. Try again later.")
        return account, follow(self._front.env, subscription, _cursor(request), self._limits.heartbeat_seconds)

    async def _subscription(self, progress: RequestProgress) -> Subscription:
        env, request = self._front.env, progress.request
        brought = [value for name, value in request.headers if name == b"authorization"]
        if len(brought) == 1 and brought[0][: len(_NODE)].lower() == _NODE:
            self._front.anonymous(progress)
            return await subscribe_node(env, progress.facts(), brought[0][len(_NODE) :].decode("latin-1").strip())
        call = await authenticated_by_any(
            self._front, progress, (SERVICE,), _TOKENS, self._certificate_header, consuming=True
        )
        return await subscribe(env, call, _accounts(request), progress.replays)

    def _is_full(self, account: str) -> bool:
        nodes, limits = self._open[""], self._limits
        if not account:
            return nodes >= limits.streams
        return self._open.total() - nodes >= limits.streams or self._open[account] >= limits.per_account

    def _count(self, account: str, change: int) -> None:
        self._open[account] += change
        if not self._open[account]:
            del self._open[account]
        self._health.observe_streams(self._open.total())


async def _stream(changes: AsyncIterator[Change], receive: Any, send: Any) -> None:
    """Sends until the follower disconnects, is too slow, or the changes end."""
    gone = asyncio.ensure_future(_disconnected(receive))
    sending = asyncio.ensure_future(_send_all(changes, send))
    try:
        await asyncio.wait((gone, sending), return_when=asyncio.FIRST_COMPLETED)
    finally:
        for task in (gone, sending):
            task.cancel()
        results = await asyncio.gather(gone, sending, return_exceptions=True)
    failure = results[1]
    if isinstance(failure, Exception) and not isinstance(failure, TimeoutError):
        raise failure
    with suppress(TimeoutError):
        async with asyncio.timeout(_SLOW_SECONDS):
            await send({"type": "http.response.body", "body": b""})


async def _disconnected(receive: Any) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


async def _send_all(changes: AsyncIterator[Change], send: Any) -> None:
    """Raises TimeoutError for a follower that does not read."""
    await send({"type": "http.response.start", "status": 200, "headers": _HEADERS})
    async with aclosing(changes) as each:  # type: ignore[type-var]  # it is a generator, which can be closed
        async for change in each:
            body = {"type": "http.response.body", "body": render(change), "more_body": True}
            async with asyncio.timeout(_SLOW_SECONDS):
                await send(body)


async def _answer(send: Any, response: Response) -> None:
    length = (b"content-length", b"%d" % len(response.body))
    headers = [(b"content-type", response.content_type), length, *response.headers]
    await send({"type": "http.response.start", "status": response.status, "headers": headers})
    await send({"type": "http.response.body", "body": response.body})


# --- What goes over the wire


def render(change: Change) -> bytes:
    """The events of a change. Only a heartbeat has an id, because only then everything before it has been sent."""
    match change:
        case Reset():
            return b"event: reset\ndata: {}\n\n"
        case RevocationBatch():
            return b"".join(_event("revocation", what_ends(each)) for each in change.revocations)
        case Heartbeat():
            epoch, position = change.state.position
            shown = {
                "epoch": epoch,
                "position": position,
                "complete_until": change.state.complete_until,
                "at": change.at,
                "accounts": change.accounts,
                **({"keys": entity_tag(change.jwks).decode("ascii").strip('"')} if change.jwks else {}),
                **({} if change.nodes is None else {"nodes": change.nodes}),
            }
            return f"id: {epoch}-{position}\n".encode("ascii") + _event("heartbeat", shown)


def _event(name: str, data: dict[str, Any]) -> bytes:
    return f"event: {name}\ndata: {json.dumps(data, separators=(',', ':'))}\n\n".encode("ascii")


def _cursor(request: Request) -> FeedPosition | None:
    """From `Last-Event-ID`; None without one. An id of another form is treated as none: the follower starts over."""
    given = [value for name, value in request.headers if name == b"last-event-id"]
    found = _CURSOR.fullmatch(given[0].decode("latin-1")) if len(given) == 1 else None
    return FeedPosition(found[1], int(found[2])) if found else None


def _accounts(request: Request) -> list[str]:
    """The values of the parameter `account`. Raises DaypassError(VALIDATION)."""
    found = parse_qs(request.raw_query.decode("latin-1")).get("account", [])
    if not all(account == "*" or (len(account) == 12 and account.isascii() and account.isdigit()) for account in found):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits; * is every account.")
    return found


# --- GET /statuslists/{id}: status list tokens, public and cacheable


STATUS_LISTS: Final = "/statuslists/"
GET_STATUS_LIST: Final = "daypass:GetStatusList"
_TYPE: Final = b"application/statuslist+jwt"
_MAX_ID: Final = 64


def status_list_route(front: Front) -> Route:
    """The route of all lists."""

    async def serve(request: Request) -> Response:
        progress = RequestProgress(request, GET_STATUS_LIST)
        try:
            front.anonymous(progress)
            return await _list_answer(front, request)
        except DaypassError as error:
            return await front.refuse(progress, error, JSON_ERRORS)

    return Route(
        STATUS_LISTS, serve, "A status list token: which access tokens are revoked", GET, JSON_ERRORS, GET_STATUS_LIST
    )


async def _list_answer(front: Front, request: Request) -> Response:
    list_id = request.raw_path[len(STATUS_LISTS) :][: _MAX_ID + 1].decode("latin-1")
    status_list = await front.env.statuses.token(list_id)
    if status_list is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "This status list does not exist.")
    tag = b'"' + status_list.tag.encode("ascii") + b'"'
    return public_document(request, status_list.token.encode("ascii"), _TYPE, status_list.max_age, tag, GET_STATUS_LIST)
