"""The device grant (RFC 8628): a person signs in on one device to allow a client on another.

The person types a short code. A code that somebody else has sent would allow that person's device instead, so the page
says where the request comes from and asks the person to compare the code. Wrong codes are counted for each person, in the
database.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from dataclasses import replace
from typing import Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace as replace_struct

from daypass.domain.directory import OAuthCode, ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.operations.assume.request import consume
from daypass.operations.authorize import Own
from daypass.operations.management import allow_own
from daypass.operations.oauth import codes
from daypass.operations.oauth.authorization import AuthorizationRequest
from daypass.operations.oauth.client_authentication import AuthenticatedClient, charge_write
from daypass.operations.oauth.codes import Code
from daypass.operations.oauth.request import Sender
from daypass.operations.outcome import served
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env, Reader, Tx

DEVICE: Final = "device_code"
USER: Final = "user_code"
LIFETIME_MS: Final = 600_000
INTERVAL_MS: Final = 5_000
MAX_ATTEMPTS: Final = 5
WINDOW_MS: Final = 900_000
"""A person may type this many wrong codes in this time."""

_LETTERS: Final = "BCDFGHJKLMNPQRSTVWXZ"  # RFC 8628, 6.1: no vowels, nothing that looks alike
_LENGTH: Final = 8
_ATTEMPT: Final = "device-attempt"
_POLLS: Final = 10_000  # device codes whose last poll is remembered, for each process
_NOT_LETTERS: Final = re.compile(r"[^A-Z]")


class DeviceGrant(Struct, frozen=True):
    """The content of a device code.

    `allowed`: None until the person has decided. `browser` and `session_id`: of the person who allowed it.
    """

    request: AuthorizationRequest
    source_ip: str
    user_agent: str
    user_code: str
    allowed: bool | None = None
    browser: str = ""
    session_id: str = ""


_read_grant = msgspec.json.Decoder(DeviceGrant).decode


class UserCode(Struct, frozen=True):
    """The content of a user code: the id of the device code."""

    device_id: str


_read_user_code = msgspec.json.Decoder(UserCode).decode


class DeviceAuthorization(Struct, frozen=True):
    """The two codes of a new request, and their lifetime and polling interval in seconds."""

    device_code: str
    user_code: str
    expires_in: int = LIFETIME_MS // 1000
    interval: int = INTERVAL_MS // 1000


async def start(
    env: Env,
    call: Call,
    client: AuthenticatedClient,
    request: AuthorizationRequest,
    replays: tuple[ReplayEntry, ...] = (),
) -> DeviceAuthorization:
    """daypass:AuthorizeDevice. Raises DaypassError: THROTTLED, UNAVAILABLE."""
    charge_write(env, call.facts, client)
    device_code, letters = codes.new_value(env), _new_user_code(env)
    content = DeviceGrant(request, call.facts.source_ip, call.facts.user_agent[:256], format_user_code(letters))
    device = codes.new_row(env, DEVICE, device_code, client.client, content, LIFETIME_MS)
    user = codes.new_row(env, USER, letters, client.client, UserCode(device.id), LIFETIME_MS)
    detail = {"client_id": client.client.id, "role": request.role}
    event = client.served(call, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        for entry in replays:
            consume(tx, entry)
        codes.insert(tx, device)
        codes.insert(tx, user)
        return None, event

    await env.journal.write(change, account=call.source.lane)
    return DeviceAuthorization(device_code, format_user_code(letters))


def format_user_code(letters: str) -> str:
    """A user code for people: WDJB-MJHT."""
    return f"{letters[:4]}-{letters[4:]}"


def _new_user_code(env: Env) -> str:
    """Eight letters from random bytes without a bias: bytes of 240 and above are left out."""
    letters = ""
    while len(letters) < _LENGTH:
        letters += "".join(_LETTERS[byte % 20] for byte in env.ids.seed() if byte < 240)
    return letters[:_LENGTH]


# --- The person ------------------------------------------------------------------------------------------------------


async def find(env: Env, call: Call, unverified_code: str) -> Code[DeviceGrant]:
    """The undecided request with this user code, as a person types it. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, THROTTLED."""
    await allow_own(env, call, "AuthorizeClient", "client", own=Own.RESTRICTED)
    letters = _NOT_LETTERS.sub("", unverified_code.upper()[:64])
    code = await env.directory.read(lambda tx: _device_of(env, tx, call, letters), account=call.caller.account)
    if code is None:
        await _count(env, call)
        raise DaypassError(ErrorKind.NOT_FOUND, "The code is unknown, has expired or was used. Check it.")
    return code


def _device_of(env: Env, tx: Reader, call: Call, letters: str) -> Code[DeviceGrant] | None:
    if tx.get(ReplayEntry, purpose=_ATTEMPT, id=_slot(call, MAX_ATTEMPTS - 1)) is not None:
        raise DaypassError(ErrorKind.THROTTLED, "There were too many wrong codes. Wait a quarter of an hour.")
    user = tx.get(OAuthCode, purpose=USER, id=codes.code_id(letters))
    if user is None or user.expires_at <= call.now:
        return None
    row = tx.get(OAuthCode, purpose=DEVICE, id=codes.content_of(env, user, _read_user_code).device_id)
    if row is None or row.used_at:
        return None
    code = Code(row, codes.content_of(env, row, _read_grant))
    return code if code.content.allowed is None else None


def _slot(call: Call, number: int) -> str:
    """The person is the first hop: people of a provider share the principal of their role."""
    return f"{call.caller.hops[0].principal_id}:{call.now // WINDOW_MS}:{number}"


async def _count(env: Env, call: Call) -> None:
    """Counts a wrong code: it takes the first free slot of the person's window."""

    def change(tx: Tx) -> tuple[None, Event]:
        for number in range(MAX_ATTEMPTS):
            if tx.get(ReplayEntry, purpose=_ATTEMPT, id=_slot(call, number)) is None:
                ends = call.now + WINDOW_MS
                consume(tx, ReplayEntry(_ATTEMPT, _slot(call, number), call.caller.account, call.now, ends))
                break
        return None, served(call, detail={"user_code": "wrong"})

    await env.journal.write(change, account=call.caller.account)


