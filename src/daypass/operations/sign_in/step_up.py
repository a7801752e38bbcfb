"""Step-up: a person proves MFA again, for one action, at the moment of the action.

The proof is bound to a digest of everything that the page shows and the action will do. With a passkey the challenge
commits to the digest, so the authenticator signs it: the record holds the signature, and every holder of the public key can
verify what was confirmed. A code of a virtual device cannot sign anything: it is accepted for a sealed prompt that names
the digest, and the prompt is consumed with it. Neither proof can be used for another digest, twice, or in another browser.
"""

from __future__ import annotations

from typing import Final, NamedTuple

import msgspec
from msgspec import Struct

from daypass.domain.directory import Passkey, ReplayEntry, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import base64url, text_digest
from daypass.domain.session import PASSKEY, FeedPosition
from daypass.operations.assume.mfa_code import MfaCode, check_mfa
from daypass.operations.assume.request import consume
from daypass.operations.iam.mfa import enabled_devices, of_user
from daypass.operations.outcome import OWNER, served
from daypass.operations.sign_in import passkeys, password, webauthn
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.devices import accept
from daypass.operations.sign_in.password import Browser, Candidate, SignInStep
from daypass.operations.sign_in.ticket import CODE, LIFETIME_MS, open_ticket, seal, unseal
from daypass.operations.sign_in.webauthn import Ceremony
from daypass.ports import Call, Env, Reader, Tx

_PURPOSE: Final = "step-up"
_DAY_MS: Final = 86_400_000
_EXPIRED: Final = "This page has expired, or it does not belong to what you confirm. Start again."


class CodePrompt(Struct, frozen=True):
    """Asks for a code of a virtual device, for one digest. Sealed in the page."""

    holder: str
    digest: str
    nonce: str
    expires_at: int


_read_prompt = msgspec.json.Decoder(CodePrompt).decode


class MfaOptions(NamedTuple):
    """Means by which a person can confirm: a passkey, or a code of one of `devices` (serial numbers). Neither: the person has no
    MFA.
    """

    passkey: webauthn.Prompt | None
    devices: tuple[str, ...]
    code_prompt: str


class StepUpProof(NamedTuple):
    """The unverified answer of the page: an assertion with its ceremony, or a code with its prompt."""

    holder: str
    ceremony: str = ""
    assertion: str = ""
    code_prompt: str = ""
    mfa: MfaCode = MfaCode()


def digest_of(action: str, *facts: str) -> str:
    """The digest that a step-up confirms: of the action, and of every fact that the page shows about it (hex)."""
    return text_digest("\0".join((action, *facts)))


async def can_confirm(env: Env, call: Call) -> bool:
    """Whether the person has anything to confirm with: a passkey or an enabled virtual device."""
    caller = call.caller

    def query(tx: Reader) -> bool:
        if webauthn.available(env) and any(not each.blocked_at for each in of_user(tx, caller.principal_id)):
            return True
        return bool(enabled_devices(tx, caller.account, caller.principal_id))

    return await env.directory.read(query, account=caller.account)


async def ask(env: Env, call: Call, signed_in: SignedIn, digest: str) -> MfaOptions:
    """Asks the person in this browser to confirm `digest`. Raises DaypassError: UNAVAILABLE, and ACCESS_DENIED for a person
    who has MFA that cannot be used now, who is not treated as one without MFA.
    """
    caller = call.caller
    registered, devices = await env.directory.read(
        lambda tx: (of_user(tx, caller.principal_id), enabled_devices(tx, caller.account, caller.principal_id)),
        account=caller.account,
    )
    usable = [each for each in registered if not each.blocked_at]
    holder, prompt = signed_in.row.id, None
    if usable and webauthn.available(env):
        prompt = webauthn.ask(
            env, webauthn.STEP_UP, holder, call.now, usable, user_id=caller.principal_id, digest=digest
        )
    nonce = base64url(env.ids.seed())
    code_prompt = seal(env, _PURPOSE, CodePrompt(holder, digest, nonce, call.now + LIFETIME_MS))
    if registered and prompt is None and not devices:
        raise _unusable(env, blocked=not usable)
    return MfaOptions(prompt, devices, code_prompt)


def _unusable(env: Env, *, blocked: bool) -> DaypassError:
    if blocked:
        why = "Your passkeys are blocked, because one may have been copied. An administrator must remove them"
    else:
        why = (
            f"Browsers offer no passkeys at {env.limits.public_url}. Use an authenticator app (daypass mfa add --app), or have "
            "server.public_url set to https and a host name"
        )
    message = f"This takes MFA, and you cannot confirm it: {why[0].lower()}{why[1:]}."
    return DaypassError(ErrorKind.ACCESS_DENIED, message, private={"reason": "step-up", "mfa": "unusable"})


