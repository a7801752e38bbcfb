"""The grammar of policies and AWS's refusals: one pass per rule, in the order in which AWS checks them.

The passes read the JSON of a document and raise `PolicyError`. They compile only condition values, because that is how
their types are checked. Source: IAM User Guide, "Grammar of the IAM JSON policy language", the element reference, and
the messages that IAM returns as MalformedPolicyDocument.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import NoReturn

from daypass.domain.policy import principal
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.condition import Condition, compile_condition, split_operator
from daypass.domain.policy.pattern import V2008, V2012, Glob, resolve, tokenize
from daypass.domain.policy.principal import principal_refusal
from daypass.domain.policy.source import Kind, Node, PolicyError, Positions

SYNTAX = "Syntax errors in policy."
LEGACY = "The policy failed legacy parsing"
_EFFECT = 'Effect must be "Allow" or "Deny".'
VERSION = "Policy document must be version 2012-10-17 or greater."
VENDOR = "Actions/Conditions must be prefaced by a vendor, e.g., iam, sdb, ec2, etc."
COLON = "Actions/Condition can contain only one colon."
SID_FORM = (
    "Statement IDs (SID) must be alpha-numeric. Check that your input satisfies the regular expression [0-9A-Za-z]*."
)
SID_UNIQUE = "Statement IDs (SID) in a single policy must be unique."
IDS_UNIQUE = "The Statement Ids in the policy are not unique"
NO_ACTIONS = "Policy statement must contain actions."
NO_RESOURCES = "Policy statement must contain resources."
STS_ONLY = "AssumeRole policy may only specify STS AssumeRole actions."

_TOP = frozenset({"Version", "Id", "Statement"})
_ELEMENTS = frozenset(
    {"Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction", "Resource", "NotResource", "Condition"}
)
_PAIRS = (("Action", "NotAction"), ("Resource", "NotResource"), ("Principal", "NotPrincipal"))
_SCALARS = (Kind.STRING, Kind.NUMBER, Kind.BOOLEAN)
_MAX_SHOWN = 64  # characters of a value that a message repeats
_SID = re.compile(r"[0-9A-Za-z]*")
_VENDOR = re.compile(r"[A-Za-z0-9.-]+")
_TRUST_ACTIONS = (
    "sts:assumerole",
    "sts:assumerolewithsaml",
    "sts:assumerolewithwebidentity",
    "sts:tagsession",
    "sts:setsourceidentity",
    "sts:setcontext",
)
_WITH_PRINCIPAL = (PolicyKind.TRUST, PolicyKind.RESOURCE)


class Draft:
    """The state of a document during the passes. Its root is an object with statements once `_top` has passed."""

    __slots__ = ("conditions", "kind", "positions", "root", "statements", "version")

    def __init__(self, root: Node, kind: PolicyKind, positions: Positions) -> None:
        self.root = root
        self.kind = kind
        self.positions = positions
        members = root.members if root.kind is Kind.OBJECT else {}
        self.statements = listed(members.get("Statement"))
        version = members.get("Version")
        self.version = version.text if version is not None and version.kind is Kind.STRING else V2008
        self.conditions: dict[int, tuple[Condition, ...]] = {}  # by statement index

    def fail(self, message: str, node: Node, why: str = "") -> NoReturn:
        """Refuses the document at `node`. `why`: what is wrong, where AWS's message does not say it."""
        raise PolicyError(message, *self.positions.at(node.start), why)

    def values(self, *names: str) -> Iterator[tuple[Node, Node]]:
        """(statement, value) for every value of these elements."""
        for statement in self.statements:
            for name in names:
                yield from ((statement, value) for value in listed(statement.members.get(name)))


def listed(node: Node | None) -> list[Node]:
    """A value that may be a list, as a list; an absent one is the empty list."""
    if node is None:
        return []
    return node.items if node.kind is Kind.ARRAY else [node]


def check(draft: Draft) -> None:
    """Runs all passes for the kind of document. Raises PolicyError at the first refusal."""
    for each in PASSES[draft.kind]:
        each(draft)


