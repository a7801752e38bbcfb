"""One page of the entities that a list of the management API shows, and the most that any page shows."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any, Final, TypeVar

from daypass.ports import Reader

E = TypeVar("E")

MAX_BYTES: Final = 524_288
"""Of what one page shows: a page ends early when it is larger. The event loop writes them, in some 5 ms (attack A308)."""


def read_page(tx: Reader, kind: type[E], order: str, after: str, limit: int, **equals: Any) -> tuple[list[E], str]:
    """Up to `limit` entities that follow `after` in `order` (see `Reader.find`), and the `after` of the next page: ""
    at the end.
    """
    entities = tx.find(kind, order=order, after=after, limit=limit + 1, **equals)
    last = getattr(entities[limit - 1], order.removeprefix("-")) if len(entities) > limit else ""
    return entities[:limit], str(last)


def fitting(items: Iterable[E], size: Callable[[E], int]) -> list[E]:
    """The first of the items, as many as fit into one page; at least one, so that readers advance. Answers of the largest
    roles or events took 60 ms of the event loop (attack A235).
    """
    entities: list[E] = []
    total = 0
    for item in items:
        total += size(item)
        if total > MAX_BYTES and entities:
            break
        entities.append(item)
    return entities
