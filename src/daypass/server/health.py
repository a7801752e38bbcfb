"""A separate port for health and metrics, so that load on the main port cannot block it. It has no TLS and serves
nothing else.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Iterable
from types import SimpleNamespace
from typing import Any, Final

from uvicorn.server import ServerState

from daypass.server.bodies import ConnectionLimits, Connections
from daypass.server.listener import Listener
from daypass.server.protocol import HttpProtocol
from daypass.server.runtime import Receive, Send
from daypass.wire.http import Request, Response
from daypass.wire.routing import Route

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
