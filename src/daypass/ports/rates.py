"""The request rates of principals, accounts and networks."""

from __future__ import annotations

from typing import Protocol

from daypass.domain.source import Source


class Rates(Protocol):
    """Token buckets. Nothing here waits."""

    def charge(self, source: Source, tokens: float) -> str:
        """Charges an authenticated principal and its account. Returns "", or which of them is over its rate
        ("principal", "account").
        """
        ...

    def charge_network(self, source: Source, tokens: float = 1.0) -> bool:
        """Charges a network for an unauthenticated request. Returns whether it is over its rate."""
        ...

    def is_network_exhausted(self, source: Source) -> bool:
        """Whether a network has no token left for unauthenticated requests."""
        ...
