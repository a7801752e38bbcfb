"""Random bytes from the operating system, fetched by the page.

Asking for a few bytes at a time costs a system call each, and each hands the interpreter lock to another thread. Every
byte is given out once. A forked child starts with an empty page, never with its parent's.
"""

from __future__ import annotations

import os
import threading

_PAGE = 8192


class _Pool:
    __slots__ = ("at", "lock", "page")

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.page = b""
        self.at = 0


def _renew() -> None:
    global _pool  # noqa: PLW0603  # the child's own; the parent's lock may be held by a thread that is not here
    _pool = _Pool()


_pool = _Pool()
os.register_at_fork(after_in_child=_renew)


def random_bytes(count: int) -> bytes:
    """`count` bytes fit for keys, salts and secrets. Safe to call from any thread."""
    if count > _PAGE:
        return os.urandom(count)
    pool = _pool
    with pool.lock:
        start = pool.at
        end = start + count
        if end > len(pool.page):
            pool.page = os.urandom(_PAGE)
            start, end = 0, count
        pool.at = end
        return pool.page[start:end]
