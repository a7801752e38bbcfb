"""The smallest HTTP server that credentials can be given out by: one GET or PUT without a body for each connection.

It refuses what a browser, a proxy or a confused program could be made to send: a foreign Host (DNS rebinding), forwarding
headers, a body, repeated headers. It is bounded in size, time and number of connections. It must never log a header.
"""

from __future__ import annotations

import asyncio
import json
import re
import socket
import struct
import sys
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

MAX_HEAD = 16_384
_SECONDS = 5.0  # for a whole request, its answer included
_CONNECTIONS = 256
_REQUEST = re.compile(rb"(GET|PUT) (/[!-~]{0,1023}) HTTP/1\.[01]")
_HEADER = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+):[ \t]*([\x20-\x7e\t]*?)[ \t]*")
_FORWARDED = frozenset(
    {"x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip", "forwarded", "via", "origin",
     "sec-fetch-site", "transfer-encoding"}
)  # fmt: skip
_REASONS = {
    200: "OK",
    400: "Bad Request",
    401: "Unauthorized",
    403: "Forbidden",
    404: "Not Found",
    503: "Service Unavailable",
}
_PEER = struct.Struct("3i")


@dataclass(frozen=True, slots=True)
class AgentRequest:
    """A request. `uid`: of the process at the other end of a Unix socket; -1 otherwise."""

    method: str
    path: str
    headers: Mapping[str, str]
    uid: int = -1
    peer: tuple[str, int] = ("", 0)
    local: tuple[str, int] = ("", 0)


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer."""

    status: int
    body: str
    type: str = "text/plain"
    headers: Mapping[str, str] = field(default_factory=dict)


def refused(status: int, why: str) -> Reply:
    """A refusal as AWS SDKs show it."""
    return Reply(status, json.dumps({"code": _REASONS[status].replace(" ", ""), "message": why}), "application/json")


def as_json(value: Any) -> Reply:
    return Reply(200, json.dumps(value), "application/json")


Answer = Callable[[AgentRequest], Awaitable[Reply]]


class AgentListener:
    """Serves one address. `hosts`: the Host headers that are accepted; () for a Unix socket."""

    def __init__(self, answer: Answer, hosts: tuple[str, ...] = ()) -> None:
        self._answer, self._hosts = answer, hosts
        self._open = 0

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._open += 1
        try:
            if self._open <= _CONNECTIONS:
                async with asyncio.timeout(_SECONDS):
                    reply = await self._reply(reader, writer)
                    writer.write(_bytes_of(reply))
                    await writer.drain()
                    writer.write_eof()
        except (OSError, TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            pass  # the client is gone, or slow, or not one of HTTP
        finally:
            self._open -= 1
            writer.close()

    async def _reply(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> Reply:
        head = await reader.readuntil(b"\r\n\r\n")
        asked = _asked(head, writer)
        if isinstance(asked, str):
            return refused(400, asked)
        if found := _FORWARDED & asked.headers.keys():
            return refused(403, f"Requests with the header {min(found)} are not answered.")
        if self._hosts and asked.headers.get("host", "").lower() not in self._hosts:
            return refused(403, "The Host header does not name this address.")
        return await self._answer(asked)


def _asked(head: bytes, writer: asyncio.StreamWriter) -> AgentRequest | str:
    """The request in a head, or what is wrong with it."""
    first, *lines = head[:-4].split(b"\r\n")
    request = _REQUEST.fullmatch(first)
    if request is None:
        return "The request line is not of the form GET /path HTTP/1.1."
    headers: dict[str, str] = {}
    for line in lines:
        header = _HEADER.fullmatch(line)
        if header is None:
            return "A header cannot be read."
        name = header[1].decode("ascii").lower()
        if name in headers:
            return f"The header {name} is repeated."
        headers[name] = header[2].decode("ascii")
    if headers.get("content-length", "0") != "0":
        return "A request has no body here."
    connection: socket.socket = writer.get_extra_info("socket")
    uid, peer, local = -1, ("", 0), ("", 0)
    if connection.family == socket.AF_UNIX:
        uid = uid_of_socket(connection)
    else:
        peer, local = connection.getpeername()[:2], connection.getsockname()[:2]
    return AgentRequest(request[1].decode(), request[2].decode(), headers, uid, peer, local)


def _bytes_of(reply: Reply) -> bytes:
    body = reply.body.encode()
    headers = {
        "content-type": reply.type,
        "content-length": str(len(body)),
        "cache-control": "no-store",
        "connection": "close",
        **reply.headers,
    }
    lines = [
        f"HTTP/1.1 {reply.status} {_REASONS[reply.status]}",
        *(f"{name}: {value}" for name, value in headers.items()),
    ]
    return "\r\n".join([*lines, "", ""]).encode("ascii") + body


def uid_of_socket(connection: socket.socket) -> int:
    """The user whose process has the other end of a Unix socket, by the kernel."""
    _, uid, _ = _PEER.unpack(connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER.size))
    return int(uid)


def uid_of_peer(peer: tuple[str, int], local: tuple[str, int]) -> int:
    """The user whose process has the other end of a loopback connection, by the kernel's tables; -1 if they do not say."""
    mapped = "" if ":" in peer[0] else "::ffff:"  # a program may use a socket of IPv6 for an address of IPv4
    tables = (("/proc/net/tcp", ""), ("/proc/net/tcp6", mapped)) if mapped else (("/proc/net/tcp6", ""),)
    for table, prefix in tables:
        wanted = [f"{_in_table(prefix + host)}:{port:04X}" for host, port in (peer, local)]
        try:
            with open(table, encoding="ascii") as lines:
                uid = next((int(line.split()[7]) for line in lines if line.split()[1:3] == wanted), -1)
        except (OSError, ValueError, IndexError):
            continue
        if uid >= 0:
            return uid
    return -1


def _in_table(host: str) -> str:
    """An address as the kernel's tables have it: words in the byte order of the machine."""
    raw = socket.inet_pton(socket.AF_INET6 if ":" in host else socket.AF_INET, host)
    words = (int.from_bytes(raw[i : i + 4], sys.byteorder) for i in range(0, len(raw), 4))
    return "".join(f"{word:08X}" for word in words)
