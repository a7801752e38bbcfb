"""The event loop of a serving process: uvloop, but for two points.

TLS connections end in a second: a client that keeps an idle connection does not read, so it does not answer the server's
farewell (close_notify), and with uvloop's 30 seconds for that, one idle client would hold up every stop for the whole
drain time. And connections without TLS are accepted by the handful (see `listener`).
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable
from typing import Any

import uvloop

from daypass.server.listener import Listener

_FAREWELL_SECONDS = 1.0


class Loop(uvloop.Loop):
    """uvloop with a short TLS shutdown, and its own way to accept."""

    async def create_server(  # type: ignore[override]  # passed on
        self, protocol_factory: Callable[[], Any], *args: Any, **options: Any
    ) -> asyncio.AbstractServer:
        """As uvloop's."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_shutdown_timeout", _FAREWELL_SECONDS)
        elif isinstance(options.get("sock"), socket.socket) and not args:
            return Listener(self, options["sock"], protocol_factory, options.get("backlog", 100))
        server: asyncio.AbstractServer = await super().create_server(protocol_factory, *args, **options)
        return server
