"""Users and groups as a directory writes them: checked, reduced to the attributes that Daypass stores.

Names become names of IAM, which have ASCII letters, digits and `+=,.@_-` alone. The name of a user in IAM is derived from any
other userName, always the same: two userNames that differ in case or in the form of a character have one.
"""

from __future__ import annotations

import hashlib
import json
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import datetime
from typing import Any, Final, NamedTuple, TypeAlias

USER_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:User"
GROUP_SCHEMA: Final = "urn:ietf:params:scim:schemas:core:2.0:Group"
MAX_MEMBERS: Final = 10_000
_USER: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,64}")
_GROUP: Final = re.compile(r"[A-Za-z0-9+=,.@_-]{1,128}")
_MAX_TEXT: Final = 256
_MAX_EMAILS: Final = 10
_NAME_PARTS: Final = ("formatted", "familyName", "givenName")


def user_of(document: Mapping[str, Any], *, active: bool = True) -> dict[str, Any]:
    """The stored attributes of a user. `active`: where it is absent or null. Raises ScimError: invalidValue."""
    given = _by_name(document)
    name = _text(given, "userName", required=True)
    fields: dict[str, Any] = {"userName": name, "active": _flag(given.get("active"), "active", default=active)}
    for each in ("externalId", "displayName"):
        if text := _text(given, each):
            fields[each] = text
    parts = given.get("name")
    parts = {} if parts is None else parts
    if not isinstance(parts, Mapping):
        raise ScimError("invalidValue", "name is an object.")
    inner = {part: text for part in _NAME_PARTS if (text := _text(_by_name(parts), part))}
    if inner:
        fields["name"] = inner
    if emails := _emails(given.get("emails")):
        fields["emails"] = emails
    return fields


def user_name(given: str) -> str:
    """The name in IAM of a user with this userName: the same, or else its ASCII part and a digest of the whole."""
    same = unicodedata.normalize("NFKC", given).strip()
    if _USER.fullmatch(same):
        return same
    plain = same.casefold()
    ascii_part = re.sub(r"[^a-z0-9+=,.@_-]", "", unicodedata.normalize("NFKD", plain))[:40]
    return f"{ascii_part or 'user'}-{hashlib.sha256(plain.encode()).hexdigest()[:20]}"


def group_of(document: Mapping[str, Any]) -> tuple[dict[str, Any], list[str]]:
    """The stored attributes of a group, and the ids of its members. Raises ScimError: invalidValue."""
    given = _by_name(document)
    fields = {"displayName": _text(given, "displayName", required=True)}
    group_name(fields["displayName"])
    if external := _text(given, "externalId"):
        fields["externalId"] = external
    members = given.get("members") or []
    if not isinstance(members, list) or len(members) > MAX_MEMBERS:
        raise ScimError("invalidValue", f"members is a list of at most {MAX_MEMBERS}.")
    ids = [each.get("value") if isinstance(each, Mapping) else None for each in members]
    if not all(isinstance(each, str) and each for each in ids):
        raise ScimError("invalidValue", "A member has the id of a user as its value.")
    return fields, list(dict.fromkeys(str(each) for each in ids))


def group_name(display_name: str) -> str:
    """The name of the group in IAM: spaces become hyphens. Raises ScimError: invalidValue."""
    name = display_name.strip().replace(" ", "-")
    if not _GROUP.fullmatch(name):
        raise ScimError("invalidValue", "displayName has 1 to 128 ASCII letters, digits, spaces and +=,.@_-")
    return name


def _by_name(value: Mapping[str, Any]) -> dict[str, Any]:
    """Members under their canonical names; attribute names have no case (RFC 7643, 2.1)."""
    known = ("userName", "externalId", "displayName", "active", "name", "emails", "members", *_NAME_PARTS)
    canonical = {name.lower(): name for name in known}
    return {canonical.get(key.lower(), key): each for key, each in value.items()}


def _text(value: Mapping[str, Any], name: str, *, required: bool = False) -> str:
    text = value.get(name)
    if text is None and not required:
        return ""
    if not isinstance(text, str) or len(text) > _MAX_TEXT or not text.isprintable() or (required and not text.strip()):
        raise ScimError("invalidValue", f"{name} is a text of at most {_MAX_TEXT} printable characters.")
    return text


def _flag(value: Any, name: str, *, default: bool = False) -> bool:
    """A boolean, also as the text that Entra ID sends."""
    if value is None:
        return default
    if isinstance(value, str) and value.lower() in ("true", "false"):
        return value.lower() == "true"
    if not isinstance(value, bool):
        raise ScimError("invalidValue", f"{name} is true or false.")
    return value


