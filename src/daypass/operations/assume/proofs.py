"""sts:AssumeRole, AssumeRoleWithWebIdentity and AssumeRoleWithSAML: who applies, by which proof."""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import Final, Generic, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import is_account_id, read_arn
from daypass.domain.assertion import Assertion, proof_of, replay_entry, role_pairs, session_name, session_seconds
from daypass.domain.claims import OneTime, PrincipalKind, Proof
from daypass.domain.directory import OidcProvider, SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.trust import ASSUME_ROLE
from daypass.domain.web_identity import no_provider
from daypass.operations.assume.applicant import actor_of_proof, proven_applicant, signing_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.forms import Form
from daypass.operations.assume.issue import Issued
from daypass.operations.assume.mfa_code import NO_CODE, MfaCode, check_mfa
from daypass.operations.assume.request import AssumeRequest, RequestedRole, SessionRequest, check, requested_role
from daypass.operations.authorize import check_credentials
from daypass.operations.outcome import ACTOR, OWNER
from daypass.operations.principals import find_current, refresh_if_changed
from daypass.operations.providers import may_be_trusted
from daypass.ports import Call, Env, SamlArrival

C = TypeVar("C")

_ROOT: Final = PrincipalKind.ROOT  # bound once: before Python 3.12 every look-up of a member runs Python code


async def assume_role(env: Env, call: Call, request: AssumeRequest, form: Form[C], mfa: MfaCode = NO_CODE) -> Issued[C]:
    """AssumeRole (AWS STS API). An invalid request is refused before its MFA code is consumed."""
    check_credentials(call.caller, ASSUME_ROLE)
    if call.caller.kind is _ROOT:
        raise DaypassError(ErrorKind.ACCESS_DENIED, "Roles may not be assumed by root accounts.")
    mfa_at = 0
    if mfa is not NO_CODE:
        await check(env, call.caller.account, request)
        mfa_at = await check_mfa(env, call, mfa)
    return await assume(env, signing_applicant(env, call, mfa_at), request, form)


# --- sts:AssumeRoleWithWebIdentity: the holder of an issuer's token assumes a role


WITH_WEB_IDENTITY: Final = "sts:AssumeRoleWithWebIdentity"


class Federated(Struct, Generic[C], frozen=True):
    """A session, and the proof for which it was issued."""

    issued: Issued[C]
    proof: Proof


async def assume_role_with_web_identity(
    env: Env,
    call: Call,
    role_arn: str,
    unverified_token: str,
    session: SessionRequest,
    form: Form[C],
    provider_id: str = "",
) -> Federated[C]:
    """AssumeRoleWithWebIdentity (AWS STS API). The token determines the session's tags and source identity."""
    role = requested_role(role_arn)
    start = snapshot(env)
    try:
        proof = await verified_proof(env, role.account, unverified_token, start.now, provider_id)
    except DaypassError as error:
        raise owned(error, role.account) from None
    request = AssumeRequest(role_arn, with_attributes(session, proof), action=WITH_WEB_IDENTITY)
    return Federated(await assume(env, proven_applicant(call, proof, start), request, form), proof)


async def verified_proof(
    env: Env, account: str, unverified_token: str, now: int, provider_id: str = "", *, identity_assertion: bool = False
) -> Proof:
    """The content of a token of a provider of `account` (12 digits), at `now` (ms).

    `identity_assertion`: see `federation.oidc.OidcVerifier.verify`.

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM, IDP_COMMUNICATION.
    """
    if provider_id:  # access tokens of AWS's two built-in issuers, which do not exist here
        raise no_provider(provider_id, account, "the request names an OAuth 2.0 provider, and there are none")
    token = env.tokens.read(unverified_token)
    if token.unverified_issuer == env.oauth.issuer:  # a new chain would evade revocations (A131)
        message = "Access tokens of this server are exchanged at its token endpoint, and nowhere else."
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, message)
    provider = await _provider(env, account, token.unverified_url)
    if provider is None:
        raise no_provider(token.unverified_issuer, account, "the account has no provider with this URL")
    if not await may_be_trusted(env, account, provider.url):
        raise no_provider(token.unverified_issuer, account, "the issuer is not on the account's allow-list")
    try:
        proof = await env.tokens.verify(provider, token, now, identity_assertion=identity_assertion)
    except DaypassError:  # never refuse by an earlier version of the provider
        moved = await refresh_if_changed(env)
        again = await env.directory.entity(OidcProvider, account, token.unverified_url) if moved else provider
        if again is None or again == provider:
            raise
        provider, proof = again, await env.tokens.verify(again, token, now, identity_assertion=identity_assertion)
    check = partial(_check_oidc_provider, known=provider)
    await check(env)  # keys may be fetched for long
    return replace(proof, again=(check,))


async def _check_oidc_provider(env: Env, *, known: OidcProvider) -> None:
    if await env.directory.entity(OidcProvider, known.account, known.url) != known:
        reason = "the provider was changed or deleted meanwhile"
        raise no_provider(f"https://{known.url}", known.account, reason)


