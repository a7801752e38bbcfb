"""Last uses of principals and operations, taken from events as they are recorded and written periodically.

A request costs one dictionary look-up and no write. The journal's writer adds to its next transaction the uses that
have not been written for a minute. This must never delay the record, make it fail or grow without bound. Uses that
cannot be written are dropped, and a killed process loses at most the last minute.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from itertools import takewhile
from typing import Final, NamedTuple, TypeAlias

from sqlalchemy import Connection, text

from daypass.domain.events import Event, EventType

EVERY_MS: Final = 60_000
MAX_ROWS: Final = 200  # in one transaction
KEPT_MS: Final = 400 * 86_400_000  # AWS's tracking period
_MAX_KNOWN: Final = 100_000
_PRINCIPALS: Final = ("AIDA", "AROA")
_SESSION_KEY: Final = "ASIA"
SIGN_IN: Final = "daypass:SignIn"

UseKey: TypeAlias = tuple[str, str]
"""Subject and operation: the key of one row of `last_uses`."""


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


def _signs_in(event: Event) -> bool:
    """Whether a user signs in with a browser: the event has no access key yet."""
    return event.operation == SIGN_IN and event.type is EventType.SESSION_ISSUED


class UsageBook:
    """The latest uses that are not written yet. Only the journal's writer thread may use it."""

    def __init__(self) -> None:
        self._due: dict[UseKey, Use] = {}
        self._later: dict[UseKey, Use] = {}  # written less than a minute ago and used again since
        self._written: dict[UseKey, int] = {}  # time of writing, oldest first

    def note_all(self, events: Iterable[Event]) -> None:
        """Adds a batch, in order. For the same key and operation the last event counts."""
        latest = {(event.actor.get("access_key_id", ""), event.operation): event for event in events}
        for event in latest.values():
            self.note(event)

    def note(self, event: Event) -> None:
        """Adds an event of an authenticated caller, or of a user who signs in; other events are ignored."""
        actor = event.actor
        key, operation = actor.get("access_key_id", ""), event.operation
        if not operation or not (key or _signs_in(event)):  # anonymous, or by a foreign proof and not a principal here
            return
        account, principal = actor.get("account", ""), actor.get("principal_id", "")
        if ":" in principal:  # a federated user: its use counts for its issuer
            principal = actor.get("origin", {}).get("principal_id", "")
        use = Use(account, event.at, event.source.get("region", ""))
        if principal[:4] in _PRINCIPALS or (principal and principal == account):
            self._put((principal, operation), use)
        if key and key[:4] != _SESSION_KEY:
            self._put((key, operation.partition(":")[0]), use)

    def _put(self, key: UseKey, use: Use) -> None:
        if key in self._written:
            self._later[key] = use
        elif key in self._due or len(self._due) < _MAX_KNOWN:
            self._due[key] = use

    def take(self, now: int, *, everything: bool = False) -> dict[UseKey, Use]:
        """The uses to write at `now` (ms), in the order in which every process locks the rows."""
        if not (self._due or self._written):
            return {}
        for key in self._expired(now, everything=everything):
            del self._written[key]
            if key in self._later:
                self._due[key] = self._later.pop(key)
        most = len(self._due) if everything else MAX_ROWS
        return dict(sorted(list(self._due.items())[:most]))

    def _expired(self, now: int, *, everything: bool) -> list[UseKey]:
        """Removes the entries that were written a minute ago or earlier; they come first."""
        if everything:
            return list(self._written)
        return [key for key, _ in takewhile(lambda item: now - item[1] >= EVERY_MS, self._written.items())]

    def mark_written(self, taken: Mapping[UseKey, Use], now: int) -> None:
        """Marks the taken uses as finished, written or not. Uses that are not marked are taken again."""
        for key, use in taken.items():
            newer = self._due.pop(key, use)
            if newer is not use:
                self._later[key] = newer
            self._written.pop(key, None)
            self._written[key] = now


def write_usage(conn: Connection, taken: Mapping[UseKey, Use]) -> None:
    """Writes uses in the transaction of `conn`. Call it last: rows are locked in one order, and no other lock
    follows.
    """
    rows = [
        {"subject": subject, "operation": operation, "account": use.account, "at": use.at, "region": use.region}
        for (subject, operation), use in taken.items()
    ]
    with conn.begin_nested():
        conn.execute(_UPSERT, rows)


def forget_usage(conn: Connection, now: int) -> None:
    """Deletes uses older than the tracking period. It reads every row, so it runs once for each process start."""
    conn.execute(_FORGET, {"before": now - KEPT_MS})