def _emails(value: Any) -> list[dict[str, Any]]:
    if value is None:
        return []
    if not isinstance(value, list) or len(value) > _MAX_EMAILS:
        raise ScimError("invalidValue", f"emails is a list of at most {_MAX_EMAILS}.")
    found = []
    for each in value:
        if not isinstance(each, Mapping):
            raise ScimError("invalidValue", "An e-mail is an object.")
        email: dict[str, Any] = {"value": _text(each, "value", required=True)}
        if kind := _text(each, "type"):
            email["type"] = kind
        if "primary" in each:
            email["primary"] = _flag(each["primary"], "primary")
        found.append(email)
    return found


# --- What a SCIM request can be refused for


class ScimError(Exception):
    """A refusal. `kind`: the scimType of RFC 7644, 3.12; the message is for the client."""

    def __init__(self, kind: str, message: str) -> None:
        super().__init__(message)
        self.kind = kind


# --- Filters (RFC 7644, 3.4.2.2)


MAX_FILTER: Final = 1_024  # characters
MAX_TERMS: Final = 16
_MAX_DEPTH: Final = 8
_PATH: Final = r"(?:urn:[A-Za-z0-9:.]+:)?\$?[A-Za-z][A-Za-z0-9_-]*(?:\.\$?[A-Za-z][A-Za-z0-9_-]*)?"
_TOKEN: Final = re.compile(
    rf'\s*(?:(?P<string>"(?:[^"\\]|\\.)*")|(?P<number>-?[0-9]+(?:\.[0-9]+)?(?:[eE][+-]?[0-9]+)?)|(?P<mark>[()\[\]])|(?P<word>{_PATH}))'
)
_EXACT: Final = frozenset({"id", "externalid", "value", "members.value", "meta.version"})
"""Attributes that are compared with regard to case; all others are not (RFC 7643, 2.2, "caseExact")."""

Value: TypeAlias = "str | bool | int | float | None"


class Term(NamedTuple):
    """`path` in lower case, without a schema: "username", "emails.value". `op`: eq, ne, co, sw, ew, gt, ge, lt, le or pr."""

    path: str
    value: Value
    op: str = "eq"


class Filter(NamedTuple):
    """A node: `kind` is "term", "and", "or", "not" or "value" (elements of `path` for which the part holds)."""

    kind: str
    parts: tuple[Filter, ...] = ()
    term: Term | None = None
    path: str = ""

    @property
    def terms(self) -> tuple[Term, ...]:
        """Equalities, each of which must hold for the whole to hold: an index can find resources by them."""
        if self.kind == "term" and self.term is not None:
            return (self.term,) if self.term.op == "eq" else ()
        if self.kind == "value":
            return tuple(term._replace(path=f"{self.path}.{term.path}") for part in self.parts for term in part.terms)
        return tuple(term for part in self.parts for term in part.terms) if self.kind == "and" else ()

    @property
    def attributes(self) -> frozenset[str]:
        """The attributes of the resource that it looks at."""
        if self.kind == "value":
            return frozenset({self.path})
        own = {self.term.path.partition(".")[0]} if self.term is not None else set()
        return frozenset(own.union(*(part.attributes for part in self.parts)))

    @property
    def size(self) -> int:
        """The number of comparisons."""
        return sum(part.size for part in self.parts) + (self.term is not None)


def parse_filter(text: str) -> Filter:
    """Raises ScimError("invalidFilter")."""
    if len(text) > MAX_FILTER:
        raise ScimError("invalidFilter", f"A filter has at most {MAX_FILTER} characters.")
    parser = _Parser(text)
    found = parser.either(_MAX_DEPTH)
    if parser.kind or found.size > MAX_TERMS:
        raise _unreadable()
    return found


def _unreadable() -> ScimError:
    return ScimError(
        "invalidFilter", f"The filter cannot be read (RFC 7644, 3.4.2.2), or has over {MAX_TERMS} comparisons."
    )


