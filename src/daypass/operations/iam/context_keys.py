"""GetContextKeysForCustomPolicy and GetContextKeysForPrincipalPolicy: which context keys a simulation needs.

Source: IAM API Reference. Keys of guardrails are not included.
"""

from __future__ import annotations

from collections.abc import Iterable

from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.keys import context_keys
from daypass.domain.policy.pattern import fold
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.iam import scenario, simulate_policy
from daypass.operations.iam.context import ReadContext
from daypass.operations.iam.holdings import Gatherer, PolicySource


def get_context_keys_for_custom_policy(_ctx: ReadContext, p: Params) -> Answer:
    """The keys of the policies in the request."""
    return _answer(_request_policies(p))


def get_context_keys_for_principal_policy(ctx: ReadContext, p: Params) -> Answer:
    """The keys of a principal's own policies and of the policies in the request."""
    return _answer((*Gatherer(ctx).of(simulate_policy.existing_principal(ctx, p)).identity, *_request_policies(p)))


def _request_policies(p: Params) -> tuple[PolicySource, ...]:
    return scenario.request_policies(p.get("PolicyInputList"), "PolicyInputList", PolicyKind.IDENTITY)


def _answer(sources: Iterable[PolicySource]) -> Answer:
    names: dict[str, str] = {}
    for source in sources:
        for key in context_keys(source.policy.document):
            names.setdefault(fold(key), key)
    return {"ContextKeyNames": list(names.values())}
