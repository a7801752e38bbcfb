"""Sealing: session tokens, the secrets derived for them, authorization messages, and secrets at rest.

A session token is `header || ciphertext` in base64. The header is clear: format version, sealing-key id, 24 bytes of salt.
The AES-256-GCM key is derived from the ring key and the salt, so it is used once and its nonce may be constant (a random
nonce under one key would run out in days at our rate). The whole header and the access key id are associated data:
a token belongs to one key id. Every refusal is the same, whatever was wrong.
"""

from __future__ import annotations

import base64
import binascii
import hmac
import secrets
import zlib
from collections import OrderedDict
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from daypass.crypto.keys import KeyRings, Ring
from daypass.domain import session
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.ports import Clock

_TOKEN_VERSION: Final = 1
_HEADER = 1 + 8 + 24
_TAG = 16
_NONCE = bytes(12)
_MAX_TOKEN = 16_384
_MAX_MESSAGE = 65_536
_CACHED_TOKENS = 4096


def _refused() -> DaypassError:
    return DaypassError(ErrorKind.UNKNOWN_CREDENTIALS, "The security token included in the request is invalid.")


class RingSealer:
    """The `Sealer` port over key rings."""

    def __init__(self, rings: KeyRings, clock: Clock) -> None:
        self._rings = rings
        self._clock = clock
        self._opened: OrderedDict[tuple[str, str], tuple[SessionClaims, int]] = OrderedDict()

    # --- session tokens

    def seal(self, claims: SessionClaims, minimum_size: int = 0) -> str:
        """See `ports.Sealer.seal`. The payload is followed by a NUL and padding, all of it inside the seal."""
        payload = session.encode(claims)
        size = -(-(_HEADER + len(payload) + _TAG) // 3) * 4
        if size < minimum_size:
            payload += bytes(minimum_size // 4 * 3 - _HEADER - _TAG - len(payload) + (3 if minimum_size % 4 else 0))
        key = self._rings.signing(Ring.SEALING, self._clock.now())
        header = bytes((_TOKEN_VERSION,)) + bytes.fromhex(key.id) + secrets.token_bytes(24)
        cipher = AESGCM(_token_key(key.material, header))
        sealed = cipher.encrypt(_NONCE, payload, header + claims.hops[-1].access_key_id.encode("latin-1"))
        return base64.b64encode(header + sealed).decode("ascii")

    async def open(self, unverified_token: str, access_key_id: str) -> SessionClaims:
        """See `ports.Sealer.open`."""
        found = self._opened.get((unverified_token, access_key_id))
        now = self._clock.now()
        if found is not None and now < found[1]:
            return found[0]
        data = _decode_token(unverified_token)
        key = await self._rings.verifying(Ring.SEALING, data[1:9].hex(), now)
        if key is None:
            raise _refused()
        header = data[:_HEADER]
        try:
            associated = header + access_key_id.encode("latin-1")
            payload = AESGCM(_token_key(key.material, header)).decrypt(_NONCE, data[_HEADER:], associated)
            claims = session.decode(payload.rstrip(b"\0"))
        except (InvalidTag, ValueError, UnicodeEncodeError):
            raise _refused() from None
        if claims.hops[-1].access_key_id != access_key_id:
            raise _refused()
        self._opened[unverified_token, access_key_id] = claims, key.verify_until
        if len(self._opened) > _CACHED_TOKENS:
            self._opened.popitem(last=False)
        return claims

    # --- secrets of sessions

    def derivation_key(self) -> str:
        return self._rings.signing(Ring.DERIVATION, self._clock.now()).id

    async def session_secret(self, claims: SessionClaims) -> str:
        """Base64 of 30 bytes of HMAC-SHA256(derivation key, access key id || session id): 40 characters."""
        key = await self._rings.verifying(Ring.DERIVATION, claims.derivation_key, self._clock.now())
        if key is None:
            raise _refused()
        what = b"daypass secret\0" + claims.hops[-1].access_key_id.encode("latin-1") + bytes.fromhex(claims.session_id)
        return base64.b64encode(hmac.digest(key.material, what, "sha256")[:30]).decode("ascii")

    # --- encoded authorization messages

    def seal_message(self, account: str, payload: bytes) -> str:
        key = self._rings.signing(Ring.MESSAGE, self._clock.now())
        header = bytes((_TOKEN_VERSION,)) + bytes.fromhex(key.id) + secrets.token_bytes(24)
        packed = account.encode("ascii") + b"\0" + zlib.compress(payload, 6)
        sealed = AESGCM(_token_key(key.material, header)).encrypt(_NONCE, packed, header + b"message")
        return base64.urlsafe_b64encode(header + sealed).decode("ascii").rstrip("=")

    async def open_message(self, unverified_message: str) -> tuple[str, bytes]:
        refused = DaypassError(ErrorKind.INVALID_AUTHORIZATION_MESSAGE, "Encoded authorization message is not valid.")
        try:
            if len(unverified_message) > _MAX_MESSAGE:
                raise ValueError
            text = unverified_message.rstrip("=")
            data = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
            key = await self._rings.verifying(Ring.MESSAGE, data[1:9].hex(), self._clock.now())
            if key is None or data[0] != _TOKEN_VERSION:
                raise ValueError
            header = data[:_HEADER]
            packed = AESGCM(_token_key(key.material, header)).decrypt(_NONCE, data[_HEADER:], header + b"message")
        except (InvalidTag, ValueError, IndexError, binascii.Error):
            raise refused from None
        account, _, payload = packed.partition(b"\0")
        inflater = zlib.decompressobj()
        return account.decode("ascii"), inflater.decompress(payload, 1_048_576)

    # --- secrets at rest

    def seal_secret(self, plaintext: bytes, account: str, owner_id: str) -> bytes:
        key = self._rings.signing(Ring.STORAGE, self._clock.now())
        header = bytes((_TOKEN_VERSION,)) + bytes.fromhex(key.id) + secrets.token_bytes(24)
        return header + AESGCM(_token_key(key.material, header)).encrypt(
            _NONCE, plaintext, header + _owner(account, owner_id)
        )

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        key = self._rings.known(Ring.STORAGE, sealed[1:9].hex(), self._clock.now())
        if key is None:
            raise ValueError("sealed with a key that is not known here")
        header = sealed[:_HEADER]
        try:
            return AESGCM(_token_key(key.material, header)).decrypt(
                _NONCE, sealed[_HEADER:], header + _owner(account, owner_id)
            )
        except InvalidTag:
            raise ValueError("sealed for another owner, or altered") from None


def _owner(account: str, owner_id: str) -> bytes:
    return b"secret\0" + account.encode("ascii") + b"\0" + owner_id.encode("ascii")


def _token_key(material: bytes, header: bytes) -> bytes:
    """HKDF's expand step for one block (RFC 5869): the ring key is uniform, the header (with its salt) is the info."""
    return hmac.digest(material, b"daypass seal\0" + header + b"\x01", "sha256")


def _decode_token(text: str) -> bytes:
    """Canonical base64 only: one token has one spelling."""
    if not _HEADER + _TAG < len(text) <= _MAX_TOKEN:
        raise _refused()
    try:
        data = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError):
        raise _refused() from None
    if data[0] != _TOKEN_VERSION or len(data) <= _HEADER + _TAG or base64.b64encode(data).decode("ascii") != text:
        raise _refused()
    return data
