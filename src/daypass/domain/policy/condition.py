"""Conditions: one table of operators, one rule for absent, single and multiple values.

Conditions never raise on a request's values. A value that cannot be parsed as the operator's type equals nothing:
positive operators fail on it and negated ones hold, as in AWS's truth tables.
Source: IAM User Guide, "IAM JSON policy elements: Condition operators", "Set operators for multivalued context keys".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from daypass.domain.policy import values
from daypass.domain.policy.budget import Weight
from daypass.domain.policy.model import Context
from daypass.domain.policy.pattern import V2012, Fixed, Patterns, Variable, fold, resolve, tokenize

Test: TypeAlias = Callable[[str, Context], bool]
"""Whether a value of the request matches any value of the policy, before negation."""

Compiled: TypeAlias = "tuple[Test, Weight]"
"""A test and its cost. The keys of the weight are those of its variables."""


class Quantifier(Enum):
    """The set operators, by their prefix."""

    NONE = ""
    ALL = "ForAllValues:"
    ANY = "ForAnyValue:"


_NONE, _ALL, _ANY = Quantifier  # bound once: before Python 3.12 every look-up of a member runs Python code


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One operator on one key. `written` and `written_key` are as spelled in the policy."""

    written: str
    written_key: str
    key: str  # folded
    values: tuple[str, ...]
    negated: bool
    quantifier: Quantifier
    when_absent: bool
    test: Test
    keys: tuple[str, ...]  # the key, then the keys of variables
    weight: Weight
    light: int  # the steps for a single value when its length makes no difference; 0 when it does

    def steps(self, context: Context) -> int:
        """The maximum number of steps of `holds`."""
        value = context.get(self.key)
        if value is None:
            return 1
        if value.__class__ is str:
            return self.weight.steps(1, len(value), context)
        return 1 + self.weight.steps(len(value), sum(map(len, value)), context)

    def holds(self, context: Context) -> bool:
        value = context.get(self.key)
        quantifier = self.quantifier
        if value.__class__ is str and quantifier is _NONE:  # the common case
            return self.test(value, context) is not self.negated
        if value is None or value == ():
            return self.when_absent
        test, negated = self.test, self.negated
        members: tuple[str, ...] = (value,) if isinstance(value, str) else value
        if quantifier is _NONE:
            return any(test(member, context) for member in members) is not negated
        if members == ("",):
            members = ()  # AWS: an empty string is the empty set; a list of one value is that value
        if quantifier is _ALL:
            return all(test(member, context) is not negated for member in members)
        return any(test(member, context) is not negated for member in members)


def _text(*, wildcards: bool, folded: bool) -> Callable[[Sequence[str], str], Compiled]:
    def build(texts: Sequence[str], version: str) -> Compiled:
        patterns = Patterns(texts, variables=version == V2012, wildcards=wildcards, folded=folded)
        return patterns.matches, patterns.weight

    return build


def _bool(texts: Sequence[str], version: str) -> Compiled:
    for text in texts:
        tokens = tokenize(text, variables=version == V2012, wildcards=False)
        if values.boolean(text) is None and not any(isinstance(token, Variable) for token in tokens):
            raise ValueError("neither true nor false")
    return _text(wildcards=False, folded=True)(texts, version)


def _typed(read: Callable[[str], Any], matches: Callable[[Any, Any], bool]) -> Callable[[Sequence[str], str], Compiled]:
    """Typed operators: the policy's values are parsed once, the request's value on each request. No variables."""

    def build(texts: Sequence[str], _version: str) -> Compiled:
        bounds = [_must(read, text) for text in texts]

        def test(text: str, _context: Context) -> bool:
            value = read(text)
            return value is not None and any(matches(value, bound) for bound in bounds)

        return test, Weight(1 + len(bounds))

    return build


def _must(read: Callable[[str], Any], text: str) -> Any:
    value = read(text)
    if value is None:
        raise ValueError("a value of the wrong type")
    return value


def _address(texts: Sequence[str], _version: str) -> Compiled:
    networks = [_must(values.network, text) for text in texts]

    def test(text: str, _context: Context) -> bool:
        found = values.address(text)
        if found is None:
            return False
        version, number = found
        for net in networks:  # noqa: SIM110 - a generator would double the time of the hot path
            if version == net.version and number & net.mask == net.bits:
                return True
        return False

    return test, Weight(1 + len(networks))


