"""Rings in memory, for tests that need a sealer."""

from __future__ import annotations

import asyncio

from msgspec.structs import replace

from daypass.crypto.key_encryption import KeyEncryptionKey
from daypass.crypto.keys import DAY, KeyRings, due
from daypass.crypto.seal import Sealer
from daypass.domain.session import FeedPosition, Hop, SessionClaims, SessionKind
from daypass.ports.directory import StoredKey

NOW = 1_800_000_000_000
KEK = KeyEncryptionKey(b"k" * 32)


class FixedClock:
    def __init__(self, now: int = NOW) -> None:
        self.time = now

    def now(self) -> int:
        return self.time

    def wall(self) -> int:
        return self.time


class Shelf:
    """A table of keys as the database keeps it: one for each (ring, not_before)."""

    def __init__(self) -> None:
        self.keys: list[StoredKey] = []
        self.reads = 0
        self.broken = False

    async def fetch(self) -> list[StoredKey]:
        self.reads += 1
        await asyncio.sleep(0)
        if self.broken:
            raise OSError("the database is away")
        return list(self.keys)

    async def insert(self, key: StoredKey) -> bool:
        if any((k.ring, k.not_before) == (key.ring, key.not_before) for k in self.keys):
            return False
        self.keys.append(key)
        return True

    def fill(self, now: int = NOW) -> Shelf:
        self.keys += due(self.keys, KEK, now, 30 * DAY)
        return self

    def rings(self) -> KeyRings:
        return KeyRings(self.fetch, KEK, reload_pause=0)


def sealer(shelf: Shelf | None = None, clock: FixedClock | None = None) -> Sealer:
    shelf = shelf or Shelf().fill()
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    return Sealer(rings, clock or FixedClock())


def role_session(made_by: Sealer, **more: object) -> SessionClaims:
    seen = FeedPosition("0f" * 8, 1234)
    user = Hop("", "111111111111", "AIDAABCDEFGHIJKLMNOPQ", NOW, seen, "AKIAABCDEFGHIJKLMNOP", "alice")
    own = Hop("ab" * 16, "222222222222", "AROAABCDEFGHIJKLMNOPQ", NOW, seen, "ASIAABCDEFGHIJKLMNOP", "shift")
    claims = SessionClaims(
        kind=SessionKind.ROLE,
        session_id=own.session_id,
        account=own.account,
        principal_id=own.principal_id,
        arn="arn:aws:iam::222222222222:role/deploy",
        name="shift",
        issued_at=NOW,
        expires_at=NOW + 3_600_000,
        seen=seen,
        hops=(user, own),
        tags=(("team", "red"),),
        derivation_key=made_by.derivation_key(),
        auth_method="sigv4",
    )
    return replace(claims, **more)
