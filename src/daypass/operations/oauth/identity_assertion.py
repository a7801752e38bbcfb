"""Identity assertion grants (ID-JAG): a client takes a person's session to the authorization server of another resource.

Issued here by token exchange, for one authorization server and the client's id there; redeemed here by the JWT bearer grant,
from the client that it names. The administrators of both sides decide, not the person. An assertion opens nothing else: its
type is accepted nowhere but in that grant.
Source: draft-ietf-oauth-identity-assertion-authz-grant, 4 (exchange) and 5 (redemption).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.context import AUDIENCE_KEY, SCOPE_KEY
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.domain.jws import ID_JAG
from daypass.domain.policy.model import Value
from daypass.domain.session import SessionClaims
from daypass.operations.assume.applicant import snapshot
from daypass.operations.assume.request import commit_once
from daypass.operations.authenticate import caller_of_session
from daypass.operations.authorize import authorize
from daypass.operations.management import arn_of
from daypass.operations.oauth.access_token import actors_of, authenticated_at, invalid_session, stable_id
from daypass.operations.oauth.client_authentication import AuthenticatedClient, check_again_client
from daypass.operations.oauth.id_token import delegation_of, signed_in_by, subject_of
from daypass.operations.oauth.jwt_form import on_record
from daypass.operations.oauth.parties import VerifiedSubject, own_subject, subject_of_caller
from daypass.operations.oauth.refresh import session_of_person
from daypass.operations.oauth.request import ExchangeRequest, Presented, Sender, TokenType
from daypass.operations.oauth.targets import check_ceiling
from daypass.operations.oauth.web_identity_token import WebIdentityToken
from daypass.operations.outcome import served
from daypass.ports import Call, Env

ACTION: Final = "daypass:IssueIdentityAssertion"
_SECONDS: Final = 300


class AssertionRequest(Struct, frozen=True):
    """The requested assertion: for an authorization server (`audience`, its issuer), a resource and scopes there.

    `subject`: an ID token or a refresh token that this server issued to the client, or a subject of token exchange.
    """

    subject: Presented
    audience: str
    sender: Sender
    resource: str = ""
    scope: tuple[str, ...] = ()


async def issue_identity_assertion(env: Env, call: Call, request: AssertionRequest) -> WebIdentityToken:
    """daypass:IssueIdentityAssertion on the client, by the policies of the subject.

    Raises DaypassError: UNAUTHORIZED_CLIENT, INVALID_TARGET, INVALID_SCOPE, ACCESS_DENIED and those of the subject token.
    """
    client = _confidential(request.sender)
    there = client.settings.external_client_ids.get(request.audience)
    if there is None or request.audience == env.oauth.issuer:
        raise DaypassError(
            ErrorKind.INVALID_TARGET,
            "The client has no identifier at this authorization server (external_client_ids).",
            private=client.private,
        )
    if not set(request.scope) <= set(client.settings.scopes):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The client may not ask for this scope.", private=client.private)
    subject, claims = await _subject(env, call, request, client)
    try:
        called = Call(subject.caller or call.caller, call.facts, call.now)
        return await _issued(env, called, request, client, {"client_id": there, **claims})
    except DaypassError as error:
        raise on_record(error, subject) from None


async def _subject(
    env: Env, call: Call, request: AssertionRequest, client: AuthenticatedClient
) -> tuple[VerifiedSubject, dict[str, Any]]:
    """The subject, and the claims about it. `sub` of an ID token is that of the assertion, too (section 4.3.1), and that of
    a refresh token is the one that its ID token had.

    Raises DaypassError.
    """
    now, unverified = snapshot(env).now, request.subject.unverified
    match request.subject.type:
        case TokenType.ID_TOKEN:
            person = await signed_in_by(env, client.client.account, client.client.id, unverified, now)
            claims = {"sub": subject_of(person.session), "auth_time": person.authenticated_at // 1000}
            return subject_of_caller(env, call, person.caller), claims | delegation_of(person.session)
        case TokenType.REFRESH_TOKEN:
            session, about = await session_of_person(env, call, unverified, request.sender)
            try:
                caller = await caller_of_session(env, session, now)
            except DaypassError as error:
                raise invalid_session(error) if error.kind is not ErrorKind.UNAVAILABLE else error from None
            claims = {"sub": about["sub"], "auth_time": int(about["auth_time"])}
            return subject_of_caller(env, call, caller), claims | delegation_of(session)
        case _:
            subject = await own_subject(env, call, request.subject, None, now, request.sender.binding)
            return subject, _claims_of(subject.session) if subject.session is not None else {}


def _claims_of(session: SessionClaims) -> dict[str, Any]:
    chain = actors_of(session)
    return {
        "sub": stable_id(session.hops[-1]),
        "auth_time": authenticated_at(session),
        **({"act": chain} if chain else {}),
    }


async def _issued(
    env: Env, call: Call, request: AssertionRequest, client: AuthenticatedClient, about: Mapping[str, Any]
) -> WebIdentityToken:
    """`about`: the claims about the subject, and the `client_id` at the other authorization server."""
    caller, session = call.caller, call.caller.session
    keys: dict[str, Value] = {
        AUDIENCE_KEY: (request.audience,),
        SCOPE_KEY: request.scope,
        "daypass:clientid": client.client.id,
    }
    arn = arn_of(client.client.account, "client", client.client.id)
    decision = await authorize(env, call, ACTION, arn, context=keys)
    await check_again_client(env, client=client)
    if session is None:
        raise DaypassError(ErrorKind.INVALID_TARGET, "This principal has no session to get assertions for.")
    check_ceiling(session, (request.audience,))
    if session.scopes is not None and not set(request.scope) <= set(session.scopes):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The scope is not within that of the session.")
    expires_at = min(call.now + 1000 * _SECONDS, session.expires_at)
    claims: dict[str, Any] = {
        "iss": env.oauth.issuer,
        "aud": request.audience,
        "jti": env.ids.request(),
        "iat": call.now // 1000,
        "exp": expires_at // 1000,
        **about,
        **({"resource": request.resource} if request.resource else {}),
        **({"scope": " ".join(request.scope)} if request.scope else {}),
    }
    text = env.oauth.sign(claims, ID_JAG)
    detail = {
        "jti": claims["jti"],
        "issuer": claims["iss"],
        "audience": [request.audience],
        "resource": request.resource,
        "scope": request.scope,
        "client_id": about["client_id"],
        "expires_at": expires_at,
        "principals": [hop.principal_id for hop in caller.hops],
    }
    event = served(
        call, kind=EventType.WEB_IDENTITY_ISSUED, session_id=session.session_id, decision=decision, detail=detail
    )
    await commit_once(env, event, request.sender.replays)
    return WebIdentityToken(text, expires_at)


def _confidential(sender: Sender) -> AuthenticatedClient:
    client = sender.client
    if client is None or client.settings.type == "public":
        raise DaypassError(ErrorKind.UNAUTHORIZED_CLIENT, "Identity assertions are for clients that authenticate.")
    return client


# --- Redemption ------------------------------------------------------------------------------------------------------


def is_identity_assertion(env: Env, presented: Presented) -> bool:
    """Whether a token says that it is one. Raises DaypassError(INVALID_IDENTITY_TOKEN) when it is not a JWT."""
    return env.tokens.read(presented.unverified).unverified_type == ID_JAG


def bounded_by_assertion(env: Env, request: ExchangeRequest) -> ExchangeRequest:
    """The request, at most for the resource and scope of its assertion, whose signature is verified afterwards.

    Raises DaypassError: INVALID_GRANT unless the assertion is for this server and this client, INVALID_TARGET,
    INVALID_SCOPE.
    """
    client = _confidential(request.token.sender)
    claims = env.tokens.read(request.subject.unverified).unverified_claims
    if claims.get("aud") != env.oauth.issuer or claims.get("client_id") != client.client.id:
        raise DaypassError(
            ErrorKind.INVALID_GRANT,
            "The assertion was issued for another authorization server or client.",
            private=client.private,
        )
    token, resource, scope = request.token, claims.get("resource"), claims.get("scope")
    if resource is not None:
        if not isinstance(resource, str) or not set(token.audiences) <= {resource}:
            raise DaypassError(ErrorKind.INVALID_TARGET, "The assertion is for another resource.")
        token = replace(token, audiences=(resource,))
    allowed = tuple(scope.split(" ")) if isinstance(scope, str) and scope else ()
    if not set(token.scope or ()) <= set(allowed):
        raise DaypassError(ErrorKind.INVALID_SCOPE, "The scope is not within that of the assertion.")
    return replace(request, token=replace(token, scope=token.scope or allowed or None))
