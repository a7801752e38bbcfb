"""A question about access: may this principal do this? It is decided, explained, or decided as far as it is known.

Simulations, "who can", "what can", AuthZEN, suggestions and the permissions of approvers all ask here. The principal of a
question does not act. Only facts that follow from its entity, or from its session, become context keys. The time, network
and form of a request are never invented.
"""

from __future__ import annotations

from types import MappingProxyType

from msgspec import Struct
from msgspec.structs import replace

from daypass.domain.arn import account_of, assumed_role_arn
from daypass.domain.claims import PrincipalKind
from daypass.domain.context import resource_context, tag_keys
from daypass.domain.directory import Role, User
from daypass.domain.policy.evaluate import allows, evaluate
from daypass.domain.policy.explain import Explanation, explain
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Context, Decision, PrincipalFacts, Value
from daypass.domain.policy.partial_evaluation import (
    Known,
    PartialEvaluation,
    PartialOutcome,
    Variant,
    evaluate_partially,
    extremes,
    varied,
)
from daypass.domain.trust import AssumedRole, CallerPolicies, admit

_ALWAYS = {"aws:principalisawsservice": "false", "aws:viaawsservice": "false"}
_KNOWN = frozenset(
    {*_ALWAYS, "aws:principalarn", "aws:principalaccount", "aws:principaltype", "aws:username", "aws:resourceaccount"}
)
_RESOURCE_TAGS = ("aws:resourcetag/", "iam:resourcetag/")


class Principal(Struct, frozen=True):
    """A principal as policies see it, with its policies. `known`: the keys whose value or absence is certain."""

    facts: PrincipalFacts
    keys: Context
    policies: CallerPolicies
    known: Known = Known(frozenset())

    @property
    def account(self) -> str:
        return self.facts.account

    @property
    def arn(self) -> str:
        return self.facts.arns[0][0]

    def asks(
        self,
        action: str,
        resource: str,
        target: AssumedRole | None = None,
        *,
        owner: str = "",
        resource_policy: NamedPolicy | None = None,
        own_side: bool = False,
        context: Context = MappingProxyType({}),
    ) -> Question:
        """`target`: the role, if the question is whether to assume it. `owner`: of a resource whose ARN has no account.
        `own_side`: what the principal's account allows, if the resource belongs to another. `context`: further keys.
        """
        owner = account_of(resource) or owner or self.account
        query = AccessQuery(self.facts, action, resource, {**context, **resource_context(owner), **self.keys})
        same_account = own_side or owner == self.account
        return Question(query, self.policies, target, (action,), resource_policy, same_account, self.known)


class Question(Struct, frozen=True):
    """A request that is not made, with the policies that decide it.

    `target`: the role to assume, whose trust policy is the policy of the resource; this takes all of `actions`.
    `resource_policy`: of any other resource, if it has one. `known`: the keys whose value or absence is certain.
    """

    query: AccessQuery
    policies: CallerPolicies
    target: AssumedRole | None
    actions: tuple[str, ...]
    resource_policy: NamedPolicy | None
    same_account: bool
    known: Known

    def layers(self) -> Layers:
        target = self.target
        if target is None:
            return self.policies.layers(same_account=self.same_account, resource=self.resource_policy)
        return self.policies.layers(same_account=True, resource=target.trust, bindings=target.bindings)


class Asker:
    """A principal that asks again and again about resources of its own account. Answers are those of `decide_partially`."""

    def __init__(self, principal: Principal) -> None:
        self._facts, self._account = principal.facts, principal.account
        self._keys: Context = {**resource_context(principal.account), **principal.keys}
        self._worst, self._best = extremes(principal.policies.layers(same_account=True), principal.known)

    def outcome(self, action: str, resource: str) -> PartialOutcome:
        """ALLOWED_IF for a resource of another account: its policy is not known. Raises OperationOverBudget."""
        if account_of(resource) not in ("", self._account):
            return PartialOutcome.ALLOWED_IF
        query = AccessQuery(self._facts, action, resource, self._keys)
        if allows(query, self._worst):
            return PartialOutcome.ALLOWED
        return PartialOutcome.ALLOWED_IF if allows(query, self._best) else PartialOutcome.DENIED


