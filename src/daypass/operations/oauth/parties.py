"""The parties of an exchange: the subject of the requested session, and the actor that acts for it.

Every kind of token becomes an `Applicant` or an `Actor`; the verifiers are those of the AWS wire.
"""

from __future__ import annotations

import base64
import binascii
import re
from functools import partial
from typing import Final
from urllib.parse import urlsplit

from msgspec import Struct
from msgspec.structs import replace

from daypass import sigv4
from daypass.domain.arn import Source
from daypass.domain.assertion import replay_entry, session_name, session_seconds
from daypass.domain.claims import Caller, PrincipalKind, Proof
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import Party
from daypass.domain.oauth.resource_server import Binding
from daypass.domain.session import SessionClaims, transitive_tags
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.assume import proofs
from daypass.operations.assume.applicant import (
    Actor,
    Applicant,
    IssuanceSnapshot,
    acted_for,
    end_of_grant,
    proof_hops,
    proven_applicant,
    signing_applicant,
)
from daypass.operations.assume.request import RequestedRole, SessionRequest, requested_role
from daypass.operations.authenticate import authenticate, authenticated_again, caller_of_session
from daypass.operations.authorize import Own
from daypass.operations.management import allow_own
from daypass.operations.oauth.access_token import (
    OwnToken,
    invalid_session,
    invalid_token,
    is_for,
    open_access_token,
    stable_id,
)
from daypass.operations.oauth.request import Presented, TokenType
from daypass.ports import Call, Env, SamlArrival

_NOT_IN_NAMES = re.compile(r"[^A-Za-z0-9_+=,.@-]+")
_MAX_NAME: Final = 64
_MAY_BE_OURS: Final = frozenset({TokenType.JWT, TokenType.ACCESS_TOKEN})


class VerifiedSubject(Struct, frozen=True):
    """A verified subject."""

    applicant: Applicant  # the applicant, with its actor
    action: str  # what the trust policy must allow
    name: str  # the session name, if the request gives none
    client_id: str  # the client that is known without an actor
    caller: Caller | None = None  # a principal of this installation; `session` is its session
    proof: Proof | None = None  # of a provider; only it determines the tags and source identity of the session
    seconds: int = 0  # the longest session that the proof allows; 0: no limit

    @property
    def session(self) -> SessionClaims | None:
        return self.caller.session if self.caller is not None else None


async def is_own(env: Env, presented: Presented) -> bool:
    """Whether a token claims to be issued by this server. Raises DaypassError(INVALID_IDENTITY_TOKEN) when it is not a JWT."""
    if presented.type not in _MAY_BE_OURS:
        return False
    try:
        return env.tokens.read(presented.unverified).unverified_issuer == env.oauth.issuer
    except DaypassError as error:
        detail = error.public.rpartition("): ")[2]  # behind AWS's words, which are about ID tokens
        raise DaypassError(error.kind, f"The token is not a valid JWT: {detail}", private=error.private) from None


# --- The actor -------------------------------------------------------------------------------------------------------


async def verified_actor(
    env: Env, call: Call, presented: Presented, account: str, issuance: IssuanceSnapshot, sender: Binding | None = None
) -> Actor:
    """The actor. `account`: the account whose providers may verify it. `sender`: the key that the sender proved to have.

    Raises DaypassError.
    """
    if presented.type is TokenType.PRESIGNED:
        caller = await presigned_caller(env, presented.unverified)
        await _check_exchange(env, call, caller)
        return _own_actor(env, caller)
    if await is_own(env, presented):
        token, caller = await _own_caller(env, presented, issuance.now)
        if env.oauth.issuer not in token.audiences:  # its holder need not be its subject
            raise invalid_token("the actor token is for another audience", session_id=token.session.session_id)
        if token.session.may_act is not None:
            raise invalid_token("the actor token names who may act for it", session_id=token.session.session_id)
        _check_holder(token, sender)
        await _check_exchange(env, call, caller)
        return _own_actor(env, caller)
    proof = await _provider_proof(env, account, presented.unverified, issuance.now)
    if proof.may_act is not None or proof.one_time is not None:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "This token cannot be an actor token.")
    party = Party(proof.issuer, proof.subject)
    arn = f"{proof.provider}:{proof.subject}"
    hops = proof_hops(proof, issuance)
    return Actor(party, arn, proof.principal_id, hops, (), proof.source_identity, again=proof.again)


