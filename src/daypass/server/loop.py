"""The event loop of a serving process. It differs from uvloop's in one point: TLS connections end in a second.

A client that keeps an idle connection does not read, so it does not answer the server's farewell (close_notify). With
uvloop's 30 seconds for that, one idle client would hold up every stop for the whole drain time.
"""

from __future__ import annotations

import asyncio
from typing import Any

import uvloop

_FAREWELL_SECONDS = 1.0


class Loop(uvloop.Loop):
    """uvloop with a short TLS shutdown."""

    async def create_server(self, *args: Any, **options: Any) -> asyncio.AbstractServer:  # type: ignore[override]  # passed on
        """As uvloop's."""
        if options.get("ssl") is not None:
            options.setdefault("ssl_shutdown_timeout", _FAREWELL_SECONDS)
        server: asyncio.AbstractServer = await super().create_server(*args, **options)
        return server
