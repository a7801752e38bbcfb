"""A stored ring key, as the stores have it and `crypto` opens it."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Final

FOR_EVER: Final = 2**53
"""`verify_until` of keys that open what is stored."""


@dataclass(frozen=True, slots=True)
class StoredKey:
    """A key, wrapped by the key-encryption key. Times in ms; `id` is 16 hex digits."""

    ring: str
    id: str
    wrapped: bytes = field(repr=False)
    not_before: int
    sign_until: int
    verify_until: int
    created_at: int
