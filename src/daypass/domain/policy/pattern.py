"""The only wildcard matcher: `*`, `?` and policy variables, in time linear in the text.

Everything else in a pattern is literal, including the value of a variable: a value from the request can never become a
pattern. Matching uses no regular expressions and never backtracks. No loop runs over the characters of a text:
`str.find` finds literal segments, and `positions_of` finds segments with `?`.
Source: IAM User Guide, "IAM policy elements: Variables and tags", "IAM JSON policy elements: Resource".
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from enum import Enum
from typing import NamedTuple, TypeAlias

from daypass.domain.policy.budget import Weight
from daypass.domain.policy.model import Context
from daypass.domain.policy.source import positions_of

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
"""A token after variables are resolved."""

_UPPER = {code: code + 32 for code in range(ord("A"), ord("Z") + 1)}
_VARIABLE = re.compile(r"\$\{(?:([*?$])|([^{},'$]+)(?:,[ ]*'([^']*)')?)\}")
_SPECIAL = re.compile(r"\$\{|\*|\?")
_FAST = 16  # prefixes or suffixes that C code tests in the time of one comparison
_SHORT = (
    256  # characters; in a longer text `positions_of` finds a short literal faster than `str.find` in its worst case
)


def fold(text: str) -> str:
    """Converts ASCII letters to lower case and changes nothing else: the Kelvin sign remains distinct from k (attack A44).

    Context keys and actions are compared in this form.
    """
    return text.lower() if text.isascii() else text.translate(_UPPER)


def tokenize(text: str, *, variables: bool, wildcards: bool) -> tuple[Token, ...]:
    """The tokens of a pattern; adjacent literals are joined. Raises ValueError for a malformed variable."""
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
    """The keys of the policy variables in a text, as written."""
    return tuple(match[2] for match in _VARIABLE.finditer(text) if match[2])


def replace_braces(text: str, replacement: Callable[[str], str]) -> str:
    """`text` with each `${…}`, whether it is a valid variable or not, replaced by `replacement` of it.

    In time linear in the text: a regular expression would look for the end once for each beginning (attack A49).
    """
    parts: list[str] = []
    at = 0
    begin = text.find("${")
    while begin >= 0 and (last := text.find("}", begin)) >= 0:
        parts += (text[at:begin], replacement(text[begin : last + 1]))
        at = last + 1
        begin = text.find("${", at)
    return "".join((*parts, text[at:]))


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
    """The tokens with each variable replaced by literal text; None when one has neither a single value nor a default."""
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
    """The pattern between two stars: literal text that may contain `?`."""

    __slots__ = ("_pieces", "length", "literal")

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

    def at(self, text: str, index: int) -> bool:
        """Whether the segment matches at `index`. The caller ensures that the text is long enough."""
        return all(text.startswith(piece, index + offset) for offset, piece in self._pieces)

    def find(self, text: str, start: int, end: int) -> int:
        """The first position of the segment within text[start:end], or -1."""
        if self.literal is not None and (end - start <= _SHORT or self.length > _SHORT):
            return text.find(self.literal, start, end)
        if end - start < self.length:
            return -1
        if self.at(text, start):
            return start
        return positions_of(text).first(self._pieces, start, end - self.length)


class Glob:
    """A general pattern. The first and last segments are anchored; the others are searched from left to right."""

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
    """The longest prefix of all texts."""
    if not texts:
        return ""
    first, last = min(texts), max(texts)  # the texts between share the prefix of these two
    for index, char in enumerate(first):
        if char != last[index]:
            return first[:index]
    return first


class Patterns:
    """A set of patterns, compiled; a text matches when it matches any of them.

    Literals, prefixes and suffixes are separate because C code tests each group in one call.
    """

    __slots__ = (
        "_fold",
        "_globs",
        "_prefixes",
        "_suffixes",
        "_templates",
        "anything",
        "keys",
        "literals",
        "prefix",
        "weight",
    )

    def __init__(
        self, texts: Iterable[str], *, variables: bool = False, wildcards: bool = True, folded: bool = False
    ) -> None:
        """`folded` ignores ASCII case. Raises ValueError for a malformed variable."""
        self._fold = folded
        self.anything = False
        literals: list[str] = []
        prefixes: list[str] = []
        suffixes: list[str] = []
        globs: list[Glob] = []
        templates: list[_Template] = []
        beginnings: list[str] = []
        calls, size = 1, 0
        for text in texts:
            if _SPECIAL.search(text) is None:
                literals.append(fold(text) if folded else text)
                beginnings.append(text)
                continue
            tokens = tokenize(text, variables=variables, wildcards=wildcards)
            beginnings.append(tokens[0] if tokens and isinstance(tokens[0], str) else "")
            if any(isinstance(token, Variable) for token in tokens):
                calls, size = calls + 2 * len(tokens), size + len(text)
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
                    calls, size = calls + len(tokens), size + len(text)
                    globs.append(Glob(token for token in general if not isinstance(token, Variable)))
        self.literals = frozenset(literals)
        self._prefixes, self._suffixes = tuple(prefixes), tuple(suffixes)
        self._globs, self._templates = tuple(globs), tuple(templates)
        self.keys = tuple(key for template in templates for key in template.keys)
        calls += (len(prefixes) + len(suffixes)) // _FAST
        self.weight = Weight(calls, size, self.keys)  # of matching one text
        self.prefix = _common(beginnings)  # a prefix of every text that matches (unless folded)

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
