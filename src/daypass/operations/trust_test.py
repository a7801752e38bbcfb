"""Would this token be let into this role, and if not, why: every claim held against the trust policy. Nothing is issued.

For those who manage the role, not for the bearer of the token: the answer shows the policy. A token that cannot be
verified is still held against the policy, and the answer says that it was not; it never counts as let in.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from daypass.domain.claims import PrincipalKind
from daypass.domain.context import arrival_context, assumption_context, merged
from daypass.domain.directory import Redeemed
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.explain import explain
from daypass.domain.policy.model import PrincipalFacts, Value
from daypass.domain.proof import Proof
from daypass.domain.trust import CallerPolicies, Target, actions_for, admit
from daypass.domain.web_identity import UnusableClaimsError, audience_keys, claim_keys
from daypass.operations.assume_role_with_web_identity import ACTION, verified_proof
from daypass.operations.management import allow
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
    """What would come of a token.

    Attributes:
        role: its ARN.
        provider: the ARN that the token's issuer has, or would have, in the account.
        problem: why the token is not taken at all, "" when it is.
        reason: what only the record says of that, "" when there is nothing more.
        admitted: whether the trust policy lets such claims in, verified or not.
        keys: the context keys that the claims make.
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

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, INVALID_IDENTITY_TOKEN when the text is no token at all.
    """
    account = call.caller.account
    decision = await allow(env, call, "TestTrust", "role", role_name)
    view = await env.directory.role(account, role_name)
    if view is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The role with name {role_name} cannot be found.")
    result = await _tried(env, call, view, unverified_token)
    detail = {"role": view.role.arn, "provider": result.provider, "let_in": result.let_in}
    await env.journal.commit(served(call, decision=decision, detail=detail))
    return result


async def _tried(env: Env, call: Call, view: RoleView, unverified_token: str) -> TrustTest:
    account = view.role.account
    if env.tokens is None:
        raise DaypassError(ErrorKind.UNSUPPORTED_OPERATION, "Tokens of identity providers are not taken here.")
    token = env.tokens.read(unverified_token)
    problem, reason = "", ""
    keys: Mapping[str, Value]
    try:
        proof = await verified_proof(env, account, {"WebIdentityToken": unverified_token}, env.clock.now())
        keys, wishes = proof.keys, (proof.tags, proof.transitive_keys, proof.source_identity)
        if await _used(env, proof):
            problem = "The token has been used before, and may be used once only."
    except DaypassError as error:
        if error.kind not in _PROBLEMS:
            raise
        problem, reason = error.public, str(error.private.get("reason", ""))
        keys, wishes = _claimed(token.unverified_url, token.unverified_claims), ((), (), "")
    provider = f"arn:aws:iam::{account}:oidc-provider/{token.unverified_url}"
    tags, transitive, source_identity = wishes
    context = merged(
        arrival_context(call.facts, call.now),
        keys,
        {"daypass:authmethod": "oidc"},
        assumption_context(session_name=_NAME, source_identity=source_identity, tags=tags, transitive_keys=transitive),
    )
    who = PrincipalFacts(PrincipalKind.WEB_IDENTITY, "", (), provider)
    target = Target(view.role.arn, account, view.trust, view.bindings, view.role.tags)
    admission = admit(who, CallerPolicies(identity=None), target, actions_for(tags, source_identity, ACTION), context)
    explanation = explain(admission.query, admission.layers).to_json()
    return TrustTest(view.role.arn, provider, problem, reason, admission.decision.allowed, keys, explanation)


async def _used(env: Env, proof: Proof) -> bool:
    one_time = proof.one_time
    if one_time is None:
        return False
    return (
        await env.directory.read(lambda held: held.get(Redeemed, purpose=one_time.purpose, id=one_time.id)) is not None
    )


def _claimed(url: str, unverified_claims: Mapping[str, Any]) -> dict[str, Value]:
    try:
        keys = claim_keys(url, unverified_claims)
    except UnusableClaimsError:
        return {}
    audience, azp = unverified_claims.get("aud"), unverified_claims.get("azp")
    if isinstance(audience, str) and isinstance(azp, str):  # as they would be if they were verified
        keys.update(audience_keys(url, (audience,), azp))
    return keys
