"""Builds the ASGI application over a started runtime, and the separate port for health and metrics."""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import Iterable
from functools import partial
from types import SimpleNamespace
from typing import Any, Final

from uvicorn.server import ServerState

from daypass.config import Settings
from daypass.server.bodies import ConnectionLimits, Connections
from daypass.server.listener import Listener
from daypass.server.protocol import HttpProtocol
from daypass.server.runtime import Receive, Runtime, Send
from daypass.server.startup import forget_setup_code, setup_code
from daypass.wire.app import Application, HttpLimits, Observe
from daypass.wire.front import Front
from daypass.wire.http import Request, Response
from daypass.wire.revocations import StreamLimits
from daypass.wire.routes import RouteSettings, routes
from daypass.wire.routing import Route


def build(runtime: Runtime, observe: Observe | None = None) -> Application:
    """The application over a started runtime. `observe`: see Application; the metrics by default."""
    settings = runtime.settings.server
    front = Front(runtime.env, unrecorded=runtime.metrics.observe_unrecorded)
    return Application(
        front,
        routes(front, runtime, _route_settings(runtime.settings)),
        log=runtime.log.warning,
        observe=observe or runtime.metrics.observe,
        limits=HttpLimits(
            settings.max_body_bytes, settings.anonymous_body_bytes, body_seconds=settings.body_timeout_seconds
        ),
        trusted_proxies=settings.trusted_proxies,
    )


def _route_settings(settings: Settings) -> RouteSettings:
    server = settings.server
    return RouteSettings(
        server.public_url,
        (settings.aws.regions or ("us-east-1",))[0],
        server.client_certificate_header,
        server.metrics_token.get_secret_value(),
        metrics=server.health_port is None,
        streams=StreamLimits(**settings.events.model_dump()),
        shown=_settings_text(settings),
        setup_code=setup_code(server.data),
        setup_done=partial(forget_setup_code, server.data),
    )


def _settings_text(settings: Settings) -> dict[str, dict[str, str]]:
    """The settings as text, by section. pydantic replaces the values of secrets by asterisks."""
    sections: dict[str, dict[str, str]] = {}
    for section, values in settings.model_dump(mode="json").items():
        members = values if isinstance(values, dict) else {section: values}
        sections[section] = {name: _value_text(value) for name, value in members.items()}
    return sections


def _value_text(value: object) -> str:
    if value in (None, [], {}):
        return ""
    return value if isinstance(value, str) else json.dumps(value)


# --- A separate port for health and metrics, so that load on the main port cannot block it. It has no TLS


_CONNECTIONS: Final = 256
_BACKLOG: Final = 128
_NOT_FOUND: Final = Response(404, b"not found\n", b"text/plain")


class HealthPort:
    """Serves the routes at a listening socket, in the running event loop, until it is closed."""

    def __init__(self, routes: Iterable[Route], sock: socket.socket) -> None:
        self._routes = {route.path: route for route in routes}
        self._state = ServerState()
        limits = ConnectionLimits(connections=_CONNECTIONS, per_address=_CONNECTIONS)
        common, config = Connections(limits), SimpleNamespace(loaded_app=self._answer)
        self._listener = Listener(
            asyncio.get_running_loop(),
            sock,
            lambda: HttpProtocol(config, self._state, {}, common=common),  # type: ignore[arg-type]  # the part that is used
            _BACKLOG,
        )

    async def close(self) -> None:
        """Closes the port and its connections."""
        self._listener.close()
        for connection in list(self._state.connections):
            connection.shutdown()
        await self._listener.wait_closed()

    async def _answer(self, scope: dict[str, Any], receive: Receive, send: Send) -> None:  # noqa: ARG002  # ASGI gives it
        """ASGI 3. A body is not read."""
        route = self._routes.get(scope["path"])
        if route is None or scope["method"] not in route.methods:
            response = _NOT_FOUND
        else:
            request = Request(scope["method"], scope["raw_path"], b"", scope["headers"], b"", "", False, "", 0)
            response = await route.handler(request)
        length = (b"content-length", b"%d" % len(response.body))
        headers = [(b"content-type", response.content_type), length, *response.headers]
        await send({"type": "http.response.start", "status": response.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else response.body})
