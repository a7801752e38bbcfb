"""The key-encryption key of an installation, from the settings, and the wait for its source at start."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from daypass.config import Settings
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError
from daypass.ports.directory import StoredKey
from daypass.server.key_sources.uri import is_key_source, key_source

_PAUSE_SECONDS: Final = 1.0


def key_encryption_key(settings: Settings, *, new: bool) -> KeyEncryptionKey:
    """From the settings, with those that are accepted too. See `_current_key`. It does not wait. Raises RingError."""
    keys = settings.keys
    others = [KeyEncryptionKey.from_file(file) for file in keys.former_encryption_key_files]
    others += [_of_source(settings, uri) for uri in keys.former_encryption_key_sources]
    return _current_key(settings, new=new).accepting(others)


def opening_key(settings: Settings, stored: Sequence[StoredKey], *extra: KeyEncryptionKey) -> KeyEncryptionKey:
    """For commands: the key-encryption key of the settings, or one of `extra`, ready to unwrap `stored`. It waits for
    a key source, once. Raises RingError.
    """
    kek = key_encryption_key(settings, new=False).accepting(extra)
    kek.learn(key.wrapped for key in stored)
    return kek


def key_at(settings: Settings, place: str) -> KeyEncryptionKey:
    """The key-encryption key in a file, or of the URI of a key source. Raises RingError."""
    return _of_source(settings, place) if is_key_source(place) else KeyEncryptionKey.from_file(Path(place))


def await_source(
    kek: KeyEncryptionKey,
    stored: Sequence[StoredKey],
    seconds: float,
    *,
    sleep: Callable[[float], None] = time.sleep,
    monotonic: Callable[[], float] = time.monotonic,
) -> None:
    """Returns when the key sources of `kek` have opened what unwraps `stored`, and it can wrap.

    A failure that may pass is tried again for `seconds`, and reported once on standard error. Raises KeySourceError.
    """
    until = monotonic() + seconds
    reported = False
    while True:
        try:
            kek.learn(key.wrapped for key in stored)
            kek.prove()
        except KeySourceError as error:
            if not error.temporary or monotonic() >= until:
                raise
            if not reported:
                reported = True
                again = f"trying again for {seconds:.0f} s (keys.wait_seconds)"
                sys.stderr.write(f"daypass: the key-encryption key: {error}\ndaypass: {again}\n")
            sleep(min(_PAUSE_SECONDS, max(0.0, until - monotonic())))
        else:
            return


def _current_key(settings: Settings, *, new: bool) -> KeyEncryptionKey:
    """From the settings; without any, `master.key` in the data directory.

    `new`: the database holds no ring keys yet, so the file is created if it is absent. Otherwise a new one could not
    open them, and would hide that the old one is lost. Raises RingError.
    """
    if settings.keys.encryption_key_source:
        return _of_source(settings, settings.keys.encryption_key_source)
    text = settings.keys.encryption_key.get_secret_value()
    if text:
        return KeyEncryptionKey.from_text(text)
    file = settings.keys.encryption_key_file
    if file is not None:
        return KeyEncryptionKey.from_file(file)
    file = settings.server.data / "master.key"
    if not new and not file.exists():
        raise RingError(
            f"{file} is missing, and the database holds keys that only it opens: restore it from your copy, or copy it "
            "from another replica. Or set keys.encryption_key or keys.encryption_key_file."
        )
    return KeyEncryptionKey.from_file(file, create=new, private=True)


def _of_source(settings: Settings, uri: str) -> KeyEncryptionKey:
    return KeyEncryptionKey(key_source(uri, settings.keys.source_seconds))