async def decide(env: Env, call: Call, found: Code[DeviceGrant], signed_in: SignedIn, *, allow: bool) -> None:
    """daypass:AuthorizeClient for a device: what the person decided. Raises DaypassError: ACCESS_DENIED, VALIDATION for a second answer."""
    client_id = found.content.request.client_id
    decision = await allow_own(env, call, "AuthorizeClient", "client", client_id, Own.RESTRICTED)
    browser, session = (signed_in.row.id, signed_in.row.session_id) if allow else ("", "")
    content = replace_struct(found.content, allowed=allow, browser=browser, session_id=session)
    sealed = codes.resealed(env, found.row, content)
    requested = content.request
    detail = {"client_id": client_id, "role": requested.role, "device": content.source_ip, "allowed": allow}
    event = served(call, session_id=signed_in.row.session_id, decision=decision, detail=detail)

    def change(tx: Tx) -> tuple[None, Event]:
        current = tx.get(OAuthCode, purpose=DEVICE, id=found.row.id)
        if current is None or current.sealed != found.row.sealed:
            raise DaypassError(ErrorKind.VALIDATION, "This code was answered before.")
        tx.replace(replace(current, sealed=sealed))
        return None, event

    await env.journal.write(change, account=call.caller.account)


# --- The device ------------------------------------------------------------------------------------------------------


async def poll(env: Env, call: Call, sender: Sender, unverified_code: str) -> Code[DeviceGrant]:
    """The allowed request of a device code. Raises DaypassError: AUTHORIZATION_PENDING, POLLING_TOO_FAST,
    EXPIRED_DEVICE_CODE, CONSENT_DENIED, INVALID_GRANT.
    """
    client = sender.known_client
    identity = codes.code_id(unverified_code)
    row = await env.directory.read(lambda tx: tx.get(OAuthCode, purpose=DEVICE, id=identity), account=call.source.lane)
    if row is None or row.client_id != client.client.id:
        raise DaypassError(ErrorKind.INVALID_GRANT, "The device code is not one of this client.")
    if row.used_at:
        raise codes.used_before()
    if row.expires_at <= call.now:
        raise DaypassError(ErrorKind.EXPIRED_DEVICE_CODE, "The device code has expired.")
    code = Code(row, codes.content_of(env, row, _read_grant))
    if code.content.allowed is None:
        too_fast = _polled(identity, call.now)
        kind = ErrorKind.POLLING_TOO_FAST if too_fast else ErrorKind.AUTHORIZATION_PENDING
        seconds = f" Poll every {INTERVAL_MS // 1000} seconds at most." if too_fast else ""
        raise DaypassError(kind, f"The person has not decided yet.{seconds}")
    if not code.content.allowed:
        raise DaypassError(ErrorKind.CONSENT_DENIED, "The person has refused.")
    return code


def _polled(identity: str, now: int) -> bool:
    """Whether the last poll of a device code was less than the interval ago, as far as this process knows."""
    last = _last_polls.pop(identity, 0)
    _last_polls[identity] = now
    while len(_last_polls) > _POLLS:
        _last_polls.popitem(last=False)
    return now - last < INTERVAL_MS - 500


_last_polls: OrderedDict[str, int] = OrderedDict()
