"""Sealing: session tokens, the secrets derived for them, authorization messages, and secrets at rest.

Everything sealed is `header || ciphertext`. The header is clear: format version, ring-key id (8 bytes), salt (24
bytes). The AES-256-GCM key is derived from the ring key and the header, so it is used once and its nonce may be
constant (a random nonce under one key would run out in days at our rate). The whole header and the owner are associated
data. Every refusal of a token is the same, whatever the cause. Key material is never held in a local name, so that no
traceback, not even one that prints locals, can show it.
"""

from __future__ import annotations

import base64
import os
import secrets
import zlib
from binascii import b2a_base64
from collections import OrderedDict
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from daypass.crypto.ids import random_bytes
from daypass.crypto.key_encryption import KeyEncryptionKey, KeySourceError, RingError, unavailable
from daypass.crypto.keys import KeyRings, Ring, RingKey
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.payload import MAX_PAYLOAD_BYTES, PayloadTooLarge, decode, encode
from daypass.domain.session import SessionClaims
from daypass.ports.clock import Clock
from daypass.ports.directory import StoredKey

_VERSION: Final = 1
_VERSION_BYTE: Final = bytes((_VERSION,))
_HEADER: Final = 1 + 8 + 24
_TAG: Final = 16
_NONCE: Final = bytes(12)
_MAX_TOKEN: Final = 32_768  # characters; a payload of the largest size fits
_MAX_MESSAGE: Final = 10_240  # characters that DecodeAuthorizationMessage takes (STS model, EncodedMessage)
_MAX_EXPLANATION: Final = 262_144  # bytes of a message, inflated
_PAD: Final = b"\x80"  # ends the payload; zeros may follow (ISO/IEC 7816-4)
_URLSAFE: Final = str.maketrans("+/", "-_")
_FROM_URLSAFE: Final = str.maketrans("-_", "+/")
DEFAULT_CACHE = 20_000

# Bound once: before Python 3.12 every look-up of an enum's member runs Python code.
_SEALING: Final = Ring.SEALING
_DERIVATION: Final = Ring.DERIVATION


def _refused() -> DaypassError:
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, "The security token included in the request is invalid.")


def _undecodable() -> DaypassError:
    return DaypassError(ErrorKind.INVALID_AUTHORIZATION_MESSAGE, "Message is not valid.")