def check_stored(draft: Draft) -> None:
    """As `check`, for a document that was checked when it was written: only the passes that compiling relies on."""
    for each in _STORED[draft.kind]:
        each(draft)


# --- Syntax --------------------------------------------------------------------------------------------------------


def _top(draft: Draft) -> None:
    root = draft.root
    _only(draft, root, _TOP, "A policy")
    for name in ("Version", "Id"):
        node = root.members.get(name)
        if node is not None and node.kind is not Kind.STRING:
            draft.fail(SYNTAX, node, f"{name} must be a string.")
    version = root.members.get("Version")
    if version is not None and version.text not in (V2008, V2012):
        draft.fail(SYNTAX, version, f'Version must be "{V2012}".')
    statements = listed(root.members.get("Statement"))
    if not statements:
        draft.fail(SYNTAX, root, "Statement is missing or empty.")
    for statement in statements:
        _only(draft, statement, _ELEMENTS, "A statement")


def _only(draft: Draft, node: Node, elements: frozenset[str], what: str) -> None:
    """Refuses a node that is not an object of these elements."""
    if node.kind is not Kind.OBJECT:
        draft.fail(SYNTAX, node, f"{what} must be a JSON object.")
    for name in node.members:
        if name not in elements:
            known = ", ".join(sorted(elements))
            draft.fail(SYNTAX, node, f"{what} has no element {name[:_MAX_SHOWN]}; it may have {known}.")


def _trust_top(draft: Draft) -> None:
    """The checks with their own messages in the parser that AWS uses for trust policies and bucket policies."""
    members = draft.root.members if draft.root.kind is Kind.OBJECT else {}
    version, statement = members.get("Version"), members.get("Statement")
    if version is not None and version.kind is Kind.STRING and version.text not in (V2008, V2012):
        draft.fail("The policy must contain a valid version string", version)
    if draft.root.kind is Kind.OBJECT and statement is None:
        draft.fail("Missing required field Statement", draft.root)
    if statement is not None and not listed(statement):
        draft.fail("Could not parse the policy: Statement is empty!", statement)
    for each in listed(statement):
        effect = each.members.get("Effect") if each.kind is Kind.OBJECT else None
        if effect is not None and effect.kind is Kind.STRING and effect.text not in ("Allow", "Deny"):
            draft.fail(f"Invalid effect: {effect.text[:_MAX_SHOWN]}", effect)


def _elements(draft: Draft) -> None:
    for statement in draft.statements:
        members = statement.members
        for one, other in _PAIRS:
            if one in members and other in members:
                draft.fail(SYNTAX, members[other], f"A statement has {one} or {other}, not both.")
        effect = members.get("Effect")
        if effect is None:
            missing = "Missing required field Effect" if draft.kind is PolicyKind.TRUST else SYNTAX
            draft.fail(missing, statement, "Effect is missing.")
        if effect.kind is not Kind.STRING or effect.text.lower() not in ("allow", "deny"):
            draft.fail(SYNTAX, effect, _EFFECT)
        if "Sid" in members and members["Sid"].kind is not Kind.STRING:
            draft.fail(SYNTAX, members["Sid"], "Sid must be a string.")
    for _, value in draft.values("Action", "NotAction", "Resource", "NotResource"):
        if value.kind is not Kind.STRING:
            draft.fail(SYNTAX, value, "An action or resource must be a string.")


def _condition_syntax(draft: Draft) -> None:
    for statement in draft.statements:
        block = statement.members.get("Condition")
        if block is None:
            continue
        for written, operator in _members(draft, block).items():
            for value in _members(draft, operator).values():
                if any(item.kind not in _SCALARS for item in listed(value)):
                    draft.fail(SYNTAX, value, "A value of a condition must be a string, number or boolean.")
            if split_operator(written) is None:
                unknown = f"Invalid Condition type : {written}."
                why = f"{written[:_MAX_SHOWN]} is not a condition operator."
                draft.fail(unknown if draft.kind in _WITH_PRINCIPAL else SYNTAX, operator, why)


