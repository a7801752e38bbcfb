"""Validates parameters by the constraints of the service model: fast for valid input, with AWS's messages otherwise. It
parses nothing.

`compile_check` makes one closure for each shape, which returns only true or false. `explain` walks the model again,
slowly, for the messages. Source: constraint messages of AWS's API validation, as the STS and IAM endpoints give them.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

from daypass.wire.aws import errors
from daypass.wire.aws.json import Shapes

Check: TypeAlias = Callable[[Any], object]  # its truth counts

MAX_PROBLEMS = 10
_PATTERN = "Member must satisfy regular expression pattern: "
_MATCHED = 16_384  # characters of an overlong value that is still matched with its pattern
_SHOWN = 8192  # characters of a value that a message repeats

# Characters of a string whose shape has no pattern: everything that XML 1.0 can carry, in AWS's notation.
_ANY_TEXT = r"[\u0009\u000A\u000D\u0020-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]*"

# Shapes that the models do not constrain; the patterns come from AWS's documentation or from the format itself.
_PATTERNS: Mapping[tuple[str, str], str] = {
    ("sts", "SAMLAssertionType"): r"[A-Za-z0-9+/=\u000A\u000D]*",
    ("sts", "clientTokenType"): r"[\u0021-\u007E]*[\u000A\u000D]*",  # SDKs send a token file as it is
    ("sts", "tradeInTokenType"): r"[\u0021-\u007E]*",
    ("sts", "encodedMessageType"): r"[\u0021-\u007E]*",
    ("sts", "TargetPrincipalType"): r"[\u0021-\u007E]*",
    ("sts", "urlType"): r"[\u0021-\u007E]*",
    ("iam", "ActionNameType"): r"[\u0021-\u007E]*",
    ("iam", "ContextKeyNameType"): r"[\u0020-\u007E]*",
    ("iam", "ResourceNameType"): r"[\u0020-\uD7FF\uE000-\uFFFD]*",
    ("iam", "arnType"): r"[\u0009\u000A\u000D\u0020-\u007E\u0085\u00A0-\uD7FF\uE000-\uFFFD\u10000-\u10FFFF]+",
}

_PROPERTY = re.compile(r"\\p\{([LNZ])\}")
_ASCII_OF = {"L": "A-Za-z", "N": "0-9", "Z": " "}
_REPEATED_CLASS = re.compile(r"(\[(?:[^\]\\]|\\.)*\])([*+])", re.DOTALL)


# --- Patterns ------------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def matcher(pattern: str) -> Check:
    r"""Whether a whole string matches a pattern of the models (Java's syntax: \w and \d are ASCII, \p{L} is any
    letter).
    """
    if _PROPERTY.search(pattern):
        return _property_matcher(pattern)
    return _compiled(pattern).fullmatch


def _compiled(pattern: str) -> re.Pattern[str]:
    # Java reads \u10000 as \u1000 and a zero; the models mean the code point.
    return re.compile(pattern.replace(r"\u10000-\u10FFFF", r"\U00010000-\U0010FFFF"), re.ASCII)


def _property_matcher(pattern: str) -> Check:
    """For the one form in which the models use properties: a single class, repeated."""
    form = _REPEATED_CLASS.fullmatch(pattern)
    if form is None:
        raise ValueError(f"a pattern of a new form: {pattern}")
    cls = form[1]
    categories = frozenset(_PROPERTY.findall(cls))
    ascii_class = _ascii_class(cls)
    full = re.compile(ascii_class + form[2], re.ASCII).fullmatch
    one = re.compile(ascii_class, re.ASCII).fullmatch

    def matches(text: str) -> bool:
        if full(text):
            return True
        if not text:
            return False
        return all(one(c) or (c > "\x7f" and unicodedata.category(c)[0] in categories) for c in text)

    return matches


def _ascii_class(cls: str) -> str:
    """The ASCII characters of a class with properties, as a class."""
    return _PROPERTY.sub(lambda m: _ASCII_OF[m[1]], cls)


def pattern_of(service: str, name: str, shape: Mapping[str, Any]) -> str:
    """The pattern of a string shape: the model's, one from the table above, or any text."""
    return str(shape.get("pattern") or _PATTERNS.get((service, name), _ANY_TEXT))


# --- Yes or no -----------------------------------------------------------------------------------------------------


