"""Connections and the bytes of request bodies: their limits, in total and for each address.

The first bytes of a body are not counted, because connections are limited too. It never waits: a body without room is
refused.
"""

from __future__ import annotations

import asyncio
import ctypes
import heapq
import re
import resource
import select
import ssl
from collections import OrderedDict
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache
from operator import attrgetter
from typing import Any, Final, Protocol
from urllib.parse import unquote

import httptools
from uvicorn.protocols.utils import get_local_addr, get_remote_addr, is_ssl

from daypass.domain.arn import network_of
from daypass.observability import logs
from daypass.server.listener import OnRefusal, not_reported
from daypass.server.turns import Turns
from daypass.wire.client_certificate import ClientAddress
from daypass.wire.http import CLIENT_CERTIFICATE

FREE_BYTES: Final = 8_192
"""Bytes at the start of each body that are not counted."""

_BURST_BYTES: Final = 8_388_608  # bytes of finished bodies after which memory is returned
_CALM_BYTES: Final = 1_048_576  # bytes in flight: while there are more, memory is returned again later
_TRIM_SECONDS: Final = 2.0  # later: the bodies themselves are freed after the responses


class BodyBudget:
    """Bytes of bodies in flight.

    Args:
        most: bytes, for the process.
        most_of_one: bytes, for one address; "": peers that are not limited by address.
    """

    def __init__(self, most: int, most_of_one: int) -> None:
        self._most = most
        self._most_of_one = most_of_one
        self._by_address: dict[str, int] = {}
        self._passed = 0  # since memory was last returned
        self._trimming = False
        self.in_flight = 0

    def charge(self, address: str, size: int) -> bool:
        """Charges this many bytes, or returns False if there is no room."""
        held = self._by_address.get(address, 0) + size
        if self.in_flight + size > self._most or (address and held > self._most_of_one):
            return False
        self.in_flight += size
        self._by_address[address] = held
        self.dropped(size)
        return True

    def dropped(self, size: int) -> None:
        """Counts bytes that were read and dropped, because they have passed through memory too."""
        self._passed += size
        if self._passed >= _BURST_BYTES and not self._trimming:
            self._trimming = True
            asyncio.get_running_loop().call_later(_TRIM_SECONDS, self._trim)

    def release(self, address: str, size: int) -> None:
        """Returns charged bytes."""
        self.in_flight -= size
        left = self._by_address[address] - size
        if left:
            self._by_address[address] = left
        else:
            del self._by_address[address]

    def _trim(self) -> None:
        """Returns memory to the system, on a thread, because it takes milliseconds."""
        loop = asyncio.get_running_loop()
        if self.in_flight <= _CALM_BYTES:
            self._passed, self._trimming = 0, False
        else:
            loop.call_later(_TRIM_SECONDS, self._trim)
        if _malloc_trim is not None:
            loop.run_in_executor(None, _malloc_trim, 0)


def _find_trim() -> Any:
    """malloc_trim(3) of the GNU C library; None elsewhere."""
    try:
        return ctypes.CDLL(None).malloc_trim
    except (AttributeError, OSError, TypeError):
        return None


_malloc_trim = _find_trim()


# --- Holds


_MAX_HOLDS: Final = 10_000  # addresses; with more, the one whose hold ends first is forgotten


class Holds:
    """Times are those of the event loop, in seconds. All holds last equally long, so they end in the order they began."""

    __slots__ = ("_until",)

    def __init__(self) -> None:
        self._until: OrderedDict[str, float] = OrderedDict()

    def __len__(self) -> int:
        return len(self._until)

    def begin(self, address: str, now: float, seconds: float) -> None:
        """Holds new connections of this address from now on; a hold that has begun is extended."""
        while self._until and (len(self._until) >= _MAX_HOLDS or next(iter(self._until.values())) <= now):
            self._until.popitem(last=False)
        self._until[address] = now + seconds
        self._until.move_to_end(address)

    def left(self, address: str, now: float) -> float:
        """How many seconds a connection of this address that begins now must wait."""
        return max(0.0, self._until.get(address, 0.0) - now) if self._until else 0.0


