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
        Unix socket).
        """
        peer = _plain(str(client[0])) if client else ""
        secure = scheme == "https"
        if not self._trusted or not self._trusts(peer):
            return peer, secure, False
        hops = b",".join(value for name, value in headers if name == b"x-forwarded-for").decode("latin-1").split(",")
        proto = [value for name, value in headers if name == b"x-forwarded-proto"]
        if proto:
            secure = proto[-1].rpartition(b",")[2].strip().lower() == b"https"
        for hop in reversed(hops[-_MAX_HOPS:]):
            reported = _WITH_PORT.fullmatch(hop.strip())
            address = _plain(reported["v6"] or reported["v4"] if reported else hop.strip())
            if not address:
                break  # entries further left come through an unknown hop
            peer = address
            if not self._trusts(address):
                break
        return peer, secure, True

    def _trusts(self, address: str) -> bool:
        parsed = _parse(address)
        return parsed is not None and any(parsed in network for network in self._trusted)


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
