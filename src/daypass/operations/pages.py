"""One page of the entities that a list of the management API shows, and the size of all pages."""

from __future__ import annotations

from typing import Any, Final, TypeVar

from daypass.ports import Reader

E = TypeVar("E")

MAX_BYTES: Final = 2_097_152
"""Of what one page shows: a page ends early when it is larger. The event loop sends them, in about 10 ms."""


def read_page(tx: Reader, kind: type[E], order: str, after: str, limit: int, **equals: Any) -> tuple[list[E], str]:
    """Up to `limit` entities that follow `after` in `order` (see `Reader.find`), and the `after` of the next page: ""
    at the end.
    """
    found = tx.find(kind, order=order, after=after, limit=limit + 1, **equals)
    last = getattr(found[limit - 1], order.removeprefix("-")) if len(found) > limit else ""
    return found[:limit], str(last)
