"""Random bytes from the operating system, fetched by the page.

Asking for a few bytes at a time costs a system call each, and each hands the interpreter lock to another thread. Every
byte is given out once. A forked child starts with an empty page, never with its parent's.
"""

from __future__ import annotations

import os
import threading

_PAGE = 8192


class _Pool:
    def __init__(self) -> None:
        self._lock = threading.Lock()
        self.empty()

    def empty(self) -> None:
        self._page = b""
        self._at = 0

    def take(self, count: int) -> bytes:
        """`count` bytes fit for keys, salts and secrets. Safe to call from any thread."""
        with self._lock:
            start = self._at
            self._at = end = start + count
            if end <= len(self._page):
                return self._page[start:end]
            if count > _PAGE:
                self._at = start
                return os.urandom(count)
            self._page = os.urandom(_PAGE)
            self._at = count
            return self._page[:count]


def _renew() -> None:
    global _pool  # noqa: PLW0603  # the child's own; the parent's lock may be held by a thread that is not here
    _pool = _Pool()


_pool = _Pool()
os.register_at_fork(after_in_child=_renew)


def random_bytes(count: int) -> bytes:
    """`count` bytes fit for keys, salts and secrets. Safe to call from any thread."""
    return _pool.take(count)
