"""Random bytes from the operating system, fetched by the page.

Each request for a few bytes would cost a system call, which releases the interpreter lock. Every byte is used once. A
forked child starts with an empty page, never with its parent's.
"""

from __future__ import annotations

import os
from io import BytesIO

_PAGE = 8192  # bytes


def _renew() -> None:
    global _page  # noqa: PLW0603  # one page for all threads  # the child's own
    _page = BytesIO()


_page = BytesIO()
os.register_at_fork(after_in_child=_renew)


def random_bytes(count: int) -> bytes:
    """`count` bytes fit for keys, salts and secrets. Safe to call from any thread."""
    global _page  # noqa: PLW0603  # one page for all threads
    taken = _page.read(count)  # one atomic step that advances past the bytes it returns: no lock is needed
    if len(taken) == count:
        return taken
    page = BytesIO(os.urandom(_PAGE + count))
    taken = page.read(count)
    _page = page  # if two threads renew it at once, one page is dropped
    return taken
