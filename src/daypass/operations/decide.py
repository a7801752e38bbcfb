"""Makes decisions: on the event loop when they are cheap, as heavy work when they are expensive.

Callers choose their session policies and headers, so they can make a decision cost milliseconds of the event loop. The
cost is estimated from the number of general patterns and the longest text that they may be matched with.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from itertools import chain
from typing import Any, Final

from msgspec.structs import replace

from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.explain import explain
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, Context, Decision, PrincipalFacts
from daypass.domain.trust import Admission, AssumedRole, CallerPolicies, admit
from daypass.operations import heavy
from daypass.ports import Env

INLINE: Final = 100_000
"""Maximum patterns times characters matched on the event loop."""

_LONGEST: Final = 16_384  # maximum characters of a context value from a request's headers


async def decide(
    env: Env, account: str, query: AccessQuery, layers: Layers
) -> tuple[Decision, Mapping[str, Any] | None]:
    """The decision of the one evaluator, on behalf of `account`. If another process refuses, it also explains."""
    if is_large(of_layers(layers), lambda: query.context):
        return await heavy.compute(env, account, _decided, query, layers)
    return evaluate(query, layers), None


async def explained(env: Env, account: str, query: AccessQuery, layers: Layers) -> Mapping[str, Any]:
    """The explanation of a decision, in its JSON form."""
    if is_large(of_layers(layers), lambda: query.context):
        return await heavy.compute(env, account, _explained, query, layers)
    return _explained(query, layers)


async def admission_of(
    env: Env,
    account: str,
    principal: PrincipalFacts,
    policies: CallerPolicies,
    target: AssumedRole,
    actions: tuple[str, ...],
    context: Context,
) -> Admission:
    """See `domain.trust.admit`. A decision from another process has no `sides` and cannot be cached. If it is a refusal,
    it is explained.
    """
    if admission_is_large(policies, target.trust, lambda: context):
        return await heavy.compute(env, account, _admitted, principal, policies, target, actions, context)
    return admit(principal, policies, target, actions, context)


def admission_is_large(policies: CallerPolicies, trust: NamedPolicy | None, context: Callable[[], Context]) -> bool:
    """Whether admission to a role with this trust policy is too expensive for the event loop."""
    return is_large(_of_admission(policies, trust), context)


def admission_may_be_large(policies: CallerPolicies, trust: NamedPolicy | None) -> bool:
    """Whether `admission_is_large` depends on the context. False: it is not large, whatever the context."""
    return _patterns_of(_of_admission(policies, trust)) * _LONGEST > INLINE


def is_large(policies: Iterable[NamedPolicy], context: Callable[[], Context]) -> bool:
    """Whether matching these policies with this context takes more than `INLINE` steps.

    The context is computed only when the policies have enough general patterns.
    """
    patterns = _patterns_of(policies)
    if patterns * _LONGEST <= INLINE:
        return False
    longest = max(
        (len(value) if isinstance(value, str) else sum(map(len, value)) for value in context().values()), default=0
    )
    return patterns * longest > INLINE


def _patterns_of(policies: Iterable[NamedPolicy]) -> int:
    return sum(_general_patterns(policy.document) for policy in policies)


@lru_cache(maxsize=8192)
def _general_patterns(document: PolicyDocument) -> int:
    """The number of a document's patterns that are not a literal, prefix or suffix: those are tested in C code."""
    found = 0
    for statement in document.statements:
        values = (value for condition in statement.conditions for value in condition.values)
        written = (value for name in ("Resource", "NotResource") for value in statement.written.get(name, ()))
        found += sum(_is_general(value) for value in (*values, *written))
    return found


def _is_general(pattern: str) -> bool:
    inner = pattern[1:] if pattern.startswith("*") else pattern.removesuffix("*")
    return "*" in inner or "?" in inner


def of_layers(layers: Layers) -> Iterator[NamedPolicy]:
    """Every policy of the layers."""
    if layers.resource is not None:
        yield layers.resource
    yield from layers.identity or ()
    yield from layers.boundary or ()
    for level in (*layers.session, *layers.guardrails):
        yield from level


def _of_admission(policies: CallerPolicies, trust: NamedPolicy | None) -> tuple[NamedPolicy, ...]:
    return (*_of_caller(policies), *((trust,) if trust is not None else ()))


def _of_caller(policies: CallerPolicies) -> tuple[NamedPolicy, ...]:
    levels = (policies.identity or (), policies.boundary or (), *policies.session, *policies.guardrails)
    return tuple(chain.from_iterable(levels))


# --- As heavy work -----------------------------------------------------------------------------------------------------


_NO_LAYERS: Final = Layers(same_account=False, identity=None)


def _explained(query: AccessQuery, layers: Layers) -> Mapping[str, Any]:
    return explain(query, layers).to_json()


def _decided(query: AccessQuery, layers: Layers) -> tuple[Decision, Mapping[str, Any] | None]:
    decision = evaluate(query, layers)
    return decision, None if decision.allowed else _explained(query, layers)


def _admitted(
    principal: PrincipalFacts, policies: CallerPolicies, target: AssumedRole, actions: tuple[str, ...], context: Context
) -> Admission:
    """A refusal is explained here, so that its policies need not travel back and forth once more."""
    admission = replace(admit(principal, policies, target, actions, context), sides=())
    if admission.decision.allowed:
        return admission
    return replace(admission, layers=_NO_LAYERS, explanation=_explained(admission.query, admission.layers))
