"""Refresh tokens: rotated at each use, in families. The reuse of an old one ends its family and the family's sessions.

A family has its own session, which is a hop of every session that its tokens give: revoking that session, or anything
before it in the chain, ends all of them. A token is authenticated by a key of its family, so that every old token of the
family is recognized, and nothing else can end it.
A client that has lost a response may use the previous token again for a few seconds. It then gets the same session and the
same next token, so that one token never gives two sessions (attack A119).
Sources: RFC 6749, 6; RFC 9700, 2.2.2 and 4.14.2; RFC 9449, 5; RFC 8705, 4.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import msgspec
from msgspec import Struct
from msgspec.structs import replace as replace_struct

from daypass.domain import payload
from daypass.domain.directory import RefreshFamily
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.oauth.resource_server import JKT, Binding
from daypass.domain.session import SessionClaims
from daypass.operations.assume.applicant import uses_grant
from daypass.operations.assume.forms import AWS_FORM
from daypass.operations.assume.issue import narrower_hop
from daypass.operations.assume.request import commit_once, delete_expired
from daypass.operations.authenticate import caller_of_session
from daypass.operations.oauth.client_authentication import AuthenticatedClient, check_again_client
from daypass.operations.oauth.jwt_form import IssuedToken, JwtForm, issue_token, relisted
from daypass.operations.oauth.parties import VerifiedSubject, subject_of_caller
from daypass.operations.oauth.refresh_families import end_family, opened_family
from daypass.operations.oauth.refresh_family import (
    FamilyContent,
    invalid,
    opened_session,
    owner_of,
    sealed_session,
    token_of,
)
from daypass.operations.oauth.request import Sender, TokenRequest, TokenType
from daypass.operations.oauth.targets import target_of
from daypass.operations.outcome import event_of
from daypass.ports import Call, Env, Tx

GRACE_MS: Final = 10_000
"""How long the previous token may be used again, by a client that has lost the response."""

BUSY_MS: Final = 1_000
"""For this time after a rotation, another request with the same token is refused with 429: it runs in parallel."""

_MAX_SECONDS: Final = 3600  # of a session without a role

AlsoWrites = Callable[[Tx, str], None]
"""Writes more in the transaction of the first token, with the id of what a second use must end: family or session."""


class GrantedToken(Struct, frozen=True):
    """A token, and the refresh token with it ("" for none), which expires at `expires_at` (ms).

    `content`: of its family, for a refresh.
    """

    issued: IssuedToken
    refresh_token: str = ""
    expires_at: int = 0
    content: FamilyContent | None = None

    def __repr__(self) -> str:
        return f"GrantedToken({self.issued.session.session_id})"


async def issue_with_refresh(
    env: Env,
    call: Call,
    request: TokenRequest,
    session: SessionClaims,
    *,
    context: Mapping[str, str] | None = None,
    also: AlsoWrites | None = None,
    outlives_session: bool = False,
    consent_id: str = "",
) -> GrantedToken:
    """The token of a grant whose subject is `session`, with a refresh token if the client may use that grant.

    `outlives_session`: the refresh tokens may outlive `session`, because the person has consented to that; otherwise they end with it.
    `consent_id`: the consent whose withdrawal ends the refresh tokens; "" for none. `context`: see FamilyContent.
    Raises DaypassError: see `issue_token`.
    """
    client = request.sender.client
    if client is None or "refresh_token" not in client.settings.grant_types:
        subject = await _subject(env, call, session)
        write = None if also is None else lambda tx, made: also(tx, made.session_id)
        return GrantedToken(await issue_token(env, call, request, subject, write))
    family, content = await _new_family(
        env, call, client, request, session, context or {}, outlives_session=outlives_session
    )

    def start(tx: Tx, made: SessionClaims) -> None:
        delete_expired(tx, RefreshFamily, call.now)
        tx.insert(replace(family, last=sealed_session(env, family, made), consent_id=consent_id or None))
        if also is not None:
            also(tx, family.id)

    issued = await _issue(env, call, request, family, content, start)
    return GrantedToken(issued, token_of(family, content, family.generation), family.expires_at)


async def refresh(env: Env, call: Call, unverified_token: str, request: TokenRequest) -> GrantedToken:
    """daypass:ExchangeToken, for a refresh token. Of `request` only sender, scope, audiences and requested type apply.

    Raises DaypassError: INVALID_GRANT, THROTTLED when the token is being used by a request in parallel, and what
    `issue_token` raises.
    """
    family, content, generation = await opened_family(env, unverified_token, request.sender)
    if generation == family.generation:
        return await _rotate(env, call, family, content, _narrowed(request, content))
    since = call.now - family.rotated_at
    if generation == family.generation - 1 and BUSY_MS <= since < GRACE_MS:
        return await _repeat(env, call, family, content, request)
    raise await _used_again(env, call, family, generation, request.sender)


async def session_of_person(
    env: Env, call: Call, unverified_token: str, sender: Sender
) -> tuple[SessionClaims, Mapping[str, str]]:
    """The session of the person who has consented to a refresh token, and the claims about them. The token is not used up.

    An old token ends its family, as in `refresh`. Raises DaypassError: INVALID_GRANT, THROTTLED, UNAVAILABLE.
    """
    family, content, generation = await opened_family(env, unverified_token, sender)
    if generation != family.generation:
        raise await _used_again(env, call, family, generation, sender)
    if "sub" not in content.context:
        raise invalid("no person has consented to it", family)
    return payload.decode(content.session), content.context


async def _used_again(env: Env, call: Call, family: RefreshFamily, generation: int, sender: Sender) -> DaypassError:
    """The refusal of an old token. It ends the family, unless the response with the next token may still be on its way."""
    if generation == family.generation - 1 and call.now - family.rotated_at < GRACE_MS:
        return _busy(family)
    await end_family(env, call, family, sender.known_client.actor, "an old refresh token was used again")
    return invalid("an old refresh token was used again; its family and its sessions are ended", family)


# --- A use -----------------------------------------------------------------------------------------------------------


async def _rotate(
    env: Env, call: Call, family: RefreshFamily, content: FamilyContent, request: TokenRequest
) -> GrantedToken:
    def rotate(tx: Tx, made: SessionClaims) -> None:
        current = tx.get(RefreshFamily, id=family.id)
        if current is None or current.ended_at:
            raise invalid("the family has ended", family)
        if current.generation != family.generation:
            raise _busy(family)
        last = sealed_session(env, family, made)
        tx.replace(replace(current, generation=current.generation + 1, rotated_at=call.now, last=last))

    issued = await _issue(env, call, request, family, content, rotate)
    return GrantedToken(issued, token_of(family, content, family.generation + 1), family.expires_at, content)


async def _repeat(
    env: Env, call: Call, family: RefreshFamily, content: FamilyContent, request: TokenRequest
) -> GrantedToken:
    """The response that was lost: the same session again, for its audiences and with its scope, and the same next token.

    `request`: as it was sent. Raises DaypassError: INVALID_TARGET, INVALID_SCOPE when the first use was for others.
    """
    session = opened_session(env, family)
    try:
        await caller_of_session(env, session, call.now)
    except DaypassError as error:
        raise _invalid_session(error, family) from None
    target = await target_of(env, request, session)
    kind, listed = EventType.REQUEST_ALLOWED, dict[str, Any]()
    if request.requested is TokenType.AWS_CREDENTIALS:
        issued = IssuedToken(session, (await AWS_FORM.prepare(env, session))())
    else:
        kind, (session, listed) = EventType.TOKEN_ISSUED, relisted(env, session)
        form = JwtForm(target, env.ids.request(), call.facts, request.sender.binding)
        issued = IssuedToken(session, (await form.prepare(env, session))())
    await check_again_client(env, client=request.sender.known_client)
    event = event_of(
        kind,
        call.facts,
        request.sender.known_client.actor,
        at=call.now,
        account=family.account,
        session_id=session.session_id,
        detail={"family": family.id, "generation": family.generation, "repeated": True, **listed},
    )
    await commit_once(env, event, request.sender.replays)
    return GrantedToken(issued, token_of(family, content, family.generation), family.expires_at, content)


def _narrowed(request: TokenRequest, content: FamilyContent) -> TokenRequest:
    """The request of the family, at most narrower. Raises DaypassError: INVALID_SCOPE, INVALID_TARGET."""
    if request.scope is not None and content.scope is not None and not set(request.scope) <= set(content.scope):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The scope is not within that of the refresh token.")
    if not set(request.audiences) <= set(content.audiences):
        raise DaypassError(ErrorKind.INVALID_TARGET, "The audience is not one of the refresh token.")
    return TokenRequest(
        content.request,
        content.role_arn,
        content.external_id,
        request.audiences or content.audiences,
        content.scope if request.scope is None else request.scope,
        request.requested,
        request.sender,
        openid=tuple(content.context.get("openid", "").split()),
    )


async def _issue(
    env: Env,
    call: Call,
    request: TokenRequest,
    family: RefreshFamily,
    content: FamilyContent,
    also: Callable[[Tx, SessionClaims], None],
) -> IssuedToken:
    session = payload.decode(content.session)
    try:
        subject = await _subject(env, call, session)
    except DaypassError as error:
        raise _invalid_session(error, family) from None
    if not request.role_arn and request.session.duration is None:
        seconds = min(_MAX_SECONDS, max(1, (session.expires_at - call.now) // 1000))
        request = replace_struct(request, session=replace_struct(request.session, duration=seconds))
    return await issue_token(env, call, request, subject, also)


async def _subject(env: Env, call: Call, session: SessionClaims) -> VerifiedSubject:
    return subject_of_caller(env, call, await caller_of_session(env, session, call.now))


def _invalid_session(error: DaypassError, family: RefreshFamily) -> DaypassError:
    if error.kind is ErrorKind.UNAVAILABLE:
        return error
    return invalid(str(error.private.get("reason", error.public)), family)


def _busy(family: RefreshFamily) -> DaypassError:
    message = "The refresh token is being used by another request. Try again."
    return DaypassError(ErrorKind.THROTTLED, message, private={"family": family.id, "reason": "parallel use"})


# --- Families --------------------------------------------------------------------------------------------------------


async def _new_family(
    env: Env,
    call: Call,
    client: AuthenticatedClient,
    request: TokenRequest,
    session: SessionClaims,
    context: Mapping[str, str],
    *,
    outlives_session: bool,
) -> tuple[RefreshFamily, FamilyContent]:
    subject = await _subject(env, call, session)
    now = subject.applicant.snapshot.now
    ends = now + client.settings.refresh_token_seconds * 1000
    own = narrower_hop(env, session, subject.applicant)
    made = replace_struct(
        session,
        session_id=own.session_id,
        issued_at=now,
        expires_at=ends if outlives_session and not uses_grant(session.hops) else min(ends, session.expires_at),
        seen=subject.applicant.snapshot.seen,
        hops=(*session.hops, own),
        first_issued_at=session.first_issued_at or session.issued_at,
        derivation_key=env.sealer.derivation_key(),
    )
    target = await target_of(env, request, session)
    content = FamilyContent(
        env.ids.seed()[:32],
        payload.encode(made),
        request.role_arn,
        request.session,
        request.external_id,
        request.audiences,
        target.scope or None,
        _key_of_family(client, request.sender.binding),
        dict(context),
    )
    family = RefreshFamily(
        own.session_id,
        session.account,
        client.client.id,
        session.principal_id,
        now,
        made.expires_at,
        1,
        now,
        env.sealer.seal_secret(msgspec.msgpack.encode(content), session.account, owner_of(own.session_id)),
    )
    return family, content


def _key_of_family(client: AuthenticatedClient, binding: Binding | None) -> str:
    """The thumbprint of the key that each use must prove; "" for none. A certificate binds the refresh tokens of a public
    client only: the others authenticate at each use (RFC 8705, 4), and may renew their certificates.
    """
    if binding is None or (binding.member != JKT and client.settings.type != "public"):
        return ""
    return binding.thumbprint