async def _check_exchange(env: Env, call: Call, caller: Caller) -> None:
    """Authorizes daypass:ExchangeToken for the subject or actor. It needs no permission, because a new session is bound by
    the policies of this one. The session of an application that may only know who the person is has a policy that denies it.
    """
    its_own = Call(caller, call.facts, call.now)
    name = caller.session.session_id if caller.session is not None else caller.access_key_id
    await allow_own(env, its_own, "ExchangeToken", "session", name, Own.RESTRICTED)


def _check_holder(token: OwnToken, sender: Binding | None) -> None:
    """A bound token is refused without its key (attack A75)."""
    if token.binding is not None and token.binding != sender:
        raise invalid_token("the token is bound to another key", session_id=token.session.session_id)


def named(env: Env, may_act: Party, party: Party) -> bool:
    """Whether `may_act` names the party. The unique id of a role of this installation names each of its sessions."""
    of_role = may_act.issuer == env.oauth.issuer and party.subject.startswith(f"{may_act.subject}:")
    return may_act.issuer == party.issuer and (may_act.subject == party.subject or of_role)


def _own_actor(env: Env, caller: Caller) -> Actor:
    party = Party(env.oauth.issuer, stable_id(caller.hops[-1]))
    identity = caller.session.source_identity if caller.session is not None else ""
    return Actor(
        party,
        caller.principal_arn,
        caller.principal_id,
        caller.hops,
        transitive_tags(caller.session),
        identity,
        caller,
        end_of_grant(caller),
        (partial(authenticated_again, caller=caller),),
    )


# --- The subject -----------------------------------------------------------------------------------------------------


async def own_subject(
    env: Env, call: Call, presented: Presented, actor: Actor | None, now: int, sender: Binding | None = None
) -> VerifiedSubject:
    """A principal of this installation: the session of an access token, or the signer of a presigned request.

    An access token is accepted if its audience is this server, or the ARN of the actor's role or user. A service that
    received the token cannot exchange it. A token that is bound to a key is accepted from the holder of the key (`sender`),
    or from its audience, which need not have the key. Raises DaypassError.
    """
    if presented.type is TokenType.PRESIGNED:
        caller = await presigned_caller(env, presented.unverified)
        await _check_exchange(env, call, caller)
    else:
        token, caller = await _own_caller(env, presented, now)
        await _check_exchange(env, call, caller)
        by_actor = actor is not None and actor.caller is not None and await is_for(env, token, actor.caller)
        if env.oauth.issuer not in token.audiences and not by_actor:
            raise invalid_token("the token is for another audience", session_id=token.session.session_id)
        if not by_actor:
            _check_holder(token, sender)
        if token.session.may_act is not None and (actor is None or not named(env, token.session.may_act, actor.party)):
            raise invalid_token("the actor is not the party in may_act", session_id=token.session.session_id)
    if actor is not None and actor.hops[-1].session_id and actor.hops[-1] in caller.hops:
        raise DaypassError(ErrorKind.VALIDATION, "Subject and actor are the same session.")
    if caller.kind is PrincipalKind.ROOT:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Roles may not be assumed by root accounts.")
    subject = subject_of_caller(env, call, caller)
    return subject if actor is None else replace(subject, applicant=acted_for(subject.applicant, actor))


