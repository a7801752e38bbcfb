"""sts:AssumeRoleWithSAML: the subject of an identity provider's assertion assumes a role.

The call is unsigned: the assertion is the proof, and can be used once. It must offer the role together with the
provider in the request; then the role's trust policy decides. A sender without a valid signature learns nothing of the
account.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, TypeVar

from msgspec.structs import replace

from daypass.domain.arn import is_account_id, read_arn
from daypass.domain.assertion import Assertion, proof_of, replay_entry, role_pairs, session_name, session_seconds
from daypass.domain.claims import Proof
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.assume.applicant import actor_of_proof, proven_applicant, snapshot
from daypass.operations.assume.assume import assume
from daypass.operations.assume.assume_role_with_web_identity import Federated, owned, with_attributes
from daypass.operations.assume.forms import Form
from daypass.operations.assume.request import AssumeRequest, RequestedRole, SessionRequest, requested_role
from daypass.operations.outcome import ACTOR, OWNER
from daypass.operations.principals import refresh_if_changed
from daypass.ports import Call, Env, SamlArrival

C = TypeVar("C")

ACTION: Final = "sts:AssumeRoleWithSAML"
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
        proof = proof_of(assertion, provider, replay_entry(assertion))
        request = AssumeRequest(role_arn, requested_session(assertion, proof, session), action=ACTION)
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
    if provider is None or await provider_of(env, wanted) != provider:  # changed or deleted while it was verified
        raise DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, "Response signature invalid")
    return assertion, provider


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
            f"Not authorized to perform {ACTION}",
            private={OWNER: role.account, "resource": role.arn, "reason": "pair", ACTOR: actor_of_proof(proof)},
        )
