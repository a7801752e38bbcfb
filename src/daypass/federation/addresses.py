"""Which addresses the fetcher may connect to. Pure; it resolves nothing.

A caller who may set a URL must not reach hosts that only this machine can reach (server-side request forgery).
An address that embeds another one (IPv4-mapped, NAT64) is checked by the embedded one. Addresses in no table are
refused.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Iterable

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
