"""Files encrypted to a recipient's public key: the age format, version 1, with X25519 recipients.

The program `age` and other implementations read and write the same files. Only the public key is needed to encrypt.
Source: C2SP, "The age file encryption format" (age-encryption.org/v1); BIP 173 for the text of keys.
"""

from __future__ import annotations

import base64
import hmac
import itertools
import os
import re
from collections.abc import Iterator
from contextlib import suppress
from hashlib import sha256
from typing import IO, Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

CHUNK: Final = 65_536
_TAG: Final = 16
_FILE_KEY: Final = 16
_VERSION: Final = b"age-encryption.org/v1"
_X25519: Final = b"age-encryption.org/v1/X25519"
_MAX_HEADER: Final = 65_536
_RECIPIENT, _IDENTITY = "age", "age-secret-key-"
_STANZA = re.compile(rb"-> X25519 ([A-Za-z0-9+/]{43})")
_ALPHABET: Final = "qpzry9x8gf2tvdw0s3jn54khce6mua7l"
_NO_NONCE: Final = bytes(12)


class AgeError(Exception):
    """A key or a file cannot be used: malformed, altered, truncated, or for another recipient."""


def new_identity() -> tuple[str, str]:
    """A new private key (AGE-SECRET-KEY-1…) and its recipient (age1…)."""
    key = X25519PrivateKey.generate()
    return _bech32(_IDENTITY, key.private_bytes_raw()).upper(), _bech32(_RECIPIENT, key.public_key().public_bytes_raw())


def recipient_of(text: str) -> X25519PublicKey:
    """A recipient (age1…). Raises AgeError."""
    return X25519PublicKey.from_public_bytes(_key(_RECIPIENT, "recipient", text))


def identity_of(text: str) -> X25519PrivateKey:
    """The first private key in the text of an identity file; lines with # are comments. Raises AgeError."""
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith("#")]
    if not lines:
        raise AgeError("the identity file contains no private key")
    return X25519PrivateKey.from_private_bytes(_key(_IDENTITY, "identity", lines[0].lower()))


class AgeWriter:
    """Encrypts what is written to a file. `close` ends it; without that, readers refuse the file as truncated."""

    def __init__(self, file: IO[bytes], recipient: X25519PublicKey) -> None:
        self._file = file
        self._buffer = bytearray()
        self._count = 0
        file_key, nonce = os.urandom(_FILE_KEY), os.urandom(16)
        file.write(_header(file_key, recipient) + nonce)
        self._cipher = ChaCha20Poly1305(_derived(file_key, nonce, b"payload"))

    def write(self, data: bytes) -> None:
        """Adds plaintext."""
        self._buffer += data
        while len(self._buffer) > CHUNK:  # the last chunk is known only at the end
            self._chunk(bytes(self._buffer[:CHUNK]), last=False)
            del self._buffer[:CHUNK]

    def close(self) -> None:
        """Writes the last chunk. The file stays open."""
        self._chunk(bytes(self._buffer), last=True)

    def _chunk(self, data: bytes, *, last: bool) -> None:
        self._file.write(self._cipher.encrypt(_nonce(self._count, last=last), data, None))
        self._count += 1


def decrypted(file: IO[bytes], identity: X25519PrivateKey) -> Iterator[bytes]:
    """The plaintext of a file, chunk by chunk; each is authentic. Raises AgeError, at the latest after the last chunk
    when the file was truncated.
    """
    file_key = _file_key(file, identity)
    cipher = ChaCha20Poly1305(_derived(file_key, _exactly(file, 16), b"payload"))
    chunk, count = file.read(CHUNK + _TAG), 0
    while True:
        following = file.read(CHUNK + _TAG)
        last = not following
        try:
            data = cipher.decrypt(_nonce(count, last=last), chunk, None)
        except InvalidTag:
            raise AgeError("the file was altered or is truncated") from None
        if last and not data and count:
            raise AgeError("the file ends with an empty chunk")
        yield data
        if last:
            return
        chunk, count = following, count + 1


# --- The header


def _header(file_key: bytes, recipient: X25519PublicKey) -> bytes:
    ephemeral = X25519PrivateKey.generate()
    share, public = ephemeral.public_key().public_bytes_raw(), recipient.public_bytes_raw()
    key = _derived(ephemeral.exchange(recipient), share + public, _X25519)
    body = ChaCha20Poly1305(key).encrypt(_NO_NONCE, file_key, None)
    covered = b"%b\n-> X25519 %b\n%b\n---" % (_VERSION, _base64(share), _base64(body))
    return covered + b" " + _base64(_mac(file_key, covered)) + b"\n"


