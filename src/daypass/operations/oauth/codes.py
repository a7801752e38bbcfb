"""Values that a client redeems once: authorization codes, request URIs, device codes. They are durable, and shared by all
processes.

The value is given to the client; the database has its SHA-256 and the sealed content. A code is bound to its purpose and
its client, so that it cannot be used as another kind of code (attack A70).
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import replace
from typing import Final, Generic, TypeVar

import msgspec
from msgspec import Struct

from daypass.domain.arn import Source
from daypass.domain.directory import OAuthClient, OAuthCode
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import base64url, text_digest
from daypass.operations.assume.request import delete_expired
from daypass.ports import Env, Tx

S = TypeVar("S", bound=Struct)
Reader = Callable[[bytes], S]

AUTHORIZATION: Final = "authorization_code"
REQUEST_URI: Final = "request_uri"
_VALUE: Final = re.compile(r"[A-Za-z0-9_-]{43}")


class Code(Struct, Generic[S], frozen=True):
    """A stored code and its content."""

    row: OAuthCode
    content: S


def new_value(env: Env) -> str:
    """A new code: 256 random bits in base64url."""
    return base64url(env.ids.seed()[:32])


def is_code(unverified_value: str) -> bool:
    """Whether a text has the form of a code."""
    return _VALUE.fullmatch(unverified_value) is not None


def code_id(value: str) -> str:
    """The id of the row of a code."""
    return text_digest(value)


def new_row(env: Env, purpose: str, value: str, client: OAuthClient, content: Struct, lifetime_ms: int) -> OAuthCode:
    now, identity = env.clock.now(), code_id(value)
    row = OAuthCode(purpose, identity, client.account, client.id, now, now + lifetime_ms, b"")
    return replace(row, sealed=resealed(env, row, content))


def resealed(env: Env, row: OAuthCode, content: Struct) -> bytes:
    """New content of a code, sealed for its row."""
    return env.sealer.seal_secret(msgspec.json.encode(content), row.account, _owner(row.purpose, row.id))


def insert(tx: Tx, row: OAuthCode) -> None:
    """Stores a code, and deletes some expired ones."""
    delete_expired(tx, OAuthCode, row.created_at)
    tx.insert(row)


async def find_code(
    env: Env, source: Source, purpose: str, client_id: str, unverified_value: str, read: Reader[S]
) -> Code[S] | None:
    """The code of this purpose and client that has not expired, used or not; None for none. Raises UNAVAILABLE."""
    if not is_code(unverified_value):
        return None
    identity = code_id(unverified_value)
    row = await env.directory.read(lambda tx: tx.get(OAuthCode, purpose=purpose, id=identity), account=source.lane)
    if row is None or row.client_id != client_id or row.expires_at <= env.clock.now():
        return None
    return Code(row, content_of(env, row, read))


def content_of(env: Env, row: OAuthCode, read: Reader[S]) -> S:
    """The content of a code. Raises DaypassError(INVALID_GRANT) when the row was altered."""
    try:
        opened = env.sealer.open_secret(row.sealed, row.account, _owner(row.purpose, row.id))
        return read(opened)
    except ValueError:
        raise DaypassError(
            ErrorKind.INVALID_GRANT, "The code cannot be used.", private={"reason": "it does not open"}
        ) from None


def use(tx: Tx, code: Code[S], now: int, family: str) -> None:
    """Marks a code as used, in the transaction of what it gives. `family`: what a second use ends.

    Raises DaypassError(INVALID_GRANT) when it was used before, also by a request that runs in parallel.
    """
    current = tx.get(OAuthCode, purpose=code.row.purpose, id=code.row.id)
    if current is None or current.used_at:
        raise used_before()
    tx.replace(replace(current, used_at=now, family=family))


def refused(reason: str) -> DaypassError:
    """The only refusal of a code. The record has the reason."""
    message = "The code is invalid, expired or was used before."
    return DaypassError(ErrorKind.INVALID_GRANT, message, private={"reason": reason})


def used_before() -> DaypassError:
    """The refusal of a code that was used."""
    return refused("the code was used before")


def _owner(purpose: str, identity: str) -> str:
    return f"oauth-code:{purpose}:{identity}"
