"""Consents that people let Daypass remember: for one client, one request, and a limited time.

A consent is for exactly the request that the page showed: the same role, details, scope, audiences and redirect URI. A
change of the client's registration makes it void. It is only remembered for redirect URIs with https, because another
program on a person's computer could pose as a client whose redirect URI is a loopback address or a private-use scheme
(RFC 8252, 8.6), and never for the command line. Withdrawing a consent ends the refresh tokens that it has given, and their
sessions. A session without a refresh token ends by itself, or by a revocation.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from typing import Final

from daypass.domain.directory import Consent, RefreshFamily, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.assume.request import delete_expired
from daypass.operations.management import allow, allow_own
from daypass.operations.oauth.authorization import AuthorizationRequest, KnownClient, consent_id
from daypass.operations.outcome import served
from daypass.operations.principals import find_current
from daypass.operations.revocation import new_revocation
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.ports import Call, Env, Reader, Tx

MAX_CONSENTS: Final = 200
"""Consents of one person."""

_KIND: Final = "consent"
_NOT_FOUND: Final = "The consent does not exist."
_REASON: Final = "the consent was withdrawn"


def may_be_remembered(env: Env, known: KnownClient, request: AuthorizationRequest) -> bool:
    """Whether the consent page offers to remember this consent."""
    return bool(env.limits.consent_ms and known.client.account and request.redirect_uri.startswith("https://"))


async def is_remembered(env: Env, known: KnownClient, request: AuthorizationRequest, person: SignedIn) -> bool:
    """Whether the person need not be asked. Raises DaypassError(UNAVAILABLE)."""
    if "consent" in request.prompt or not may_be_remembered(env, known, request):
        return False
    identity = consent_id(known, request, person)
    consent = await find_current(env, lambda: env.directory.entity(Consent, identity))
    return consent is not None and env.clock.now() < consent.expires_at


def remembered(env: Env, known: KnownClient, request: AuthorizationRequest, person: SignedIn, now: int) -> Consent:
    """The consent to store, in the transaction of the code."""
    return Consent(
        id=consent_id(known, request, person),
        account=person.row.account,
        person_id=person.person_id,
        client_id=known.client.id,
        created_at=now,
        expires_at=now + env.limits.consent_ms,
        role=request.role,
        scope=" ".join((*request.openid_scopes, *(request.scope or ()))),
        audiences=" ".join(request.audiences),
    )


def store(tx: Tx, consent: Consent) -> None:
    """Stores a consent, in place of an earlier one for the same request. Raises DaypassError(LIMIT_EXCEEDED)."""
    delete_expired(tx, Consent, consent.created_at)
    if tx.get(Consent, id=consent.id) is not None:
        tx.replace(consent)
        return
    if tx.count(Consent, account=consent.account, person_id=consent.person_id) >= MAX_CONSENTS:
        raise DaypassError(
            ErrorKind.LIMIT_EXCEEDED, f"At most {MAX_CONSENTS} consents are remembered. Withdraw one first."
        )
    tx.insert(consent)


# --- The person ------------------------------------------------------------------------------------------------------


async def listed(env: Env, call: Call) -> list[Consent]:
    """Consents of the caller's person, newest first. It needs no permission, and the page that shows them records the call.

    Raises DaypassError(ACCESS_DENIED).
    """
    caller = call.caller
    await allow_own(env, call, "ListConsents", _KIND)
    consents = await env.directory.read(
        lambda tx: _of_person(tx, caller.account, caller.hops[0].principal_id, call.now), account=caller.account
    )
    return sorted(consents, key=lambda each: each.created_at, reverse=True)


async def withdraw(env: Env, call: Call, unverified_id: str) -> None:
    """Removes a consent of the caller's own, and ends its refresh tokens. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    caller = call.caller
    decision = await allow_own(env, call, "WithdrawConsent", _KIND, unverified_id)

    def change(tx: Tx) -> tuple[None, Event]:
        consent = tx.get(Consent, id=unverified_id)
        if consent is None or (consent.account, consent.person_id) != (caller.account, caller.hops[0].principal_id):
            raise DaypassError(ErrorKind.NOT_FOUND, _NOT_FOUND)
        return None, _removed(call, consent, _withdraw(env, call, tx, consent), decision)

    await env.journal.write(change, account=caller.account, urgent=True)


# --- Administrators --------------------------------------------------------------------------------------------------


async def list_consents(env: Env, call: Call, person: str, account: str = "") -> list[Consent]:
    """daypass:ListConsents. `person`: a user's name, or the principal of a person of a provider.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND for an unknown user.
    """
    owner = account or call.caller.account
    decision = await allow(env, call, "ListConsents", _KIND, "*", owner)

    def read(tx: Reader) -> list[Consent] | None:
        person_id = person
        if not person.startswith("arn:"):
            user = tx.get(User, account=owner, name=person)
            if user is None:
                return None
            person_id = user.id
        return _of_person(tx, owner, person_id, call.now)

    consents = await env.directory.read(read, account=call.caller.account)
    if consents is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The user with name {person[:128]} cannot be found.")
    await env.journal.commit(served(call, account=owner, decision=decision))
    return consents


async def delete_consent(env: Env, call: Call, unverified_id: str, account: str = "") -> None:
    """daypass:DeleteConsent: as `withdraw`. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    owner = account or call.caller.account
    decision = await allow(env, call, "DeleteConsent", _KIND, unverified_id, owner)

    def change(tx: Tx) -> tuple[None, Event]:
        consent = tx.get(Consent, id=unverified_id)
        if consent is None or consent.account != owner:
            raise DaypassError(ErrorKind.NOT_FOUND, _NOT_FOUND)
        return None, _removed(call, consent, _withdraw(env, call, tx, consent), decision)

    await env.journal.write(change, account=call.caller.account, urgent=True)


def delete_all(tx: Tx, account: str, person_id: str) -> None:
    """Removes every consent of a person who leaves."""
    for each in tx.find(Consent, account=account, person_id=person_id):
        tx.delete(each)


def _of_person(tx: Reader, account: str, person_id: str, now: int) -> list[Consent]:
    consents = tx.find(Consent, account=account, person_id=person_id, limit=MAX_CONSENTS)
    return [each for each in consents if now < each.expires_at]


def _withdraw(env: Env, call: Call, tx: Tx, consent: Consent) -> int:
    """Removes a consent and ends the families that it has given. How many these are."""
    tx.delete(consent)
    ended = 0
    for family in _families(tx, consent):
        if family.ended_at:
            continue
        tx.replace(replace(family, ended_at=call.now))
        subject = ("session", family.id)
        tx.insert(new_revocation(env.ids, family.account, subject, now=call.now, by=call.caller.arn, reason=_REASON))
        ended += 1
    return ended


def _families(tx: Reader, consent: Consent) -> Iterator[RefreshFamily]:
    """All families of a consent, page by page."""
    after = ""
    while page := tx.find(RefreshFamily, order="id", after=after, account=consent.account, consent_id=consent.id):
        yield from page
        after = page[-1].id


def _removed(call: Call, consent: Consent, ended: int, decision: Decision) -> Event:
    """`ended`: the number of families that ended."""
    detail = {
        "consent": "withdrawn",
        "client_id": consent.client_id,
        "person": consent.person_id,
        "role": consent.role,
        "refresh_tokens_ended": ended,
    }
    return served(call, kind=EventType.DIRECTORY_CHANGED, account=consent.account, decision=decision, detail=detail)