async def check(env: Env, call: Call, digest: str, proof: StepUpProof) -> int:
    """The time (ms) of the step-up for `digest`. Raises DaypassError: ACCESS_DENIED, INVALID_IDENTITY_TOKEN,
    EXPIRED_IDENTITY_TOKEN, UNAVAILABLE.
    """
    if proof.assertion:
        return await _check_passkey(env, call, digest, proof)
    return await _check_code(env, call, digest, proof)


async def _check_passkey(env: Env, call: Call, digest: str, proof: StepUpProof) -> int:
    ceremony = webauthn.opened(env, webauthn.STEP_UP, proof.holder, proof.ceremony, call.now, digest)
    named = webauthn.credential_id(proof.assertion)
    passkey = await env.directory.read(lambda tx: tx.get(Passkey, id=named), account=call.caller.account)
    owner = (call.caller.principal_id, call.caller.account)
    if passkey is None or (passkey.user_id, passkey.account) != owner:
        private = {"reason": "passkey", "passkey": "credential of another user"}
        raise DaypassError(ErrorKind.ACCESS_DENIED, "The passkey was not accepted.", private=private)
    asserted = webauthn.assertion(env, ceremony, passkey, proof.assertion)
    await passkeys.accept(env, call, ceremony, passkey, asserted)
    return call.now


async def _check_code(env: Env, call: Call, digest: str, proof: StepUpProof) -> int:
    prompt = unseal(env, _PURPOSE, proof.code_prompt, _read_prompt)
    if prompt is None or (prompt.holder, prompt.digest) != (proof.holder, digest):
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, _EXPIRED, private={"reason": "step-up"})
    if call.now >= prompt.expires_at:
        raise DaypassError(ErrorKind.EXPIRED_IDENTITY_TOKEN, _EXPIRED)
    account = call.caller.account

    def change(tx: Tx) -> tuple[None, Event]:
        consume(tx, ReplayEntry(_PURPOSE, prompt.nonce, account, call.now, prompt.expires_at + _DAY_MS))
        detail = {"step_up": "code", "digest": digest}
        return None, served(call, kind=EventType.DIRECTORY_CHANGED, detail=detail)

    mfa_at = await check_mfa(env, call, proof.mfa)
    if not mfa_at:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED, "Confirm with MFA.", private={"reason": "step-up", "mfa": "no code"}
        )
    await env.journal.write(change, account=account)
    return mfa_at


# --- Second factor


_REFUSED: Final = "The passkey was not accepted. Use the passkey of this account, or another way to sign in."


def ask_at_sign_in(env: Env, browser: Browser, now: int) -> webauthn.Prompt | None:
    """Asks for any passkey that the person has for this installation; None where browsers offer none."""
    return webauthn.ask(env, webauthn.SIGN_IN, browser.id, now) if webauthn.available(env) else None


async def stage(env: Env, call: Call, browser: Browser, unverified_ticket: str) -> SignInStep:
    """The page of the second factor again, after a refusal. Raises DaypassError."""
    ticket = open_ticket(env, CODE, browser.id, unverified_ticket, call.now)
    candidate, _ = await password.user_of_ticket(env, call, ticket)
    return password.second_stage(env, call, browser, candidate, unverified_ticket)


async def with_passkey(
    env: Env, call: Call, browser: Browser, unverified_ceremony: str, unverified_assertion: str
) -> SignInStep:
    """A sign-in by passkey alone: user verification makes it MFA. Raises DaypassError: ACCESS_DENIED and others."""
    ceremony = webauthn.opened(env, webauthn.SIGN_IN, browser.id, unverified_ceremony, call.now)
    candidate, passkey, seen = await _holder(env, call, unverified_assertion)
    as_user = await _accept(env, call, candidate, passkey, ceremony, unverified_assertion, seen)
    return await password.start(env, as_user, browser, candidate, call.now, by_password=False)


async def with_second_passkey(
    env: Env, call: Call, browser: Browser, unverified_ticket: str, unverified_ceremony: str, unverified_assertion: str
) -> SignInStep:
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
) -> SignInStep:
    """A recovery code after the right password. Raises DaypassError."""
    ticket = open_ticket(env, CODE, browser.id, unverified_ticket, call.now)
    candidate, seen = await password.user_of_ticket(env, call, ticket)
    try:
        await accept(env, password.as_user(call, candidate.user, seen), candidate.user, unverified_code)
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
