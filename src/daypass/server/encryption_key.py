"""The key-encryption key of an installation, from the settings."""

from __future__ import annotations

from daypass.config import Settings
from daypass.crypto.keys import KeyEncryptionKey, RingError


def key_encryption_key(settings: Settings, *, new: bool) -> KeyEncryptionKey:
    """From the settings, with those that are accepted too. See `_current_key`. Raises RingError."""
    others = [KeyEncryptionKey.from_file(file) for file in settings.keys.former_encryption_key_files]
    return _current_key(settings, new=new).accepting(others)


def _current_key(settings: Settings, *, new: bool) -> KeyEncryptionKey:
    """From the settings; without any, `master.key` in the data directory.

    `new`: the database holds no ring keys yet, so the file is created if it is absent. Otherwise a new one could not
    open them, and would hide that the old one is lost. Raises RingError.
    """
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
