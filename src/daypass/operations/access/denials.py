"""Principals that are certainly denied, found without an evaluation, so that a search of many principals is fast.

It must never take a principal for denied that `evaluate` might allow in any circumstances: it compares only what every
Allow needs, whatever the conditions are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from functools import lru_cache
from typing import Any

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.layers import NamedPolicy
from daypass.domain.policy.model import Effect, PrincipalFacts
from daypass.domain.policy.pattern import fold
from daypass.domain.policy.principal import GrantScope
from daypass.domain.trust import ASSUME_ROLE, AssumedRole
from daypass.operations.authorize import authorize
from daypass.operations.outcome import served, unpack
from daypass.ports import Call, Env


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


# --- Decode authorization message


async def decode_authorization_message(env: Env, call: Call, unverified_message: str) -> Mapping[str, Any]:
    """DecodeAuthorizationMessage (AWS STS API): the explanation in an encoded authorization message.

    A message of another account is refused like an invalid one: the caller learns nothing from the refusal.
    """
    decision = await authorize(env, call, "sts:DecodeAuthorizationMessage", "*")
    account, payload = await env.sealer.open_message(unverified_message)
    try:
        explanation = unpack(payload)
    except ValueError:
        raise _invalid("not packed here") from None
    if account != call.caller.account:
        raise _invalid("belongs to another account")
    await env.journal.commit(served(call, decision=decision))
    return explanation


def _invalid(reason: str) -> DaypassError:
    return DaypassError(
        ErrorKind.INVALID_AUTHORIZATION_MESSAGE,
        "Encoded authorization message is not valid.",
        private={"reason": reason},
    )