def _arn(texts: Sequence[str], version: str) -> Compiled:
    patterns = [tokenize(text, variables=version == V2012, wildcards=True) for text in texts]
    keys = tuple(token.key for tokens in patterns for token in tokens if isinstance(token, Variable))
    fixed = [values.ArnGlob(tokens) for tokens in map(_fixed, patterns) if tokens is not None]
    templates = [tokens for tokens in patterns if _fixed(tokens) is None]

    def test(text: str, context: Context) -> bool:
        if any(glob.matches(text) for glob in fixed):
            return True
        for template in templates:
            tokens = resolve(template, context)
            if tokens is not None and values.ArnGlob(tokens).matches(text):
                return True
        return False

    return test, Weight(6 * len(fixed) + 4 * sum(map(len, templates)), sum(map(len, texts)), keys)


def _fixed(tokens: Sequence[Any]) -> list[Fixed] | None:
    return None if any(isinstance(token, Variable) for token in tokens) else list(tokens)


def _null(texts: Sequence[str], _version: str) -> Compiled:
    wanted = [_must(values.boolean, text) for text in texts]
    present = False in wanted
    return (lambda _text, _context: present), Weight(1)


@dataclass(frozen=True, slots=True)
class Operator:
    build: Callable[[Sequence[str], str], Compiled]
    negated: bool = False


def _family(prefix: str, read: Callable[[str], Any]) -> dict[str, Operator]:
    """The six comparisons that numbers and dates share."""
    return {
        f"{prefix}Equals": Operator(_typed(read, operator.eq)),
        f"{prefix}NotEquals": Operator(_typed(read, operator.eq), negated=True),
        f"{prefix}LessThan": Operator(_typed(read, operator.lt)),
        f"{prefix}LessThanEquals": Operator(_typed(read, operator.le)),
        f"{prefix}GreaterThan": Operator(_typed(read, operator.gt)),
        f"{prefix}GreaterThanEquals": Operator(_typed(read, operator.ge)),
    }


_EXACT = _text(wildcards=False, folded=False)
_FOLDED = _text(wildcards=False, folded=True)
_LIKE = _text(wildcards=True, folded=False)

OPERATORS: dict[str, Operator] = {
    "StringEquals": Operator(_EXACT),
    "StringNotEquals": Operator(_EXACT, negated=True),
    "StringEqualsIgnoreCase": Operator(_FOLDED),
    "StringNotEqualsIgnoreCase": Operator(_FOLDED, negated=True),
    "StringLike": Operator(_LIKE),
    "StringNotLike": Operator(_LIKE, negated=True),
    **_family("Numeric", values.number),
    **_family("Date", values.date),
    "Bool": Operator(_bool),
    "BinaryEquals": Operator(_typed(values.binary, operator.eq)),
    "IpAddress": Operator(_address),
    "NotIpAddress": Operator(_address, negated=True),
    "ArnEquals": Operator(_arn),
    "ArnLike": Operator(_arn),
    "ArnNotEquals": Operator(_arn, negated=True),
    "ArnNotLike": Operator(_arn, negated=True),
    "Null": Operator(_null),
}
"""All operators, without quantifier and IfExists."""

_IF_EXISTS = "IfExists"


def split_operator(written: str) -> tuple[Quantifier, str, bool] | None:
    """(quantifier, operator, whether IfExists), or None when the operator does not exist. Names are case-sensitive."""
    quantifier = next((q for q in (_ALL, _ANY) if written.startswith(q.value)), _NONE)
    name = written.removeprefix(quantifier.value)
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    if name not in OPERATORS or (name == "Null" and if_exists):
        return None
    return quantifier, name, if_exists


def compile_condition(written: str, key: str, texts: Sequence[str], version: str) -> Condition:
    """A condition in a version of the policy language. Raises ValueError for an unknown operator or a value of the wrong type."""
    split = split_operator(written)
    if split is None:
        raise ValueError("unknown operator")
    quantifier, name, if_exists = split
    entry = OPERATORS[name]
    test, weight = entry.build(texts, version)
    if name == "Null":  # it tests presence itself, so quantifiers do not apply
        quantifier = _NONE
        when_absent = any(values.boolean(text) for text in texts)
    else:
        by_quantifier = {_NONE: entry.negated, _ALL: True, _ANY: False}
        when_absent = if_exists or by_quantifier[quantifier]
    folded = fold(key)
    keys = (folded, *weight.keys)
    light = 0 if weight.size or weight.keys else weight.calls
    return Condition(
        written, key, folded, tuple(texts), entry.negated, quantifier, when_absent, test, keys, weight, light
    )
