"""Token exchange (RFC 8693) and JWT bearer grants (RFC 7523): the tokens in the request are the proof of the subject."""

from __future__ import annotations

import re

from msgspec.structs import replace

from daypass.domain.claims import PrincipalKind, Proof
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.oauth.client import ANY
from daypass.domain.provider_settings import parse_settings, url_of
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations import rates
from daypass.operations.assume.applicant import IssuanceSnapshot, proven_applicant, signing_applicant, snapshot
from daypass.operations.assume.proofs import WITH_WEB_IDENTITY
from daypass.operations.assume.request import SessionRequest
from daypass.operations.oauth.client_authentication import AuthenticatedClient
from daypass.operations.oauth.identity_assertion import bounded_by_assertion, is_identity_assertion
from daypass.operations.oauth.jwt_form import IssuedToken, issue_token, on_record
from daypass.operations.oauth.parties import (
    VerifiedSubject,
    is_own,
    own_subject,
    provider_subject,
    role_of,
    verified_actor,
)
from daypass.operations.oauth.refresh import GrantedToken, issue_with_refresh
from daypass.operations.oauth.request import ExchangeRequest, TokenRequest, TokenType
from daypass.operations.oauth.targets import check_audiences
from daypass.operations.oauth.web_identity_token import (
    MAX_SECONDS,
    WebIdentityRequest,
    WebIdentityToken,
    get_web_identity_token,
)
from daypass.ports import Call, Env

_PROVIDER = re.compile(r"arn:aws:iam::([0-9]{12}):oidc-provider/(.{1,255})")


async def exchange(env: Env, call: Call, request: ExchangeRequest) -> IssuedToken:
    """daypass:ExchangeToken. The request has no caller.

    Raises DaypassError: INVALID_IDENTITY_TOKEN and the other errors of a proof, INVALID_TARGET, INVALID_SCOPE,
    INVALID_AUTHORIZATION_DETAILS, ACCESS_DENIED, VALIDATION, UNAVAILABLE.
    """
    issuance, identity_assertion = snapshot(env), False
    request = await _with_default_role(env, request)
    if request.assertion and is_identity_assertion(env, request.subject):
        request, identity_assertion = bounded_by_assertion(env, request), True
    subject = await _subject(env, call, request, issuance, identity_assertion=identity_assertion)
    if subject.caller is not None:
        rates.charge(env, subject.caller, 1.0)
    return await issue_token(env, call, request.token, subject)


async def _with_default_role(env: Env, request: ExchangeRequest) -> ExchangeRequest:
    """The request with the role of the client's settings, or of those of the provider whose ARN is the audience: some
    libraries, such as google-auth, cannot name a role. The trust policy of the role decides, as for any other.
    """
    token, presented = request.token, request.subject
    if token.role_arn or presented.type is TokenType.PRESIGNED or await is_own(env, presented):
        return request
    if token.sender.client is not None and (role := token.sender.client.settings.default_role):
        return replace(request, token=replace(token, role_arn=role))
    match = _PROVIDER.fullmatch(token.audiences[0]) if len(token.audiences) == 1 else None
    provider = await env.directory.entity(OidcProvider, match[1], url_of(match[2])) if match is not None else None
    if provider is None or not (role := parse_settings(provider.settings).default_role):
        return request
    return replace(request, token=replace(token, role_arn=role, audiences=()))


async def exchange_for_refresh(env: Env, call: Call, request: ExchangeRequest) -> GrantedToken:
    """The same, with a refresh token that ends with the session of the subject. Raises DaypassError.

    The subject must have a session here, because each use continues it; and each use would have to prove an actor again.
    """
    issuance, client = snapshot(env), request.token.sender.client
    if client is None or "refresh_token" not in client.settings.grant_types:
        raise DaypassError(ErrorKind.UNAUTHORIZED_CLIENT, "Refresh tokens are for clients that may use them.")
    if request.actor is not None or request.token.may_act is not None:
        raise DaypassError(ErrorKind.INVALID_PARAMETER, "Delegated sessions get no refresh tokens.")
    subject = await _subject(env, call, request, issuance)
    if subject.session is None:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "The subject has no session here to be continued.")
    token = replace(request.token, requested=TokenType.ACCESS_TOKEN)
    try:
        return await issue_with_refresh(env, call, token, subject.session)
    except DaypassError as error:
        raise on_record(error, subject) from None