class _Parser:
    """One token ahead: `kind` (string, number, mark, word; "" at the end) and `text`."""

    def __init__(self, text: str) -> None:
        self._source, self._at = text.rstrip(), 0
        self.advance()

    def advance(self) -> str:
        """The current token's text; the next one becomes the current."""
        before = getattr(self, "text", "")
        self.kind = self.text = ""
        if self._at < len(self._source):
            match = _TOKEN.match(self._source, self._at)
            if match is None or match.lastgroup is None:
                raise _unreadable()
            self.kind, self.text, self._at = match.lastgroup, match[match.lastgroup], match.end()
        return before

    def _takes(self, *words: str) -> bool:
        if self.kind in ("word", "mark") and self.text.lower() in words:
            self.advance()
            return True
        return False

    def _expect(self, mark: str) -> None:
        if not self._takes(mark):
            raise _unreadable()

    def either(self, depth: int) -> Filter:
        return self._joined("or", lambda: self._joined("and", lambda: self._factor(depth)))

    def _joined(self, word: str, part: Callable[[], Filter]) -> Filter:
        parts = [part()]
        while self._takes(word):
            parts.append(part())
        return Filter(word, tuple(parts)) if len(parts) > 1 else parts[0]

    def _factor(self, depth: int) -> Filter:
        if not depth:
            raise _unreadable()
        if self._takes("not"):
            self._expect("(")
            inner = self.either(depth - 1)
            self._expect(")")
            return Filter("not", (inner,))
        if self._takes("("):
            inner = self.either(depth - 1)
            self._expect(")")
            return inner
        return self._comparison(depth)

    def _comparison(self, depth: int) -> Filter:
        if self.kind != "word":
            raise _unreadable()
        path = self.advance().rpartition(":")[2].lower()
        if self._takes("["):
            inner = self.either(depth - 1)
            self._expect("]")
            return Filter("value", (inner,), path=path)
        op = self.advance().lower()
        if op == "pr":
            return Filter("term", term=Term(path, None, op))
        if op not in _OPERATORS:
            raise _unreadable()
        return Filter("term", term=Term(path, self._value(), op))

    def _value(self) -> Value:
        if not self.kind:
            raise _unreadable()
        try:
            value = json.loads(self.advance() if self.kind in ("string", "number") else self.advance().lower())
        except ValueError:
            raise _unreadable() from None
        if isinstance(value, (list, dict)):
            raise _unreadable()
        return value  # type: ignore[no-any-return]  # a scalar, by the checks above


def matches(found: Filter, resource: Mapping[str, Any]) -> bool:
    """Whether it holds for a resource or an element. An attribute that is absent equals nothing."""
    match found.kind:
        case "and":
            return all(matches(part, resource) for part in found.parts)
        case "or":
            return any(matches(part, resource) for part in found.parts)
        case "not":
            return not matches(found.parts[0], resource)
        case "value":
            elements = [each for each in _values(resource, found.path) if isinstance(each, Mapping)]
            return any(matches(found.parts[0], each) for each in elements)
    assert found.term is not None
    return _holds(found.term, resource)


def _holds(term: Term, resource: Mapping[str, Any]) -> bool:
    value = resource.get(term.path)  # the usual spelling and a simple value: a patch compares thousands of members
    values = [value] if isinstance(value, str) else _values(resource, term.path)
    if term.op == "pr":
        return any(each not in (None, "", [], {}) for each in values)
    if term.op == "ne":
        return not any(_compared(term, each, _OPERATORS["eq"]) for each in values)
    return any(_compared(term, each, _OPERATORS[term.op]) for each in values)


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


_OPERATORS: Final[Mapping[str, Callable[[Any, Any], bool]]] = {
    "eq": lambda found, wanted: found == wanted,
    "ne": lambda found, wanted: found != wanted,
    "co": lambda found, wanted: isinstance(found, str) and wanted in found,
    "sw": lambda found, wanted: isinstance(found, str) and found.startswith(wanted),
    "ew": lambda found, wanted: isinstance(found, str) and found.endswith(wanted),
    "gt": lambda found, wanted: found > wanted,
    "ge": lambda found, wanted: found >= wanted,
    "lt": lambda found, wanted: found < wanted,
    "le": lambda found, wanted: found <= wanted,
}


def _compared(term: Term, value: Any, operator: Callable[[Any, Any], bool]) -> bool:
    """Values of different types are not comparable, and booleans have no order."""
    wanted: Any = term.value
    if isinstance(value, Mapping):
        value = value.get("value")
    if isinstance(wanted, bool) or isinstance(value, bool) or wanted is None:
        return term.op in ("eq", "ne") and value is wanted
    if isinstance(wanted, str) != isinstance(value, str) or value is None:
        return False
    if isinstance(wanted, str):
        if term.path.startswith("meta.") and term.op not in ("co", "sw", "ew"):
            value, wanted = _moment(value), _moment(wanted)
        elif term.path not in _EXACT:
            value, wanted = value.casefold(), wanted.casefold()
    return operator(value, wanted)


def _moment(text: str) -> str:
    """A time as text that sorts by time; other text as it is."""
    try:
        return f"{datetime.fromisoformat(text).timestamp():020.6f}"
    except (ValueError, OverflowError):
        return text


def equalities(found: Filter) -> Iterator[tuple[str, Value]]:
    """The equalities of a filter from which an element is made."""
    return ((term.path, term.value) for term in found.terms)


def indexed(terms: Sequence[Term]) -> dict[str, str]:
    """The texts by which an index may find resources."""
    return {term.path: term.value for term in terms if isinstance(term.value, str)}
