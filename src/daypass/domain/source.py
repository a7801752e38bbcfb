"""The source of a request, as limits and fair queues see it. Nothing else may be the key of either."""

from __future__ import annotations

from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final

from msgspec import Struct


class Source(Struct, frozen=True):
    """`network`: see `network_of`; "" when the address is unknown. `account` and `principal`: of the caller; "" without one."""

    network: str = ""
    account: str = ""
    principal: str = ""

    @property
    def lane(self) -> str:
        """The key of fair queues: what is done for one account, or for one network without an account, waits for its turn."""
        return self.account or self.network


UNKNOWN: Final = Source()


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """An IPv4 address, or the first 64 bits of an IPv6 address, because one host can use all addresses of a /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped is not None else str(ip_network((parsed, 64), strict=False))
