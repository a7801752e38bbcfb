"""The request rates of principals, accounts and source addresses."""

from __future__ import annotations

from typing import Protocol


class Rates(Protocol):
    """Token buckets. Nothing here waits."""

    def charge(self, principal_id: str, account: str, tokens: float) -> str:
        """Charges an authenticated principal and its account. Returns "", or which of them is over its rate
        ("principal", "account").
        """
        ...

    def charge_source(self, source_ip: str) -> bool:
        """Charges a source for an unauthenticated request. Returns whether it is over its rate."""
        ...

    def is_source_exhausted(self, source_ip: str) -> bool:
        """Whether a source has no token left for unauthenticated requests."""
        ...
