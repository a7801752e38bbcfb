"""The positions of each character of a text, as the bits of one integer, so that patterns with `?` are searched in C.

Bit `i` of a mask is character `i` of the text. Shifting and intersecting masks follows all positions of a pattern at
once. The work is the pattern's length times the text's length, one machine word of positions at a time, without
backtracking.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import lru_cache


class CharacterPositions:
    """The masks of one text, computed on demand."""

    __slots__ = ("_masks", "_planes", "_size")

    def __init__(self, text: str) -> None:
        self._size = len(text)
        self._masks: dict[str, int] = {}
        try:
            self._planes = (text.encode("latin-1")[::-1],)
        except UnicodeEncodeError:  # three bytes are enough for every code point
            raw = text.encode("utf-32-le", "surrogatepass")
            self._planes = (raw[0::4][::-1], raw[1::4][::-1], raw[2::4][::-1])  # type: ignore[assignment]  # one plane or three

    def of(self, char: str) -> int:
        """The positions of a character."""
        mask = self._masks.get(char)
        if mask is None:
            mask = self._masks[char] = self._scan(ord(char))
        return mask

    def _scan(self, code: int) -> int:
        found = (1 << self._size) - 1
        for plane in self._planes:
            if not found:
                return 0
            code, byte = divmod(code, 256)
            found &= int(plane.translate(_ONES[byte]), 2)
        return found if not code else 0

    def first(self, pieces: Iterable[tuple[int, str]], start: int, stop: int) -> int:
        """The first position in start..stop at which each piece matches at its offset; -1 when there is none."""
        found = -1
        for offset, piece in pieces:
            for index, char in enumerate(piece, start + offset):
                found &= self.of(char) >> index
                if not found:
                    return -1
        place = start + (found & -found).bit_length() - 1
        return place if place <= stop else -1


_ONES = tuple(b"0" * byte + b"1" + b"0" * (255 - byte) for byte in range(256))
"""For each byte, the table that maps it to the digit 1 and all others to 0."""


@lru_cache(maxsize=4)  # the patterns of one decision are matched with the same few texts
def positions_of(text: str) -> CharacterPositions:
    return CharacterPositions(text)