def _members(draft: Draft, node: Node) -> dict[str, Node]:
    if node.kind is not Kind.OBJECT:
        draft.fail(SYNTAX, node, "This must be a JSON object.")
    return node.members


def _version(draft: Draft) -> None:
    if draft.version != V2012:
        draft.fail(VERSION, draft.root)


# --- AWS's older parser ------------------------------------------------------------------------------------------


def _effects(draft: Draft) -> None:
    for statement in draft.statements:
        effect = statement.members["Effect"]
        if effect.text not in ("Allow", "Deny"):
            draft.fail(LEGACY, effect, _EFFECT)


def _condition_values(draft: Draft) -> None:
    for index, statement in enumerate(draft.statements):
        draft.conditions[index] = tuple(_conditions(draft, statement.members.get("Condition")))


def _conditions(draft: Draft, block: Node | None) -> Iterator[Condition]:
    for written, operator in (block.members if block is not None else {}).items():
        for key, value in operator.members.items():
            texts = [item.text for item in listed(value)]
            try:
                yield compile_condition(written, key, texts, draft.version)
            except ValueError:
                draft.fail(LEGACY, value, f"{written[:_MAX_SHOWN]} cannot compare this value.")


def _resource_legacy(draft: Draft) -> None:
    for _, value in draft.values("Resource", "NotResource"):
        if principal.resource_refusal(value.text) is not None:
            return  # AWS stops its older parser here, and returns this refusal after others
        if not principal.is_legacy(value.text, variables=draft.version == V2012):
            draft.fail(LEGACY, value, f"A resource is an ARN or *, not {value.text[:_MAX_SHOWN]}.")


# --- Sids, actions, resources --------------------------------------------------------------------------------------


def _sids(draft: Draft) -> None:
    seen: set[str] = set()
    for statement in draft.statements:
        sid = statement.members.get("Sid")
        if sid is None or not sid.text:
            continue
        if sid.text in seen:
            draft.fail(IDS_UNIQUE if draft.kind is PolicyKind.TRUST else SID_UNIQUE, sid)
        seen.add(sid.text)


def _sid_forms(draft: Draft) -> None:
    for statement in draft.statements:
        sid = statement.members.get("Sid")
        if sid is not None and not _SID.fullmatch(sid.text):
            draft.fail(SID_FORM, sid)


def _has(*names: str, message: str) -> Callable[[Draft], None]:
    """A pass: every statement has a value in one of these elements."""

    def each(draft: Draft) -> None:
        for statement in draft.statements:
            if not any(listed(statement.members.get(name)) for name in names):
                draft.fail(message, statement)

    return each


def _prohibits(name: str, message: str) -> Callable[[Draft], None]:
    """A pass: no statement has this element."""

    def each(draft: Draft) -> None:
        for statement in draft.statements:
            if name in statement.members:
                draft.fail(message, statement.members[name])

    return each


def _resource_forms(draft: Draft) -> None:
    for _, value in draft.values("Resource", "NotResource"):
        message = principal.resource_refusal(value.text)
        if message is not None:
            draft.fail(message, value)


def _action_forms(draft: Draft) -> None:
    for _, value in draft.values("Action", "NotAction"):
        message = _action_refusal(value.text)
        if message is not None:
            draft.fail(message, value)


def _action_refusal(action: str) -> str | None:
    vendor, *rest = action.split(":")
    if not rest:
        return None if action == "*" else VENDOR
    if len(rest) > 1:
        return COLON
    return None if vendor == "*" or _VENDOR.fullmatch(vendor) else f"Vendor {vendor} is not valid"


def _sts_only(draft: Draft) -> None:
    for _, value in draft.values("Action", "NotAction"):
        written = value.text.lower()
        names = Glob(resolve(tokenize(written, variables=False, wildcards=True), {}) or ())
        if not written.startswith("sts:") or not any(map(names.matches, _TRUST_ACTIONS)):
            draft.fail(STS_ONLY, value)


# --- Principals ----------------------------------------------------------------------------------------------------


