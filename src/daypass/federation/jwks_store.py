"""The keys of issuers in the database, for the next start and for other processes, so that one process fetches for all.

Without the database every process fetches on its own. Nothing here raises an error for a database failure.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

from daypass.audit.journal import Journal
from daypass.domain.directory import IssuerKeySet
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.federation.jwks import Keys, read_keys
from daypass.federation.sources import IssuerKeySource
from daypass.observability import logs
from daypass.ports.directory import Tx
from daypass.stores.directory import Directory

_SHOWN = 128


class StoredKeySet(NamedTuple):
    """Keys, and when they were fetched, ms."""

    keys: Keys
    fetched_at: int


class JwksStore:
    """The stored keys of each source. `seconds`: time limit of a read."""

    def __init__(self, directory: Directory, journal: Journal, seconds: float) -> None:
        self._directory = directory
        self._journal = journal
        self._seconds = seconds

    async def load(self, source: IssuerKeySource) -> StoredKeySet | None:
        """The keys stored last; None when there are none, or they cannot be read now."""
        try:
            async with asyncio.timeout(self._seconds):
                row = await self._directory.read(
                    lambda reader: reader.get(IssuerKeySet, source=source.id), account=source.account
                )
            if row is None:
                return None
            return StoredKeySet(read_keys(row.jwks.encode())._replace(sequence=row.sequence), row.fetched_at)
        except (
            DaypassError,
            ValueError,
            TimeoutError,
        ):  # the database is unavailable, or the row was written by another version
            return None

    async def claim(self, source: IssuerKeySource, kid: str, now: int, min_interval: int) -> bool:
        """Whether this process should fetch an unknown key: true for the first process within `min_interval` ms (attack
        A22).
        """
        detail = {"provider": source.provider_url, "url": source.place, "unknown_kid": kid[:_SHOWN]}
        event = Event(EventType.ISSUER_KEYS, now, account=source.account, detail=detail)

        def change(tx: Tx) -> tuple[bool, Event]:
            row = tx.get(IssuerKeySet, source=source.id)
            if row is not None and now - row.claimed_at < min_interval:
                raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "Another process is looking.")
            if row is not None:
                tx.replace(replace(row, claimed_at=now))
            return True, event

        try:
            return await self._journal.write(change, account=source.account)
        except DaypassError as error:
            return error.kind is not ErrorKind.CONCURRENT_MODIFICATION

    async def save(self, source: IssuerKeySource, stored: StoredKeySet, *, changed: bool) -> None:
        """Stores keys that were just fetched, and records the fetch."""
        keys = stored.keys
        row = IssuerKeySet(
            source.id, source.account, source.place, keys.set.jwks.decode(), stored.fetched_at, keys.sequence
        )
        detail = {
            "provider": source.provider_url,
            "url": source.place,
            "kids": sorted(keys.kids),
            "jwks_sha256": keys.set.hash,
            "changed": changed,
        }
        event = Event(EventType.ISSUER_KEYS, stored.fetched_at, account=source.account, detail=detail)

        def change(tx: Tx) -> tuple[None, Event]:
            _put(tx, row)
            return None, event

        try:
            await self._journal.write(change, account=source.account)
        except DaypassError:
            pass  # the journal reports its own failures; the keys are still used
        except Exception:  # noqa: BLE001  # a restart may miss them; nothing else depends on it
            logs.get().error("issuer.keys_not_stored", url=source.place, exc_info=True)


def _put(tx: Tx, row: IssuerKeySet) -> None:
    old = tx.get(IssuerKeySet, source=row.source)
    if old is None:
        tx.insert(row)
    elif old.fetched_at < row.fetched_at:
        tx.replace(replace(row, claimed_at=old.claimed_at))
    if row.account:  # the sources that this one replaces
        for other in tx.find(IssuerKeySet, account=row.account, url=row.url):
            if other.source != row.source:
                tx.delete(other)
