"""The origin of a request: the peer, or the client reported by a configured trusted proxy. Reports of other peers are
never used.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network

from daypass.wire.http import Header

_MAX_HOPS = 32
_LONGEST = 64  # characters of an IPv6 address with its zone
_WITH_PORT = re.compile(r"(?:\[(?P<v6>[^\[\]]+)\]|(?P<v4>[0-9.]+))(?::[0-9]{1,5})?")
"""An address as load balancers of some clouds report it. To take it for none would make every client the proxy (attack A372)."""


class ClientAddress:
    """Finds the client's address and whether it used TLS.

    Args:
        trusted_proxies: networks in CIDR form whose X-Forwarded-For and X-Forwarded-Proto are believed. Empty: none.

    Raises:
        ValueError: one of them is not a network.
    """

    def __init__(self, trusted_proxies: Sequence[str] = ()) -> None:
        self._trusted = tuple(ip_network(network) for network in trusted_proxies)

    def of(self, client: Sequence[object] | None, scheme: str, headers: Sequence[Header]) -> tuple[str, bool, bool]:
        """(address, came over TLS, the peer is a proxy that is trusted). The address is "" when the peer has none (a
        Unix socket), and when a trusted proxy reports none: "unknown", text that is not an address, or more hops than are
        read. It is then not that of the proxy, to which a policy may give more (attack A390).
        """
        peer = _plain(str(client[0])) if client else ""
        secure = scheme == "https"
        if not self._trusted or not self._trusts(peer):
            return peer, secure, False
        reports = [value for name, value in headers if name == b"x-forwarded-for"]
        proto = [value for name, value in headers if name == b"x-forwarded-proto"]
        if proto:
            secure = proto[-1].rpartition(b",")[2].strip().lower() == b"https"
        hops = b",".join(reports).decode("latin-1").split(",") if reports else []
        for hop in reversed(hops[-_MAX_HOPS:]):
            peer = _reported(hop.strip())
            if not self._trusts(peer):
                return peer, secure, True
        return "" if len(hops) > _MAX_HOPS else peer, secure, True

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


def _reported(hop: str) -> str:
    """The address that a proxy reports; "" if it is none."""
    parts = _WITH_PORT.fullmatch(hop)
    return _plain(parts["v6"] or parts["v4"] if parts else hop)


@lru_cache(maxsize=4096)
def _parse(address: str) -> IPv4Address | IPv6Address | None:
    try:
        parsed = ip_address(address)
    except ValueError:
        return None
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return mapped or parsed


def _plain(address: str) -> str:
    """An address in its canonical form: IPv4 in IPv6 as IPv4, no zone; "" for an invalid address."""
    return _written(address) if len(address) <= _LONGEST else ""


@lru_cache(maxsize=4096)
def _written(address: str) -> str:
    parsed = _parse(address.partition("%")[0])
    return str(parsed) if parsed is not None else ""
