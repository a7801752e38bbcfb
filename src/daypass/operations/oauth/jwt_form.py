"""Issues the token of every grant, and the form of a session as an access token: the one place where they are made.

No token is made for a resource server without its permission.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any, TypeAlias, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.context import AUDIENCE_KEY, OPENID_KEY, SCOPE_KEY
from daypass.domain.directory import OAuthClient, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.oauth.resource_server import Binding
from daypass.domain.policy.model import Value
from daypass.domain.session import SessionClaims
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume.applicant import Applicant, check_again, with_keys
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import AWS_FORM, AwsCredentials, Deferred, Form, sealed
from daypass.operations.assume.issue import Also, Issued, issue
from daypass.operations.assume.request import AssumeRequest, SessionRequest, commit_once
from daypass.operations.authenticate import caller_of_session
from daypass.operations.authorize import check_credentials
from daypass.operations.oauth.access_token import SESSION, AccessToken, claims_of, invalid_session
from daypass.operations.oauth.client_authentication import check_again_client, check_current
from daypass.operations.oauth.parties import VerifiedSubject, session_for
from daypass.operations.oauth.request import TokenRequest, TokenType
from daypass.operations.oauth.targets import TokenTarget, ceilings, check_permission, target_of
from daypass.operations.outcome import ACTOR, OWNER, served
from daypass.operations.sessions.own import narrow
from daypass.ports import Call, Env, Tx


class JwtForm(Struct, frozen=True):
    """An access token for `target`; `jti` must be unique. `binding`: the key that its holder must prove to have.

    No token is made for a resource server without a permission: of `caller`, whose own session it is in another form, or of
    the new session.
    """

    target: TokenTarget
    jti: str
    facts: RequestFacts
    binding: Binding | None = None
    caller: Caller | None = None

    @property
    def audiences(self) -> tuple[str, ...]:
        return self.target.audiences

    @property
    def listed(self) -> bool:
        return True

    @property
    def record(self) -> Mapping[str, Any]:
        bound = {"cnf": self.binding.claim} if self.binding is not None else {}
        return {"form": "access_token", "jti": self.jti, "audience": self.audiences, **bound}

    async def prepare(self, env: Env, session: SessionClaims) -> Callable[[], AccessToken]:
        """Seals the session and makes the claims. Only their signature is left.

        Also raises ACCESS_DENIED without the permission, INVALID_TARGET for audiences with different algorithms.
        """
        server, now = env.oauth, env.clock.now()
        if self.target.servers:
            caller = self.caller or await caller_of_session(env, session, now)
            await check_permission(env, Call(caller, self.facts, now), self.target, session.client_id)
        if session.binding or session.principal_id == session.account:
            raise DaypassError(ErrorKind.INVALID_TARGET, "This kind of session gets no access tokens.")
        try:
            algorithm = server.algorithm_for(self.audiences, self.target.algorithms)
        except ValueError as error:
            raise DaypassError(ErrorKind.INVALID_TARGET, f"No token can be issued: {error}.") from None
        claims = claims_of(server, session, self.audiences, self.jti, now)
        if self.target.servers:
            claims[SESSION]["resource_servers"] = [each.arn for each in self.target.servers]
        claims[SESSION]["sealed"] = sealed(env, session)
        if (reference := env.statuses.reference(session.status_index)) is not None:
            uri, place = reference
            claims["status"] = {"status_list": {"idx": place, "uri": uri}}
        if self.binding is not None:
            claims["cnf"] = self.binding.claim
        sign, scope = server.signer.unsigned(claims, algorithm), session.scopes or ()
        return lambda: AccessToken(self.audiences, scope, session.expires_at, self.binding, sign())


# --- Issues the token of every grant: a session for a verified subject, in either of its forms


C = TypeVar("C")

AlsoWrites: TypeAlias = Callable[[Tx, SessionClaims], None]
"""Writes more in the transaction that records the session; see `assume.issue.Also`."""

KEY_BOUND = "daypass:keybound"
"""The context key that says whether the token of the request is bound to a key of its client."""


class IssuedToken(Struct, frozen=True):
    """A session, and its credential in the requested form."""

    session: SessionClaims
    credential: AccessToken | AwsCredentials


async def issue_token(
    env: Env, call: Call, request: TokenRequest, subject: VerifiedSubject, also: AlsoWrites | None = None
) -> IssuedToken:
    """The token of a grant whose subject is verified. The one-time proofs of the request are consumed with it.

    With `also`, the subject always gets a separate session.

    Raises DaypassError: what `exchange` raises; refusals name the subject as their actor.
    """
    try:
        return await _issue(env, call, request, subject, also)
    except DaypassError as error:
        raise on_record(error, subject) from None


def on_record(error: DaypassError, subject: VerifiedSubject) -> DaypassError:
    """The refusal with the subject as its actor, unless it names one. A subject or actor token that has ended meanwhile is an
    invalid token of the request: the client's authentication has not failed.
    """
    if error.kind in {ErrorKind.UNKNOWN_CREDENTIALS, ErrorKind.EXPIRED_CREDENTIALS}:
        error = invalid_session(error)
    actor = subject.applicant.parent.actor
    known = {OWNER: actor.get("account", ""), ACTOR: actor}
    return DaypassError(error.kind, error.public, private={**known, **error.private}, explanation=error.explanation)


async def _issue(
    env: Env, call: Call, request: TokenRequest, subject: VerifiedSubject, also: AlsoWrites | None
) -> IssuedToken:
    session = subject.session
    if session is None and not request.role_arn:
        raise DaypassError(ErrorKind.MISSING_PARAMETER, "This subject has no session here: name the role to assume.")
    if request.may_act is not None and request.requested is TokenType.AWS_CREDENTIALS:
        raise DaypassError(ErrorKind.INVALID_AUTHORIZATION_DETAILS, "may_act is for access tokens.")
    target = await target_of(env, request, session)
    if request.requested is TokenType.AWS_CREDENTIALS:
        issued: Issued[AccessToken] | Issued[AwsCredentials]
        issued = await _in_form(env, call, request, subject, target, AWS_FORM, also)
    else:
        form = JwtForm(
            target, env.ids.request(), call.facts, request.sender.binding, None if request.role_arn else subject.caller
        )
        issued = await _in_form(env, call, request, subject, target, form, also)
    return IssuedToken(issued.session, issued.credential)


async def _in_form(
    env: Env,
    call: Call,
    request: TokenRequest,
    subject: VerifiedSubject,
    target: TokenTarget,
    form: Form[C],
    also: AlsoWrites | None,
) -> Issued[C]:
    client = request.sender.client

    def write(tx: Tx, issued: Issued[C]) -> None:
        assert also is not None
        if client is not None:
            check_current(client, tx.get(OAuthClient, account=client.client.account, id=client.client.id))
        also(tx, issued.session)

    more = None if also is None else write
    if client is not None:
        applicant = subject.applicant
        again = (*applicant.again, partial(check_again_client, client=client))
        subject = replace(subject, applicant=replace(applicant, again=again))
    if request.role_arn:
        return await _assumed(env, request, _bounded(request, subject, target), target, form, more)
    return await _same_session(env, call, request, _with_replays(request, subject), target, form, more)


# --- With a role -----------------------------------------------------------------------------------------------------


def _bounded(request: TokenRequest, subject: VerifiedSubject, target: TokenTarget) -> VerifiedSubject:
    """The subject as the trust policy sees it, with the audience, scope and client of the new session."""
    sender, parent = request.sender, subject.applicant.parent
    audiences, scopes = ceilings(request, target, subject.session)
    keys: dict[str, Value] = {AUDIENCE_KEY: audiences} if audiences else {}
    if scopes:
        keys[SCOPE_KEY] = scopes
    client_id = sender.client.client.id if sender.client is not None else parent.client_id or subject.client_id
    replays = (*parent.replays, *sender.replays)
    bounded = replace(parent, client_id=client_id, audiences=audiences, scopes=scopes, replays=replays)
    bounded = replace(bounded, may_act=request.may_act, keys=_with_openid(parent.keys, request))
    keys[KEY_BOUND] = "true" if sender.binding is not None else "false"
    return replace(subject, applicant=with_keys(subject.applicant, keys, bounded))


def _with_openid(keys: Tags, request: TokenRequest) -> Tags:
    others = tuple([pair for pair in keys if pair[0] != OPENID_KEY])
    return (*others, *((OPENID_KEY, name) for name in request.openid))


def _with_replays(request: TokenRequest, subject: VerifiedSubject) -> VerifiedSubject:
    """The subject with the one-time proofs of the request."""
    if not request.sender.replays:
        return subject
    parent = subject.applicant.parent
    grown = replace(parent, replays=(*parent.replays, *request.sender.replays))
    return replace(subject, applicant=replace(subject.applicant, parent=grown))


async def _assumed(
    env: Env, request: TokenRequest, subject: VerifiedSubject, target: TokenTarget, form: Form[C], also: Also[C] | None
) -> Issued[C]:
    client = request.sender.client
    if client is not None and not client.settings.may_assume(request.role_arn):
        raise DaypassError(
            ErrorKind.INVALID_AUTHORIZATION_DETAILS, "The client may not ask for this role.", private=client.private
        )
    if subject.caller is not None:
        check_credentials(subject.caller, ASSUME_ROLE)
    session = session_for(subject, request.session, target.policy, target.seconds)
    assume_request = AssumeRequest(request.role_arn, session, request.external_id, action=subject.action)
    return await assume(env, subject.applicant, assume_request, form, also)


# --- The subject's own session ---------------------------------------------------------------------------------------


async def _same_session(
    env: Env,
    call: Call,
    request: TokenRequest,
    subject: VerifiedSubject,
    target: TokenTarget,
    form: Form[C],
    also: Also[C] | None,
) -> Issued[C]:
    caller, session_request = subject.caller, request.session
    assert caller is not None and caller.session is not None  # noqa: PT018  # one fact: it is a session
    session = caller.session
    if replace(session_request, duration=None, policy="") != SessionRequest("") or request.external_id:
        raise DaypassError(
            ErrorKind.INVALID_AUTHORIZATION_DETAILS, "Without a role, only a policy and a duration can be asked for."
        )
    seconds = _seconds(session_request.duration, session.expires_at - subject.applicant.snapshot.now, target.seconds)
    acting = subject.applicant.parent.hops[len(session.hops) :]
    narrower = ceilings(request, target, session) != (session.audiences, session.scopes)
    if acting or session_request.policy or seconds or narrower or request.may_act or also is not None:
        made = await _narrowed(env, request, subject.applicant, session, target, seconds)
        own = SessionRequest(session.name, policy=session_request.policy)
        return await issue(env, subject.applicant, made, own, form, also=also)
    kind, detail = EventType.REQUEST_ALLOWED, dict(form.record) or {"form": "aws_credentials"}
    if form.listed:
        session, listed = relisted(env, session)
        kind, detail = EventType.TOKEN_ISSUED, {**detail, **listed}
    own_call = Call(caller, call.facts, call.now)
    event = served(own_call, kind=kind, session_id=session.session_id, detail=detail)
    credential = Deferred(await form.prepare(env, session))
    await check_again(env, subject.applicant)
    await commit_once(env, event, subject.applicant.parent.replays, meanwhile=credential.make)
    return Issued(session, credential.make())


def relisted(env: Env, session: SessionClaims) -> tuple[SessionClaims, dict[str, Any]]:
    """A session that exists, for a new access token: with an index in a status list of this process, and what the event of
    the token must have, so that other processes can make that list.

    The index that the session has, if any, is of a list of the process that issued it, which may be another one.
    """
    listed = replace(session, status_index=env.statuses.allocate(session))
    parts = {"hops": session.hops, "expires_at": session.expires_at, "source_identity": session.source_identity}
    return listed, {"status_index": listed.status_index, "session": parts}


def _seconds(requested: int | None, remaining_ms: int, most: int) -> int | None:
    """The lifetime of the narrower session; None for that of the session itself."""
    if most and (requested or -(-remaining_ms // 1000)) > most:
        return most
    return requested


async def _narrowed(
    env: Env,
    request: TokenRequest,
    applicant: Applicant,
    session: SessionClaims,
    target: TokenTarget,
    seconds: int | None,
) -> SessionClaims:
    """The session with one more hop, for the actor if there is one, bound to the requested audiences and scope."""
    parent, client = applicant.parent, request.sender.client
    if parent.source_identity != session.source_identity:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "The actor has a source identity that the session has not.")
    acting = parent.hops[len(session.hops) :]
    policy = target.policy if target.scope != (session.scopes or ()) else ""
    made = await narrow(env, session, applicant, tuple(filter(None, (request.session.policy, policy))), seconds, acting)
    audiences, scopes = ceilings(request, target, session)
    client_id = client.client.id if client is not None else parent.client_id or session.client_id
    own = replace(made.hops[-1], client_id=client_id)
    ends = min(made.expires_at, parent.not_after or made.expires_at)
    hops = (*made.hops[:-1], own)
    keys = _with_openid(session.keys, request)
    made = replace(made, audiences=audiences, scopes=scopes, may_act=request.may_act, keys=keys)
    return replace(made, client_id=client_id, hops=hops, expires_at=ends)
