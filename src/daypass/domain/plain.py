"""Writing JSON by hand where it is written most often: strings between quotation marks, and one look at the result.

A string of printable ASCII with neither quotation mark nor backslash stands in JSON as it is. So a text into which strings
were put unquoted is what an encoder would have made of them if nothing but such characters is in it, and no more
quotation marks than were written. Who finds that it is not must throw the text away and let an encoder make it.
"""

from __future__ import annotations

from typing import Final

_PLAIN: Final = bytes(set(range(0x20, 0x7F)) - set(b'"\\'))


def is_plain(text: str, strings: int) -> bool:
    """Whether the `strings` strings of JSON in `text`, names of members included, needed no quoting."""
    return text.isascii() and text.encode().translate(None, _PLAIN) == b'""' * strings
