"""Compiles documents from text: `parse` at write time, `compile_stored` for documents in the directory.

`parse` refuses what AWS refuses. `compile_stored` never raises: a document that cannot be compiled allows nothing, and
denies everything that its Deny statements may have denied.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Final

from daypass.domain.policy import principal
from daypass.domain.policy.administration import administration_of
from daypass.domain.policy.compiled import Compiled, PolicyDocument, PolicyKind, PrincipalValue, Statement, managed_kind
from daypass.domain.policy.grammar import Draft, check, check_stored, listed
from daypass.domain.policy.model import Effect
from daypass.domain.policy.pattern import V2008, V2012, Patterns, fold
from daypass.domain.policy.principal import Principals
from daypass.domain.policy.source import Kind, Node, PolicyError, Positions, read

__all__ = [
    "PolicyDocument",
    "PolicyError",
    "PolicyKind",
    "PrincipalValue",
    "Statement",
    "compile_stored",
    "managed_kind",
    "parse",
]


def parse(text: str, kind: PolicyKind) -> PolicyDocument:
    """The compiled document of `text`. Raises PolicyError with AWS's message and the position of the error.

    The operations check lengths (each kind has its quota); all other limits are checked here.
    """
    try:
        root = read(text)
    except PolicyError as error:
        if kind is PolicyKind.TRUST:
            raise PolicyError("This policy contains invalid Json", error.line, error.column, error.why) from None
        raise
    draft = Draft(root, kind, Positions(text))
    check(draft)
    return PolicyDocument(kind, text, _compiled(draft))


def compile_stored(text: str, kind: PolicyKind) -> PolicyDocument:
    """The document of a stored text, which a short one compiles on first use. It was parsed when it was written, so its
    grammar is not checked again.

    Never raises; a document that cannot be compiled is `broken` and fails closed.
    """
    return PolicyDocument(kind, text, _stored if len(text) <= _SHORT else _stored(text, kind))


def _stored(text: str, kind: PolicyKind) -> Compiled:
    try:
        draft = Draft(read(text), kind, Positions(text))
        check_stored(draft)
        return _compiled(draft)
    except Exception:  # noqa: BLE001 - whatever is wrong with what we stored, the answer is to deny, not to fail
        return Compiled(V2008, tuple(_deny_unreadable(text)), broken=True)


_SHORT: Final = 4_096
"""Characters of a text that may be compiled on the event loop."""


# --- Compiling -----------------------------------------------------------------------------------------------------

_WRITTEN = ("Action", "NotAction", "Resource", "NotResource")


def _compiled(draft: Draft) -> Compiled:
    return Compiled(draft.version, tuple([_statement(draft, at, node) for at, node in enumerate(draft.statements)]))


def _statement(draft: Draft, index: int, node: Node) -> Statement:
    members = node.members
    written = {name: tuple(v.text for v in listed(members[name])) for name in _WRITTEN if name in members}
    not_action, not_resource = "NotAction" in written, "NotResource" in written
    actions = Patterns(fold(text) for text in written["NotAction" if not_action else "Action"])
    resources = _resources(draft, written.get("NotResource" if not_resource else "Resource"))
    wild = resources.weight if resources is not None and (resources.weight.size or resources.keys) else None
    conditions = draft.conditions[index]
    keys = {key for condition in conditions for key in condition.keys}
    keys.update(resources.keys if resources is not None else ())
    principal_values = tuple(_principal_values(draft, members))
    effect = Effect(members["Effect"].text)
    line, column = draft.positions.at(node.start)
    end_line, end_column = draft.positions.at(node.end)
    return Statement(
        index=index,
        sid=members["Sid"].text if "Sid" in members else "",
        effect=effect,
        line=line,
        column=column,
        end_line=end_line,
        end_column=end_column,
        actions=actions,
        not_action=not_action,
        resources=resources,
        not_resource=not_resource,
        principals=Principals.of((value.type, value.value) for value in principal_values) if principal_values else None,
        not_principal="NotPrincipal" in members,
        conditions=conditions,
        keys=tuple(sorted(keys)),
        written=written,
        principal_values=principal_values,
        administration=administration_of(effect, written, variables=draft.version == V2012)
        if draft.kind is not PolicyKind.AWS
        else None,
        cost=actions.weight.calls + (1 if wild else resources.weight.calls if resources is not None else 0),
        wild=wild,
    )


def _resources(draft: Draft, texts: tuple[str, ...] | None) -> Patterns | None:
    if texts is None:
        return None
    return Patterns(map(principal.completed, texts), variables=draft.version == V2012)


def _principal_values(draft: Draft, members: dict[str, Node]) -> Iterator[PrincipalValue]:
    node = members.get("Principal", members.get("NotPrincipal"))
    if node is None:
        return
    if node.kind is Kind.STRING:
        yield PrincipalValue("AWS", node.text, *draft.positions.at(node.start))
        return
    for kind, values in node.members.items():
        for value in listed(values):
            yield PrincipalValue(kind, value.text, *draft.positions.at(value.start))


# --- Failing closed ------------------------------------------------------------------------------------------------


def _deny_unreadable(text: str) -> Iterator[Statement]:
    """A Deny of everything for each statement that is not clearly an Allow, or one Deny when the statements are unreadable."""
    try:
        root = read(text)
        nodes = listed(root.members["Statement"])
        effects = [node.members["Effect"].text for node in nodes]
    except Exception:  # noqa: BLE001 - not even its statements can be read
        nodes, effects = [], []
    if not effects:
        yield _closed(0, 1, 1)
        return
    at: Callable[[int], tuple[int, int]] = Positions(text).at
    for index, (node, effect) in enumerate(zip(nodes, effects, strict=True)):
        if effect != Effect.ALLOW:
            yield _closed(index, *at(node.start))


def _closed(index: int, line: int, column: int) -> Statement:
    everyone = Principals.of([("AWS", "*")])
    return Statement(
        index=index,
        sid="",
        effect=Effect.DENY,
        line=line,
        column=column,
        end_line=line,
        end_column=column,
        actions=Patterns(["*"]),
        principals=everyone,
        always=True,
    )
