"""A network in memory for the fetcher: names with their addresses, servers with their answers, and a log of both."""

from __future__ import annotations

import asyncio
import json
import ssl
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

PUBLIC = "93.184.216.34"


def http(body: Any = b"", status: str = "200 OK", kind: str = "application/json", **headers: str) -> bytes:
    """An answer with a length, as a server sends it. `cache_control` and the like become headers."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    lines = [f"HTTP/1.1 {status}", f"content-type: {kind}", f"content-length: {len(data)}"]
    lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
    return "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n" + data


class _Writer:
    """The half of a stream that the fetcher writes to."""

    def __init__(self, sent: Callable[[bytes], None]) -> None:
        self._sent = sent
        self._data = b""
        self.aborted = 0
        self.transport = self

    def write(self, data: bytes) -> None:
        self._data += data

    async def drain(self) -> None:
        self._sent(self._data)

    def abort(self) -> None:
        self.aborted += 1


class FakeNetwork:
    """`names`: host to its addresses, or to a list of successive answers. `pages`: URL to answer, "hang", or an exception."""

    def __init__(self, pages: dict[str, Any] | None = None, names: dict[str, Any] | None = None) -> None:
        self.pages = pages or {}
        self.names = names or {}
        self.asked: list[str] = []  # URLs
        self.requests: list[bytes] = []
        self.connected: list[tuple[str, int, str]] = []
        self.looked_up: Counter[str] = Counter()
        self.writers: list[_Writer] = []
        self.dead: set[str] = set()  # addresses that swallow packets

    async def resolve(self, host: str, port: int, owner: str) -> Sequence[str]:
        del port, owner
        self.looked_up[host] += 1
        found = self.names.get(host, [PUBLIC])
        if found == "hang":
            await asyncio.Event().wait()
        if found and isinstance(found[0], list):
            found = found[min(self.looked_up[host], len(found)) - 1]
        if not found:
            raise OSError("unknown")
        return tuple(found)

    async def open(
        self, address: str, port: int, tls: ssl.SSLContext | None, hostname: str
    ) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        self.connected.append((address, port, hostname))
        if address in self.dead:
            await asyncio.Event().wait()
        reader = asyncio.StreamReader()
        scheme, usual = ("https", 443) if tls else ("http", 80)
        origin = f"{scheme}://{hostname}" + (f":{port}" if port != usual else "")

        def sent(request: bytes) -> None:
            self.requests.append(request)
            url = origin + request.split(b" ", 2)[1].decode()
            self.asked.append(url)
            page = self.pages.get(url, http(b"no", "404 Not Found"))
            page = page(request) if callable(page) else page
            if page != "hang":
                reader.feed_data(page)
                reader.feed_eof()

        refusal = self.pages.get(origin)
        if isinstance(refusal, Exception):
            raise refusal
        if refusal == "hang":
            await asyncio.Event().wait()
        self.writers.append(_Writer(sent))
        return reader, self.writers[-1]  # type: ignore[return-value]  # all that the fetcher uses of one