async def exchange_for_web_identity(env: Env, call: Call, request: ExchangeRequest) -> WebIdentityToken:
    """A token for another cloud or service, as by sts:GetWebIdentityToken with the same permissions. The subject must have
    a session here. Raises DaypassError.
    """
    token, session_request = request.token, request.token.session
    if request.actor is not None or token.role_arn or token.scope is not None or token.external_id or token.may_act:
        raise DaypassError(
            ErrorKind.INVALID_PARAMETER, "An ID token has no actor, role or scope: it is for the subject's session."
        )
    if not token.audiences:
        raise DaypassError(ErrorKind.MISSING_PARAMETER, "An ID token must have an audience.")
    if replace(session_request, duration=None, tags=()) != SessionRequest(""):
        raise DaypassError(
            ErrorKind.INVALID_AUTHORIZATION_DETAILS, "Only tags and a duration can be requested of an ID token."
        )
    if (session_request.duration or 0) > MAX_SECONDS:
        raise DaypassError(ErrorKind.VALIDATION, f"An ID token is valid for {MAX_SECONDS} seconds at most.")
    check_audiences(env, token, token.audiences)
    subject = await _subject(env, call, request, snapshot(env))
    caller = subject.caller
    if caller is None:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "The subject has no session here.")
    rates.charge(env, caller, 1.0)
    wanted = WebIdentityRequest(
        token.audiences, _algorithm(env, token.audiences), session_request.duration, session_request.tags
    )
    replays = (*subject.applicant.parent.replays, *token.sender.replays)
    try:
        return await get_web_identity_token(env, Call(caller, call.facts, call.now), wanted, replays)
    except DaypassError as error:
        raise on_record(error, subject) from None


def _algorithm(env: Env, audiences: tuple[str, ...]) -> str:
    """The algorithm in the settings of the audiences; "" for the default. Raises DaypassError(INVALID_TARGET)."""
    try:
        wanted = env.oauth.algorithm_for(audiences)
    except ValueError as error:
        raise DaypassError(ErrorKind.INVALID_TARGET, f"No token can be issued: {error}.") from None
    return wanted if any(name in env.oauth.exceptions for name in audiences) else ""


async def _subject(
    env: Env, call: Call, request: ExchangeRequest, issuance: IssuanceSnapshot, *, identity_assertion: bool = False
) -> VerifiedSubject:
    presented, token, actor = request.subject, request.token, None
    own = presented.type is TokenType.PRESIGNED or await is_own(env, presented)
    if request.assertion and own:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "The assertion must be one of an identity provider.")
    if request.actor is not None:
        account = role_of(token.role_arn).account if token.role_arn else ""
        actor = await verified_actor(env, call, request.actor, account, issuance, token.sender.binding)
    if own:
        return await own_subject(env, call, presented, actor, issuance.now, token.sender.binding)
    role = role_of(token.role_arn)
    return await provider_subject(env, call, presented, role, actor, issuance, identity_assertion=identity_assertion)


# --- Client credentials


def with_only_role(request: TokenRequest) -> TokenRequest:
    """The request with the default or only role of its client, if it names none. A workload that names none keeps its own."""
    client = request.sender.known_client
    roles, default = client.settings.roles, client.settings.default_role
    if request.role_arn or client.caller is not None:
        return request
    return replace(request, role_arn=default or (roles[0] if len(roles) == 1 and roles[0] != ANY else ""))


async def client_credentials(env: Env, call: Call, request: TokenRequest, proof: Proof) -> IssuedToken:
    """daypass:ExchangeToken, for a client that has authenticated. `proof`: `client_proof`.

    Raises DaypassError: see `issue_token`.
    """
    client = request.sender.known_client
    name = client.client.id
    if client.caller is not None:
        applicant = signing_applicant(env, Call(client.caller, call.facts, call.now))
        subject = VerifiedSubject(applicant, ASSUME_ROLE, client.caller.name, name, client.caller)
    else:
        subject = VerifiedSubject(
            proven_applicant(call, proof, snapshot(env)), WITH_WEB_IDENTITY, name, name, proof=proof
        )
    return await issue_token(env, call, request, subject)


def client_proof(env: Env, client: AuthenticatedClient) -> Proof:
    """The client as a federated principal. Trust policies name its ARN, and see `daypass:AuthMethod`."""
    return Proof(
        kind=PrincipalKind.WEB_IDENTITY,
        method=client.method,
        account=client.client.account,
        provider=client.client.arn,
        subject=client.client.id,
        issuer=env.oauth.issuer,
        audience=env.oauth.issuer,
        record={"name": client.client.name},
    )
