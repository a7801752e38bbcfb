"""Principals that are certainly denied, found without an evaluation, so that a search of many principals is fast.

It must never take a principal for denied that `evaluate` might allow in any circumstances: it compares only what every
Allow needs, whatever the conditions are.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache

from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Effect, PrincipalFacts
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import GrantScope
from daypass.domain.trust import ASSUME_ROLE, AssumedRole


def certainly_denied(identity: Iterable[NamedPolicy], action: str) -> bool:
    """Whether no identity policy has an Allow that may match the action, for an action that needs one."""
    folded = fold(action)
    return not any(may_allow(policy.document, folded) for policy in identity)


def certainly_not_admitted(target: AssumedRole, facts: PrincipalFacts, identity: Iterable[NamedPolicy]) -> bool:
    """The same for assuming a role of the principal's account. A trust policy that names the principal itself allows it
    without its identity policies; one that names its account does not.
    """
    scope = GrantScope.NONE
    for statement in target.trust.document.statements if target.trust is not None else ():
        if statement.effect is Effect.ALLOW:
            if statement.not_principal or statement.principals is None:
                return False
            scope = max(scope, statement.principals.grant_scope(facts, target.bindings))
    if scope is GrantScope.NONE:
        return True
    return scope is GrantScope.ACCOUNT and certainly_denied(identity, ASSUME_ROLE)


@lru_cache(maxsize=4096)
def may_allow(document: PolicyDocument, action: str) -> bool:
    """Whether a statement allows an action (folded) for some resource, in some circumstances."""
    return any(
        statement.effect is Effect.ALLOW
        and (bool(statement.actions.keys) or statement.actions.matches(action, {}) is not statement.not_action)
        for statement in document.index.concerned(action)
    )
