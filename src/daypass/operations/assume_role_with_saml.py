"""sts:AssumeRoleWithSAML: whom an identity provider's assertion vouches for borrows a role. It is the whole story, in order.

The call is unsigned: the assertion is the proof, and is used up by it. It must offer the role together with the provider
that the call names; then the role's trust policy decides. Whoever brings what nobody signed learns nothing of the account.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from daypass.domain.arn import assumed_role_arn, is_account_id, parse_arn
from daypass.domain.assertion import Assertion, one_use, proof_of, role_pairs, session_name, session_seconds
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.proof import Proof
from daypass.operations.assume_role import RequestedRole, requested_role, session_request
from daypass.operations.authorize import feed_moved
from daypass.operations.federate import actor_of_proof, assume_with_proof
from daypass.operations.issue import Issued, SessionRequest, start
from daypass.operations.outcome import ACTOR, OWNER
from daypass.ports import Call, Env, RoleView, SamlArrival, SamlVerifier

ACTION: Final = "sts:AssumeRoleWithSAML"
_PREFIX: Final = "saml-provider/"


async def assume_role_with_saml(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
    """AssumeRoleWithSAML (AWS STS API 2011-06-15). `params` and the answer are in the service model's member names."""
    role = requested_role(params["RoleArn"])
    wanted = requested_provider(params["PrincipalArn"])
    started = start(env)
    try:
        assertion, provider = await verified_assertion(env, wanted, params["SAMLAssertion"], started.now, SamlArrival())
        proof = proof_of(assertion, provider, one_use(assertion))
        request = session_asked(assertion, proof, params)
    except DaypassError as error:
        raise owned(error, role.account) from None
    check_offered(assertion, proof, role)
    issued, view = await assume_with_proof(env, call, proof, role, request, started, action=ACTION)
    return _answer(issued, view, proof)


# --- What was asked --------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RequestedProvider:
    arn: str
    account: str
    name: str


def requested_provider(text: str) -> RequestedProvider:
    """Account and name from a SAML provider's ARN. Raises DaypassError(VALIDATION)."""
    try:
        arn = parse_arn(text)
    except ValueError:
        arn = None
    name = arn.resource.removeprefix(_PREFIX) if arn else ""
    if arn is None or (arn.partition, arn.service, arn.region) != ("aws", "iam", "") or not is_account_id(arn.account):
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    if not arn.resource.startswith(_PREFIX) or not name or "/" in name:
        raise DaypassError(ErrorKind.VALIDATION, f"{text} is invalid")
    return RequestedProvider(text, arn.account, name)


def session_asked(assertion: Assertion, proof: Proof, params: Mapping[str, Any]) -> SessionRequest:
    """What the session is to be: as the call says, and for the rest as the assertion does. Raises DaypassError."""
    request = session_request(params, session_name(assertion))
    return replace(
        request,
        duration=request.duration or session_seconds(assertion),
        tags=proof.tags,
        transitive_keys=proof.transitive_keys,
        source_identity=proof.source_identity,
    )


# --- The proof -------------------------------------------------------------------------------------------------------


async def verified_assertion(
    env: Env, wanted: RequestedProvider, unverified_response: str, now: int, arrival: SamlArrival
) -> tuple[Assertion, SamlProvider]:
    """What this provider says in a response (base64), at `now` (ms).

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM.
    """
    verifier = saml_of(env)
    provider = await provider_of(env, wanted)
    try:
        return _found(await verifier.verify(unverified_response, provider, now, arrival), provider)
    except DaypassError:  # never a refusal by what a provider was a second ago
        again = await provider_of(env, wanted) if await feed_moved(env) else provider
        if again is None or again == provider:
            raise
        return _found(await verifier.verify(unverified_response, again, now, arrival), again)


async def provider_of(env: Env, wanted: RequestedProvider) -> SamlProvider | None:
    """The provider with exactly this ARN, as the directory knows it now."""
    provider = await env.directory.saml_provider(wanted.account, wanted.name)
    return provider if provider is not None and provider.arn == wanted.arn else None


def saml_of(env: Env) -> SamlVerifier:
    if env.saml is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "SAML assertions are not taken here.")
    return env.saml


def check_offered(assertion: Assertion, proof: Proof, role: RequestedRole) -> None:
    """Refuses a role that the assertion does not offer together with this provider, as it refuses any role (attack A33)."""
    pairs = role_pairs(assertion.values("Role"))
    if (role.arn, proof.provider) not in pairs:
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            f"Not authorized to perform {ACTION}",
            private={OWNER: role.account, "resource": role.arn, "reason": "pair", ACTOR: actor_of_proof(proof)},
        )


def owned(error: DaypassError, account: str) -> DaypassError:
    """The same refusal on the record of the account whose role was asked for."""
    return DaypassError(error.kind, error.public, private={"reason": error.public, **error.private, OWNER: account})


def _found(assertion: Assertion, provider: SamlProvider | None) -> tuple[Assertion, SamlProvider]:
    if provider is None:  # a verifier that verifies without a provider is none
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "Response signature invalid")
    return assertion, provider


# --- The answer ------------------------------------------------------------------------------------------------------


def _answer(issued: Issued, view: RoleView, proof: Proof) -> dict[str, Any]:
    claims, role = issued.claims, view.role
    answer: dict[str, Any] = {
        "Credentials": issued.credentials(),
        "AssumedRoleUser": {
            "AssumedRoleId": f"{role.id}:{claims.name}",
            "Arn": assumed_role_arn(role.account, role.name, claims.name),
        },
        "PackedPolicySize": issued.utilization,
        "Subject": proof.subject,
        "SubjectType": proof.keys["saml:sub_type"],
        "Issuer": proof.issuer,
        "Audience": proof.audience,
        "NameQualifier": proof.keys["saml:namequalifier"],
        **issued.sizes(),
    }
    if claims.source_identity:
        answer["SourceIdentity"] = claims.source_identity
    return answer
