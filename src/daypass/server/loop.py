"""The event loop of a serving process: uvloop with a listener that accepts many connections in one turn."""

from __future__ import annotations

import asyncio
import socket
import ssl
from collections.abc import Callable
from typing import Any

import uvloop

from daypass.domain.errors import ErrorKind
from daypass.server.listener import Listener, OnRefusal, not_reported


class Loop(uvloop.Loop):
    """uvloop with a different way to accept connections."""

    def __init__(self) -> None:
        super().__init__()
        self._listeners: list[Listener] = []
        self.on_refusal: OnRefusal = not_reported
        """Called for connections that end before they are connections of HTTP."""

    def use_certificate(self, context: ssl.SSLContext) -> None:
        """Makes new TLS connections use this context. Existing connections keep theirs."""
        for listener in self._listeners:
            listener.use_certificate(context)

    def _report(self, address: str, kind: ErrorKind, reason: str) -> None:
        self.on_refusal(address, kind, reason)  # set after the listeners are made

    async def create_server(  # type: ignore[override]  # passed on
        self, protocol_factory: Callable[[], Any], *args: Any, **options: Any
    ) -> asyncio.AbstractServer:
        """As in uvloop."""
        if isinstance(options.get("sock"), socket.socket) and not args:
            listener = Listener(
                self,
                options["sock"],
                protocol_factory,
                options.get("backlog", 100),
                options.get("ssl") or None,
                self._report,
            )
            self._listeners.append(listener)
            return listener
        server: asyncio.AbstractServer = await super().create_server(protocol_factory, *args, **options)
        return server