class Decided(Struct, frozen=True):
    """A decision, with the query and the layers of the account that made it."""

    decision: Decision
    query: AccessQuery
    layers: Layers

    def explained(self) -> Explanation:
        return explain(self.query, self.layers)

    @property
    def verdict(self) -> str:
        """allowed, explicit_deny or implicit_deny."""
        if self.decision.allowed:
            return "allowed"
        return "explicit_deny" if self.decision.explicit else "implicit_deny"


def decide(question: Question) -> Decided:
    """The decision of the one evaluator. Raises OperationOverBudget."""
    query, target = question.query, question.target
    if target is None:
        layers = question.layers()
        return Decided(evaluate(query, layers), query, layers)
    admission = admit(query.principal, question.policies, target, question.actions, query.context)
    return Decided(admission.decision, admission.query, admission.layers)


def decide_partially(question: Question, narrowed: Variant | None = None) -> PartialEvaluation:
    """The decision as far as it follows from the keys that are known, and the conditions on which it depends otherwise.

    `narrowed`: a change of every policy. The tags of a role to assume are known. Raises OperationOverBudget.
    """
    query, layers, known = question.query, question.layers(), question.known
    if question.target is not None:
        known = Known(known.keys, (*known.prefixes, *_RESOURCE_TAGS))

    def decided(variant: Variant) -> Decision:
        changed = varied(layers, variant if narrowed is None else lambda policy: narrowed(variant(policy)))
        if question.target is None:
            return evaluate(query, changed)
        policies = CallerPolicies(
            changed.identity, changed.boundary, changed.session, changed.guardrails, changed.scope_downs
        )
        target = replace(question.target, trust=changed.resource)
        return admit(query.principal, policies, target, question.actions, query.context).decision

    return evaluate_partially(known, layers.policies(), decided)


# --- Hypothetical principals -----------------------------------------------------------------------------------------


def hypothetical(entity: User | Role, policies: CallerPolicies, session: str = "") -> Principal:
    """A user or role that has not authenticated; for a role without the name of a `session`, any of its sessions.

    Its keys are those of `context.request_context` that are the same in every request. A role's sessions may have tags of
    their own; a user has no session tags.
    """
    keys: dict[str, Value] = {
        **_ALWAYS,
        "aws:principalarn": entity.arn,
        "aws:principalaccount": entity.account,
        **tag_keys("aws:principaltag/", entity.tags),
    }
    if isinstance(entity, User):
        keys |= {"aws:principaltype": PrincipalKind.USER.value, "aws:userid": entity.id, "aws:username": entity.name}
        known = Known(frozenset({*_KNOWN, "aws:userid"}), ("aws:principaltag/",))
        return Principal(hypothetical_facts(entity), keys, policies, known)
    keys["aws:principaltype"] = PrincipalKind.ROLE_SESSION.value
    if session:
        keys["aws:userid"] = f"{entity.id}:{session}"
    return Principal(hypothetical_facts(entity, session), keys, policies, Known(_KNOWN))


def hypothetical_facts(entity: User | Role, session: str = "") -> PrincipalFacts:
    """The entity as Principal elements match it."""
    if isinstance(entity, User):
        return PrincipalFacts(PrincipalKind.USER, entity.account, ((entity.arn, entity.id),))
    arns: tuple[tuple[str, str], ...] = ((entity.arn, entity.id),)
    if session:
        arns = ((assumed_role_arn(entity.account, entity.name, session), entity.id), *arns)
    return PrincipalFacts(PrincipalKind.ROLE_SESSION, entity.account, arns)
