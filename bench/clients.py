"""Two open-loop clients for `overload.py`, each a process of its own: a polite one, and a flood from ten addresses.

Usage: clients.py polite|flood URL RATE SECONDS [--reconnect]. It prints a line when it has connected, and JSON at the end.
The flood runs at a lower priority, so that it does not delay the polite client on the same core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import time
from collections import Counter
from collections.abc import Callable
from typing import Any
from urllib.parse import urlsplit

import uvloop

from steady import Load

_POLITE, _FLOOD = "127.0.0.2", "127.0.1.{}"
_FLOODERS = 10
_CONNECTIONS = 120  # of each
_POLITE_CONNECTIONS = 8
_TICK_SECONDS = 0.005
_POLITE_TICK_SECONDS = 0.001
_LATE_SECONDS = 5.0
_CONNECT_AT_ONCE = 64


class Sender(asyncio.Protocol):
    """One connection. `done` is called with the status of each answer, or with "" when the connection is lost."""

    def __init__(self, done: Callable[[Sender, str], None]) -> None:
        self._done = done
        self._buffer = b""
        self._transport: asyncio.Transport | None = None
        self.sent = 0.0
        self.waits = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport  # type: ignore[assignment]  # uvloop's do not derive from asyncio's

    def send(self, message: bytes) -> None:
        assert self._transport is not None
        self.sent, self.waits = time.monotonic(), True
        self._transport.write(message)

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, found, rest = self._buffer.partition(b"\r\n\r\n")
        if not found:
            return
        lower = head.lower()
        if len(rest) < int(lower.split(b"content-length: ")[1].split(b"\r\n")[0]):
            return
        self._buffer = b""
        self.waits = False
        if b"connection: close" in lower:
            self.close()
        self._done(self, head[9:12].decode())

    def connection_lost(self, _: Exception | None) -> None:
        self._transport = None
        if self.waits:
            self.waits = False
            self._done(self, "")

    @property
    def usable(self) -> bool:
        return self._transport is not None and not self._transport.is_closing()

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


class Polite:
    """Signs each request and records every answer, and how late its own event loop is."""

    def __init__(self, url: str, rate: float) -> None:
        self._url, self._rate = url, rate
        self._idle: list[Sender] = []
        self.answers: list[tuple[float, float, str]] = []
        self.lags: list[tuple[float, float]] = []

    async def connect(self) -> None:
        for _ in range(_POLITE_CONNECTIONS):
            self._idle.append(await self._new())

    async def _new(self) -> Sender:
        target = urlsplit(self._url)
        loop = asyncio.get_running_loop()
        _, made = await loop.create_connection(
            lambda: Sender(self._done), str(target.hostname), target.port or 80, local_addr=(_POLITE, 0)
        )
        return made

    def _done(self, sender: Sender, status: str) -> None:
        self.answers.append((sender.sent, time.monotonic() - sender.sent, status))
        self._idle.append(sender)

    async def run(self, seconds: float) -> dict[str, Any]:
        load, number, began = Load(self._url, 0), 0, time.monotonic()
        while (now := time.monotonic()) - began < seconds:
            while number < int((now - began) * self._rate):
                number += 1
                sender = self._idle.pop() if self._idle else await self._new()
                if not sender.usable:
                    sender = await self._new()
                sender.send(load._message(number))
            asked = time.monotonic()
            await asyncio.sleep(_POLITE_TICK_SECONDS)
            self.lags.append((asked, time.monotonic() - asked - _POLITE_TICK_SECONDS))
        await asyncio.sleep(0.5)
        return {"answers": self.answers, "lags": self.lags}


class Flood:
    """Sends the same signed request again and again. What finds no connection that is not waiting is not sent."""

    def __init__(self, url: str, rate: float, *, reconnect: bool) -> None:
        self._url, self._rate, self._reconnect = url, rate, reconnect
        self._idle: list[Sender] = []
        self._statuses = Counter[str]()
        self._wanted = 0  # connections to be made
        self._connecting: set[asyncio.Task[None]] = set()
        self.sent = self.offered = self.connections = 0

    async def connect(self) -> None:
        self._wanted = _FLOODERS * _CONNECTIONS
        while self._wanted or self._connecting:
            self._make()
            await asyncio.sleep(_TICK_SECONDS)

    def _make(self) -> None:
        while self._wanted and len(self._connecting) < _CONNECT_AT_ONCE:
            self._wanted -= 1
            task = asyncio.create_task(self._new())
            self._connecting.add(task)
            task.add_done_callback(self._connecting.discard)

    async def _new(self) -> None:
        target = urlsplit(self._url)
        self.connections += 1
        address = (_FLOOD.format(1 + self.connections % _FLOODERS), 0)
        loop = asyncio.get_running_loop()
        try:
            _, made = await loop.create_connection(
                lambda: Sender(self._done), str(target.hostname), target.port or 80, local_addr=address
            )
        except OSError:
            self._wanted += 1
            return
        self._idle.append(made)

    def _done(self, sender: Sender, status: str) -> None:
        self._statuses[status] += 1
        if self._reconnect or not sender.usable:
            sender.close()
            self._wanted += 1
        else:
            self._idle.append(sender)

    async def run(self, seconds: float) -> dict[str, Any]:
        message, began = Load(self._url, 0)._message(0), time.monotonic()
        while (now := time.monotonic() - began) < seconds:
            due, self._idle = int(now * self._rate) - self.offered, [each for each in self._idle if each.usable]
            self.offered += due
            using, self._idle = self._idle[:due], self._idle[due:]
            for sender in using:
                sender.send(message)
            self.sent += len(using)
            self._make()
            await asyncio.sleep(_TICK_SECONDS)
        return {
            "sent": self.sent,
            "offered": self.offered,
            "connections": self.connections,
            "statuses": dict(self._statuses),
        }


async def _run(load: Polite | Flood, seconds: float) -> dict[str, Any]:
    await load.connect()
    sys.stdout.write("connected\n")
    sys.stdout.flush()
    return await load.run(seconds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=("polite", "flood"))
    parser.add_argument("url")
    parser.add_argument("rate", type=float)
    parser.add_argument("seconds", type=float)
    parser.add_argument("--reconnect", action="store_true")
    options = parser.parse_args()
    load: Polite | Flood
    if options.role == "polite":
        load = Polite(options.url, options.rate)
    else:
        os.nice(10)
        load = Flood(options.url, options.rate, reconnect=options.reconnect)
    json.dump(uvloop.run(_run(load, options.seconds)), sys.stdout)


if __name__ == "__main__":
    main()
