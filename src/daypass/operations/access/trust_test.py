"""Tests whether a token would be admitted to a role, and explains why not, for every claim. Nothing is issued.

It is for managers of the role, not for the holder of the token: the result shows the policy. A token that cannot be
verified is still compared with the policy. The result says so, and the token never counts as admitted.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from daypass.domain.assumption import Assumption
from daypass.domain.claims import PrincipalKind, Proof
from daypass.domain.context import authentication_keys
from daypass.domain.directory import ReplayEntry
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.trust import CallerPolicies
from daypass.domain.web_identity import UnusableClaimsError, audience_keys, authentication, claim_keys
from daypass.operations.assume.applicant import proof_context, target_of
from daypass.operations.assume.proofs import WITH_WEB_IDENTITY, verified_proof
from daypass.operations.authorize import admission_of, explained
from daypass.operations.blocks import in_force, under
from daypass.operations.management import InAws, allow
from daypass.operations.outcome import served
from daypass.ports import Call, Env, RoleView

_NAME: Final = "trust-test"
_PROBLEMS: Final = frozenset(
    {
        ErrorKind.INVALID_IDENTITY_TOKEN,
        ErrorKind.EXPIRED_IDENTITY_TOKEN,
        ErrorKind.IDP_REJECTED_CLAIM,
        ErrorKind.IDP_COMMUNICATION,
    }
)


@dataclass(frozen=True, slots=True)
class TrustTest:
    """The result for a token.

    Attributes:
        role: its ARN.
        provider: the ARN that the provider of the token's issuer has, or would have, in the account.
        problem: why the token is not accepted, "" when it is.
        reason: the further reason that goes only to the record, "" for none.
        admitted: whether the trust policy admits these claims, verified or not.
        keys: the context keys that the claims give.
        explanation: the decision of the trust policy.
    """

    role: str
    provider: str
    problem: str
    reason: str
    admitted: bool
    keys: Mapping[str, Value] = field(default_factory=dict)
    explanation: Mapping[str, Any] = field(default_factory=dict)

    @property
    def let_in(self) -> bool:
        """Whether the token would get a session."""
        return self.admitted and not self.problem


async def try_token(env: Env, call: Call, role_name: str, unverified_token: str) -> TrustTest:
    """daypass:TestTrust on a role of the caller's account.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, INVALID_IDENTITY_TOKEN when the text is not a token.
    """
    account = call.caller.account
    view = await env.directory.role(account, role_name)
    known = view.role.name if view is not None else role_name  # names are found in any case (attack A196)
    in_aws = InAws(tags=view.role.tags if view is not None else ())
    decision = await allow(env, call, "TestTrust", "role", known, in_aws=in_aws, requested=role_name)
    if view is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The role with name {role_name} cannot be found.")
    result = await _result_of(env, call, view, unverified_token)
    detail = {"role": view.role.arn, "provider": result.provider, "let_in": result.let_in}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return result


async def _result_of(env: Env, call: Call, view: RoleView, unverified_token: str) -> TrustTest:
    account = view.role.account
    token = env.tokens.read(unverified_token)
    problem, reason = "", ""
    keys: Mapping[str, Value]
    try:
        proof = await verified_proof(env, account, unverified_token, env.clock.now())
        keys = proof.keys
        assumption = Assumption(
            _NAME, source_identity=proof.source_identity, tags=proof.tags, transitive_keys=proof.transitive_keys
        )
        if await _used(env, proof, account):
            problem = "The token has been used before, and may be used once only."
    except DaypassError as error:
        if error.kind not in _PROBLEMS:
            raise
        problem, reason = error.public, str(error.private.get("reason", ""))
        keys, assumption = _unverified_keys(token.unverified_url, token.unverified_claims), Assumption(_NAME)
    provider = f"arn:aws:iam::{account}:oidc-provider/{token.unverified_url}"
    who = PrincipalFacts(PrincipalKind.WEB_IDENTITY, "", (), provider)
    signed_in = authentication_keys(*authentication(token.unverified_claims), call.now)
    target, context = target_of(view.role.arn, account, view), proof_context(call, keys, "oidc", signed_in)
    context = {**context, **assumption.keys()}
    own = call.caller.account
    policies = under(CallerPolicies(identity=None), in_force(env, call.now, view.role))
    admission = await admission_of(env, own, who, policies, target, assumption.actions(WITH_WEB_IDENTITY), context)
    explanation = admission.explanation or await explained(env, own, admission.query, admission.layers)
    return TrustTest(view.role.arn, provider, problem, reason, admission.decision.allowed, keys, explanation)


async def _used(env: Env, proof: Proof, account: str) -> bool:
    one_time = proof.one_time
    if one_time is None:
        return False
    return (
        await env.directory.read(
            lambda tx: tx.get(ReplayEntry, purpose=one_time.purpose, id=one_time.id), account=account
        )
        is not None
    )


def _unverified_keys(url: str, unverified_claims: Mapping[str, Any]) -> dict[str, Value]:
    try:
        keys = claim_keys(url, unverified_claims)
    except UnusableClaimsError:
        return {}
    value, azp = unverified_claims.get("aud"), unverified_claims.get("azp")
    audiences = tuple(value) if isinstance(value, list) else (value,)
    if isinstance(azp, str) and audiences and all(isinstance(audience, str) for audience in audiences):
        keys.update(audience_keys(url, audiences, azp))  # the keys that they would have if verified
    return keys
