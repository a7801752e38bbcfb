"""Conditions: one table of operators, one rule for absent, single and multiple values.

A condition holds or it does not; nothing here raises on a request's values. A value that cannot be read as the
operator's type equals nothing, so positive operators fail on it and negated ones hold, as AWS's truth tables have it.
Source: IAM User Guide, "IAM JSON policy elements: Condition operators", "Set operators for multivalued context keys".
"""

from __future__ import annotations

import operator
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import Enum
from typing import Any, TypeAlias

from daypass.domain.policy import values
from daypass.domain.policy.model import Context
from daypass.domain.policy.pattern import V2012, Fixed, Patterns, Variable, fold, resolve, tokenize

Test: TypeAlias = Callable[[str, Context], bool]
"""Whether one value of the request matches any value of the policy, before negation."""

Compiled: TypeAlias = "tuple[Test, tuple[str, ...]]"
"""A test, and the context keys of the variables in it."""


class Quantifier(Enum):
    """The set operators, by their prefix."""

    NONE = ""
    ALL = "ForAllValues:"
    ANY = "ForAnyValue:"


_NONE, _ALL, _ANY = Quantifier  # bound once: before Python 3.12 every look-up of a member runs Python code


@dataclass(frozen=True, slots=True, eq=False)
class Condition:
    """One operator over one key. `written` is the operator as the policy spells it."""

    written: str
    key: str  # folded
    values: tuple[str, ...]
    negated: bool
    quantifier: Quantifier
    when_absent: bool
    test: Test
    keys: tuple[str, ...]  # the key, then the keys of variables

    def holds(self, context: Context) -> bool:
        value = context.get(self.key)
        quantifier = self.quantifier
        if value.__class__ is str and quantifier is _NONE:  # nearly always
            return self.test(value, context) is not self.negated
        if value is None or value == ():
            return self.when_absent
        test, negated = self.test, self.negated
        members: tuple[str, ...]
        if isinstance(value, str):
            members = (value,) if value else ()  # AWS: an empty string is the empty set
        else:
            members = value
        if quantifier is _NONE:
            return any(test(member, context) for member in members) is not negated
        if quantifier is _ALL:
            return all(test(member, context) is not negated for member in members)
        return any(test(member, context) is not negated for member in members)


def _text(*, wildcards: bool, folded: bool) -> Callable[[Sequence[str], str], Compiled]:
    def build(texts: Sequence[str], version: str) -> Compiled:
        patterns = Patterns(texts, variables=version == V2012, wildcards=wildcards, folded=folded)
        return patterns.matches, patterns.keys

    return build


def _bool(texts: Sequence[str], version: str) -> Compiled:
    for text in texts:
        tokens = tokenize(text, variables=version == V2012, wildcards=False)
        if values.boolean(text) is None and not any(isinstance(token, Variable) for token in tokens):
            raise ValueError("neither true nor false")
    return _text(wildcards=False, folded=True)(texts, version)


def _typed(read: Callable[[str], Any], matches: Callable[[Any, Any], bool]) -> Callable[[Sequence[str], str], Compiled]:
    """Operators over a type: the policy's values are read once, the request's value when it comes. No variables."""

    def build(texts: Sequence[str], _version: str) -> Compiled:
        bounds = [_must(read, text) for text in texts]

        def test(text: str, _context: Context) -> bool:
            value = read(text)
            return value is not None and any(matches(value, bound) for bound in bounds)

        return test, ()

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

    return test, ()


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

    return test, keys


def _fixed(tokens: Sequence[Any]) -> list[Fixed] | None:
    return None if any(isinstance(token, Variable) for token in tokens) else list(tokens)


def _null(texts: Sequence[str], _version: str) -> Compiled:
    wanted = [_must(values.boolean, text) for text in texts]
    present = False in wanted
    return (lambda _text, _context: present), ()


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
"""Every operator, without its quantifier and without IfExists."""

_IF_EXISTS = "IfExists"


def split_operator(written: str) -> tuple[Quantifier, str, bool] | None:
    """(quantifier, operator, whether IfExists), or None when there is no such operator. Names are case-sensitive."""
    quantifier = next((q for q in (_ALL, _ANY) if written.startswith(q.value)), _NONE)
    name = written.removeprefix(quantifier.value)
    if_exists = name.endswith(_IF_EXISTS)
    name = name.removesuffix(_IF_EXISTS)
    if name not in OPERATORS or (name == "Null" and if_exists):
        return None
    return quantifier, name, if_exists


def compile_condition(written: str, key: str, texts: Sequence[str], version: str) -> Condition:
    """A condition of a known operator, in a version of the policy language. Raises ValueError for an unknown one or a value of the wrong type."""
    split = split_operator(written)
    if split is None:
        raise ValueError("unknown operator")
    quantifier, name, if_exists = split
    entry = OPERATORS[name]
    test, variable_keys = entry.build(texts, version)
    if name == "Null":  # presence is the question itself, so quantifiers have nothing to range over
        quantifier = _NONE
        when_absent = any(values.boolean(text) for text in texts)
    else:
        by_quantifier = {_NONE: entry.negated, _ALL: True, _ANY: False}
        when_absent = if_exists or by_quantifier[quantifier]
    folded = fold(key)
    keys = (folded, *variable_keys)
    return Condition(written, folded, tuple(texts), entry.negated, quantifier, when_absent, test, keys)