class Checks:
    """The compiled checks of one service's shapes, made at first use."""

    def __init__(self, service: str, shapes: Shapes) -> None:
        self._service = service
        self._shapes = shapes
        self._done: dict[str, Check] = {}

    def compile(self, name: str) -> Check:
        """Whether a parsed value of this shape meets every constraint."""
        if name not in self._done:
            self._done[name] = lambda value: self._done[name](value)  # noqa: PLW0108  # bound late, for shapes that contain themselves
            shape = self._shapes[name]
            make = {"string": self._string, "structure": self._structure, "list": self._list, "map": self._map}
            self._done[name] = make.get(shape["type"], self._number)(name, shape)
        return self._done[name]

    def _string(self, name: str, shape: Mapping[str, Any]) -> Check:
        low, high = shape.get("min", 0), shape.get("max", 1 << 31)
        if "enum" in shape:
            return frozenset(shape["enum"]).__contains__
        pattern = pattern_of(self._service, name, shape)
        form = _REPEATED_CLASS.fullmatch(pattern)
        if form and not _PROPERTY.search(pattern):  # one match for both; it stops at the length limit
            least = max(low, 1) if form[2] == "+" else low
            return _compiled(f"{form[1]}{{{least},{high}}}").fullmatch
        matches = matcher(pattern)
        if form is None:
            return lambda text: low <= len(text) <= high and matches(text)
        quick = re.compile(
            f"{_ascii_class(form[1])}{{{max(low, 1)},{high}}}", re.ASCII
        ).fullmatch  # nearly all are ASCII
        return lambda text: quick(text) or (low <= len(text) <= high and matches(text))

    @staticmethod
    def _number(_: str, shape: Mapping[str, Any]) -> Check:
        low, high = shape.get("min"), shape.get("max")
        if low is None and high is None:
            return lambda _: True
        least, most = low if low is not None else -(1 << 63), high if high is not None else 1 << 63
        return lambda value: least <= value <= most

    def _structure(self, _: str, shape: Mapping[str, Any]) -> Check:
        checks = {name: self.compile(member["shape"]) for name, member in shape["members"].items()}
        required = tuple(shape.get("required", ()))

        def check(value: Mapping[str, Any]) -> bool:
            for name in required:
                if name not in value:
                    return False
            for name, item in value.items():  # noqa: SIM110  # a generator costs more, and this is the hot path
                if not checks[name](item):
                    return False
            return True

        return check

    def _list(self, _: str, shape: Mapping[str, Any]) -> Check:
        low, high = shape.get("min", 0), shape.get("max", 1 << 31)
        check = self.compile(shape["member"]["shape"])

        return lambda items: low <= len(items) <= high and all(map(check, items))

    def _map(self, _: str, shape: Mapping[str, Any]) -> Check:
        low, high = shape.get("min", 0), shape.get("max", 1 << 31)
        key, value = self.compile(shape["key"]["shape"]), self.compile(shape["value"]["shape"])
        return lambda items: low <= len(items) <= high and all(map(key, items)) and all(map(value, items.values()))


# --- Why not -------------------------------------------------------------------------------------------------------


def explain(service: str, shapes: Shapes, name: str, value: Any) -> str:
    """AWS's message for a value of a structure shape that its check has refused: up to MAX_PROBLEMS problems.

    A message that is a sentence about one member is used only when there is no other problem.
    """
    problems: list[str] = []
    for problem in _problems(service, shapes, name, value, ""):
        problems.append(problem)
        if len(problems) == MAX_PROBLEMS:
            break
    if not problems:
        return _first_sentence(service, shapes, shapes[name]["members"], value)
    plural = "s" if len(problems) != 1 else ""
    return f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"


def _first_sentence(service: str, shapes: Shapes, members: Mapping[str, Any], value: Mapping[str, Any]) -> str:
    for member in _reported(members):
        shape = members[member]["shape"] if member in value else ""
        text = errors.sentence(service, shape, member)
        if text is not None and not matcher(shapes[shape]["pattern"])(value[member]):
            return f"The specified value for {_lower(member)} is invalid. {text}"
    raise ValueError("nothing is wrong with these parameters")


def _reported(members: Mapping[str, Any]) -> list[str]:
    """The members of a structure in the order in which AWS reports them."""
    by_name = {_lower(member): member for member in members}
    return [by_name[name] for name in errors.reported(by_name)]


