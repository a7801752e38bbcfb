"""The keys of issuers in the database: for the next start, for other processes, and so that one of them asks for all.

Without the database every process goes on by itself. Nothing here raises, whatever the database does.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import NamedTuple

from daypass.domain.directory import IssuerKeySet
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.federation.jwks import Keys, read_keys
from daypass.federation.sources import Source
from daypass.observability import logs
from daypass.ports import Directory, Journal, Tx

_SHOWN = 128


class Kept(NamedTuple):
    """Keys, and when they were fetched, ms."""

    keys: Keys
    fetched_at: int


class KeptKeys:
    """What is kept of each source. `seconds`: how long a read is waited for."""

    def __init__(self, directory: Directory, journal: Journal, seconds: float) -> None:
        self._directory = directory
        self._journal = journal
        self._seconds = seconds

    async def load(self, source: Source) -> Kept | None:
        """The keys that were kept last; None when there are none, or none that can be read now."""
        try:
            async with asyncio.timeout(self._seconds):
                row = await self._directory.read(lambda reader: reader.get(IssuerKeySet, source=source.id))
            if row is None:
                return None
            return Kept(read_keys(row.jwks.encode())._replace(sequence=row.sequence), row.fetched_at)
        except (DaypassError, ValueError, TimeoutError):  # the database is away, or the row is another version's
            return None

    async def claim(self, source: Source, kid: str, now: int, spacing: int) -> bool:
        """Whether this process is the one to look for a key that nobody has: the first within `spacing` ms (attack A22)."""
        detail = {"provider": source.provider_url, "url": source.place, "unknown_kid": kid[:_SHOWN]}
        event = Event(EventType.ISSUER_KEYS, now, account=source.account, detail=detail)

        def change(tx: Tx) -> tuple[bool, Event]:
            row = tx.get(IssuerKeySet, source=source.id)
            if row is not None and now - row.claimed_at < spacing:
                raise DaypassError(ErrorKind.CONCURRENT_MODIFICATION, "Another process is looking.")
            if row is not None:
                tx.replace(replace(row, claimed_at=now))
            return True, event

        try:
            return await self._journal.write(change)
        except DaypassError as error:
            return error.kind is not ErrorKind.CONCURRENT_MODIFICATION

    async def save(self, source: Source, kept: Kept, *, changed: bool) -> None:
        """Keeps keys that were just fetched, and puts them on the record."""
        keys = kept.keys
        row = IssuerKeySet(
            source.id, source.account, source.place, keys.set.jwks.decode(), kept.fetched_at, keys.sequence
        )
        detail = {
            "provider": source.provider_url,
            "url": source.place,
            "kids": sorted(keys.kids),
            "jwks_sha256": keys.set.hash,
            "changed": changed,
        }
        event = Event(EventType.ISSUER_KEYS, kept.fetched_at, account=source.account, detail=detail)

        def change(tx: Tx) -> tuple[None, Event]:
            _put(tx, row)
            return None, event

        try:
            await self._journal.write(change)
        except DaypassError:
            pass  # the journal says itself when it cannot write; the keys serve
        except Exception:  # noqa: BLE001  # a restart may miss them; nothing else depends on it
            logs.get().error("issuer.not_kept", url=source.place, exc_info=True)


def _put(tx: Tx, row: IssuerKeySet) -> None:
    old = tx.get(IssuerKeySet, source=row.source)
    if old is None:
        tx.insert(row)
    elif old.fetched_at < row.fetched_at:
        tx.replace(replace(row, claimed_at=old.claimed_at))
    if row.account:  # the sources that this one has come in place of
        for other in tx.find(IssuerKeySet, account=row.account, url=row.url):
            if other.source != row.source:
                tx.delete(other)
