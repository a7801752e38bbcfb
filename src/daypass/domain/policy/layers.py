"""The policies of a request, by layer, as the evaluator receives them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from msgspec import Struct

from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.grammar import listed
from daypass.domain.policy.model import Layer
from daypass.domain.policy.pattern import fold, variables_in
from daypass.domain.policy.source import Kind, Node, PolicyError, read

BLOCK: Final = "block by revocation "
"""The name of a policy that stands for a block begins with this, followed by the id of the revocation."""


@dataclass(frozen=True, slots=True)
class NamedPolicy:
    """A compiled policy with its name in explanations."""

    name: str  # a managed policy's ARN, an inline policy's name, "trust", "session", …
    document: PolicyDocument


class Layers(Struct, frozen=True):
    """The policies that apply to one query.

    A layer that does not apply is None. A layer that applies but has no policies is (), and allows nothing. `identity`
    is None only without an identity layer (an anonymous or federated caller in a trust decision). `guardrails` and
    `session` are lists of levels, each a tuple of policies; each level must allow. The last `scope_downs` levels of
    `session` also limit what a resource policy grants to the session directly. `bindings` maps principal ARNs in
    the resource policy to the unique ids that they were bound to when written.
    """

    same_account: bool
    identity: tuple[NamedPolicy, ...] | None
    resource: NamedPolicy | None = None
    bindings: Mapping[str, str] | None = None
    boundary: tuple[NamedPolicy, ...] | None = None
    session: tuple[tuple[NamedPolicy, ...], ...] = ()
    guardrails: tuple[tuple[NamedPolicy, ...], ...] = ()
    scope_downs: int = 0

    def policies(self) -> Iterator[tuple[Layer, NamedPolicy]]:
        """Every policy with its layer."""
        yield from ((Layer.GUARDRAIL, policy) for level in self.guardrails for policy in level)
        if self.resource is not None:
            yield Layer.RESOURCE, self.resource
        yield from ((Layer.IDENTITY, policy) for policy in self.identity or ())
        yield from ((Layer.BOUNDARY, policy) for policy in self.boundary or ())
        yield from ((Layer.SESSION, policy) for level in self.session for policy in level)

    def limits(self, level: int) -> bool:
        """Whether this level of `session` must allow even what a resource policy grants directly (attack A197)."""
        return level >= len(self.session) - self.scope_downs


# --- The context keys that a policy reads, spelled as its author wrote them


_PATTERNS = ("Resource", "NotResource")


def context_keys(document: PolicyDocument) -> tuple[str, ...]:
    """Every context key that the document may read, once, in the order and spelling of its text."""
    looked_at = {key for statement in document.statements for key in statement.keys}
    spelled = _spellings(document.text)
    return (*(written for key, written in spelled.items() if key in looked_at), *sorted(looked_at - spelled.keys()))


@lru_cache(maxsize=1024)
def _spellings(text: str) -> Mapping[str, str]:
    """Keys as first written, by their folded form. A text that cannot be parsed has none."""
    try:
        root = read(text)
    except PolicyError:
        return {}
    spelled: dict[str, str] = {}
    if root.kind is Kind.OBJECT:
        for statement in listed(root.members.get("Statement")):
            for key in _written(statement):
                spelled.setdefault(fold(key), key)
    return spelled


def _written(statement: Node) -> Iterator[str]:
    """The keys of a statement: those of its conditions and of the variables in its texts."""
    if statement.kind is not Kind.OBJECT:
        return
    for name in _PATTERNS:
        yield from _variables(statement.members.get(name))
    block = statement.members.get("Condition")
    operators = block.members.values() if block is not None and block.kind is Kind.OBJECT else ()
    for operator in operators:
        for key, value in operator.members.items() if operator.kind is Kind.OBJECT else ():
            yield key
            yield from _variables(value)


def _variables(node: Node | None) -> Iterator[str]:
    for value in listed(node):
        if value.kind is Kind.STRING:
            yield from variables_in(value.text)