class Sealer:
    """Seals sessions, messages and stored secrets. Ring keys never leave it."""

    def __init__(self, rings: KeyRings, clock: Clock, cache: int = DEFAULT_CACHE) -> None:
        self._rings = rings
        self._clock = clock
        self._cache = cache
        self._opened: OrderedDict[bytes, tuple[SessionClaims, int]] = OrderedDict()

    # --- session tokens

    def seal(self, claims: SessionClaims, minimum_size: int = 0) -> str:
        """The session token: base64, bound to the access key id of the last hop. At least `minimum_size` characters.

        Raises what `unsealed` raises.
        """
        return self.unsealed(claims, minimum_size)[1]()

    def unsealed(self, claims: SessionClaims, minimum_size: int = 0) -> tuple[int, Callable[[], str]]:
        """The number of characters of the session token, and the function that makes it, which raises nothing.

        Raises DaypassError: PACKED_POLICY_TOO_LARGE for a session that fits in no token,
        UNAVAILABLE when no key may sign now.
        """
        try:
            plain = encode(claims) + _PAD
        except PayloadTooLarge as error:
            raise DaypassError(ErrorKind.PACKED_POLICY_TOO_LARGE, str(error)) from None
        if minimum_size:
            # The fewest bytes with so many characters of base64.
            wanted = 3 * -(-minimum_size // 4) - 2 - _HEADER - _TAG
            plain = plain.ljust(min(wanted, MAX_PAYLOAD_BYTES), b"\0")
        key, header = self._new_header(_SEALING)
        owner = claims.hops[-1].access_key_id.encode()

        def seal() -> str:
            return _to_base64(header + _cipher(key, b"token", header).encrypt(_NONCE, plain, header + owner))

        return -(-(_HEADER + len(plain) + _TAG) // 3) * 4, seal

    async def open(self, unverified_token: str, access_key_id: str) -> SessionClaims:
        """The claims of a token. Raises DaypassError(UNKNOWN_CREDENTIALS) when the token is invalid in any way.

        Expiry and revocation are not checked here.

        Also raises UNAVAILABLE when its key is unknown here and none can be read.
        """
        try:
            digest = sha256(f"{access_key_id}\n{unverified_token}".encode()).digest()
        except UnicodeEncodeError:
            raise _refused() from None
        now = self._clock.now()
        found = self._opened.get(digest)
        if found is not None and now < found[1]:
            self._opened.move_to_end(digest)
            return found[0]
        data = _from_base64(unverified_token, _MAX_TOKEN)
        if data is None:
            raise _refused()
        key = await self._verifying(_SEALING, data[1:9].hex())
        if key is None:
            raise _refused()
        claims = _open_token(key, data, access_key_id)
        self._opened[digest] = claims, key.verify_until
        while len(self._opened) > self._cache:
            self._opened.popitem(last=False)
        return claims

    # --- secrets of sessions

    def derivation_key(self) -> str:
        """The id of the derivation-ring key to put into new claims.

        Raises DaypassError(UNAVAILABLE) when none may be used now.
        """
        return self._signing(_DERIVATION).id

    async def session_secret(self, claims: SessionClaims) -> str:
        """The secret access key of a session, derived, never stored."""
        return (await self.underived(claims))()

    async def underived(self, claims: SessionClaims) -> Callable[[], str]:
        """The function that derives it, which raises nothing.

        Base64 of 30 bytes of HMAC-SHA256(derivation key, access key id || session id): 40
        characters.
        """
        key = self._rings.known(_DERIVATION, claims.derivation_key, self._clock.now())
        if key is None:
            key = await self._verifying(_DERIVATION, claims.derivation_key)
        if key is None:
            raise _refused()
        what = claims.hops[-1].access_key_id.encode() + bytes.fromhex(claims.session_id)
        return lambda: _to_base64(key.mac.digest(what)[:30])

    # --- encoded authorization messages

    def seal_message(self, account: str, payload: bytes) -> str:
        """An encoded authorization message.

        "" when it would be longer than DecodeAuthorizationMessage takes.
        """
        if len(payload) > _MAX_EXPLANATION:
            return ""
        plain = account.encode() + b"\0" + zlib.compress(payload, 6)
        if -(-(_HEADER + len(plain) + _TAG) // 3) * 4 > _MAX_MESSAGE:
            return ""
        key, header = self._new_header(Ring.MESSAGE)
        sealed = _cipher(key, b"message", header).encrypt(_NONCE, plain, header)
        return _to_base64(header + sealed).translate(_URLSAFE)

    async def open_message(self, unverified_message: str) -> tuple[str, bytes]:
        """(account, payload). Raises DaypassError(INVALID_AUTHORIZATION_MESSAGE)."""
        if "+" in unverified_message or "/" in unverified_message:
            raise _undecodable()
        data = _from_base64(unverified_message.translate(_FROM_URLSAFE), _MAX_MESSAGE)
        if data is None:
            raise _undecodable()
        key = await self._verifying(Ring.MESSAGE, data[1:9].hex())
        if key is None:
            raise _undecodable()
        header = data[:_HEADER]
        try:
            plain = _cipher(key, b"message", header).decrypt(_NONCE, data[_HEADER:], header)
            account, _, deflated = plain.partition(b"\0")
            inflater = zlib.decompressobj()
            return account.decode(), inflater.decompress(deflated, _MAX_EXPLANATION)
        except (InvalidTag, ValueError, zlib.error):
            raise _undecodable() from None

    # --- secrets at rest

    def seal_secret(self, plaintext: bytes, account: str, owner_id: str) -> bytes:
        """Seals a stored secret for its owner. Raises DaypassError(UNAVAILABLE) when no key may seal now."""
        key, header = self._new_header(Ring.STORAGE)
        return header + _cipher(key, b"secret", header).encrypt(_NONCE, plaintext, header + _owner(account, owner_id))

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        """Returns the opened secret. Raises ValueError when it was sealed for another owner or was altered."""
        key = self._rings.known(Ring.STORAGE, sealed[1:9].hex(), self._clock.now())
        if key is None or sealed[0] != _VERSION:
            raise ValueError("sealed with a key that is not known here")
        header = sealed[:_HEADER]
        try:
            cipher = _cipher(key, b"secret", header)
            return cipher.decrypt(_NONCE, sealed[_HEADER:], header + _owner(account, owner_id))
        except InvalidTag:
            raise ValueError("sealed for another owner, or altered") from None

    # --- keys

    def _signing(self, ring: Ring) -> RingKey:
        try:
            return self._rings.signing(ring, self._clock.now())
        except RingError as error:
            raise unavailable(error) from None

    async def _verifying(self, ring: Ring, key_id: str) -> RingKey | None:
        try:
            return await self._rings.verifying(ring, key_id, self._clock.now())
        except RingError as error:
            raise unavailable(error) from None

    def _new_header(self, ring: Ring) -> tuple[RingKey, bytes]:
        key = self._signing(ring)
        return key, _VERSION_BYTE + bytes.fromhex(key.id) + random_bytes(24)


def _cipher(key: RingKey, purpose: bytes, header: bytes) -> AESGCM:
    """HKDF's expand step for one block (RFC 5869, section 2.3): the ring key is uniform, purpose and header are the
    info.
    """
    return AESGCM(key.mac.digest(b"daypass " + purpose + b"\0" + header + b"\x01"))


def _open_token(key: RingKey, data: bytes, access_key_id: str) -> SessionClaims:
    header = data[:_HEADER]
    try:
        plain = _cipher(key, b"token", header).decrypt(_NONCE, data[_HEADER:], header + access_key_id.encode())
        plain = plain.rstrip(b"\0")
        if plain[-1:] != _PAD:
            raise _refused()
        claims = decode(plain[:-1])
    except (InvalidTag, ValueError):
        raise _refused() from None
    if claims.hops[-1].access_key_id != access_key_id:
        raise _refused()
    return claims


def _owner(account: str, owner_id: str) -> bytes:
    return account.encode() + b"\0" + owner_id.encode()


def _to_base64(data: bytes) -> str:
    return b2a_base64(data, newline=False).decode()


def _from_base64(text: str, most: int) -> bytes | None:
    """Sealed bytes from their one canonical spelling, or None. The length is checked before anything is decoded."""
    if not _HEADER + _TAG < len(text) <= most:
        return None
    try:
        data = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    canonical = (
        data[:1] == bytes((_VERSION,)) and len(data) > _HEADER + _TAG and base64.b64encode(data).decode() == text
    )
    return data if canonical else None


# --- Sealed file


_MAGIC: Final = b"daypass sealed file 1\n"
_PURPOSE: Final = "sealed-file"  # in place of the ring, in the associated data of the wrapped key
_KEY_BYTES: Final = 32
_NONCE_BYTES: Final = 12
_ID_BYTES: Final = 8
_LENGTH_BYTES: Final = 2


class SealedFileError(Exception):
    """The file is absent, damaged or was sealed for another installation. The message says which."""


class FileSealer:
    """Seals files under one data key for the life of the process.

    Args:
        kek: wraps the data key. It is used once, when the sealer is made.
    """

    def __init__(self, kek: KeyEncryptionKey) -> None:
        material, key_id = secrets.token_bytes(_KEY_BYTES), secrets.token_bytes(_ID_BYTES)
        wrapped = kek.wrap(_PURPOSE, key_id.hex(), (0, 0, 0), material)
        self._cipher = AESGCM(material)
        self._header = _MAGIC + key_id + len(wrapped).to_bytes(_LENGTH_BYTES, "big") + wrapped

    def write(self, path: Path, content: bytes) -> None:
        """Replaces the file (mode 0600), durably and as a whole. Raises OSError."""
        nonce = secrets.token_bytes(_NONCE_BYTES)
        sealed = self._cipher.encrypt(nonce, content, self._header + path.name.encode())
        draft = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            with os.fdopen(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
                file.write(self._header + nonce + sealed)
                file.flush()
                os.fsync(file.fileno())
            draft.replace(path)
        except OSError:
            draft.unlink(missing_ok=True)
            raise
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)
        finally:
            os.close(directory)


def read_sealed(path: Path, kek: KeyEncryptionKey) -> bytes:
    """The content of a sealed file. It waits for a key source. Raises SealedFileError."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise SealedFileError(f"{path} cannot be read: {error.strerror}") from error
    start = len(_MAGIC) + _ID_BYTES
    key_id = data[len(_MAGIC) : start]
    end = start + _LENGTH_BYTES + int.from_bytes(data[start : start + _LENGTH_BYTES], "big")
    header, nonce, sealed = data[:end], data[end : end + _NONCE_BYTES], data[end + _NONCE_BYTES :]
    if not data.startswith(_MAGIC):
        raise SealedFileError(f"{path} is not a sealed file")
    try:
        wrapped = data[start + _LENGTH_BYTES : end]
        kek.learn((wrapped,))
        material = kek.unwrap(StoredKey(_PURPOSE, key_id.hex(), wrapped, 0, 0, 0, 0))
        return AESGCM(material).decrypt(nonce, sealed, header + path.name.encode())
    except KeySourceError as error:
        raise SealedFileError(f"{path} does not open: {error}") from error
    except (RingError, InvalidTag, ValueError):
        raise SealedFileError(f"{path} was altered, or sealed with another key-encryption key") from None
