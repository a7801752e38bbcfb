"""The REST wire as an ASGI application, for mounting: the application in front has read and measured the request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from daypass.ports import Env
from daypass.wire.http import Request
from daypass.wire.rolesanywhere.dispatch import RolesAnywhereEndpoint
from daypass.wire.rolesanywhere.errors import internal_failure

PREFIXES: Final = (
    "/trustanchor",
    "/profile",
    "/crl",
    "/subject",
    "/TagResource",
    "/UntagResource",
    "/ListTagsForResource",
    "/put-notifications-settings",
    "/reset-notifications-settings",
)
"""What every path of the service model begins with."""

_Message = dict[str, Any]


def create_app(env: Env) -> Callable[[Any, Any, Any], Awaitable[None]]:
    """The application over these ports."""
    endpoint = RolesAnywhereEndpoint(env)

    async def app(scope: Any, receive: Callable[[], Awaitable[_Message]], send: Callable[[_Message], Any]) -> None:
        message = await receive()
        request = Request(
            scope["method"],
            scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape"),
            scope.get("query_string", b""),
            scope["headers"],
            message.get("body", b""),
            scope.get("daypass.source_ip", ""),
            scope.get("daypass.secure", False),
            scope.get("daypass.request_id", ""),
            env.clock.now(),
        )
        broken: Exception | None = None
        try:
            response = await endpoint(request)
        except Exception as error:  # noqa: BLE001  # answered here in the service's form, then given to the error boundary
            broken, response = error, internal_failure("")
        headers = [
            (b"content-type", response.content_type),
            (b"content-length", b"%d" % len(response.body)),
            *response.headers,
        ]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        body = b"" if request.method == "HEAD" else response.body
        await send({"type": "http.response.body", "body": body})
        if broken is not None:
            raise broken

    return app
