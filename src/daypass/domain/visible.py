"""Text of others, for people to read: what shows nothing, changes the order, covers other text or poses as another letter
becomes an escape.

Sources: Unicode Standard Annex 44 (Default_Ignorable_Code_Point); Unicode Technical Standard 39, 5 (mixed scripts).
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

BLANK: Final = frozenset(
    "\u034f\u115f\u1160\u17b4\u17b5\u180b\u180c\u180d\u180f\u2800\u3164\uffa0"
    + "".join(map(chr, (*range(0xFE00, 0xFE10), *range(0xE0100, 0xE01F0))))
)
"""Letters, marks and symbols that show nothing. `str.isprintable` finds the other invisible characters."""
_MARKS: Final = 4
"""Combining marks on one letter. More of them cover the lines above and below."""
_WORD: Final = re.compile(r"(?:[^\W\d_]|[\u0300-\u036f])+")
_LETTERS: Final = ("Lu", "Ll")
_POSING: Final = ("CYRILLIC", "GREEK", "ARMENIAN", "CHEROKEE", "COPTIC")
"""Scripts with letters that look like those of ASCII."""


def visible(text: str) -> str:
    """The text with escapes. Letters of another script are escaped where they stand in one word with letters of ASCII, and in an
    ARN. A whole word of another script stays as it is, and so do letters with accents.
    """
    if text.isascii():
        return text if text.isprintable() else "".join(map(_shown, text))
    known, shown, marks = text.startswith("arn:"), list[str](), 0
    for char in _WORD.sub(lambda word: _plain(word[0], known=known), text):
        marks = marks + 1 if unicodedata.category(char) in ("Mn", "Me") else 0
        shown.append(_shown(char) if marks <= _MARKS else _escape(char))
    return "".join(shown)


def _shown(char: str) -> str:
    return char if char.isprintable() and char not in BLANK else _escape(char)


def _plain(word: str, *, known: bool) -> str:
    """A word. `known`: it is one that has letters of ASCII."""
    if word.isascii():
        return word
    posing = known or any(char.isascii() for char in word)
    return "".join(_escape(char) if _is_variant(char) or (posing and _poses(char)) else char for char in word)


def _is_variant(char: str) -> bool:
    """Whether it is a letter of ASCII in another form: wide, bold, or joined."""
    return (
        not char.isascii() and unicodedata.category(char) in _LETTERS and unicodedata.normalize("NFKC", char).isascii()
    )


def _poses(char: str) -> bool:
    return unicodedata.name(char, "").startswith(_POSING)


def _escape(char: str) -> str:
    return f"\\u{ord(char):04x}"
