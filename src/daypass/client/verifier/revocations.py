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


class Revocations:
    """Applies the events of the stream, and answers for tokens."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: dict[str, _Known] = {}
        self._by_match: dict[str, dict[str, _Known]] = {}
        self._epoch = ""
        self._accounts: frozenset[str] = frozenset()
        self._complete_until = 0.0
        self._offset: float | None = None

    def __len__(self) -> int:
        return len(self._known)

    def connected(self) -> None:
        """Call it when a connection begins: the server's clock is estimated again."""
        with self._lock:
            self._offset = None

    def apply(self, event: str, data: Mapping[str, Any], monotonic: float) -> None:
        """Applies one event. `monotonic`: seconds, when it was read. Raises KeyError or ValueError for a malformed one."""
        with self._lock:
            if event == "reset":
                self._known, self._by_match, self._complete_until = {}, {}, 0.0
            elif event == "revocation":
                self._add(str(data["id"]), _known(data))
            elif event == "heartbeat":
                self._beat(data, monotonic)

    def _add(self, id_: str, made: _Known) -> None:
        self._remove(id_)
        self._known[id_] = made
        self._by_match.setdefault(made.match, {})[id_] = made

    def _remove(self, id_: str) -> None:
        old = self._known.pop(id_, None)
        if old is not None:
            same = self._by_match[old.match]
            del same[id_]
            if not same:
                del self._by_match[old.match]

    def _beat(self, data: Mapping[str, Any], monotonic: float) -> None:
        at = int(data["at"])
        offset = at - monotonic * 1000
        self._offset = offset if self._offset is None else max(self._offset, offset)
        self._epoch = str(data["epoch"])
        self._accounts = frozenset(map(str, data["accounts"]))
        self._complete_until = int(data["complete_until"])
        for id_ in [
            id_ for id_, made in self._known.items() if max(made.created_at, made.issued_before) + _KEEP_MS < at
        ]:
            self._remove(id_)

    def age(self, monotonic: float) -> float:
        """Seconds since the time until which the revocations are complete; infinite before the first heartbeat."""
        with self._lock:
            if self._offset is None or not self._complete_until:
                return float("inf")
            return max(0.0, (monotonic * 1000 + self._offset - self._complete_until) / 1000)

    def end(self, hops: Sequence[Sequence[Any]]) -> bool:
        """Whether one of them ends a token with these hops. Raises ValueError or TypeError for malformed hops."""
        with self._lock:
            return any(self._ends(hop) for hop in hops)

    def cover(self, hops: Sequence[Sequence[Any]]) -> bool:
        """Whether the stream has the revocations of every account in these hops."""
        with self._lock:
            return "*" in self._accounts or all(hop[0] in self._accounts for hop in hops)

    def _ends(self, hop: Sequence[Any]) -> bool:
        _, issued_at, epoch, position, ids = hop
        if len(ids) % MATCH_CHARACTERS:
            raise ValueError("match ids of another length")
        for start in range(0, len(ids), MATCH_CHARACTERS):
            for made in self._by_match.get(ids[start : start + MATCH_CHARACTERS], {}).values():
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