def _file_key(file: IO[bytes], identity: X25519PrivateKey) -> bytes:
    """Reads the header. Raises AgeError."""
    lines: list[bytes] = []
    while not lines or not lines[-1].startswith(b"---"):
        line = file.readline(_MAX_HEADER)
        if not line.endswith(b"\n") or sum(map(len, lines)) > _MAX_HEADER:
            raise AgeError("it is not a file in the age format")
        lines.append(line)
    if lines[0].rstrip(b"\n") != _VERSION:
        raise AgeError("it is not a file in the age format")
    covered = b"".join(lines[:-1]) + b"---"
    for line, body in itertools.pairwise(lines):
        stanza = _STANZA.fullmatch(line.rstrip(b"\n"))
        file_key = _unwrapped(identity, stanza[1], body.rstrip(b"\n")) if stanza else None
        if file_key is not None:
            if not hmac.compare_digest(lines[-1], b"--- " + _base64(_mac(file_key, covered)) + b"\n"):
                raise AgeError("the header was altered")
            return file_key
    raise AgeError("the file is not for this private key")


def _unwrapped(identity: X25519PrivateKey, share_text: bytes, body: bytes) -> bytes | None:
    """The file key, or None when the stanza is for another recipient."""
    with suppress(ValueError, InvalidTag):
        share = base64.b64decode(share_text + b"=", validate=True)
        salt = share + identity.public_key().public_bytes_raw()
        shared = identity.exchange(X25519PublicKey.from_public_bytes(share))
        wrapped = base64.b64decode(body + b"=" * (-len(body) % 4), validate=True)
        return ChaCha20Poly1305(_derived(shared, salt, _X25519)).decrypt(_NO_NONCE, wrapped, None)
    return None


def _mac(file_key: bytes, covered: bytes) -> bytes:
    return hmac.digest(_derived(file_key, b"", b"header"), covered, sha256)


def _derived(secret: bytes, salt: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), 32, salt, info).derive(secret)


def _nonce(count: int, *, last: bool) -> bytes:
    return count.to_bytes(11, "big") + bytes((last,))


def _exactly(file: IO[bytes], size: int) -> bytes:
    data = file.read(size)
    if len(data) != size:
        raise AgeError("the file is truncated")
    return data


def _base64(data: bytes) -> bytes:
    return base64.b64encode(data).rstrip(b"=")


# --- Keys as text (BIP 173)


def _bech32(prefix: str, data: bytes) -> str:
    values = _regrouped(data, 8, 5)
    return prefix + "1" + "".join(_ALPHABET[value] for value in (*values, *_checksum(prefix, values)))


def _key(prefix: str, what: str, text: str) -> bytes:
    """The 32 bytes of a key. Raises AgeError."""
    found, _, rest = text.strip().rpartition("1")
    values = [_ALPHABET.find(character) for character in rest]
    if (
        found != prefix or len(values) != 58 or -1 in values or list(_checksum(prefix, values[:-6])) != values[-6:]
    ):  # 52 for 32 bytes, and the checksum
        raise AgeError(f"the {what} is not a key that begins with {prefix}1")
    return bytes(_regrouped(values[:-6], 5, 8)[:32])


def _checksum(prefix: str, values: list[int]) -> tuple[int, ...]:
    expanded = [ord(c) >> 5 for c in prefix] + [0] + [ord(c) & 31 for c in prefix]
    check = 1
    for value in (*expanded, *values, 0, 0, 0, 0, 0, 0):
        top, check = check >> 25, (check & 0x1FFFFFF) << 5 ^ value
        for bit, generator in enumerate((0x3B6A57B2, 0x26508E6D, 0x1EA119FA, 0x3D4233DD, 0x2A1462B3)):
            check ^= generator if top >> bit & 1 else 0
    return tuple((check ^ 1) >> 5 * (5 - place) & 31 for place in range(6))


def _regrouped(data: bytes | list[int], size: int, into: int) -> list[int]:
    """Groups of `into` bits from groups of `size` bits; the last one is padded with zeros."""
    number = bits = 0
    found = []
    for value in data:
        number, bits = (number << size | value) & 0xFFFF, bits + size
        while bits >= into:
            bits -= into
            found.append(number >> bits & (1 << into) - 1)
    if bits and into < size:
        found.append(number << into - bits & (1 << into) - 1)
    return found
