"""A follower of the stream of revocations, in the process of the server."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, NamedTuple

from tests import asgi
from tests.integration.api.conftest import Key, Server

from daypass import sigv4

PATH = "/events/revocations"


class Event(NamedTuple):
    name: str
    data: dict[str, Any]
    id: str = ""


class Follower:
    """Reads events as they come. `accepting` False makes it a client that does not read."""

    def __init__(self, server: Server, key: Key | None, query: str = "", last: str = "", proof: str = "") -> None:
        self.status = 0
        self.body = b""
        self.events: asyncio.Queue[Event] = asyncio.Queue()
        self.accepting = asyncio.Event()
        self.accepting.set()
        self.gone = asyncio.Event()
        self._rest = b""
        headers = {"Host": "daypass.test", **({"Last-Event-ID": last} if last else {})}
        if key is not None:
            signing = sigv4.SigningKey(key.id, key.secret, "eu-central-1", "daypass", key.token)
            now = server.runtime.clock.now()
            headers |= sigv4.sign(signing, "GET", PATH, query, headers, b"", now)
        elif proof:
            headers["Authorization"] = f"Daypass-Node {proof}"
        names = [(n.lower().encode(), v.encode("latin-1")) for n, v in headers.items()]
        scope = asgi.scope("GET", PATH.encode(), query.encode(), names, "192.0.2.9")
        self.task = asyncio.ensure_future(server.application(scope, self._receive, self._send))
        self._first = True

    async def _receive(self) -> dict[str, Any]:
        if self._first:
            self._first = False
            return {"type": "http.request", "body": b"", "more_body": False}
        await self.gone.wait()
        return {"type": "http.disconnect"}

    async def _send(self, message: dict[str, Any]) -> None:
        await self.accepting.wait()
        if message["type"] == "http.response.start":
            self.status = message["status"]
            return
        self.body += message.get("body", b"")
        self._rest += message.get("body", b"")
        while b"\n\n" in self._rest:
            text, _, self._rest = self._rest.partition(b"\n\n")
            fields = dict(line.split(": ", 1) for line in text.decode().split("\n"))
            self.events.put_nowait(Event(fields["event"], json.loads(fields["data"]), fields.get("id", "")))

    async def until(self, name: str) -> list[Event]:
        """The next events up to the first of this name."""
        found: list[Event] = []
        while not found or found[-1].name != name:
            found.append(await asyncio.wait_for(self.events.get(), 20))
        return found

    async def close(self) -> None:
        self.gone.set()
        await asyncio.wait_for(self.task, 20)


@asynccontextmanager
async def following(
    server: Server, key: Key | None, query: str = "", last: str = "", proof: str = ""
) -> AsyncIterator[Follower]:
    follower = Follower(server, key, query, last, proof)
    try:
        yield follower
    finally:
        await follower.close()