def _problems(service: str, shapes: Shapes, name: str, value: Any, path: str) -> Iterator[str]:
    shape = shapes[name]
    sentence = errors.sentence(service, name, path)
    for constraint in _broken(service, name, shape, value):
        if sentence and "." not in path and constraint.startswith(_PATTERN):
            continue
        yield _problem(service, path, shape, value, constraint)
    kind = shape["type"]
    if kind == "structure":
        yield from _structure_problems(service, shapes, shape, value, path)
    elif kind == "list":
        yield from _list_problems(service, shapes, shape, value, path)
    elif kind == "map":
        for part, items in (("key", value), ("value", value.values())):
            member = shape[part]["shape"]
            for item in items:
                if broken := list(_broken(service, member, shapes[member], item)):
                    yield _problem(
                        service, path, shape, value, f"Map {part} must satisfy constraint: [{', '.join(broken)}]"
                    )
                    break


def _structure_problems(
    service: str, shapes: Shapes, shape: Mapping[str, Any], value: Mapping[str, Any], path: str
) -> Iterator[str]:
    required = shape.get("required", ())
    for member in _reported(shape["members"]):
        below = f"{path}.{_lower(member)}" if path else _lower(member)
        if member in value:
            yield from _problems(service, shapes, shape["members"][member]["shape"], value[member], below)
        elif member in required:
            yield missing(service, below)


def missing(service: str, path: str) -> str:
    """One problem: a member is missing."""
    shown = " null" if errors.REPEATS_VALUES[service] else ""
    return f"Value{shown} at '{path}' failed to satisfy constraint: Member must not be null"


def _list_problems(
    service: str, shapes: Shapes, shape: Mapping[str, Any], value: list[Any], path: str
) -> Iterator[str]:
    member = shape["member"]["shape"]
    if shapes[member]["type"] in ("structure", "list", "map"):
        for index, item in enumerate(value, 1):
            yield from _problems(service, shapes, member, item, f"{path}.{index}.member")
        return
    for item in value:
        if broken := list(_broken(service, member, shapes[member], item)):
            all_of = [text for text, _ in _constraints(service, member, shapes[member])]
            if shapes[member]["type"] == "string" and "pattern" not in shapes[member] and all_of[0] not in broken:
                del all_of[0]  # the value breaks only a pattern of our own, which AWS would not report
            all_of.reverse()  # in AWS's recorded order: maximum length, minimum length, pattern
            if (service, member) in errors.MEMBER_NOT_NULL:
                all_of.append("Member must not be null")
            yield _problem(service, path, shape, value, f"Member must satisfy constraint: [{', '.join(all_of)}]")
            return


def _broken(service: str, name: str, shape: Mapping[str, Any], value: Any) -> Iterator[str]:
    broken = [text for text, holds in _constraints(service, name, shape) if not holds(value)]
    if not errors.PATTERN_FIRST[service]:
        broken.sort(key=lambda text: text.startswith(_PATTERN))
    return iter(broken)


def _constraints(service: str, name: str, shape: Mapping[str, Any]) -> Iterator[tuple[str, Check]]:
    """The constraints of a shape itself, each with its words, in the order in which STS reports them."""
    kind = shape["type"]
    if "enum" in shape:
        named = f": [{', '.join(shape['enum'])}]" if errors.NAMES_ENUM_VALUES[service] else ""
        yield f"Member must satisfy enum value set{named}", shape["enum"].__contains__
        return
    if kind == "string":
        pattern = pattern_of(service, name, shape)
        matches, most = matcher(pattern), max(shape.get("max", 1 << 31), _MATCHED)
        # A value that is far too long is reported only as that; a megabyte is not matched with the pattern.
        yield (f"{_PATTERN}{pattern}", lambda value: len(value) > most or matches(value))
    number = kind in ("integer", "long")
    what, size = ("value", int) if number else ("length", len)
    if "min" in shape and (number or kind != "structure"):
        low = shape["min"]
        yield f"Member must have {what} greater than or equal to {low}", lambda value: size(value) >= low
    if "max" in shape:
        high = shape["max"]
        yield f"Member must have {what} less than or equal to {high}", lambda value: size(value) <= high


def _problem(service: str, path: str, shape: Mapping[str, Any], value: Any, constraint: str) -> str:
    shown = f" '{_show(value)}'" if errors.REPEATS_VALUES[service] and not shape.get("sensitive") else ""
    return f"Value{shown} at '{path}' failed to satisfy constraint: {constraint}"


def _show(value: Any) -> str:
    if isinstance(value, str):
        return value if len(value) <= _SHOWN else value[:_SHOWN] + "..."
    if isinstance(value, list) and all(isinstance(item, str) for item in value):
        return _show(f"[{', '.join(value)}]")
    return str(value) if isinstance(value, int) else "[...]"


def _lower(name: str) -> str:
    return name[:1].lower() + name[1:]
