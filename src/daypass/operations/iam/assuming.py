"""Whether a principal may assume a role, for any request: as far as that follows from the policies of both."""

from __future__ import annotations

from daypass.domain.directory import Role
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Context, Decision, PrincipalFacts
from daypass.domain.policy.partial_evaluation import Known, PartialEvaluation, Variant, each, evaluate_partially
from daypass.domain.trust import ASSUME_ROLE, CallerPolicies, Target, admit
from daypass.operations.stored_policies import compiled


def assuming(
    role: Role, facts: PrincipalFacts, keys: Context, policies: CallerPolicies, known: Known, action: str = ASSUME_ROLE
) -> PartialEvaluation:
    trust = trust_of(role)
    bindings = dict(role.trust_bindings)

    def decide(variant: Variant) -> Decision:
        target = Target(role.arn, role.account, variant(trust), bindings, role.tags)
        varied_policies = CallerPolicies(
            each(policies.identity, variant),
            each(policies.boundary, variant),
            guardrails=tuple(tuple(map(variant, level)) for level in policies.guardrails),
        )
        return admit(facts, varied_policies, target, (action,), keys).decision

    layers = policies.layers(same_account=True, resource=trust, bindings=bindings)
    return evaluate_partially(known, layers.policies(), decide)


def trust_of(role: Role) -> NamedPolicy:
    return NamedPolicy("trust", compiled(role.trust_document, PolicyKind.TRUST))