def with_attributes(session: SessionRequest, proof: Proof) -> SessionRequest:
    """The request with the tags and source identity of the proof."""
    return replace(
        session, tags=proof.tags, transitive_keys=proof.transitive_keys, source_identity=proof.source_identity
    )


def owned(error: DaypassError, account: str) -> DaypassError:
    """The same refusal, on the record of the account that owns the requested role."""
    return DaypassError(error.kind, error.public, private={"reason": error.public, **error.private, OWNER: account})


async def _provider(env: Env, account: str, unverified_url: str) -> OidcProvider | None:
    return await find_current(env, lambda: env.directory.entity(OidcProvider, account, unverified_url))


# --- sts:AssumeRoleWithSAML: the subject of an identity provider's assertion assumes a role


WITH_SAML: Final = "sts:AssumeRoleWithSAML"
_PREFIX: Final = "saml-provider/"


async def assume_role_with_saml(
    env: Env,
    call: Call,
    role_arn: str,
    provider_arn: str,
    unverified_response: str,
    session: SessionRequest,
    form: Form[C],
) -> Federated[C]:
    """AssumeRoleWithSAML (AWS STS API). `unverified_response`: base64. The assertion supplies what `session` leaves open."""
    role = requested_role(role_arn)
    wanted = requested_provider(provider_arn)
    start = snapshot(env)
    try:
        assertion, provider = await verified_assertion(
            env, wanted, unverified_response, start.now, SamlArrival(source=call.facts.source)
        )
        proof = saml_proof(assertion, provider, replay_entry(assertion))
        request = AssumeRequest(role_arn, requested_session(assertion, proof, session), action=WITH_SAML)
    except DaypassError as error:
        raise owned(error, role.account) from None
    check_offered(assertion, proof, role)
    return Federated(await assume(env, proven_applicant(call, proof, start), request, form), proof)


# --- The request -----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestedProvider:
    arn: str
    account: str
    name: str


def requested_provider(text: str) -> RequestedProvider:
    """Account and name from a SAML provider's ARN. Raises DaypassError(VALIDATION)."""
    arn = read_arn(text)
    name = arn.resource.removeprefix(_PREFIX) if arn else ""
    if arn is None or (arn.partition, arn.service, arn.region) != ("aws", "iam", "") or not is_account_id(arn.account):
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    if not arn.resource.startswith(_PREFIX) or not name or "/" in name:
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    return RequestedProvider(text, arn.account, name)


def requested_session(assertion: Assertion, proof: Proof, session: SessionRequest | None = None) -> SessionRequest:
    """The requested session: name and attributes from the assertion, other values from the request when it has them.

    Raises DaypassError.
    """
    requested = session or SessionRequest("")
    duration = requested.duration or session_seconds(assertion)
    return with_attributes(replace(requested, name=session_name(assertion), duration=duration), proof)


# --- The proof -------------------------------------------------------------------------------------------------------


async def verified_assertion(
    env: Env, wanted: RequestedProvider, unverified_response: str, now: int, arrival: SamlArrival
) -> tuple[Assertion, SamlProvider]:
    """The content of a response (base64) of this provider, at `now` (ms).

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM.
    """
    verifier = env.saml
    provider = await provider_of(env, wanted)
    try:
        assertion = await verifier.verify(unverified_response, provider, now, arrival)
    except DaypassError:  # never refuse by an earlier version of the provider
        again = await provider_of(env, wanted) if await refresh_if_changed(env) else provider
        if again is None or again == provider:
            raise
        provider, assertion = again, await verifier.verify(unverified_response, again, now, arrival)
    if provider is None:
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "Response signature invalid")
    await _check_saml_provider(env, known=provider)  # it takes long to verify
    return assertion, provider


async def _check_saml_provider(env: Env, *, known: SamlProvider) -> None:
    if await env.directory.entity(SamlProvider, known.account, known.name) != known:
        private = {OWNER: known.account, "reason": "the provider was changed or deleted meanwhile"}
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "Response signature invalid", private=private)


def saml_proof(assertion: Assertion, provider: SamlProvider, used: OneTime) -> Proof:
    """The proof that an assertion of this provider gives."""
    return replace(proof_of(assertion, provider, used), again=(partial(_check_saml_provider, known=provider),))


async def provider_of(env: Env, wanted: RequestedProvider) -> SamlProvider | None:
    """The provider with exactly this ARN, as currently in the directory."""
    provider = await env.directory.entity(SamlProvider, wanted.account, wanted.name)
    return provider if provider is not None and provider.arn == wanted.arn else None


def check_offered(assertion: Assertion, proof: Proof, role: RequestedRole) -> None:
    """Refuses a role that the assertion does not offer with this provider, with the usual refusal (attack A33)."""
    pairs = role_pairs(assertion.values("Role"))
    if (role.arn, proof.provider) not in pairs:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"Not authorized to perform {WITH_SAML}",
            private={OWNER: role.account, "resource": role.arn, "reason": "pair", ACTOR: actor_of_proof(proof)},
        )
