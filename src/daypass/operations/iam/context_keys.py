"""GetContextKeysForCustomPolicy and GetContextKeysForPrincipalPolicy: which context keys a simulation needs.

Source: IAM API Reference. Keys of guardrails are not among them.
"""

from __future__ import annotations

from collections.abc import Iterable

from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.keys import context_keys
from daypass.domain.policy.pattern import fold
from daypass.operations.iam import scenario, simulate
from daypass.operations.iam.holdings import Gatherer, Source
from daypass.operations.iam.work import Answer, Look, Params


def get_context_keys_for_custom_policy(_look: Look, p: Params) -> Answer:
    """Those of the policies in the request."""
    return _answer(_given(p))


def get_context_keys_for_principal_policy(look: Look, p: Params) -> Answer:
    """Those of a principal's own policies, and of the policies in the request."""
    return _answer((*Gatherer(look).of(simulate.existing_principal(look, p)).identity, *_given(p)))


def _given(p: Params) -> tuple[Source, ...]:
    return scenario.given(p.get("PolicyInputList"), "PolicyInputList", PolicyKind.IDENTITY)


def _answer(sources: Iterable[Source]) -> Answer:
    names: dict[str, str] = {}
    for source in sources:
        for key in context_keys(source.policy.document):
            names.setdefault(fold(key), key)
    return {"ContextKeyNames": list(names.values())}
