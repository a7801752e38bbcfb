"""PATCH: add, replace and remove, as directories send them (RFC 7644, 3.5.2).

Entra ID writes operations with a capital letter and booleans as text; Okta leaves the path out and sends an object of
attributes. Both are understood. A patch is applied to a copy: all operations or none. Its work is limited.
"""

from __future__ import annotations

import copy
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, NamedTuple

import msgspec

from daypass.domain.scim import Filter, ScimError, equalities, matches, parse_filter

PATCH_SCHEMA: Final = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
MAX_OPERATIONS: Final = 100
MAX_STEPS: Final = 1_000_000
"""Values that all edits of a patch look at together: some tenths of a second. A group with 10,000 members has 40,000."""
_STEPS_OF_TERM: Final = 2
"""The cost of comparing one element with one term of a filter."""
_CHARACTERS_OF_STEP: Final = 64

_PATH: Final = re.compile(
    r"(?:urn:[A-Za-z0-9:.]+:)?(?P<name>[A-Za-z][A-Za-z0-9]*)"
    r'(?:\[(?P<filter>(?:[^\[\]"]|"(?:[^"\\]|\\.)*"){1,512})\])?'
    r"(?:\.(?P<sub>[A-Za-z][A-Za-z0-9]*))?"
)
_MULTIPLE: Final = frozenset({"emails", "members"})
_key_of = msgspec.json.Encoder(order="sorted").encode
"""Equal elements have the same key, so that duplicates are found without comparing each with each."""


def apply_patch(resource: Mapping[str, Any], patch: Mapping[str, Any], most: int = MAX_STEPS) -> dict[str, Any]:
    """The resource after the patch. Raises ScimError: invalidSyntax, invalidPath, invalidValue, noTarget, tooMany when it
    needs more than `most` steps.
    """
    operations = _member(patch, "Operations")
    if PATCH_SCHEMA not in _listed(patch.get("schemas")) or not isinstance(operations, list):
        raise ScimError("invalidSyntax", f"A patch has the schema {PATCH_SCHEMA} and Operations.")
    if not 1 <= len(operations) <= MAX_OPERATIONS:
        raise ScimError("tooMany", f"A patch has 1 to {MAX_OPERATIONS} operations.")
    left = _after([resource, patch], most)
    changed = copy.deepcopy(dict(resource))
    for operation in operations:
        for op, path, value in _edits(operation):
            left = _after(changed, left)
            at = _read_path(path)
            left -= (
                _STEPS_OF_TERM
                * (at.filter.size if at.filter else 0)
                * len(_listed(changed.get(_key(changed, at.name))))
            )
            if left < 0:
                raise _too_much()
            _at_path(changed, op, at, value)
    return changed


def _after(value: Any, left: int) -> int:
    """The steps that are left after a look at all values. It ends when none is left: a filter can put one large value into
    thousands of elements, without a copy (attack A350). Raises ScimError(tooMany).
    """
    waiting = [value]
    while waiting:
        value = waiting.pop()
        left -= 1
        if isinstance(value, str):
            left -= len(value) // _CHARACTERS_OF_STEP
        elif isinstance(value, dict):
            waiting += value.values()
        elif isinstance(value, list):
            waiting += value
        if left < len(waiting):
            raise _too_much()
    return left


def _too_much() -> ScimError:
    return ScimError("tooMany", "The patch has too many operations for so large a resource: send several.")


def _edits(operation: Any) -> Iterator[tuple[str, str, Any]]:
    """Operation, path and value of each attribute that an operation changes."""
    if not isinstance(operation, dict):
        raise ScimError("invalidSyntax", "An operation is an object.")
    op, path, value = str(_member(operation, "op")).lower(), _member(operation, "path"), _member(operation, "value")
    if op not in ("add", "replace", "remove"):
        raise ScimError("invalidSyntax", "An operation is add, replace or remove.")
    if path:
        yield op, str(path), value
        return
    if op == "remove" or not isinstance(value, dict):
        raise ScimError("noTarget", "An operation without a path adds or replaces an object of attributes.")
    for name, each in value.items():
        yield op, name, each


class _Path(NamedTuple):
    """The target of an operation. `filter` selects elements; None for all."""

    name: str
    filter: Filter | None
    sub: str | None


def _read_path(path: str) -> _Path:
    parsed = _PATH.fullmatch(path)
    if parsed is None:
        raise ScimError("invalidPath", f"The path {path[:128]} cannot be read.")
    wanted = parse_filter(parsed["filter"]) if parsed["filter"] is not None else None
    return _Path(parsed["name"], wanted, parsed["sub"])


def _at_path(resource: dict[str, Any], op: str, path: _Path, value: Any) -> None:
    name, sub = _key(resource, path.name), path.sub
    if path.filter is not None:
        _selected(resource, op, name, path.filter, sub, value)
    elif sub:
        inner = resource.setdefault(name, {})
        if not isinstance(inner, dict):
            raise ScimError("invalidPath", f"{name} has no attribute {sub}.")
        _set(inner, op, _key(inner, sub), value)
    else:
        _set(resource, op, name, value)


def _set(target: dict[str, Any], op: str, name: str, value: Any) -> None:
    if op == "remove":
        if value is not None and isinstance(target.get(name), list):
            gone = {_key_of(_plain(each)) for each in _listed(value)}
            target[name] = [each for each in target[name] if _key_of(_plain(each)) not in gone]
        else:
            target.pop(name, None)
    elif name in _MULTIPLE:
        known = _listed(target.get(name)) if op == "add" else []
        target[name] = list({_key_of(each): each for each in (*known, *_listed(value))}.values())
    elif isinstance(value, dict) and isinstance(target.get(name), dict):
        target[name] = {**target[name], **value}
    else:
        target[name] = value


def _selected(resource: dict[str, Any], op: str, name: str, wanted: Filter, sub: str | None, value: Any) -> None:
    """Operations on the elements of a multi-valued attribute that a filter selects: `emails[type eq "work"].value`."""
    elements = _listed(resource.get(name))
    chosen = [each for each in elements if isinstance(each, dict) and matches(wanted, each)]
    if op == "remove" and sub is None:
        removed = set(map(id, chosen))
        resource[name] = [each for each in elements if id(each) not in removed]
        return
    if not chosen and op != "remove":  # as Entra ID expects: the element is made from the filter
        chosen = [dict(equalities(wanted))]
        resource[name] = [*elements, *chosen]
    for element in chosen:
        if sub is not None:
            _set(element, op, _key(element, sub), value)
        elif isinstance(value, dict):
            element.update(value)
        else:
            raise ScimError("invalidValue", f"{name} takes an object.")


def _listed(value: Any) -> list[Any]:
    return value if isinstance(value, list) else [] if value is None else [value]


def _plain(element: Any) -> Any:
    return element.get("value") if isinstance(element, dict) else element


def _key(target: Mapping[str, Any], name: str) -> str:
    """The name as the resource has it: attribute names have no case (RFC 7643, 2.1)."""
    canonical = {each.lower(): each for each in (*_NAMES, *target)}
    return canonical.get(name.lower(), name)


def _member(value: Mapping[str, Any], name: str) -> Any:
    return next((each for key, each in value.items() if key.lower() == name.lower()), None)


_NAMES: Final = (
    "userName",
    "externalId",
    "displayName",
    "active",
    "name",
    "emails",
    "members",
    "givenName",
    "familyName",
    "formatted",
    "value",
    "type",
    "primary",
)
