"""Names to addresses, addresses to streams: the operating system's part of fetching.

A look-up that hangs must not block the event loop, the look-ups of other accounts or the exit of the process. So each
look-up has its own thread, and their number is limited in total and for each account.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Iterable, Sequence
from functools import lru_cache
from typing import Protocol

_MAX_LOOKUPS = 64
_MAX_FOR_OWNER = 8
_READ_BUFFER = 65_536


class LookupsBusyError(OSError):
    """A name was not looked up, because others of the same owner, or of everyone, have not been answered."""


class OutboundNetwork(Protocol):
    """The network as `fetch.Fetcher` needs it; tests replace it."""

    async def resolve(self, host: str, port: int, owner: str) -> Sequence[str]:
        """All addresses of a name, as text. Raises OSError (also LookupsBusyError)."""
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
                raise LookupsBusyError("too many look-ups have not been answered yet")
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


# --- Which addresses the fetcher may connect to


_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_Network = ipaddress.IPv4Network | ipaddress.IPv6Network


def _networks(*texts: str) -> tuple[_Network, ...]:
    return tuple(ipaddress.ip_network(text) for text in texts)


_NEVER = _networks(
    "0.0.0.0/8",
    "169.254.0.0/16",  # link-local; the instance metadata of most clouds
    "168.63.129.16/32",  # Azure's platform address, in a public range
    "100.100.100.200/32",  # Alibaba's metadata
    "192.0.0.0/24",  # protocol assignments; Oracle's metadata
    "224.0.0.0/4",
    "240.0.0.0/4",
    "::/128",
    "fe80::/10",
    "fec0::/10",
    "ff00::/8",
    "fd00:ec2::/32",  # AWS's metadata
    "fd20:ce::/32",  # Google's
)
_PRIVATE = _networks(
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "::1/128",
    "fc00::/7",
)
_UNROUTED = _networks(
    "192.0.2.0/24",
    "192.88.99.0/24",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "2001::/23",  # Teredo and other assignments
    "2001:db8::/32",
    "2002::/16",  # 6to4
    "3fff::/20",
)
_PUBLIC = _networks("0.0.0.0/0", "2000::/3")
_NUMERIC = re.compile(r"(?:.*\.)?(?:[0-9]+|0x[0-9a-f]*)")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")


def refused(text: str, *, allow_private: bool) -> bool:
    """Whether connections to this address are forbidden. `allow_private`: private ranges and loopback are allowed.

    Metadata services, link-local, multicast and reserved ranges are refused in any case (RFC 6890, RFC 8215).
    """
    try:
        address = _inner(ipaddress.ip_address(text))
    except ValueError:
        return True
    if _within(address, _NEVER):
        return True
    if _within(address, _PRIVATE):
        return not allow_private
    return _within(address, _UNROUTED) or not _within(address, _PUBLIC)


def host_refused(host: str, *, allow_private: bool) -> bool:
    """Whether a host is forbidden whatever a name server answers: an address, or localhost (RFC 6761, 6.3).

    Resolvers read other forms of IPv4 addresses ("0x7f.1", "2130706433"), too; only the usual one is accepted.
    """
    name = host.lower().rstrip(".")
    if ":" in name or _NUMERIC.fullmatch(name):
        return refused(name, allow_private=allow_private)
    return not allow_private and (name == "localhost" or name.endswith(".localhost"))


def _inner(address: _Address) -> _Address:
    if isinstance(address, ipaddress.IPv4Address):
        return address
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address in _NAT64:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    return address


def _within(address: _Address, networks: Iterable[_Network]) -> bool:
    return any(address in network for network in networks)
