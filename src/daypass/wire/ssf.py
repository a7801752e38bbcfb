"""Serves the stream management of SSF 1.0 (8.1) and polls (RFC 8936): paths, members in, operations, members out."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from msgspec import structs

from daypass.domain.directory import EventStream
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.ssf import SUPPORTED, InvalidSubject, SubjectId, parsed_subject
from daypass.operations.ssf import poll as polling
from daypass.operations.ssf import streams
from daypass.operations.ssf.poll import WaitingPolls
from daypass.operations.ssf.push import POLL, PUSH
from daypass.operations.ssf.streams import StreamSettings
from daypass.ports import AuthorizationServer, Call, Env
from daypass.wire.access_token import UNPROVEN, authenticated_by_any, challenge, with_nonce
from daypass.wire.content import json_object_of, pairs_of, unique
from daypass.wire.front import Front, RequestProgress
from daypass.wire.http import Handler, Header, Request, Response, public_document
from daypass.wire.json_errors import JSON_ERRORS
from daypass.wire.routing import GET, Route

JSON: Final = b"application/json"
MAX_BODY: Final = 65_536
_SERVICE: Final = "daypass"
_TOKENS: Final = 10.0  # that a call costs, relative to an STS request
_NO_STORE: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True, slots=True)
class StreamContext:
    """One authenticated request. `body`: the members of its JSON object."""

    env: Env
    call: Call
    request: Request
    body: dict[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """A member that is a string. Raises DaypassError(VALIDATION)."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise DaypassError(ErrorKind.VALIDATION, f"The member {name} must be a string.")
        return value


Serve: TypeAlias = Callable[[StreamContext], Awaitable[Response]]


class SsfEndpoint:
    """The handler of one path.

    Args:
        operations: the operation of each method, as the record names it, and the function that serves it.
        certificate_header: the header in which trusted proxies forward a client's certificate, "" for none.
    """

    def __init__(self, front: Front, operations: dict[str, tuple[str, Serve]], certificate_header: str) -> None:
        self._front = front
        self._operations = operations
        self._certificate_header = certificate_header.lower()

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        env = self._front.env
        if not env.oauth.enabled:
            raise DaypassError(ErrorKind.NOT_FOUND, "Event streams are off: server.public_url is not set.")
        name, serve = self._operations[request.method]
        progress = RequestProgress(request, f"{_SERVICE}:{name}")
        try:
            response = await serve(await self._context(progress))
        except DaypassError as error:
            unproven = error.kind.family in UNPROVEN
            response = await self._front.refuse(progress, error, JSON_ERRORS, status=401 if unproven else 0)
            if response.status == 401:
                response = structs.replace(response, headers=(*response.headers, challenge(request, error.kind)))
        return with_nonce(env, progress, structs.replace(response, operation=progress.operation))

    async def _context(self, progress: RequestProgress) -> StreamContext:
        request, env = progress.request, self._front.env
        if len(request.body) > MAX_BODY:
            raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {MAX_BODY} bytes.")
        call = await authenticated_by_any(self._front, progress, (_SERVICE,), _TOKENS, self._certificate_header)
        return StreamContext(env, call, request, json_object_of(request.body))


def answer(content: Any, status: int = 200) -> Response:
    """A served request, with JSON."""
    return Response(status, json.dumps(content).encode("ascii"), JSON, _NO_STORE)


def empty(status: int = 204) -> Response:
    """A served request without content."""
    return Response(status, b"", JSON, _NO_STORE)


METHODS: Final[Mapping[str, str]] = {PUSH: "urn:ietf:rfc:8935", POLL: "urn:ietf:rfc:8936"}
"""The URN of each delivery method."""
POLL_PATH: Final = "/ssf/poll/"
_BY_URN: Final[Mapping[str, str]] = {urn: method for method, urn in METHODS.items()}
_MAX_LIST: Final = 100
_MAX_ID: Final = 64
_MAX_FIELDS: Final = 16  # parameters of a query