def subject_of_caller(env: Env, call: Call, caller: Caller) -> VerifiedSubject:
    """A principal of this installation as the subject. `call`: the request, which another sender may have made."""
    applicant = signing_applicant(env, Call(caller, call.facts, call.now))
    return VerifiedSubject(applicant, ASSUME_ROLE, caller.name, caller.principal_arn, caller)


async def provider_subject(
    env: Env,
    call: Call,
    presented: Presented,
    role: RequestedRole,
    actor: Actor | None,
    issuance: IssuanceSnapshot,
    *,
    identity_assertion: bool = False,
) -> VerifiedSubject:
    """The subject of a token from a provider of the role's account. Raises DaypassError."""
    if presented.type is TokenType.SAML2:
        return await _saml_subject(env, call, presented, role, actor, issuance)
    proof = await _provider_proof(
        env, role.account, presented.unverified, issuance.now, identity_assertion=identity_assertion
    )
    applicant = proven_applicant(call, proof, issuance, actor)
    client = f"{proof.provider}:{proof.audience}"
    return VerifiedSubject(applicant, proofs.WITH_WEB_IDENTITY, _usable_name(proof.subject), client, proof=proof)


async def _saml_subject(
    env: Env, call: Call, presented: Presented, role: RequestedRole, actor: Actor | None, issuance: IssuanceSnapshot
) -> VerifiedSubject:
    response = _standard_base64(presented.unverified)
    try:
        wanted = await _saml_provider(env, response, role, call.facts.source)
        assertion, provider = await proofs.verified_assertion(
            env, wanted, response, issuance.now, SamlArrival(source=call.facts.source)
        )
        proof = proofs.saml_proof(assertion, provider, replay_entry(assertion))
        seconds = session_seconds(assertion) or 0
        name = session_name(assertion)
    except DaypassError as error:
        raise proofs.owned(error, role.account) from None
    proofs.check_offered(assertion, proof, role)
    applicant = proven_applicant(call, proof, issuance, actor)
    return VerifiedSubject(applicant, proofs.WITH_SAML, name, proof.provider, proof=proof, seconds=seconds)


async def _saml_provider(env: Env, response: str, role: RequestedRole, source: Source) -> proofs.RequestedProvider:
    """The provider of the role's account in the response's roles. It only says where to look for keys."""
    prefix = f"arn:aws:iam::{role.account}:saml-provider/"
    for arn in await env.saml.unverified_providers(response, source):
        if arn.startswith(prefix):
            return proofs.requested_provider(arn)
    raise DaypassError(
        ErrorKind.INVALID_IDENTITY_TOKEN, "Response signature invalid", private={"reason": "no provider"}
    )


async def _provider_proof(
    env: Env, account: str, unverified: str, now: int, *, identity_assertion: bool = False
) -> Proof:
    try:
        return await proofs.verified_proof(env, account, unverified, now, identity_assertion=identity_assertion)
    except DaypassError as error:
        raise proofs.owned(error, account) from None


async def _own_caller(env: Env, presented: Presented, now: int) -> tuple[OwnToken, Caller]:
    token = await open_access_token(env, presented.unverified, now)
    try:
        return token, await caller_of_session(env, token.session, now)
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        raise invalid_session(error) from None


def _standard_base64(unverified: str) -> str:
    """Converts base64url, as RFC 8693, 3 encodes assertions, to the alphabet of the SAML binding. Raises DaypassError."""
    try:
        padded = unverified.rstrip("=") + "=" * (-len(unverified.rstrip("=")) % 4)
        return base64.b64encode(base64.b64decode(padded, altchars=b"-_", validate=True)).decode("ascii")
    except (ValueError, binascii.Error):
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "The assertion is not base64url.") from None


def _usable_name(subject: str) -> str:
    """A session name (STS API, roleSessionNameType) derived from a subject."""
    name = _NOT_IN_NAMES.sub("-", subject)[:_MAX_NAME]
    return name if len(name) >= 2 else f"{name}-"


