"""A user's passkeys: registered, listed, renamed, removed; and the acceptance of an assertion by one.

An authenticator that counts its signatures counts upwards. A counter that does not rise means that the passkey was
copied: it is refused, blocked from then on, and reported (attack A79).
Source: W3C Web Authentication Level 3, 6.1.1 ("signature counter considerations").
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import Passkey, ReplayEntry, User
from daypass.domain.errors import DaypassError, ErrorKind, replaced
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.assume.request import consume
from daypass.operations.iam import paging
from daypass.operations.iam.mfa import RECENT_MS, change_of, has_device, of_user, take_away
from daypass.operations.management import allow_own
from daypass.operations.notifications import announce
from daypass.operations.outcome import served
from daypass.operations.sign_in import webauthn
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.webauthn import Asserted, Ceremony, Prompt
from daypass.operations.ssf import push
from daypass.ports import Call, Env, Reader, Tx

MAX_NAME: Final = 64  # characters
_PURPOSE: Final = "webauthn"
_DAY_MS: Final = 86_400_000
_COPIED: Final = "This passkey was refused, because it seems to have been copied. It is blocked. Use another way to sign in, then remove it."


# --- Acceptance ------------------------------------------------------------------------------------------------------


async def accept(env: Env, call: Call, ceremony: Ceremony, passkey: Passkey, asserted: Asserted) -> None:
    """Consumes the challenge of a verified assertion, and notes the use. `call.caller`: the passkey's user.

    Raises DaypassError(ACCESS_DENIED): the challenge was used before, the passkey was removed, or it was copied.
    """

    def change(tx: Tx) -> tuple[bool, Event]:
        _consume(tx, ceremony, passkey.account, call.now)
        known = tx.get(Passkey, id=passkey.id)
        if known is None or known.blocked_at or known.public_key != passkey.public_key:
            raise _denied("removed or blocked meanwhile", passkey)
        detail: dict[str, Any] = {"passkey": passkey.id, "name": passkey.name, "counter": asserted.sign_count}
        if (asserted.sign_count or known.sign_count) and asserted.sign_count <= known.sign_count:
            tx.replace(replace(known, blocked_at=call.now))
            push.announce(env, tx, (change_of(known, "revoke"),), call.now, actor_id="")
            event = served(call, kind=EventType.PASSKEY_COPIED, detail={**detail, "expected_over": known.sign_count})
            return False, announce(env, tx, event)
        tx.replace(replace(known, sign_count=asserted.sign_count, used_at=call.now, backed_up=asserted.backed_up))
        if ceremony.digest:
            detail |= {"digest": ceremony.digest, "nonce": ceremony.nonce, **asserted.evidence}
        detail["purpose"] = ceremony.purpose
        return True, served(call, kind=EventType.DIRECTORY_CHANGED, detail={"mfa": "passkey accepted", **detail})

    if not await env.journal.write(change, account=passkey.account):
        raise _denied("copied", passkey, _COPIED)


def _consume(tx: Tx, ceremony: Ceremony, account: str, now: int) -> None:
    which = hashlib.sha256(ceremony.challenge).hexdigest()
    private = {"reason": "passkey", "passkey": "replay"}
    used = DaypassError(ErrorKind.ACCESS_DENIED, "This page was used before. Start again.", private=private)
    with replaced(ErrorKind.INVALID_IDENTITY_TOKEN, used):
        consume(tx, ReplayEntry(_PURPOSE, which, account, now, ceremony.expires_at + _DAY_MS))


def _denied(reason: str, passkey: Passkey, public: str = "The passkey was not accepted.") -> DaypassError:
    private = {"reason": "passkey", "passkey": reason, "credential": passkey.id}
    return DaypassError(ErrorKind.ACCESS_DENIED, public, private=private)


# --- Own passkeys, in the browser ------------------------------------------------------------------------------------


def check_recent(signed_in: SignedIn, *, has_devices: bool, now: int) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the browser may change its user's devices.

    The sign-in was at most RECENT_MS ago, and with MFA if the user has a device. Otherwise the thief of a cookie or of a
    password could add a device, or replace the user's. Source: AWS-2023-001.
    """
    if now - signed_in.authenticated_at > RECENT_MS:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Sign in again to change your devices.", private={"reason": "age"})
    if has_devices and not signed_in.session.mfa_at:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED, "Sign in with MFA to change your devices.", private={"reason": "no MFA"}
        )


