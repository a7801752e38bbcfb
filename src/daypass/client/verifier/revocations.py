"""The revocations that a verifier knows: which tokens they end, and how old they are. Pure, and safe for threads.

A verifier relies on heartbeats, never on the connection: a heartbeat says until when the revocations are complete, by
the server's clock. That clock is estimated from the fastest heartbeat of the connection, so that events which waited
in a buffer do not look current.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

MATCH_CHARACTERS: Final = 12
_KEEP_MS: Final = 3 * 24 * 3600 * 1000  # longer than any session lasts


class _Known(NamedTuple):
    match: str
    position: int  # 0: not yet in the feed, so every hop is older
    issued_before: int
    created_at: int


class _Table:
    """Revocations by id, and by what they match."""

    def __init__(self) -> None:
        self.known: dict[str, _Known] = {}
        self.by_match: dict[str, dict[str, _Known]] = {}

    def add(self, id_: str, made: _Known) -> None:
        self._remove(id_)
        self.known[id_] = made
        self.by_match.setdefault(made.match, {})[id_] = made

    def _remove(self, id_: str) -> None:
        old = self.known.pop(id_, None)
        if old is not None:
            same = self.by_match[old.match]
            del same[id_]
            if not same:
                del self.by_match[old.match]

    def remove_spent(self, at: int) -> None:
        """Removes those that can no longer match a token at this time (ms)."""
        for id_ in [i for i, made in self.known.items() if max(made.created_at, made.issued_before) + _KEEP_MS < at]:
            self._remove(id_)


class Revocations:
    """Applies the events of the stream, and answers for tokens.

    Revocations that a heartbeat made current stay in use until the next one, through a new connection and a reset: they only age.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._table = _Table()
        self._fresh: _Table | None = None  # what came since a reset; the next heartbeat makes it the table
        self._epoch = ""
        self._accounts: frozenset[str] = frozenset()
        self._complete_until = 0.0
        self._offset: float | None = None
        self._first = True
        self.position = "", 0
        """Epoch and position of the change feed according to the last heartbeat."""
        self.keys = ""
        """The entity tag of the issuer's JWKS according to the last heartbeat; "" when it was not in it."""

    def __len__(self) -> int:
        return len(self._table.known)

    def connected(self) -> None:
        """Call it when a connection begins: its first heartbeat estimates the server's clock again."""
        with self._lock:
            self._first, self._fresh = True, None

    def apply(self, event: str, data: Mapping[str, Any], monotonic: float) -> None:
        """Applies one event. `monotonic`: seconds, when it was read. Raises KeyError or ValueError for a malformed one."""
        with self._lock:
            if event == "reset":
                self._fresh = _Table()
            elif event == "revocation":
                (self._table if self._fresh is None else self._fresh).add(str(data["id"]), _known(data))
            elif event == "heartbeat":
                self._apply_heartbeat(data, monotonic)

    def _apply_heartbeat(self, data: Mapping[str, Any], monotonic: float) -> None:
        at, complete_until, epoch = int(data["at"]), int(data["complete_until"]), str(data["epoch"])
        self._accounts = frozenset(map(str, data["accounts"]))
        self._epoch, self._complete_until, self.keys = epoch, complete_until, str(data.get("keys", ""))
        self.position = epoch, int(data.get("position", 0))
        offset = at - monotonic * 1000
        self._offset = offset if self._first or self._offset is None else max(self._offset, offset)
        self._first = False
        if self._fresh is not None:
            self._table, self._fresh = self._fresh, None
        self._table.remove_spent(at)

    def age(self, monotonic: float) -> float:
        """Seconds since the time until which the revocations are complete; infinite before the first heartbeat."""
        issuer = self.issuer_time(monotonic)
        return float("inf") if issuer is None else max(0.0, issuer - self._complete_until / 1000)

    def issuer_time(self, monotonic: float) -> float | None:
        """The issuer's clock in seconds, as heartbeats show it; None before the first one."""
        with self._lock:
            return None if self._offset is None else monotonic + self._offset / 1000

    def end(self, hops: Sequence[Sequence[Any]]) -> bool:
        """Whether one of them ends a token with these hops. Raises ValueError or TypeError for malformed hops."""
        with self._lock:
            return any(self._ends(hop) for hop in hops)

    @property
    def accounts(self) -> frozenset[str]:
        """The accounts whose revocations the last heartbeat covers; none before the first one."""
        return self._accounts

    def cover(self, hops: Sequence[Sequence[Any]]) -> bool:
        """Whether the stream has the revocations of every account in these hops."""
        with self._lock:
            return "*" in self._accounts or all(hop[0] in self._accounts for hop in hops)

    def _ends(self, hop: Sequence[Any]) -> bool:
        _, issued_at, epoch, position, ids = hop
        if len(ids) % MATCH_CHARACTERS:
            raise ValueError("match ids of another length")
        for start in range(0, len(ids), MATCH_CHARACTERS):
            for made in self._table.by_match.get(ids[start : start + MATCH_CHARACTERS], {}).values():
                if epoch != self._epoch or not made.position or position < made.position:
                    return True
                if issued_at < made.issued_before:
                    return True
        return False


def _known(data: Mapping[str, Any]) -> _Known:
    match = str(data["match"])
    if len(match) != MATCH_CHARACTERS:
        raise ValueError("a match id of another length")
    return _Known(match, int(data["position"]), int(data["issued_before"]), int(data["created_at"]))