# --- Connections


_SWEEP_SECONDS: Final = 1.0
_LONG_SECONDS: Final = 1.0  # a request that takes longer waits for something else than the processor
_CLOSE_SECONDS: Final = 1.0  # for cancelled requests to end
_OTHER_FILES: Final = 128  # files other than connections: databases, the log, key files
FEWEST_FILES: Final = 2 * _OTHER_FILES
"""The fewest open files; with fewer, nearly every connection would be refused."""
_EVICTED: Final = 32  # share of idle connections closed at once, so that not every new one searches for the oldest


class OpenConnection(Protocol):
    """A connection as this module needs it. Times are those of the event loop, in seconds."""

    transport: Any
    idle_since: float  # 0 while a request is served

    def end_at_once(self) -> None: ...

    def end_if_idle(self, before: float) -> None: ...

    def end_if_overdue(self, before: float) -> None: ...

    def end_turn_if_long(self, before: float) -> None: ...

    def end_serving(self) -> asyncio.Task[None] | None: ...


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Settings of the server."""

    idle_seconds: float = 65.0  # how long a connection may send no request
    request_seconds: float = 50.0  # from the end of a request to the start of its response
    patience_seconds: float = 0.5  # how long a request may wait for its turn
    connections: int = 16_384  # maximum in one process
    per_address: int = 4_096  # maximum from one address
    # bodies, bodies_per_address: bytes of bodies in flight.
    bodies: int = 67_108_864
    bodies_per_address: int = 16_777_216
    # Networks whose connections serve many clients; they are not limited by address.
    trusted_proxies: tuple[str, ...] = ()


class Connections:
    """State shared by the connections of one server."""

    def __init__(self, limits: ConnectionLimits | None = None) -> None:
        self.limits = limits = limits or ConnectionLimits()
        self.bodies = BodyBudget(limits.bodies, limits.bodies_per_address)
        self.holds = Holds()
        self.text = b""  # the header lines of every response
        self.made_from: list[tuple[bytes, bytes]] | None = None
        self.refused = 0
        self.evicted = 0
        self.on_refusal: OnRefusal = not_reported  # workers get this object by pickle
        """Called for what is refused before it is a request: with the client's address, the kind and the reason."""
        self._origin = ClientAddress(limits.trusted_proxies)
        self._loop: asyncio.AbstractEventLoop | None = None
        self._by_address: dict[str, set[OpenConnection]] = {}
        self._count = 0
        self._most = limits.connections

    @property
    def count(self) -> int:
        """Number of open connections."""
        return self._count

    @property
    def waiting(self) -> int:
        """Requests that wait for their turn."""
        return self.turns.waiting if self._loop is not None else 0

    def attach(self, loop: asyncio.AbstractEventLoop) -> None:
        """Called by each connection. The first one of an event loop sets the timer."""
        if loop is not self._loop:
            self._loop = loop
            self.turns = Turns(loop, self.limits.patience_seconds)
            self._most = min(self.limits.connections, most_files() - _OTHER_FILES)
            self._sweep()

    def render(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """The header lines of every response. uvicorn makes a new list whenever they change."""
        self.text = b"".join([b"%b: %b\r\n" % header for header in headers])
        self.made_from = headers
        return self.text

    # --- Open connections

    def limited_address(self, client: tuple[str, int] | None) -> str:
        """The address that limits apply to, of IPv6 the network; "" for a peer that serves many clients or has no
        address.
        """
        address, _, via_proxy = self._origin.of(client, "http", ())
        return "" if via_proxy or not address else network_of(address)

    def add(self, connection: OpenConnection, address: str) -> bool:
        """Adds a new connection. At the limit it closes idle ones first. Returns False if the limit is still reached."""
        mine = self._by_address.setdefault(address, set())
        if address and len(mine) >= self.limits.per_address:
            self._evict(mine)
        if self._count >= self._most:
            self._evict(one for those in self._by_address.values() for one in those)
        if self._count >= self._most or (address and len(mine) >= self.limits.per_address):
            self.refused += 1
            if not mine:
                del self._by_address[address]
            return False
        self._by_address.setdefault(address, mine).add(connection)
        self._count += 1
        return True

    def discard(self, connection: OpenConnection, address: str) -> None:
        """Removes a connection, if present."""
        mine = self._by_address.get(address)
        if mine is None or connection not in mine:
            return
        mine.remove(connection)
        self._count -= 1
        if not mine:
            del self._by_address[address]

    async def close(self) -> None:
        """Closes all connections, before what serves their requests stops. A request in progress is answered 503, which
        happens only after the drain has timed out. Returns when no request is served any more.
        """
        ending = [one.end_serving() for those in self._by_address.values() for one in those]
        if tasks := {task for task in ending if task is not None}:
            await asyncio.wait(tasks, timeout=_CLOSE_SECONDS)

    def _evict(self, connections: Iterable[OpenConnection]) -> None:
        """Closes the connections that have been idle longest."""
        idle = [connection for connection in connections if connection.idle_since]
        oldest = heapq.nsmallest(max(1, len(idle) // _EVICTED), idle, key=attrgetter("idle_since"))
        waiting = readable(oldest)
        for connection in oldest:
            if connection not in waiting:
                self.evicted += 1
                connection.end_at_once()

    def _sweep(self) -> None:
        loop = self._loop
        assert loop is not None
        idle, overdue = loop.time() - self.limits.idle_seconds, loop.time() - self.limits.request_seconds
        for connection in [one for those in self._by_address.values() for one in those]:
            connection.end_if_idle(idle)
            connection.end_if_overdue(overdue)
            connection.end_turn_if_long(loop.time() - _LONG_SECONDS)
        self.turns.update_limit()
        if self.refused or self.evicted:
            logs.get().warning("http.too_many_connections", refused=self.refused, evicted=self.evicted)
            self.refused = self.evicted = 0
        loop.call_later(min(_SWEEP_SECONDS, self.limits.idle_seconds / 13), self._sweep)


def readable(connections: Iterable[OpenConnection]) -> set[OpenConnection]:
    """The connections whose client has sent data that is not read yet."""
    poll, by_number = select.poll(), {}
    for connection in connections:
        sock: Any = connection.transport.get_extra_info("socket")
        if sock is not None and sock.fileno() >= 0:
            by_number[sock.fileno()] = connection
            poll.register(sock.fileno(), select.POLLIN)
    return {by_number[number] for number, event in poll.poll(0) if event & select.POLLIN} if by_number else set()


def most_files() -> int:
    """How many files this process may have open."""
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    return soft if soft != resource.RLIM_INFINITY else 1_048_576


def raise_file_limit() -> int:
    """Raises the soft limit of open files to the hard limit, for this process and its workers. Returns the new
    limit.
    """
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    except (OSError, ValueError):  # some systems have a lower limit
        logs.get().warning("server.file_limit_not_raised", limit=most_files())
    return most_files()


# --- What a connection says of its client and a head of its request, before anything is verified


_ASGI: Final = {"version": "3.0", "spec_version": "2.3"}
_IAM_SCOPE: Final = b"/iam/aws4_request"  # in the credential scope of a signed request
_HOST: Final = re.compile(rb"(?:\[[0-9A-Za-z:.%~_-]+\]|[0-9A-Za-z.~_!$&'()*+,;=%-]*)(?::[0-9]*)?")


def certificate_of(transport: asyncio.Transport) -> bytes:
    """The certificate (DER) whose key the client proved to TLS; b"" if there is none."""
    secured = transport.get_extra_info("ssl_object")
    context = transport.get_extra_info("sslcontext")
    if secured is None or context is None or context.verify_mode is ssl.CERT_NONE:
        return b""
    return secured.getpeercert(binary_form=True) or b""


def scope_of(transport: asyncio.Transport) -> dict[str, Any]:
    """The common part of the ASGI scopes of a connection's requests."""
    secure = is_ssl(transport)
    return {
        "type": "http",
        "asgi": _ASGI,
        "server": get_local_addr(transport),
        "client": get_remote_addr(transport),
        "scheme": "https" if secure else "http",
        "root_path": "",
        CLIENT_CERTIFICATE: certificate_of(transport) if secure else b"",
    }


def signed_for_iam(headers: list[tuple[bytes, bytes]]) -> bool:
    """Whether the request says that it is signed for IAM. It is only about its place in the queue, so nothing is verified."""
    for name, value in headers:
        if name == b"authorization":
            return _IAM_SCOPE in value
    return False


def with_head(
    scope: dict[str, Any], parser: httptools.HttpRequestParser, target: bytes, headers: list[tuple[bytes, bytes]]
) -> dict[str, Any]:
    """The scope of a connection with that of a head. Raises ValueError, so that the parser fails, when another server could
    read the head in another way.
    """
    version = parser.get_http_version()
    host = only_host(headers, version)
    path, query = (b"/", b"") if target == b"/" else split_target(target, host)
    return {
        **scope,
        "http_version": version,
        "method": parser.get_method().decode("ascii"),
        "path": unquote(path.decode("ascii")),
        "raw_path": path,
        "query_string": query,
        "headers": headers,
    }


def only_host(headers: list[tuple[bytes, bytes]], version: str) -> bytes:
    """The host that the head names, in lower case; b"" if it names none. Raises ValueError when another server could read
    the head in another way (attack A108).

    A version that is not offered (attack A241), not one Host header with a host and perhaps a port, of which HTTP/1.0 needs
    none (RFC 9112, section 3.2), or a transfer coding besides chunked or in HTTP/1.0 (section 6.1).
    """
    if version not in ("1.1", "1.0"):
        raise ValueError("not offered")
    names = [name for name, _ in headers]
    hosts = names.count(b"host")
    if hosts != 1 and (hosts or version == "1.1"):
        raise ValueError("not one host")
    if b"transfer-encoding" in names:
        codings = [value.lower() for name, value in headers if name == b"transfer-encoding"]
        if codings != [b"chunked"] or version == "1.0":
            raise ValueError("not one framing")
    return _checked(headers[names.index(b"host")][1]) if hosts else b""


@lru_cache(maxsize=64)  # nearly always the same
def _checked(host: bytes) -> bytes:
    host = host.strip(b" \t").lower()
    if _HOST.fullmatch(host) is None:
        raise ValueError("no host")
    return host


def split_target(target: bytes, host: bytes) -> tuple[bytes, bytes]:
    """Path and query of a request's target. Raises ValueError: it is neither a path nor a URL of this host.

    A URL would replace the Host header (RFC 9112, section 3.2.2), which is what clients sign and proxies look at, so both
    must be the same (attack A391).
    """
    parsed = httptools.parse_url(target)
    if not target.startswith(b"/"):
        scheme, _, rest = target.lower().partition(b"://")
        if scheme not in (b"http", b"https") or rest.partition(b"/")[0].partition(b"?")[0] != host:
            raise ValueError("a URL of another server")
    if b"#" in target:
        raise ValueError("a fragment")
    return parsed.path or b"/", parsed.query or b""


def without_upgrade(parser: httptools.HttpRequestParser, target: bytes, headers: list[tuple[bytes, bytes]]) -> bytes:
    """The head that was parsed, without Upgrade. Raises HttpParserError: it asks for a tunnel."""
    method = parser.get_method()
    if method == b"CONNECT":
        raise httptools.HttpParserError("a tunnel")
    lines = b"".join(b"%b: %b\r\n" % header for header in headers if header[0] != b"upgrade")
    return b"%b %b HTTP/%b\r\n%b\r\n" % (method, target, parser.get_http_version().encode("ascii"), lines)