async def create(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.1.1."""
    stream = await streams.create_stream(ctx.env, ctx.call, _settings(ctx, None))
    return answer(_stream_json(ctx, stream), 201)


async def read(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.1.2: one stream, or all that the caller may see."""
    if wanted := _query(ctx).get("stream_id"):
        return answer(_stream_json(ctx, await streams.get_stream(ctx.env, ctx.call, wanted[:_MAX_ID])))
    return answer([_stream_json(ctx, each) for each in await streams.list_streams(ctx.env, ctx.call)])


async def update(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.1.3: the members that the request has."""
    stream = await streams.update_stream(ctx.env, ctx.call, _id(ctx), lambda old: _settings(ctx, old))
    return answer(_stream_json(ctx, stream))


async def replace(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.1.4: members that the request does not have are reset."""
    settings = _settings(ctx, None)
    stream = await streams.update_stream(ctx.env, ctx.call, _id(ctx), lambda _: settings)
    return answer(_stream_json(ctx, stream))


async def delete(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.1.5."""
    await streams.delete_stream(ctx.env, ctx.call, _queried(ctx))
    return empty()


async def read_status(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.2.1."""
    return answer(_status(await streams.get_stream(ctx.env, ctx.call, _queried(ctx))))


async def update_status(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.2.2."""
    status, reason = ctx.text("status"), ctx.text("reason", "")
    return answer(_status(await streams.update_status(ctx.env, ctx.call, _id(ctx), status, reason)))


async def add_subject(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.3.2."""
    await streams.add_subject(ctx.env, ctx.call, _id(ctx), _subject(ctx))
    return empty(200)


async def remove_subject(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.3.3."""
    await streams.remove_subject(ctx.env, ctx.call, _id(ctx), _subject(ctx))
    return empty()


async def verify(ctx: StreamContext) -> Response:
    """SSF 1.0, 8.1.4.2."""
    state = ctx.text("state") if "state" in ctx.body else None
    await streams.verify_stream(ctx.env, ctx.call, _id(ctx), state)
    return empty()


def poller(waiting: polling.WaitingPolls) -> Serve:
    """Serves polls (RFC 8936, 2). `waiting`: those of this process that wait."""

    async def poll(ctx: StreamContext) -> Response:
        stream_id = ctx.request.raw_path[len(POLL_PATH) :][: _MAX_ID + 1].decode("latin-1")
        poll_answer = await polling.poll(ctx.env, ctx.call, stream_id, _poll_request(ctx), waiting)
        return answer({"sets": dict(poll_answer.sets), "moreAvailable": poll_answer.more})

    return poll


def _poll_request(ctx: StreamContext) -> polling.PollRequest:
    body = ctx.body
    most, at_once = body.get("maxEvents", polling.MAX_EVENTS), body.get("returnImmediately", False)
    acks, errors = body.get("ack", []), body.get("setErrs", {})
    if type(most) is not int or most < 0 or type(at_once) is not bool:
        raise _invalid("maxEvents is a number and returnImmediately a boolean.")
    if not isinstance(acks, list) or not all(isinstance(jti, str) for jti in acks):
        raise _invalid("ack is a list of strings.")
    if not isinstance(errors, dict) or not all(isinstance(each, dict) for each in errors.values()):
        raise _invalid("setErrs has an object for each jti.")
    said = {jti: f"{each.get('err', '')}: {each.get('description', '')}" for jti, each in errors.items()}
    return polling.PollRequest(most, at_once, acks, said)


# --- Members ---------------------------------------------------------------------------------------------------------


def _settings(ctx: StreamContext, old: EventStream | None) -> StreamSettings:
    """The settings of a request; what it does not have is taken from `old`."""
    body = ctx.body
    method, url, header = (POLL, "", "") if old is None else (old.method, old.endpoint_url, "")
    if "delivery" in body:
        delivery = body["delivery"]
        if not isinstance(delivery, dict):
            raise _invalid("delivery is an object.")
        method = _BY_URN.get(str(delivery.get("method")), "")
        url, header = delivery.get("endpoint_url", url), delivery.get("authorization_header", "")
        if not isinstance(url, str) or not isinstance(header, str):
            raise _invalid("endpoint_url and authorization_header are strings.")
    requested = body.get("events_requested", SUPPORTED if old is None else old.event_types)
    if not isinstance(requested, (list, tuple)) or len(requested) > _MAX_LIST:
        raise _invalid(f"events_requested is a list of at most {_MAX_LIST} strings.")
    types = tuple(name for name in requested if isinstance(name, str))
    description = ctx.text("description", "" if old is None else old.description)
    return StreamSettings(method, url, header, types, description)


def _stream_json(ctx: StreamContext, stream: EventStream) -> dict[str, Any]:
    """The configuration of a stream (SSF 1.0, 8.1.1), without the header that authorizes pushes."""
    issuer = ctx.env.oauth.issuer
    endpoint = stream.endpoint_url if stream.method == PUSH else f"{issuer}{POLL_PATH}{stream.id}"
    return {
        "stream_id": stream.id,
        "iss": issuer,
        "aud": stream.arn,
        "delivery": {"method": METHODS[stream.method], "endpoint_url": endpoint},
        "events_supported": list(SUPPORTED),
        "events_requested": list(stream.event_types),
        "events_delivered": list(stream.event_types),
        "min_verification_interval": streams.VERIFICATION_SECONDS,
        **({"description": stream.description} if stream.description else {}),
    }


def _status(stream: EventStream) -> dict[str, str]:
    shown = {"stream_id": stream.id, "status": stream.delivery_status}
    return {**shown, "reason": stream.reason} if stream.reason else shown


def _id(ctx: StreamContext) -> str:
    return ctx.text("stream_id")[:_MAX_ID]


def _queried(ctx: StreamContext) -> str:
    found = _query(ctx).get("stream_id", "")
    if not found:
        raise _invalid("The parameter stream_id names the stream.")
    return found[:_MAX_ID]


def _query(ctx: StreamContext) -> dict[str, str]:
    return unique(pairs_of(ctx.request.raw_query, _MAX_FIELDS))


def _subject(ctx: StreamContext) -> SubjectId:
    try:
        return parsed_subject(ctx.body.get("subject"))
    except InvalidSubject as error:
        raise _invalid(str(error)) from None


def _invalid(message: str) -> DaypassError:
    return DaypassError(ErrorKind.VALIDATION, message)


# --- The paths of event streams, and the configuration that names them (SSF 1.0, 7)


CONFIGURATION: Final = "/.well-known/ssf-configuration"
_JWKS: Final = "/.well-known/jwks.json"
_STREAMS: Final = "/ssf/streams"
_STATUS: Final = "/ssf/status"
_ADD: Final = "/ssf/subjects/add"
_REMOVE: Final = "/ssf/subjects/remove"
_VERIFY: Final = "/ssf/verification"
_READ: Final = "daypass:GetServerMetadata"
_MAX_AGE_SECONDS: Final = 3600


def ssf_routes(front: Front, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. `certificate_header`: see `RouteSettings`."""

    def route(path: str, summary: str, operations: dict[str, tuple[str, Serve]]) -> Route:
        endpoint = SsfEndpoint(front, operations, certificate_header)
        names = {name for name, _ in operations.values()}
        operation = f"daypass:{names.pop()}" if len(names) == 1 else ""
        return Route(path, endpoint, summary, frozenset(operations), JSON_ERRORS, operation)

    poll = poller(WaitingPolls())
    changes = "UpdateEventStream"
    return (
        Route(
            CONFIGURATION,
            _configuration(front),
            "The configuration of event streams (SSF 1.0)",
            GET,
            JSON_ERRORS,
            _READ,
        ),
        route(
            _STREAMS,
            "Creates, reads, changes and deletes event streams (SSF 1.0)",
            {
                "POST": ("CreateEventStream", create),
                "GET": ("GetEventStream", read),
                "PATCH": (changes, update),
                "PUT": (changes, replace),
                "DELETE": ("DeleteEventStream", delete),
            },
        ),
        route(
            _STATUS,
            "The status of an event stream",
            {"GET": ("GetEventStream", read_status), "POST": (changes, update_status)},
        ),
        route(_ADD, "Adds a subject to an event stream", {"POST": (changes, add_subject)}),
        route(_REMOVE, "Removes a subject from an event stream", {"POST": (changes, remove_subject)}),
        route(_VERIFY, "Requests a verification event", {"POST": ("VerifyEventStream", verify)}),
        route(POLL_PATH, "Polls security events (RFC 8936)", {"POST": ("PollEventStream", poll)}),
    )


def configuration(server: AuthorizationServer) -> dict[str, Any]:
    """The transmitter's configuration (SSF 1.0, 7.1)."""
    return {
        "spec_version": "1_0",
        "issuer": server.issuer,
        "jwks_uri": server.issuer + _JWKS,
        "delivery_methods_supported": list(METHODS.values()),
        "configuration_endpoint": server.issuer + _STREAMS,
        "status_endpoint": server.issuer + _STATUS,
        "add_subject_endpoint": server.issuer + _ADD,
        "remove_subject_endpoint": server.issuer + _REMOVE,
        "verification_endpoint": server.issuer + _VERIFY,
        "critical_subject_members": ["tenant"],
        "authorization_schemes": [{"spec_urn": "urn:ietf:rfc:6749"}],
        "default_subjects": "ALL",
    }


def _configuration(front: Front) -> Handler:
    """The handler of the public document. It is served from memory."""

    async def serve(request: Request) -> Response:
        server = front.env.oauth
        if not server.enabled:
            raise DaypassError(ErrorKind.NOT_FOUND, "Event streams are off: server.public_url is not set.")
        body = json.dumps(configuration(server)).encode("ascii")
        return public_document(request, body, JSON, _MAX_AGE_SECONDS, operation=_READ)

    return serve
