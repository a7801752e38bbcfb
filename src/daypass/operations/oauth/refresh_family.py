"""The content of a family of refresh tokens, sealed in its row, and the texts of its tokens.

A token is the id of its family, its generation and a MAC by a key of the family. So nothing of a token is stored, and an old
one is recognized.
"""

from __future__ import annotations

import base64
import hashlib
import hmac
import re
from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain import payload
from daypass.domain.directory import RefreshFamily
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import SessionClaims
from daypass.operations.assume.request import SessionRequest
from daypass.ports import Env

PREFIX: Final = "dprt_"
_TEXT = re.compile(rf"{PREFIX}[A-Za-z0-9_-]{{60}}")
_ID_BYTES: Final = 16
_MAC_BYTES: Final = 25
_INVALID: Final = "The refresh token is invalid, expired, revoked or was used before."


class RefreshedToken(NamedTuple):
    """The parts of a token. It is authentic only if `is_authentic` says so."""

    family: str
    generation: int
    mac: bytes


def parse_token(unverified_text: str) -> RefreshedToken:
    """The parts of a refresh token. Raises DaypassError(INVALID_GRANT)."""
    if not _TEXT.fullmatch(unverified_text):
        raise invalid("it has not the form of a refresh token")
    raw = base64.urlsafe_b64decode(unverified_text.removeprefix(PREFIX))
    generation = int.from_bytes(raw[_ID_BYTES : _ID_BYTES + 4], "big")
    return RefreshedToken(raw[:_ID_BYTES].hex(), generation, raw[_ID_BYTES + 4 :])


def is_authentic(token: RefreshedToken, content: FamilyContent) -> bool:
    """Whether a key of the family made the token, whatever its generation."""
    return hmac.compare_digest(token.mac, _mac(content, token.family, token.generation))


class FamilyContent(Struct, frozen=True):
    """The sealed part of a family: the key of its tokens, its session, and the request that each use repeats.

    `key_thumbprint`: of the key that every use must prove; "" for none. `context`: claims about the person who has consented
    to the tokens: `sub` and `auth_time`, as in the ID token; {} for tokens that an exchange gave.
    """

    key: bytes
    session: bytes
    role_arn: str
    request: SessionRequest
    external_id: str
    audiences: tuple[str, ...]
    scope: tuple[str, ...] | None
    key_thumbprint: str
    context: dict[str, str]


_read = msgspec.msgpack.Decoder(FamilyContent).decode


def is_refresh_token(unverified_text: str) -> bool:
    """Whether a text has the form of a refresh token."""
    return unverified_text.startswith(PREFIX)


def content_of(env: Env, family: RefreshFamily) -> FamilyContent:
    try:
        opened = env.sealer.open_secret(family.sealed, family.account, owner_of(family.id))
        return _read(opened)
    except ValueError:  # a msgspec.DecodeError is one
        raise invalid("its family does not open", family) from None


def sealed_session(env: Env, family: RefreshFamily, session: SessionClaims) -> bytes:
    return env.sealer.seal_secret(payload.encode(session), family.account, owner_of(family.id) + ":last")


def opened_session(env: Env, family: RefreshFamily) -> SessionClaims:
    try:
        return payload.decode(env.sealer.open_secret(family.last, family.account, owner_of(family.id) + ":last"))
    except ValueError:
        raise invalid("its last session does not open", family) from None


def owner_of(identity: str) -> str:
    return f"refresh-family:{identity}"


# --- Tokens ----------------------------------------------------------------------------------------------------------


def token_of(family: RefreshFamily, content: FamilyContent, generation: int) -> str:
    mac = _mac(content, family.id, generation)
    raw = bytes.fromhex(family.id) + generation.to_bytes(4, "big") + mac
    return PREFIX + base64.urlsafe_b64encode(raw).decode("ascii")


def _mac(content: FamilyContent, identity: str, generation: int) -> bytes:
    message = bytes.fromhex(identity) + generation.to_bytes(4, "big")
    return hmac.digest(content.key, message, hashlib.sha256)[:_MAC_BYTES]


def invalid(reason: str, family: RefreshFamily | None = None) -> DaypassError:
    known = {} if family is None else {"family": family.id}
    return DaypassError(ErrorKind.INVALID_GRANT, _INVALID, private={"reason": reason, **known})