async def check_fresh(env: Env, call: Call, signed_in: SignedIn) -> None:
    """`check_recent` for the devices that the browser's user has now. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    _, _, has_devices = await env.directory.read(
        lambda tx: _owner(tx, call.caller.account, call.caller.principal_id), account=call.caller.account
    )
    check_recent(signed_in, has_devices=has_devices, now=call.now)


async def ask_to_register(env: Env, call: Call, signed_in: SignedIn) -> Prompt:
    """Asks the browser for a new passkey of its user. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION."""
    user, known, has_devices = await env.directory.read(
        lambda tx: _owner(tx, call.caller.account, call.caller.principal_id), account=call.caller.account
    )
    await allow_own(env, call, "CreatePasskey", "user", user.name)
    check_recent(signed_in, has_devices=has_devices, now=call.now)
    return webauthn.ask_to_register(env, signed_in.row.id, call.now, user, known)


def _owner(tx: Reader, account: str, user_id: str) -> tuple[User, list[Passkey], bool]:
    user = tx.get(User, id=user_id)
    if user is None or user.account != account:
        raise DaypassError(ErrorKind.NOT_FOUND, "Only users have passkeys.")
    return user, of_user(tx, user_id), has_device(tx, user)


async def register(
    env: Env, call: Call, signed_in: SignedIn, unverified_ceremony: str, unverified_response: str, name: str
) -> Passkey:
    """Registers a passkey of the browser's own user; it needs no permission. Raises DaypassError: ACCESS_DENIED,
    ALREADY_EXISTS, LIMIT_EXCEEDED, VALIDATION.
    """
    check_name(name)
    ceremony = webauthn.opened(env, webauthn.REGISTER, signed_in.row.id, unverified_ceremony, call.now)
    decision = await allow_own(env, call, "CreatePasskey", "user", call.caller.name)
    made = webauthn.registration(env, ceremony, unverified_response)
    passkey = Passkey(
        id=made.id,
        account=call.caller.account,
        user_id=ceremony.user_id,
        name=name,
        created_at=call.now,
        public_key=made.public_key,
        sign_count=made.sign_count,
        aaguid=made.aaguid,
        transports=made.transports,
        backed_up=made.backed_up,
    )

    def change(tx: Tx) -> tuple[Passkey, Event]:
        _consume(tx, ceremony, passkey.account, call.now)
        user, known, has_devices = _owner(tx, call.caller.account, call.caller.principal_id)
        check_recent(signed_in, has_devices=has_devices, now=call.now)
        if user.id != ceremony.user_id:
            raise _denied("registered for another user", passkey)
        if len(known) >= paging.MFA_DEVICES_PER_USER:
            raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"A user has at most {paging.MFA_DEVICES_PER_USER} passkeys.")
        _check_free(known, name)
        if tx.get(Passkey, id=passkey.id) is not None:
            raise _denied("the credential exists already", passkey, "This passkey cannot be registered.")
        tx.insert(passkey)
        push.announce(env, tx, (change_of(passkey, "create"),), call.now, actor_id=user.id)
        return passkey, _changed(
            call, user, {"passkey": passkey.id, "name": name, "registered": passkey.aaguid}, decision
        )

    return await env.journal.write(change, account=passkey.account)


def check_name(name: str) -> None:
    """Raises DaypassError(VALIDATION)."""
    if not name.strip() or len(name) > MAX_NAME or not name.isprintable():
        raise DaypassError(ErrorKind.VALIDATION, f"A name has 1 to {MAX_NAME} printable characters.")


def _check_free(known: list[Passkey], name: str) -> None:
    if any(passkey.name.casefold() == name.casefold() for passkey in known):
        raise DaypassError(ErrorKind.ALREADY_EXISTS, "You have a passkey of this name.")


# --- Renaming and removal --------------------------------------------------------------------------------------------


def rename(tx: Tx, call: Call, user: User, passkey_id: str, name: str, decision: Decision) -> tuple[Passkey, Event]:
    """In the transaction of a caller who may do it. Raises DaypassError: NOT_FOUND, ALREADY_EXISTS."""
    passkey = existing(tx, user, passkey_id)
    _check_free([each for each in of_user(tx, user.id) if each.id != passkey.id], name)
    renamed = replace(passkey, name=name)
    tx.replace(renamed)
    return renamed, _changed(call, user, {"passkey": passkey.id, "name": name, "former_name": passkey.name}, decision)


def remove(env: Env, tx: Tx, call: Call, user: User, passkey_id: str, decision: Decision) -> tuple[None, Event]:
    """In the transaction of a caller who may do it. Raises DaypassError(NOT_FOUND)."""
    passkey = existing(tx, user, passkey_id)
    removed = take_away(env.ids, tx, call.caller, user, passkey, call.now)
    push.announce(env, tx, removed, call.now, actor_id=call.caller.principal_id)
    detail = {"passkey": passkey.id, "name": passkey.name, "removed": True}
    return None, _changed(call, user, detail, decision)


def existing(tx: Reader, user: User, passkey_id: str) -> Passkey:
    """A passkey of this user. Raises DaypassError(NOT_FOUND)."""
    passkey = tx.get(Passkey, id=passkey_id)
    if passkey is None or passkey.user_id != user.id or passkey.account != user.account:
        raise DaypassError(ErrorKind.NOT_FOUND, "This passkey does not exist.")
    return passkey


def _changed(call: Call, user: User, detail: Mapping[str, Any], decision: Decision) -> Event:
    whole = {"user": user.arn, **detail}
    return served(call, kind=EventType.DIRECTORY_CHANGED, account=user.account, decision=decision, detail=whole)
