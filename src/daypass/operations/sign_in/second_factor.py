"""The ways to complete a sign-in other than an authenticator's code: a passkey, with or without a password before it,
and a recovery code.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.directory import Passkey, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.session import PASSKEY, FeedPosition
from daypass.operations.outcome import OWNER
from daypass.operations.sign_in import passkeys, password, recovery, webauthn
from daypass.operations.sign_in.password import Browser, Candidate, Progress
from daypass.operations.sign_in.ticket import CODE, open_ticket
from daypass.operations.sign_in.webauthn import Ceremony
from daypass.ports import Call, Env, Reader

_REFUSED: Final = "The passkey was not accepted. Use the passkey of this account, or another way to sign in."


def ask_at_sign_in(env: Env, browser: Browser, now: int) -> webauthn.Prompt | None:
    """Asks for any passkey that the person has for this installation; None where browsers offer none."""
    return webauthn.ask(env, webauthn.SIGN_IN, browser.id, now) if webauthn.available(env) else None


async def stage(env: Env, call: Call, browser: Browser, unverified_ticket: str) -> Progress:
    """The page of the second factor again, after a refusal. Raises DaypassError."""
    ticket = open_ticket(env, CODE, browser.id, unverified_ticket, call.now)
    candidate, _ = await password.user_of_ticket(env, call, ticket)
    return password.second_stage(env, call, browser, candidate, unverified_ticket)


async def with_passkey(
    env: Env, call: Call, browser: Browser, unverified_ceremony: str, unverified_assertion: str
) -> Progress:
    """A sign-in by passkey alone: user verification makes it MFA. Raises DaypassError: ACCESS_DENIED and others."""
    ceremony = webauthn.opened(env, webauthn.SIGN_IN, browser.id, unverified_ceremony, call.now)
    candidate, passkey, seen = await _holder(env, call, unverified_assertion)
    as_user = await _accept(env, call, candidate, passkey, ceremony, unverified_assertion, seen)
    return await password.start(env, as_user, browser, candidate, call.now, by_password=False)


async def with_second_passkey(
    env: Env, call: Call, browser: Browser, unverified_ticket: str, unverified_ceremony: str, unverified_assertion: str
) -> Progress:
    """A passkey after the right password. Raises DaypassError."""
    ticket = open_ticket(env, CODE, browser.id, unverified_ticket, call.now)
    ceremony = webauthn.opened(env, webauthn.SECOND_FACTOR, browser.id, unverified_ceremony, call.now)
    candidate, seen = await password.user_of_ticket(env, call, ticket)
    if ceremony.user_id != candidate.user.id:
        raise password.refusal(candidate, _REFUSED, "ceremony of another user")
    named = webauthn.credential_id(unverified_assertion)
    passkey = next((each for each in candidate.passkeys if each.id == named), None)
    if passkey is None:
        raise password.refusal(candidate, _REFUSED, "credential of another user")
    await _accept(env, call, candidate, passkey, ceremony, unverified_assertion, seen)
    return await password.next_step(
        env, call, browser, candidate, seen, must_change=ticket.must_change, mfa_at=call.now
    )


async def with_recovery_code(
    env: Env, call: Call, browser: Browser, unverified_ticket: str, unverified_code: str
) -> Progress:
    """A recovery code after the right password. Raises DaypassError."""
    ticket = open_ticket(env, CODE, browser.id, unverified_ticket, call.now)
    candidate, seen = await password.user_of_ticket(env, call, ticket)
    try:
        await recovery.accept(env, password.as_user(call, candidate.user, seen), candidate.user, unverified_code)
    except DaypassError as error:
        if error.kind is ErrorKind.ACCESS_DENIED:
            error.private = {**error.private, OWNER: candidate.user.account}
        raise
    return await password.next_step(
        env, call, browser, candidate, seen, must_change=ticket.must_change, mfa_at=call.now
    )


async def _holder(env: Env, call: Call, unverified_assertion: str) -> tuple[Candidate, Passkey, FeedPosition]:
    """The user of the passkey that an assertion names. Raises DaypassError(ACCESS_DENIED)."""
    named = webauthn.credential_id(unverified_assertion)

    def find(tx: Reader) -> tuple[Candidate | None, Passkey | None]:
        passkey = tx.get(Passkey, id=named)
        user = tx.get(User, id=passkey.user_id) if passkey is not None else None
        return password.candidate_of(tx, user), passkey

    seen = env.directory.seen()
    candidate, passkey = await env.directory.read(find, account=call.source.lane)
    if candidate is None or passkey is None or candidate.user.account != passkey.account:
        raise DaypassError(ErrorKind.ACCESS_DENIED, _REFUSED, private={"reason": "unknown passkey"})
    return candidate, passkey, seen


async def _accept(
    env: Env,
    call: Call,
    candidate: Candidate,
    passkey: Passkey,
    ceremony: Ceremony,
    unverified_assertion: str,
    seen: FeedPosition,
) -> Call:
    """The call of the user whose passkey made this assertion. Raises DaypassError(ACCESS_DENIED)."""
    as_user = password.as_user(call, candidate.user, seen, PASSKEY)
    try:
        asserted = webauthn.assertion(env, ceremony, passkey, unverified_assertion)
        await passkeys.accept(env, as_user, ceremony, passkey, asserted)
    except DaypassError as error:
        if error.kind is ErrorKind.ACCESS_DENIED:
            error.private = {**error.private, OWNER: passkey.account, "unverified_user": candidate.user.arn}
        raise
    return as_user