def _principals(draft: Draft) -> None:
    for statement in draft.statements:
        for name in ("Principal", "NotPrincipal"):
            node = statement.members.get(name)
            if node is not None:
                _principal(draft, node)


def _principal(draft: Draft, node: Node) -> None:
    if node.kind is Kind.STRING:
        if node.text != "*":
            draft.fail(f'Invalid principal in policy: "{node.text}"', node)
        return
    for kind, values in _members(draft, node).items():
        for value in listed(values):
            if value.kind is not Kind.STRING:
                draft.fail(SYNTAX, value, "A principal must be a string.")
            message = principal_refusal(kind, value.text)
            if message is not None:
                draft.fail(message, value)
    if not any(listed(values) for values in node.members.values()):
        draft.fail("Missing required field Principal cannot be empty!", node)


def _no_allow_with_not_principal(draft: Draft) -> None:
    for statement in draft.statements:
        if "NotPrincipal" in statement.members and statement.members["Effect"].text == "Allow":
            draft.fail("Allow with NotPrincipal is not allowed.", statement.members["NotPrincipal"])


# --- Passes of each kind -------------------------------------------------------------------------------------------

_Pass = Callable[[Draft], None]

_SHAPE: tuple[_Pass, ...] = (_top, _elements, _condition_syntax)
_OLDER: tuple[_Pass, ...] = (_effects, _condition_values, _resource_legacy)
_HAS_ACTIONS = _has("Action", "NotAction", message=NO_ACTIONS)
_HAS_RESOURCES = _has("Resource", "NotResource", message=NO_RESOURCES)
_REST: tuple[_Pass, ...] = (*_OLDER, _sids, _sid_forms, _HAS_ACTIONS, _resource_forms, _action_forms, _HAS_RESOURCES)


def _without_principals(message: str) -> tuple[_Pass, ...]:
    return _prohibits("Principal", message), _prohibits("NotPrincipal", message)


_OWNED = _without_principals("Policy document should not specify a principal.")
_OTHER = _without_principals("Has prohibited field Principal")

PASSES: dict[PolicyKind, tuple[_Pass, ...]] = {
    PolicyKind.IDENTITY: (*_SHAPE, *_OWNED, *_REST),
    PolicyKind.AWS: (*_SHAPE, *_OWNED, *_OLDER, _HAS_ACTIONS, _HAS_RESOURCES),  # AWS's own keep not every rule of forms
    PolicyKind.MANAGED: (*_SHAPE, _version, *_OWNED, *_REST),
    PolicyKind.SESSION: (*_SHAPE, *_OTHER, *_REST),
    PolicyKind.GUARDRAIL: (*_SHAPE, *_OTHER, *_REST),
    PolicyKind.RESOURCE: (
        *_SHAPE,
        *_OLDER,
        _no_allow_with_not_principal,
        _has("Principal", "NotPrincipal", message="Missing required field Principal"),
        _principals,
        _sids,
        _HAS_ACTIONS,
        _resource_forms,
        _action_forms,
        _HAS_RESOURCES,
    ),
    PolicyKind.TRUST: (
        _trust_top,
        *_SHAPE,
        _no_allow_with_not_principal,
        _prohibits("NotPrincipal", "AssumeRole policy must not contain NotPrincipal field."),
        _has("Principal", message="Missing required field Principal"),
        _has("Action", "NotAction", message="Missing required field Action"),
        _prohibits("Resource", "Has prohibited field Resource"),
        _prohibits("NotResource", "AssumeRole policy must not contain resources."),
        _action_forms,
        _sts_only,
        _sids,
        _sid_forms,
        _condition_values,
        _principals,
    ),
}
"""The rules for each kind of document, in order."""

_FORMS = frozenset({_resource_legacy, _sids, _sid_forms, _resource_forms, _action_forms, _sts_only})
"""The passes that read inside a text. No other pass and no compiled statement relies on them."""

_STORED = {kind: tuple([each for each in passes if each not in _FORMS]) for kind, passes in PASSES.items()}
