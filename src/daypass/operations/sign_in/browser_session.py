"""Sessions of browsers: starting, reading, listing and ending them.

A browser session is a session like any other: `issue` records it, its hops name the person, and every revocation rule
applies to it and to what was made from it. The cookie's value is only in the browser; the directory holds its digest.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import Struct

from daypass.domain.assumption import Assumption
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.directory import BrowserSession, LoginProfile
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.jws import text_digest
from daypass.domain.session import SessionClaims, SessionKind
from daypass.operations.assume.applicant import signing_applicant
from daypass.operations.assume.issue import Also, Issued, SessionOwner, compose, issue
from daypass.operations.assume.request import SessionRequest, delete_expired
from daypass.operations.authenticate import caller_of_session
from daypass.operations.management import allow_own
from daypass.operations.outcome import served
from daypass.operations.principals import find_current
from daypass.operations.sign_in.ticket import BROWSER_FORM
from daypass.operations.ssf.logout import sign_out
from daypass.ports import Call, Env, Tx

_MAX_AGENT: Final = 256  # characters of a User-Agent in the list


class ProviderSignIn(Struct, frozen=True):
    """An identity provider's facts about a sign-in, kept with the browser session.

    `authenticated_at`: when the person proved to the provider who they are (ms). `methods`: how (RFC 8176). `claims`: name,
    email address and groups, for ID tokens.
    """

    authenticated_at: int
    methods: tuple[str, ...] = ()
    claims: dict[str, Any] = {}


_read_proof = msgspec.json.Decoder(ProviderSignIn).decode


class SignedIn(Struct, frozen=True):
    """A browser whose session is valid: its row, its session, and its person as the caller of operations.

    `provider`: for a person of an identity provider, whose session is one of a role; None for a local user.
    """

    row: BrowserSession
    session: SessionClaims
    caller: Caller
    provider: ProviderSignIn | None = None

    @property
    def authenticated_at(self) -> int:
        """When the person proved who they are (ms). Every token of the sign-in says the same."""
        return self.session.hops[0].issued_at if self.provider is None else self.provider.authenticated_at

    @property
    def mfa(self) -> bool:
        """Whether the sign-in had several factors, by Daypass's own MFA or by what the person's provider says."""
        return bool(self.session.mfa_at) or (self.provider is not None and "mfa" in self.provider.methods)

    @property
    def person_id(self) -> str:
        """The person: the unique id of a user; for a person of a provider its ARN and their subject there."""
        return self.row.principal_id


def digest(cookie: str) -> str:
    """The id of the browser session with this cookie value."""
    return text_digest(cookie)


async def start(env: Env, call: Call, mfa_at: int, seconds: int, check: Callable[[Tx], None], replacing: str) -> str:
    """Signs the user `call.caller` in, for at most `seconds`, and returns the value of the browser's new cookie.

    `mfa_at`: when an MFA code was accepted (ms), 0 for none. `check`: refuses in the transaction. `replacing`: the browser's cookie up to now; its session
    ends, so that a cookie that was known before the sign-in is worth nothing after it (attack A88).
    Raises DaypassError: ACCESS_DENIED when the user is blocked, UNAVAILABLE.
    """
    caller, cookie = call.caller, env.ids.secret()
    applicant = signing_applicant(env, call, mfa_at)
    owner = SessionOwner(SessionKind.USER, caller.account, caller.principal_id, caller.arn, mfa_at=mfa_at)
    request = SessionRequest(caller.name)
    seconds = min(seconds, env.limits.browser_session_ms // 1000)
    session = await compose(env, applicant, owner, request, Assumption(caller.name), seconds)

    sign_in = signs_in(call, cookie, replacing)

    def also(tx: Tx, issued: Issued[str]) -> None:
        check(tx)
        sign_in(tx, issued)

    await issue(env, applicant, session, request, BROWSER_FORM, also=also)
    return cookie


def signs_in(call: Call, cookie: str, replacing: str, provider: ProviderSignIn | None = None) -> Also[str]:
    """Gives the browser with `cookie` a session, in the transaction that records it. `replacing`: see `start`."""

    def also(tx: Tx, issued: Issued[str]) -> None:
        delete_expired(tx, BrowserSession, issued.session.issued_at)
        if known := tx.get(BrowserSession, id=digest(replacing)):
            tx.delete(known)
        tx.insert(_row(call, cookie, issued, provider))

    return also


def _row(call: Call, cookie: str, issued: Issued[str], provider: ProviderSignIn | None) -> BrowserSession:
    session = issued.session
    return BrowserSession(
        id=digest(cookie),
        session_id=session.session_id,
        account=session.account,
        principal_id=session.hops[0].principal_id,
        created_at=session.issued_at,
        used_at=session.issued_at,
        expires_at=session.expires_at,
        access_key_id=session.hops[-1].access_key_id,
        token=issued.credential,
        source_ip=call.facts.source_ip,
        user_agent=call.facts.user_agent[:_MAX_AGENT],
        proof="" if provider is None else msgspec.json.encode(provider).decode(),
    )


async def read(env: Env, cookie: str, now: int) -> SignedIn | None:
    """The browser with this cookie; None when it is not signed in any more: unknown, expired, idle, ended or revoked,
    or its password was changed. A stale cache never signs anybody out. Raises DaypassError(UNAVAILABLE).
    """
    return await read_by_id(env, digest(cookie), now)


async def read_by_id(env: Env, identity: str, now: int) -> SignedIn | None:
    """The browser session with this id, as `read`."""
    return await find_current(env, lambda: _read(env, identity, now))


async def _read(env: Env, identity: str, now: int) -> SignedIn | None:
    row = await env.directory.entity(BrowserSession, identity)
    if row is None or now >= row.expires_at or now - row.used_at >= env.limits.browser_idle_ms:
        return None
    try:
        session = await env.sealer.open(row.token, row.access_key_id)
        caller = await caller_of_session(env, session, now)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        return None
    if row.proof:  # what a provider said: the session is one of a role
        return SignedIn(row, session, caller, _read_proof(row.proof))
    profile = await env.directory.entity(LoginProfile, session.principal_id)
    if profile is None or profile.password_changed_at > row.created_at:
        return None
    return SignedIn(row, session, caller)


async def touch(env: Env, call: Call, signed_in: SignedIn) -> None:
    """Notes that the browser session is in use, at most once in a tenth of the idle timeout."""
    row = signed_in.row
    if call.now - row.used_at < env.limits.browser_idle_ms // 10:
        return

    def change(tx: Tx) -> tuple[None, Event]:
        known = tx.get(BrowserSession, id=row.id)
        if known is not None:
            tx.replace(replace(known, used_at=max(known.used_at, call.now)))
        return None, served(call, session_id=row.session_id, detail={"browser_session": "used"})

    await env.journal.write(change, account=row.account)


async def listed(env: Env, call: Call) -> list[BrowserSession]:
    """daypass:ListBrowserSessions: those of the caller's person, newest first. It needs no permission.

    Raises DaypassError(ACCESS_DENIED).
    """
    caller = call.caller
    decision = await allow_own(env, call, "ListBrowserSessions", "user", caller.name)
    rows = await env.directory.read(
        lambda tx: tx.find(BrowserSession, account=caller.account, principal_id=caller.hops[0].principal_id),
        account=caller.account,
    )
    await env.journal.commit(served(call, decision=decision))
    valid = (row for row in rows if call.now < row.expires_at)
    return sorted(valid, key=lambda row: row.created_at, reverse=True)


async def list_own(env: Env, call: Call) -> list[BrowserSession]:
    """`listed` for a call of the API. Raises DaypassError: ACCESS_DENIED, VALIDATION for anyone but a user."""
    _check_user(call)
    return await listed(env, call)


async def end_own(env: Env, call: Call, session_id: str) -> None:
    """`end` for a call of the API. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION for anyone but a user."""
    _check_user(call)
    await end(env, call, session_id)


def _check_user(call: Call) -> None:
    """A session of a role, also of one that acts for a user, does not learn where the user is signed in."""
    if call.caller.kind is not PrincipalKind.USER:
        raise DaypassError(ErrorKind.VALIDATION, "Only users are signed in to browsers. Use your own key or session.")


async def end(env: Env, call: Call, session_id: str) -> None:
    """daypass:SignOut: signs one of the caller's own browsers out; no policy keeps a person in this one.
    Raises DaypassError: ACCESS_DENIED, NOT_FOUND.

    Sessions that were made from it stay valid: to end these too, revoke its session.
    """
    caller = call.caller
    itself = caller.session is not None and caller.session.session_id == session_id
    decision = None if itself else await allow_own(env, call, "SignOut", "user", caller.name)

    def change(tx: Tx) -> tuple[None, Event]:
        person = caller.hops[0].principal_id
        row = tx.get(BrowserSession, account=caller.account, principal_id=person, session_id=session_id)
        if row is None:
            raise DaypassError(ErrorKind.NOT_FOUND, "This browser session does not exist.")
        sign_out(env.ids, tx, row, call.now)
        event = served(
            call,
            kind=EventType.DIRECTORY_CHANGED,
            session_id=session_id,
            decision=decision,
            detail={"browser_session": "ended"},
        )
        return None, event

    await env.journal.write(change, account=caller.account)
