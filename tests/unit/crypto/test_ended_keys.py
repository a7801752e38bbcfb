"""An emergency ends keys that have not begun, too; a ring has one key for each not-before time."""

from __future__ import annotations

from daypass.crypto.key_encryption import KeyEncryptionKey
from daypass.crypto.keys import Ring, ended_keys, next_keys

DAY = 86_400_000
NOW = 1_000 * DAY


def test_ended_keys_that_have_not_begun_get_different_times_before_the_new_key() -> None:
    kek = KeyEncryptionKey(b"k" * 32)
    stored = [key for at in (NOW, NOW + 1_000) for key in next_keys(kek, at, 30 * DAY, (Ring.SIGNING,), DAY)]
    ended = ended_keys(stored, kek, NOW)
    times = [key.not_before for key in ended]
    assert len(times) == len(set(times)) == 2
    assert max(times) < NOW
    assert {key.verify_until for key in ended} == {NOW}
