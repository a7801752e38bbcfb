"""The age format: what is written reads back, altered and truncated files are refused, and known files are read."""

from __future__ import annotations

import base64
import io
from pathlib import Path

import pytest

from daypass.crypto.age import CHUNK, AgeError, decrypted, encrypting, identity_of, new_identity, recipient_of

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
