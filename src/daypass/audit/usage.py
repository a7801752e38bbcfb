"""Who used what when last, taken from the events as they go on the record, and written beside them now and then.

A request costs a dictionary look-up here and no write: the journal's writer takes along, in a transaction that it makes
anyway, what has not been written for a minute. It must never hold up, fail or outgrow the record: what cannot be written is
let go, and what is lost is at most the last minute of a process that was killed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import Connection, text

from daypass.domain.events import Event

EVERY_MS: Final = 60_000
MOST_ROWS: Final = 200  # in one transaction
KEPT_MS: Final = 400 * 86_400_000  # AWS's tracking period
_MOST_KNOWN: Final = 100_000
_PRINCIPALS: Final = ("AIDA", "AROA")
_SESSION_KEY: Final = "ASIA"

Place: TypeAlias = tuple[str, str]
"""Subject and operation: what one row of `last_uses` is about."""


class Use(NamedTuple):
    account: str
    at: int
    region: str


_UPSERT = text(
    "INSERT INTO last_uses (subject, operation, account, at, region) VALUES (:subject, :operation, :account, :at, :region) "
    "ON CONFLICT (subject, operation) DO UPDATE SET at = excluded.at, region = excluded.region "
    "WHERE excluded.at > last_uses.at"
)


_FORGET = text("DELETE FROM last_uses WHERE at < :before")


class UsageBook:
    """The latest use of everything that is not written yet. It belongs to the journal's writer thread."""

    def __init__(self) -> None:
        self._due: dict[Place, Use] = {}
        self._later: dict[Place, Use] = {}  # written less than a minute ago, and used again since
        self._written: dict[Place, int] = {}  # when, oldest first

    def note_all(self, events: Iterable[Event]) -> None:
        """Takes a batch, in order: of those with the same key and operation the last one tells."""
        latest = {(event.actor.get("access_key_id", ""), event.operation): event for event in events}
        for event in latest.values():
            self.note(event)

    def note(self, event: Event) -> None:
        """Takes an event about somebody who has proven who it is; any other is passed over."""
        actor = event.actor
        key, operation = actor.get("access_key_id", ""), event.operation
        if not key or not operation:  # nobody, or the bearer of a proof from elsewhere, who is no principal here
            return
        account, principal = actor.get("account", ""), actor.get("principal_id", "")
        if ":" in principal:  # a federated user: what it does its issuer did
            principal = actor.get("origin", {}).get("principal_id", "")
        use = Use(account, event.at, event.source.get("region", ""))
        if principal[:4] in _PRINCIPALS or (principal and principal == account):
            self._put((principal, operation), use)
        if key[:4] != _SESSION_KEY:
            self._put((key, operation.partition(":")[0]), use)

    def _put(self, place: Place, use: Use) -> None:
        if place in self._written:
            self._later[place] = use
        elif place in self._due or len(self._due) < _MOST_KNOWN:
            self._due[place] = use

    def take(self, now: int, *, everything: bool = False) -> dict[Place, Use]:
        """What is to be written at `now` (ms), in the order in which every process locks the rows."""
        if not (self._due or self._written):
            return {}
        for place in self._expired(now, everything=everything):
            del self._written[place]
            if place in self._later:
                self._due[place] = self._later.pop(place)
        most = len(self._due) if everything else MOST_ROWS
        return dict(sorted(list(self._due.items())[:most]))

    def _expired(self, now: int, *, everything: bool) -> list[Place]:
        """Those written a minute ago or longer: the first ones."""
        if everything:
            return list(self._written)
        return [place for place, _ in takewhile(lambda item: now - item[1] >= EVERY_MS, self._written.items())]

    def settle(self, taken: Mapping[Place, Use], now: int) -> None:
        """What was taken is written, or never will be. What was not settled is taken again."""
        for place, use in taken.items():
            newer = self._due.pop(place, use)
            if newer is not use:
                self._later[place] = newer
            self._written.pop(place, None)
            self._written[place] = now


def write_usage(conn: Connection, taken: Mapping[Place, Use]) -> None:
    """In the transaction of `conn`, last of all: rows are locked in one order, and nothing after them."""
    rows = [
        {"subject": subject, "operation": operation, "account": use.account, "at": use.at, "region": use.region}
        for (subject, operation), use in taken.items()
    ]
    with conn.begin_nested():
        conn.execute(_UPSERT, rows)


def forget_usage(conn: Connection, now: int) -> None:
    """Drops what is older than the tracking period. It looks at every row: once for each start of a process."""
    conn.execute(_FORGET, {"before": now - KEPT_MS})
