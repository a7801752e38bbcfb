"""What lies between the steps of a login by browser: sealed, short-lived, and worth nothing to whoever alters it.

A page holds a ticket in place of the assertion, which has been used up by then. Each stage seals for itself: a ticket of
one stage is none for another. Nothing of a login is kept on the server between two steps.
"""

from __future__ import annotations

import base64
import json
import struct
import zlib
from dataclasses import asdict, dataclass
from typing import Any, Final, NamedTuple

from daypass.domain.assertion import Assertion
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.proof import OneTime
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
_MAX_RELAY_STATE: Final = 512


class CommandLine(NamedTuple):
    """The command line that waits for the result of a login: its port on the loopback, and the digest of its verifier."""

    port: int
    challenge: bytes  # SHA-256


class Login(NamedTuple):
    """A login that we have begun: what its response must answer, and who waits for it."""

    request_id: str  # 32 hex digits
    command_line: CommandLine


@dataclass(frozen=True, slots=True)
class Ticket:
    """Verified facts on their way from one step to the next.

    `pairs`: (role ARN, provider ARN) that may be chosen: offered, and verified for this provider; once chosen, that one.
    """

    id: str
    expires_at: int  # ms
    assertion: Assertion
    pairs: tuple[tuple[str, str], ...]
    command_line: CommandLine | None = None

    def one_time(self, stage: str) -> OneTime:
        return OneTime(PURPOSE, f"{stage}:{self.id}", self.expires_at)


def seal_ticket(env: Env, stage: str, ticket: Ticket) -> str:
    """The ticket as text for a form or a URL."""
    line = ticket.command_line
    body = {
        "id": ticket.id,
        "expires_at": ticket.expires_at,
        "assertion": asdict(ticket.assertion),
        "pairs": ticket.pairs,
        "command_line": [line.port, line.challenge.hex()] if line else None,
    }
    return _seal(env, stage, zlib.compress(json.dumps(body, separators=(",", ":")).encode("ascii"), 9))


def open_ticket(env: Env, stage: str, unverified: str, now: int) -> Ticket:
    """The ticket that this stage sealed. Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN."""
    payload = _open(env, stage, unverified)
    try:
        ticket = _ticket(json.loads(zlib.decompressobj().decompress(payload, _MAX_BYTES)))
    except (ValueError, KeyError, TypeError):  # sealed by another version of this program
        raise _not_ours() from None
    if now >= ticket.expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, "This login has taken too long. Log in again.")
    return ticket


def _ticket(body: dict[str, Any]) -> Ticket:
    facts = body["assertion"]
    facts["attributes"] = tuple((name, tuple(values)) for name, values in facts["attributes"])
    line = body["command_line"]
    return Ticket(
        id=body["id"],
        expires_at=body["expires_at"],
        assertion=Assertion(**facts),
        pairs=tuple((role, provider) for role, provider in body["pairs"]),
        command_line=CommandLine(line[0], bytes.fromhex(line[1])) if line else None,
    )


def seal_login(env: Env, login: Login, now: int) -> str:
    """The login as RelayState. SAML allows 80 bytes there; this is more, which every provider we know of carries."""
    line = login.command_line
    return _seal(env, _LOGIN, _FORM.pack(bytes.fromhex(login.request_id), line.port, now + LOGIN_MS, line.challenge))


def open_login(env: Env, unverified: str, now: int) -> Login | None:
    """The login that a RelayState is of; None when it is anything else, as providers put there what they like."""
    if len(unverified) > _MAX_RELAY_STATE:
        return None
    try:
        request_id, port, expires_at, challenge = _FORM.unpack(_open(env, _LOGIN, unverified))
    except (DaypassError, struct.error):
        return None
    if now >= expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, "This login has taken too long. Log in again.")
    return Login(request_id.hex(), CommandLine(port, challenge))


def _seal(env: Env, stage: str, payload: bytes) -> str:
    sealed = env.sealer.seal_secret(payload, "", f"{PURPOSE}:{stage}")
    return base64.urlsafe_b64encode(sealed).decode("ascii").rstrip("=")


def _open(env: Env, stage: str, unverified: str) -> bytes:
    try:
        if len(unverified) > _MAX_CHARACTERS or not unverified.isascii() or "+" in unverified or "/" in unverified:
            raise ValueError
        padded = unverified + "=" * (-len(unverified) % 4)
        sealed = base64.b64decode(padded.translate({ord("-"): "+", ord("_"): "/"}), validate=True)
        if not sealed:
            raise ValueError
        return env.sealer.open_secret(sealed, "", f"{PURPOSE}:{stage}")
    except (ValueError, IndexError):
        raise _not_ours() from None


def _not_ours() -> DaypassError:
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "This login is not one that was begun here. Log in again.")
