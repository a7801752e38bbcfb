"""Sealed files: only the key-encryption key opens them, each under its own name, and a change is noticed."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.unit.crypto.test_key_encryption import Source

from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError
from daypass.crypto.seal import FileSealer, SealedFileError, read_sealed

KEK = KeyEncryptionKey(b"k" * 32)


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "state.sealed"
    FileSealer(KEK).write(path, b"the content")
    return path


def test_read_of_a_sealed_file_returns_its_content(file: Path) -> None:
    assert read_sealed(file, KEK) == b"the content"
    assert b"content" not in file.read_bytes()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert [path.name for path in file.parent.iterdir()] == ["state.sealed"]


def test_write_replaces_the_file_and_another_nonce_is_used(file: Path) -> None:
    sealer = FileSealer(KEK)
    sealer.write(file, b"same")
    first = file.read_bytes()
    sealer.write(file, b"same")
    assert file.read_bytes() != first
    assert read_sealed(file, KEK) == b"same"


def test_read_with_a_key_that_accepts_the_former_one_succeeds(file: Path) -> None:
    assert read_sealed(file, KeyEncryptionKey(b"n" * 32).accepting([KEK])) == b"the content"


def test_read_with_a_key_source_asks_it_once(tmp_path: Path) -> None:
    path, source = tmp_path / "state.sealed", Source()
    FileSealer(KeyEncryptionKey(source)).write(path, b"the content")
    kek = KeyEncryptionKey(source)
    assert [read_sealed(path, kek) for _ in range(2)] == [b"the content"] * 2
    assert source.calls == ["wrap", "unwrap"]


def test_read_with_a_key_source_that_fails_says_so(tmp_path: Path) -> None:
    path, source = tmp_path / "state.sealed", Source()
    FileSealer(KeyEncryptionKey(source)).write(path, b"the content")
    source.failure = KeySourceError("the hsm is off", temporary=True)
    with pytest.raises(SealedFileError, match="the hsm is off"):
        read_sealed(path, KeyEncryptionKey(source))


def test_read_with_another_key_is_refused(file: Path) -> None:
    with pytest.raises(SealedFileError, match="another key-encryption key"):
        read_sealed(file, KeyEncryptionKey(b"o" * 32))


def test_read_under_another_name_is_refused(file: Path) -> None:
    with pytest.raises(SealedFileError, match="was altered"):
        read_sealed(file.rename(file.with_name("views.sealed")), KEK)


def test_read_of_an_altered_or_torn_file_is_refused(file: Path) -> None:
    content = file.read_bytes()
    for at in range(len(content)):
        file.write_bytes(content[:at] + bytes([content[at] ^ 1]) + content[at + 1 :])
        with pytest.raises(SealedFileError):
            read_sealed(file, KEK)
        file.write_bytes(content[:at])
        with pytest.raises(SealedFileError):
            read_sealed(file, KEK)


def test_read_of_a_file_that_is_absent_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SealedFileError, match="cannot be read"):
        read_sealed(tmp_path / "absent", KEK)
