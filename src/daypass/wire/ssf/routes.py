"""The paths of event streams, and the configuration that names them (SSF 1.0, 7)."""

from __future__ import annotations

import json
from typing import Any, Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.ssf.poll import WaitingPolls
from daypass.ports import AuthorizationServer
from daypass.wire.front import Front
from daypass.wire.http import Handler, Request, Response, public_document
from daypass.wire.json_errors import JSON_ERRORS
from daypass.wire.routing import GET, Route
from daypass.wire.ssf import streams
from daypass.wire.ssf.streams import JSON, Serve, SsfEndpoint

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

    poll = streams.poller(WaitingPolls())
    update = "UpdateEventStream"
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
                "POST": ("CreateEventStream", streams.create),
                "GET": ("GetEventStream", streams.read),
                "PATCH": (update, streams.update),
                "PUT": (update, streams.replace),
                "DELETE": ("DeleteEventStream", streams.delete),
            },
        ),
        route(
            _STATUS,
            "The status of an event stream",
            {"GET": ("GetEventStream", streams.read_status), "POST": (update, streams.update_status)},
        ),
        route(_ADD, "Adds a subject to an event stream", {"POST": (update, streams.add_subject)}),
        route(_REMOVE, "Removes a subject from an event stream", {"POST": (update, streams.remove_subject)}),
        route(_VERIFY, "Requests a verification event", {"POST": ("VerifyEventStream", streams.verify)}),
        route(streams.POLL_PATH, "Polls security events (RFC 8936)", {"POST": ("PollEventStream", poll)}),
    )


def configuration(server: AuthorizationServer) -> dict[str, Any]:
    """The transmitter's configuration (SSF 1.0, 7.1)."""
    return {
        "spec_version": "1_0",
        "issuer": server.issuer,
        "jwks_uri": server.issuer + _JWKS,
        "delivery_methods_supported": list(streams.METHODS.values()),
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
