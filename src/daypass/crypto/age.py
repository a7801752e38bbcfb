"""Files encrypted to a recipient's public key: the age format, version 1, with X25519 recipients.

The program `age` and other implementations read and write the same files. Only the public key is needed to encrypt.
Source: C2SP, "The age file encryption format" (age-encryption.org/v1). `pyrage` encrypts and decrypts, in a thread beside
the one that makes or uses the plaintext, so that a backup of any size is never whole in memory nor on the disk.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import IO, Final

import pyrage
from pyrage.x25519 import Identity, Recipient

CHUNK: Final = 65_536


class AgeError(Exception):
    """A key or a file cannot be used: malformed, altered, truncated, or for another recipient."""


def new_identity() -> tuple[str, str]:
    """A new private key (AGE-SECRET-KEY-1…) and its recipient (age1…)."""
    identity = Identity.generate()
    return str(identity), str(identity.to_public())


def recipient_of(text: str) -> Recipient:
    """A recipient (age1…). Raises AgeError."""
    try:
        return Recipient.from_str(text.strip())
    except pyrage.RecipientError:
        raise AgeError("the recipient is not a key that begins with age1") from None


def identity_of(text: str) -> Identity:
    """The first private key in the text of an identity file; lines with # are comments. Raises AgeError."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise AgeError("the identity file contains no private key")
    try:
        return Identity.from_str(lines[0])
    except pyrage.IdentityError:
        raise AgeError("the identity is not a key that begins with AGE-SECRET-KEY-1") from None


@contextmanager
def encrypting(file: IO[bytes], recipient: Recipient) -> Iterator[Callable[[bytes], object]]:
    """A function that adds plaintext. `file` is complete at the end of the block. After an exception in it, `file` holds a
    part that decrypts: it must be deleted.

    Raises AgeError: the file cannot be written.
    """
    source, sink = _pipe()
    with ThreadPoolExecutor(1) as pool:
        done = pool.submit(_run, source, lambda: pyrage.encrypt_io(source, file, [recipient]))
        try:
            with sink:
                yield sink.write
        finally:
            done.result()


def decrypted(file: IO[bytes], identity: Identity) -> Iterator[bytes]:
    """The plaintext of a file in chunks; each is authentic. Raises AgeError, at the latest after the last chunk when the file
    was truncated.
    """
    source, sink = _pipe()
    with ThreadPoolExecutor(1) as pool, source:  # the pipe is closed first: the thread ends when nobody reads
        done = pool.submit(_run, sink, lambda: pyrage.decrypt_io(file, sink, [identity]))
        while data := source.read(CHUNK):
            yield data
        done.result()


def _run(end: IO[bytes], work: Callable[[], object]) -> None:
    """Then closes its end of the pipe, so that the other end does not wait for it. Raises AgeError."""
    try:
        with end:
            work()
    except (pyrage.DecryptError, pyrage.EncryptError, OSError) as error:  # an altered chunk is an OSError, too
        raise AgeError(f"the file cannot be encrypted or decrypted: {error}") from None


def _pipe() -> tuple[IO[bytes], IO[bytes]]:
    """The reading and the writing end."""
    reading, writing = os.pipe()
    return os.fdopen(reading, "rb"), os.fdopen(writing, "wb")
