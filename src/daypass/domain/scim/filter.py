"""Filters: `eq` on simple attributes, joined by `and`. Other operators are refused (RFC 7644, 3.4.2.2: invalidFilter).

The work is bounded by the length of the text: one pass, no recursion.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, Final, NamedTuple

from daypass.domain.scim.errors import ScimError

MAX_FILTER: Final = 1_024  # characters
MAX_TERMS: Final = 8
_TERM: Final = re.compile(
    r"\s*(?P<path>(?:urn:[A-Za-z0-9:.]+:)?[A-Za-z][A-Za-z0-9]*(?:\.[A-Za-z][A-Za-z0-9]*)?)\s+(?P<op>[A-Za-z]+)\s+"
    r'(?P<value>"(?:[^"\\]|\\.)*"|true|false)\s*',
    re.IGNORECASE,
)
_AND: Final = re.compile(r"and\s", re.IGNORECASE)
_EXACT: Final = frozenset({"id", "externalid", "value", "members.value"})
"""Attributes that are compared with regard to case; all others are not (RFC 7643, 2.2, "caseExact")."""


class Term(NamedTuple):
    """`path` in lower case, without a schema: "username", "emails.value"."""

    path: str
    value: str | bool


def parse_filter(text: str) -> tuple[Term, ...]:
    """The terms, all of which must hold. Raises ScimError("invalidFilter")."""
    if len(text) > MAX_FILTER:
        raise ScimError("invalidFilter", f"A filter has at most {MAX_FILTER} characters.")
    terms: list[Term] = []
    at = 0
    while True:
        match = _TERM.match(text, at)
        if match is None or match["op"].lower() != "eq" or len(terms) == MAX_TERMS:
            raise ScimError(
                "invalidFilter", f"A filter is up to {MAX_TERMS} terms `ATTRIBUTE eq VALUE`, joined by `and`."
            )
        terms.append(Term(match["path"].rpartition(":")[2].lower(), _value(match["value"])))
        at = match.end()
        if at == len(text):
            return tuple(terms)
        joined = _AND.match(text, at)
        if joined is None:
            raise ScimError("invalidFilter", "Terms are joined by `and`.")
        at = joined.end()


def _value(text: str) -> str | bool:
    try:
        value = json.loads(text if text.startswith('"') else text.lower())
    except ValueError:
        raise ScimError("invalidFilter", "A value is a JSON string, true or false.") from None
    return value if isinstance(value, bool) else str(value)


def matches(terms: Sequence[Term], resource: Mapping[str, Any]) -> bool:
    """Whether all terms hold for a resource. An attribute that is absent equals nothing."""
    return all(_holds(term, resource) for term in terms)


def _holds(term: Term, resource: Mapping[str, Any]) -> bool:
    value = resource.get(term.path)  # the usual spelling and a simple value: a patch compares thousands of members
    if isinstance(value, str):
        return _equal(term, value)
    return any(_equal(term, each) for each in _values(resource, term.path))


def _values(value: Any, path: str) -> list[Any]:
    """The values at a path; each element of a list counts."""
    name, _, rest = path.partition(".")
    if isinstance(value, list):
        return [each for item in value for each in _values(item, path)]
    if not isinstance(value, Mapping):
        return []
    values = [each for key, each in value.items() if key.lower() == name]
    if rest:
        return [each for item in values for each in _values(item, rest)]
    return [each for item in values for each in (item if isinstance(item, list) else [item])]


def _equal(term: Term, value: Any) -> bool:
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(term.value, bool) or isinstance(value, bool):
        return term.value is value
    if not isinstance(value, str):
        return False
    return value == term.value if term.path in _EXACT else value.casefold() == term.value.casefold()
