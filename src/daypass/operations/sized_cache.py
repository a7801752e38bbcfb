"""A cache of values computed from texts. It is limited by the total size of the texts, because callers choose their length."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Callable
from typing import Generic, TypeVar

V = TypeVar("V")


class SizedCache(Generic[V]):
    """Calls `make` once per text while the result is cached.

    Threads may share it; two threads that miss the same text at the same time both compute it. A compiled policy takes
    up to twenty times the memory of its text. Exceptions from `make` are not cached.

    Args:
        make: computes the value of a text.
        characters: maximum characters of all texts together; the least recently used are removed first. A text longer
            than a sixteenth of that is not cached, so that one caller cannot empty the cache with a few requests.
    """

    def __init__(self, make: Callable[[str], V], characters: int) -> None:
        self._make = make
        self._limit = characters
        self._size = 0
        self._lock = threading.Lock()
        self._values: OrderedDict[str, tuple[V]] = OrderedDict()

    def __len__(self) -> int:
        return len(self._values)

    @property
    def characters(self) -> int:
        """The characters of all cached texts."""
        return self._size

    def __call__(self, text: str) -> V:
        with self._lock:
            value = self._values.get(text)
            if value is not None:
                self._values.move_to_end(text)
                return value[0]
        made = self._make(text)
        self.add(text, made)
        return made

    def __contains__(self, text: str) -> bool:
        return text in self._values

    def add(self, text: str, made: V) -> None:
        """Caches a value that was computed elsewhere."""
        if len(text) * 16 > self._limit:
            return
        with self._lock:
            if text not in self._values:
                self._size += len(text)
            self._values[text] = (made,)
            while self._size > self._limit:
                oldest, _ = self._values.popitem(last=False)
                self._size -= len(oldest)
