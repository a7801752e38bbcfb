"""The only wildcard matcher: `*`, `?` and policy variables, in time linear in the text.

Everything else in a pattern is literal, and so is whatever a variable stands for: a value from the request can never
become a pattern. Nothing here uses regular expressions to match, and nothing backtracks.
Source: IAM User Guide, "IAM policy elements: Variables and tags", "IAM JSON policy elements: Resource".
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from daypass.domain.policy.model import Context

V2008, V2012 = "2008-10-17", "2012-10-17"
"""The versions of the policy language. Only the later one has variables."""


class Wild(Enum):
    """The two wildcards."""

    STAR = "*"  # any characters, or none
    ONE = "?"  # exactly one character


class Variable(NamedTuple):
    """`${key}` or `${key, 'default'}`; the key folded."""

    key: str
    default: str | None


Token: TypeAlias = "str | Wild | Variable"
Fixed: TypeAlias = "str | Wild"
"""A token once variables are resolved."""

_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_VARIABLE = re.compile(r"\$\{(?:([*?$])|([^{},'$]+)(?:,[ ]*'([^']*)')?)\}")
_SPECIAL = re.compile(r"\$\{|\*|\?")


def fold(text: str) -> str:
    """ASCII letters in lower case and nothing else changed: the Kelvin sign stays apart from k (attack A44).

    Context keys and actions compare in this form.
    """
    return text.lower() if text.isascii() else text.translate(_UPPER)


def tokenize(text: str, *, variables: bool, wildcards: bool) -> tuple[Token, ...]:
    """The tokens of a pattern; neighbouring literals are joined. Raises ValueError for a malformed variable."""
    tokens: list[Token] = []
    at = 0
    for match in _SPECIAL.finditer(text):
        if match.start() < at:
            continue  # inside a variable
        token, end = _token(text, match.start(), variables=variables, wildcards=wildcards)
        _push(tokens, text[at : match.start()])
        _push(tokens, token)
        at = end
    _push(tokens, text[at:])
    return tuple(tokens)


def variables_in(text: str) -> tuple[str, ...]:
    """The keys of the policy variables in a text, as they are written."""
    return tuple(match[2] for match in _VARIABLE.finditer(text) if match[2])


def _token(text: str, at: int, *, variables: bool, wildcards: bool) -> tuple[Token, int]:
    if text[at] != "$":
        return (Wild(text[at]) if wildcards else text[at]), at + 1
    if not variables:
        return text[at], at + 1
    match = _VARIABLE.match(text, at)
    if match is None:
        raise ValueError("malformed policy variable")
    literal, key, default = match.groups()
    return (literal if literal is not None else Variable(fold(key), default)), match.end()


def _push(tokens: list[Token], token: Token) -> None:
    if token == "":
        return
    if isinstance(token, str) and tokens and isinstance(tokens[-1], str):
        tokens[-1] += token
    elif token is not Wild.STAR or not tokens or tokens[-1] is not Wild.STAR:
        tokens.append(token)


def resolve(tokens: Iterable[Token], context: Context) -> list[Fixed] | None:
    """The tokens with every variable replaced by literal text; None when one has no single value and no default."""
    fixed: list[Fixed] = []
    for token in tokens:
        if isinstance(token, Variable):
            value = context.get(token.key, token.default)
            if not isinstance(value, str):
                return None
            fixed.append(value)
        else:
            fixed.append(token)
    return fixed


class _Segment:
    """What stands between two stars: literal text, perhaps with holes (`?`)."""

    __slots__ = ("_any", "_masks", "_pieces", "length", "literal")

    def __init__(self, tokens: Sequence[Fixed]) -> None:
        self._pieces: list[tuple[int, str]] = []
        self.length = 0
        for token in tokens:
            if isinstance(token, str):
                self._pieces.append((self.length, token))
                self.length += len(token)
            else:
                self.length += 1
        joined = sum(len(piece) for _, piece in self._pieces)
        self.literal = "".join(piece for _, piece in self._pieces) if joined == self.length else None
        self._any = 0
        self._masks: dict[str, int] = {}
        if self.literal is None:
            self._prepare()

    def _prepare(self) -> None:
        """For each character, the positions of the segment at which it may stand, as bits."""
        self._any = (1 << self.length) - 1
        fixed: list[tuple[str, int]] = [
            (char, 1 << (offset + index)) for offset, piece in self._pieces for index, char in enumerate(piece)
        ]
        for _, bit in fixed:
            self._any &= ~bit
        for char, bit in fixed:
            self._masks[char] = self._masks.get(char, self._any) | bit

    def at(self, text: str, index: int) -> bool:
        """Whether the segment stands at `index`; the caller knows that there is room."""
        return all(text.startswith(piece, index + offset) for offset, piece in self._pieces)

    def find(self, text: str, start: int, end: int) -> int:
        """The first place of the segment within text[start:end], or -1."""
        if self.literal is not None:
            return text.find(self.literal, start, end)
        state, last = 0, 1 << (self.length - 1)
        masks, anything = self._masks, self._any
        for index in range(start, end):  # Shift-And: all partial matches advance at once, so nothing is retried
            state = ((state << 1) | 1) & masks.get(text[index], anything)
            if state & last:
                return index - self.length + 1
        return -1


class Glob:
    """A general pattern. The first and last segments are anchored; those between are found from left to right."""

    __slots__ = ("_head", "_middle", "_tail", "_whole")

    def __init__(self, tokens: Iterable[Fixed]) -> None:
        runs: list[list[Fixed]] = [[]]
        for token in tokens:
            if token is Wild.STAR:
                runs.append([])
            elif token != "":
                runs[-1].append(token)
        segments = [_Segment(run) for run in runs]
        self._whole = len(segments) == 1
        self._head, self._tail = segments[0], segments[-1]
        self._middle = [segment for segment in segments[1:-1] if segment.length]

    def matches(self, text: str) -> bool:
        head, tail, size = self._head, self._tail, len(text)
        if self._whole:
            return size == head.length and head.at(text, 0)
        end = size - tail.length
        at = head.length
        if at > end or not head.at(text, 0) or not tail.at(text, end):
            return False
        for segment in self._middle:
            at = segment.find(text, at, end)
            if at < 0:
                return False
            at += segment.length
        return True


class _Template:
    """A pattern with variables: resolved for each request, then matched."""

    __slots__ = ("_fold", "_plain", "_prefix", "_tokens", "keys")

    def __init__(self, tokens: tuple[Token, ...], *, folded: bool) -> None:
        self._tokens = tokens
        self._fold = folded
        self.keys = tuple(token.key for token in tokens if isinstance(token, Variable))
        wild = [index for index, token in enumerate(tokens) if isinstance(token, Wild)]
        self._plain = not wild
        self._prefix = wild == [len(tokens) - 1] and tokens[-1] is Wild.STAR

    def matches(self, text: str, context: Context) -> bool:
        tokens = resolve(self._tokens, context)
        if tokens is None:
            return False
        if self._fold:
            tokens = [fold(token) if isinstance(token, str) else token for token in tokens]
        if self._plain:
            return "".join(token for token in tokens if isinstance(token, str)) == text
        if self._prefix:
            return text.startswith("".join(token for token in tokens if isinstance(token, str)))
        return Glob(tokens).matches(text)


def _common(texts: Sequence[str]) -> str:
    """The longest beginning that all texts share."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # the texts between begin as both of these do
    for index, char in enumerate(first):
        if char != last[index]:
            return first[:index]
    return first