def session_for(
    subject: VerifiedSubject, requested: SessionRequest, scope_policy: str, max_seconds: int
) -> SessionRequest:
    """The requested session, with what the proof says of the subject. Raises DaypassError(INVALID_AUTHORIZATION_DETAILS).

    The request cannot add what the provider did not sign: policies trust these tags because the provider signed them.
    `scope_policy`, `max_seconds`: of the resource servers, see `SessionRequest`.
    """
    proof = subject.proof
    if proof is not None and (requested.tags or requested.transitive_keys or requested.source_identity):
        raise DaypassError(
            ErrorKind.INVALID_AUTHORIZATION_DETAILS,
            "Tags and source identity of this session come from the subject token alone.",
        )
    if proof is not None and proof.kind is PrincipalKind.SAML and requested.name not in ("", subject.name):
        # approvals compare persons by it (attack A363)
        raise DaypassError(
            ErrorKind.INVALID_AUTHORIZATION_DETAILS, "The session name of this session comes from the assertion alone."
        )
    attributes = requested if proof is None else proof
    return SessionRequest(
        requested.name or subject.name,
        requested.duration or subject.seconds or None,
        requested.policy,
        requested.policy_arns,
        attributes.tags,
        attributes.transitive_keys,
        attributes.source_identity,
        scope_policy,
        max_seconds,
    )


def role_of(arn: str) -> RequestedRole:
    """The requested role. Raises DaypassError(VALIDATION)."""
    if not arn:
        raise DaypassError(ErrorKind.MISSING_PARAMETER, "This subject has no session here: name the role to assume.")
    return requested_role(arn)


# --- Presigned


AUDIENCE: Final = "X-Daypass-Audience"
"""The query parameter that names the issuer. It is signed, like the whole query."""

_MAX: Final = 8192
_REQUIRED: Final = {b"Action": b"GetCallerIdentity", b"Version": b"2011-06-15"}


async def presigned_caller(env: Env, unverified_url: str) -> Caller:
    """The principal that presigned the request. Raises DaypassError: INVALID_IDENTITY_TOKEN, UNAVAILABLE."""
    signature = _signature(env.oauth.issuer, unverified_url)
    try:
        return await authenticate(env, signature, ("sts",))
    except DaypassError as error:
        if error.kind is ErrorKind.UNAVAILABLE:
            raise
        raise invalid_session(error) from None


def _signature(issuer: str, unverified_url: str) -> sigv4.UnverifiedSignature:
    if len(unverified_url) > _MAX or not unverified_url.isascii() or not unverified_url.isprintable():
        raise _unusable("it is not the URL of a presigned request")
    try:
        url, ours = urlsplit(unverified_url), urlsplit(issuer)
    except ValueError:
        raise _unusable("it is not the URL of a presigned request") from None
    if (url.scheme, url.netloc) != (ours.scheme, ours.netloc) or url.path not in ("", "/") or url.fragment:
        raise _unusable(f"its address must begin with {issuer}/")
    query = url.query.encode("ascii")
    pairs = [pair for pair in sigv4.query_pairs(query) if pair[0][:6] != b"X-Amz-"]  # as the signature reads them
    if sorted(pairs) != sorted([*_REQUIRED.items(), (AUDIENCE.encode("ascii"), issuer.encode())]):
        raise _unusable(
            f"its query must be Action=GetCallerIdentity, Version=2011-06-15 and {AUDIENCE}={issuer}, with the signature"
        )
    try:
        host = [(b"host", ours.netloc.encode("ascii"))]
        signature = sigv4.parse_request("GET", b"/", query, host, b"")
    except sigv4.SigV4Error as error:
        raise invalid_token(error.message) from None
    if not signature.presigned:
        raise _unusable("it is not presigned")
    return signature


def _unusable(reason: str) -> DaypassError:
    """The refusal of a URL that is not such a request. It says why, because the URL alone shows it, whoever signed it."""
    public = f"The presigned request cannot be used: {reason}."
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, public, private={"reason": reason})
