"""The parameter `next`: where a browser goes after the sign-in. It is a path of ours and nothing else (attack A88)."""

from __future__ import annotations

import re
from typing import Final

DEFAULT: Final = "/console/"
_PATH: Final = re.compile(
    r"/(?:[A-Za-z0-9._~!$&'()*+,;=:@%-][A-Za-z0-9._~!$&'()*+,;=:@%/-]*)?(?:\?[A-Za-z0-9._~!$&'()*+,;=:@%/?-]*)?"
)
_MAX: Final = 6_144


def checked(unverified: str) -> str:
    """The path, or the default for anything else: another origin, `//host`, a backslash, a control character.

    The character after the first slash is neither a slash nor a backslash, so no browser reads a host in it.
    """
    return unverified if len(unverified) <= _MAX and _PATH.fullmatch(unverified) else DEFAULT
