"""age and sealed files."""

from __future__ import annotations

import base64
import io
import stat
from pathlib import Path

import pytest
from tests.unit.crypto.test_key_encryption import Source

from daypass.crypto.age import CHUNK, AgeError, decrypted, encrypting, identity_of, new_identity, recipient_of
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError
from daypass.crypto.seal import FileSealer, SealedFileError, read_sealed

SECRET = "AGE-SECRET-KEY-1VZP3JSYP4P9FK7NWPQ0K0KQNSJRH9T8K73JVL9R3N5FTL3AWP4XQM9HE5E"
RECIPIENT = "age17c2p6jle3y7hz4504vf7hdcj84nf0rrx22msydawn0h5ng0jvursk2ervt"
OTHERS = (  # encrypted to RECIPIENT by rage's Python binding, with a stanza of an unknown type
    "YWdlLWVuY3J5cHRpb24ub3JnL3YxCi0+IFgyNTUxOSBjNkF0b1JxSFltRmptRkc0eXpjMjhUK2FHdjdkenVuVWNoR3kxeXJ1RUVv"
    "CjNZZjNrL0w3TFQvSDYzRVBHVG51WjRzaGE3OHo3SjFhdmVWR0h1V2hWZGcKLT4gPTZjb0AwIS1ncmVhc2UgbDZabCBWZFJafDc1"
    "OCB0Sl5fdDlSCk9JTWhHcVp2SnFNRW9sYTUySUFNMUFHbWFYbU5OcmQ3akdiNWtRVTlnYTRrcTdUMjU4bnlRZ0hEUnJHTjFieFoK"
    "TTBiajkydwotLS0gdlZWQXdsdmwyZTZjNjNwN3pjMGdGd1BUdmxwQjdNUHFwTXhnWTlDTnJrQQryIUa2ncsTs06ytfadt15zjCpO"
    "aoIAGbe+gPX4XyJO5xtjVyOJNMjZbn+VgBsB60M06qS+B/WTBD052TGxsA=="
)


def encrypted(data: bytes, recipient: str = RECIPIENT) -> bytes:
    file = io.BytesIO()
    with encrypting(file, recipient_of(recipient)) as write:
        for start in range(0, len(data), 50_000):
            write(data[start : start + 50_000])
    return file.getvalue()


def opened(data: bytes, secret: str = SECRET) -> bytes:
    return b"".join(decrypted(io.BytesIO(data), identity_of(secret)))


@pytest.mark.parametrize("size", [0, 1, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK, 200_000])
def test_decrypted_file_is_what_was_written(size: int) -> None:
    data = bytes(range(256)) * (size // 256 + 1)
    assert opened(encrypted(data[:size])) == data[:size]


def test_file_of_another_implementation_is_read() -> None:
    assert opened(base64.b64decode(OTHERS)) == b"made by another implementation"


def test_new_keys_belong_together() -> None:
    secret, recipient = new_identity()
    assert opened(encrypted(b"x", recipient), secret) == b"x"


def test_file_that_was_altered_anywhere_is_refused() -> None:
    data = encrypted(b"secret" * 20_000)
    for place in (0, 40, 90, 120, 180, 200, 230, 260, 70_000, len(data) - 1):
        altered = bytearray(data)
        altered[place] ^= 1
        with pytest.raises(AgeError):
            opened(bytes(altered))


def test_file_that_was_truncated_is_refused() -> None:
    data = encrypted(b"x" * (2 * CHUNK))
    body = data.index(b"\n--- ") + 5 + 44 + 16
    for size in (0, 10, 150, body, body + CHUNK + 16, len(data) - 1):
        with pytest.raises(AgeError):
            opened(data[:size])


def test_file_for_another_key_is_refused() -> None:
    with pytest.raises(AgeError, match="No matching keys"):
        opened(encrypted(b"x"), new_identity()[0])


@pytest.mark.parametrize("text", ["", "age1", RECIPIENT[:-1], RECIPIENT[:-1] + "b", SECRET, "x" * 62])
def test_recipient_that_is_malformed_is_refused(text: str) -> None:
    with pytest.raises(AgeError):
        recipient_of(text)


def test_disk_that_is_full_is_reported_with_its_reason() -> None:
    with (
        Path("/dev/full").open("wb", buffering=0) as full,
        pytest.raises(AgeError, match="No space left"),
        encrypting(full, recipient_of(RECIPIENT)) as write,
    ):
        for _ in range(64):
            write(bytes(CHUNK))


def test_identity_file_may_have_comments() -> None:
    assert opened(encrypted(b"x"), f"# created: today\n# public key: {RECIPIENT}\n\n{SECRET}\n") == b"x"
    with pytest.raises(AgeError, match="no private key"):
        identity_of("# nothing\n")


# --- Sealed files: only the key-encryption key opens them, each under its own name, and a change is noticed


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