class Patterns:
    """A set of patterns, compiled; a text matches when it matches any of them.

    Literals, prefixes and suffixes are told apart because C code tests each group in one call.
    """

    __slots__ = ("_fold", "_globs", "_prefixes", "_suffixes", "_templates", "anything", "head", "keys", "literals")

    def __init__(
        self, texts: Iterable[str], *, variables: bool = False, wildcards: bool = True, folded: bool = False
    ) -> None:
        """`folded` compares without regard to ASCII case. Raises ValueError for a malformed variable."""
        self._fold = folded
        self.anything = False
        literals: list[str] = []
        prefixes: list[str] = []
        suffixes: list[str] = []
        globs: list[Glob] = []
        templates: list[_Template] = []
        heads: list[str] = []
        for text in texts:
            tokens = tokenize(text, variables=variables, wildcards=wildcards)
            heads.append(tokens[0] if tokens and isinstance(tokens[0], str) else "")
            if any(isinstance(token, Variable) for token in tokens):
                templates.append(_Template(tokens, folded=folded))
                continue
            match [fold(token) if folded and isinstance(token, str) else token for token in tokens]:
                case []:
                    literals.append("")
                case [str() as literal]:
                    literals.append(literal)
                case [Wild.STAR]:
                    self.anything = True
                case [str() as prefix, Wild.STAR]:
                    prefixes.append(prefix)
                case [Wild.STAR, str() as suffix]:
                    suffixes.append(suffix)
                case general:
                    globs.append(Glob(token for token in general if not isinstance(token, Variable)))
        self.literals = frozenset(literals)
        self._prefixes, self._suffixes = tuple(prefixes), tuple(suffixes)
        self._globs, self._templates = tuple(globs), tuple(templates)
        self.keys = tuple(key for template in templates for key in template.keys)
        self.head = _common(heads)  # every text that matches begins with it (unless folded)

    def matches(self, text: str, context: Context) -> bool:
        if self.anything:
            return True
        if self._fold:
            text = fold(text)
        if text in self.literals or text.startswith(self._prefixes) or text.endswith(self._suffixes):
            return True
        for glob in self._globs:
            if glob.matches(text):
                return True
        return any(template.matches(text, context) for template in self._templates)
