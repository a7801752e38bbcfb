"""One snapshot of the directory for many decisions: each row is read once, and each shared result computed once.

It is used as long as its transaction lasts, never longer.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Sequence
from typing import Any, TypeVar

from daypass.ports import Reader

E = TypeVar("E")
T = TypeVar("T")


class Snapshot:
    """`ports.Reader` that remembers what it has read."""

    def __init__(self, tx: Reader) -> None:
        self._tx = tx
        self._known: dict[Hashable, Any] = {}

    def get(self, kind: type[E], **equals: Any) -> E | None:
        """See `ports.Reader`."""
        return self.once(_key("get", kind, "", equals), lambda: self._tx.get(kind, **equals))

    def find(
        self,
        kind: type[E],
        *,
        order: str = "",
        path_prefix: str = "",
        after: str = "",
        limit: int = 1000,
        **equals: Any,
    ) -> list[E]:
        """See `ports.Reader`."""
        key = _key("find", kind, order, equals)
        if not (path_prefix or after) and key in self._known:
            return list(self._known[key])
        found = self._tx.find(kind, order=order, path_prefix=path_prefix, after=after, limit=limit, **equals)
        if not (path_prefix or after) and len(found) < limit:  # all that there are
            self._known[key] = tuple(found)
        return found

    def find_among(
        self, kind: type[E], field: str, values: Sequence[str], *, order: str, any_case: bool = False, **equals: Any
    ) -> list[E]:
        """See `ports.Reader`."""
        key = ("among", field, tuple(values), any_case, _key("find", kind, order, equals))
        read = self._tx.find_among
        return list(self.once(key, lambda: read(kind, field, values, order=order, any_case=any_case, **equals)))

    def count(self, kind: type[Any], **equals: Any) -> int:
        """See `ports.Reader`."""
        return self.once(_key("count", kind, "", equals), lambda: self._tx.count(kind, **equals))

    def attached_policies(self, account: str) -> list[str]:
        return self._tx.attached_policies(account)

    def holders(
        self,
        kind: type[E],
        account: str,
        words: Sequence[str],
        arns: Sequence[str],
        groups: Sequence[str],
        *,
        after: str,
    ) -> tuple[list[E], str]:
        return self._tx.holders(kind, account, words, arns, groups, after=after)

    def names(self, kind: type[Any], account: str, part: str, limit: int) -> list[str]:
        return self._tx.names(kind, account, part, limit)

    def value_at(self, kind: type[Any], field: str, place: int, **equals: Any) -> str:
        """See `ports.Reader`."""
        return self._tx.value_at(kind, field, place, **equals)

    def once(self, key: Hashable, compute: Callable[[], T]) -> T:
        """The result of the first call with this key."""
        if key not in self._known:
            self._known[key] = compute()
        found: T = self._known[key]
        return found


def _key(way: str, kind: type[Any], order: str, equals: dict[str, Any]) -> Hashable:
    return (way, kind, order, *sorted(equals.items()))


def once(tx: Reader, key: Hashable, compute: Callable[[], T]) -> T:
    """What `compute` returns, computed once in a `Snapshot` and each time in another transaction."""
    return tx.once(key, compute) if isinstance(tx, Snapshot) else compute()
