"""The context keys that a policy reads, spelled as its author wrote them.

The compiled document determines the keys; the text gives only their spelling. This module makes no decisions and never
raises.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import lru_cache

from daypass.domain.policy.compiled import PolicyDocument
from daypass.domain.policy.grammar import listed
from daypass.domain.policy.pattern import fold, variables_in
from daypass.domain.policy.source import Kind, Node, PolicyError, read

_PATTERNS = ("Resource", "NotResource")


def context_keys(document: PolicyDocument) -> tuple[str, ...]:
    """Every context key that the document may read, once, in the order and spelling of its text."""
    looked_at = {key for statement in document.statements for key in statement.keys}
    spelled = _spellings(document.text)
    return (
        *(written for key, written in spelled.items() if key in looked_at),
        *sorted(looked_at - spelled.keys()),
    )


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
