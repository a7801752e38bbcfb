"""Random bytes: each is given out once, in whichever thread or process."""

from __future__ import annotations

import threading

from daypass.crypto import ids
from daypass.crypto.ids import random_bytes


def test_random_bytes_are_given_out_once_by_many_threads() -> None:
    given: list[list[bytes]] = [[] for _ in range(4)]

    def take(into: list[bytes]) -> None:
        into.extend(random_bytes(24) for _ in range(2000))

    threads = [threading.Thread(target=take, args=(into,)) for into in given]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    everything = [part for into in given for part in into]
    assert len(set(everything)) == len(everything) == 8000
    assert {len(part) for part in everything} == {24}


def test_random_bytes_of_any_size_have_it() -> None:
    for count in (0, 1, 31, 8191, 8192, 8193, 100_000):
        assert len(random_bytes(count)) == count


def test_random_bytes_of_a_forked_child_are_not_its_parents() -> None:
    random_bytes(1)  # a page is there
    ids._renew()
    assert ids._page.getvalue() == b""
    assert random_bytes(32) != random_bytes(32)
