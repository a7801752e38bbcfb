"""Names to addresses, addresses to streams: the operating system's part of fetching.

A look-up that hangs must not block the event loop, the look-ups of other accounts or the exit of the process. So each
look-up has its own thread, and their number is limited in total and for each account.
"""

from __future__ import annotations

import asyncio
import contextlib
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Sequence
from functools import lru_cache
from typing import Protocol

_MAX_LOOKUPS = 64
_MAX_FOR_OWNER = 8
_READ_BUFFER = 65_536


class Network(Protocol):
    """The network as `fetch.Fetcher` needs it; tests replace it."""

    async def resolve(self, host: str, port: int, owner: str) -> Sequence[str]:
        """All addresses of a name, as text. Raises OSError."""
        ...

    async def open(
        self, address: str, port: int, tls: ssl.SSLContext | None, hostname: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """A stream to exactly this address, whose certificate must be `hostname`'s. Raises OSError (also
        ssl.SSLError).
        """
        ...


class SystemNetwork:
    """The real network. Use it from one event loop."""

    def __init__(self) -> None:
        self._pending: dict[tuple[str, int, str], asyncio.Future[Sequence[str]]] = {}
        self._owners: Counter[str] = Counter()

    async def resolve(self, host: str, port: int, owner: str) -> Sequence[str]:
        key = (host, port, owner)
        pending = self._pending.get(key)
        if pending is None:
            if len(self._pending) >= _MAX_LOOKUPS or self._owners[owner] >= _MAX_FOR_OWNER:
                raise OSError("too many look-ups have not been answered yet")
            pending = self._pending[key] = self._start(key)
        return await asyncio.shield(pending)

    def _start(self, key: tuple[str, int, str]) -> asyncio.Future[Sequence[str]]:
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Sequence[str]] = loop.create_future()

        def finish(found: Sequence[str] | OSError) -> None:
            del self._pending[key]
            self._owners[key[2]] -= 1
            if not self._owners[key[2]]:
                del self._owners[key[2]]
            if isinstance(found, OSError):
                future.set_exception(found)
                future.exception()  # the caller may have been cancelled
            else:
                future.set_result(found)

        def look_up() -> None:
            addresses = _addresses(key[0], key[1])
            with contextlib.suppress(RuntimeError):  # the loop has been closed in the meantime
                loop.call_soon_threadsafe(finish, addresses)

        try:
            threading.Thread(target=look_up, daemon=True, name="daypass-resolve").start()
        except RuntimeError:  # the system allows no more threads
            raise OSError("no thread can be started for a look-up") from None
        self._owners[key[2]] += 1
        return future

    async def open(
        self, address: str, port: int, tls: ssl.SSLContext | None, hostname: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection(
            address, port, ssl=tls, server_hostname=hostname if tls else None, limit=_READ_BUFFER
        )
        return reader, writer


def _addresses(host: str, port: int) -> Sequence[str] | OSError:
    try:
        answers = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError) as error:
        return error if isinstance(error, OSError) else OSError("not a host name")
    return tuple(dict.fromkeys(str(entry[4][0]) for entry in answers))


@lru_cache(maxsize=64)
def tls_context(ca_pem: str) -> ssl.SSLContext:
    """A client's context that trusts the system's roots and those of `ca_pem`. Making one takes milliseconds.

    Raises ValueError when `ca_pem` holds no certificate.
    """
    context = ssl.create_default_context()
    if ca_pem:
        try:
            context.load_verify_locations(cadata=ca_pem)
        except (ssl.SSLError, ValueError, TypeError):  # TypeError: not ASCII
            raise ValueError("not a PEM certificate") from None
    context.set_alpn_protocols(["http/1.1"])
    return context
