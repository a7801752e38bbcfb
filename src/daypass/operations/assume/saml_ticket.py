"""The state between the steps of a browser sign-in: sealed, short-lived, and useless when altered.

A page holds a ticket instead of the assertion, which is already consumed. Each stage seals separately: a ticket of one
stage is not valid in another. The server stores no state between two steps.
"""

from __future__ import annotations

import json
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

import msgspec

from daypass.domain.assertion import Assertion
from daypass.domain.claims import OneTime
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import base64url, from_base64url
from daypass.ports import Env

CHOICE: Final = "choice"
CODE: Final = "code"
PURPOSE: Final = "saml-ticket"
CHOICE_MS: Final = 300_000
CODE_MS: Final = 60_000
LOGIN_MS: Final = 600_000
_LOGIN: Final = "login"
_FORM = struct.Struct(">16sHQ32s")  # request id, port, expiry in ms, challenge
_MAX_CHARACTERS: Final = 262_144
_MAX_BYTES: Final = 1_048_576  # unpacked
_BROWSER_LOGIN: Final = "browser-login"
_MAX_RELAY_STATE: Final = 8_192


class CommandLine(NamedTuple):
    """A command line that waits for the result of a sign-in: its loopback port, and the digest of its verifier."""

    port: int
    challenge: bytes  # SHA-256


class WaitingBrowser(NamedTuple):
    """A browser that signs in to Daypass itself: the digest of its cookie, and the path to return to.

    `fresh_after`: the person must prove who they are after this time (ms); 0: an earlier proof is enough.
    """

    id: str
    following: str
    fresh_after: int = 0


_read = msgspec.json.Decoder(tuple[str, int, WaitingBrowser]).decode


class Login(NamedTuple):
    """A sign-in that we started: the request id that its response must answer, and what waits for it."""

    request_id: str  # 32 hex digits
    waiting: CommandLine | WaitingBrowser


@dataclass(frozen=True, slots=True)
class SamlTicket:
    """Verified facts that are passed from one step to the next.

    `pairs`: the available (role ARN, provider ARN): offered, and verified for this provider. After the choice, only
    that pair.
    """

    id: str
    expires_at: int  # ms
    assertion: Assertion
    pairs: tuple[tuple[str, str], ...]
    command_line: CommandLine | None = None
    browser: WaitingBrowser | None = None

    def one_time(self, stage: str) -> OneTime:
        return OneTime(PURPOSE, f"{stage}:{self.id}", self.expires_at)


def seal_ticket(env: Env, stage: str, ticket: SamlTicket) -> str:
    """The ticket as text for a form or URL."""
    line = ticket.command_line
    body = {
        "id": ticket.id,
        "expires_at": ticket.expires_at,
        "assertion": asdict(ticket.assertion),
        "pairs": ticket.pairs,
        "command_line": [line.port, line.challenge.hex()] if line else None,
        "browser": ticket.browser,
    }
    return _seal(env, stage, zlib.compress(json.dumps(body, separators=(",", ":")).encode("ascii"), 9))


def open_ticket(env: Env, stage: str, unverified: str, now: int) -> SamlTicket:
    """Opens a ticket of this stage. Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN."""
    payload = _open(env, stage, unverified)
    try:
        ticket = _ticket(json.loads(zlib.decompressobj().decompress(payload, _MAX_BYTES)))
    except (ValueError, KeyError, TypeError):  # sealed by another version of Daypass
        raise _not_ours() from None
    if now >= ticket.expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, "This login has taken too long. Log in again.")
    return ticket


def _ticket(body: dict[str, Any]) -> SamlTicket:
    facts = body["assertion"]
    facts["attributes"] = tuple((name, tuple(values)) for name, values in facts["attributes"])
    line = body["command_line"]
    return SamlTicket(
        id=body["id"],
        expires_at=body["expires_at"],
        assertion=Assertion(**facts),
        pairs=tuple((role, provider) for role, provider in body["pairs"]),
        command_line=CommandLine(line[0], bytes.fromhex(line[1])) if line else None,
        browser=WaitingBrowser(*body["browser"]) if body["browser"] else None,
    )


def seal_login(env: Env, login: Login, now: int) -> str:
    """The sign-in as RelayState. SAML allows 80 bytes; this is longer, but every provider that we know of returns it."""
    line, expires_at = login.waiting, now + LOGIN_MS
    if isinstance(line, WaitingBrowser):
        return _seal(env, _BROWSER_LOGIN, msgspec.json.encode((login.request_id, expires_at, line)))
    return _seal(env, _LOGIN, _FORM.pack(bytes.fromhex(login.request_id), line.port, expires_at, line.challenge))


def open_login(env: Env, unverified: str, now: int) -> Login | None:
    """The sign-in of a RelayState; None for any other value, because providers may send arbitrary ones."""
    if len(unverified) > _MAX_RELAY_STATE:
        return None
    found = _command_line_login(env, unverified) or _browser_login(env, unverified)
    if found is None:
        return None
    login, expires_at = found
    if now >= expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, "This login has taken too long. Log in again.")
    return login


def _command_line_login(env: Env, unverified: str) -> tuple[Login, int] | None:
    try:
        request_id, port, expires_at, challenge = _FORM.unpack(_open(env, _LOGIN, unverified))
    except (DaypassError, struct.error):
        return None
    return Login(request_id.hex(), CommandLine(port, challenge)), expires_at


def _browser_login(env: Env, unverified: str) -> tuple[Login, int] | None:
    try:
        opened = _read(_open(env, _BROWSER_LOGIN, unverified))
    except (DaypassError, msgspec.DecodeError):
        return None
    return Login(opened[0], opened[2]), opened[1]


def _seal(env: Env, stage: str, payload: bytes) -> str:
    sealed = env.sealer.seal_secret(payload, "", f"{PURPOSE}:{stage}")
    return base64url(sealed)


def _open(env: Env, stage: str, unverified: str) -> bytes:
    try:
        if len(unverified) > _MAX_CHARACTERS:
            raise ValueError
        return env.sealer.open_secret(from_base64url(unverified), "", f"{PURPOSE}:{stage}")
    except (ValueError, IndexError):
        raise _not_ours() from None


def _not_ours() -> DaypassError:
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "This login is not one that was begun here. Log in again.")
