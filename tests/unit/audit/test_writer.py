"""The writer as other threads see it while its own thread changes it."""

from __future__ import annotations

import time
from types import SimpleNamespace
from typing import Any

from daypass.audit.batch import JournalOptions
from daypass.audit.writer import LogWriter


class _FinishesMeanwhile(LogWriter):
    """Its batch ends after the first time that another thread reads `busy_since`."""

    def __init__(self) -> None:
        self._options = JournalOptions()
        self._reads = [time.monotonic()]
        self._sink: Any = SimpleNamespace(hangs=False)
        self.unavailable_since = 0.0

    @property
    def busy_since(self) -> float:
        return self._reads.pop() if self._reads else 0.0


def test_stuck_batch_that_ends_while_it_is_read_is_not_stuck() -> None:
    assert not _FinishesMeanwhile().stuck_seconds


class _UnderWay(LogWriter):
    """Its batch began `busy` seconds ago, and its database has been unavailable for `away` seconds; 0 is: neither."""

    def __init__(self, *, hangs: bool, busy: float = 0.0, away: float = 0.0, deadline: float = 5.0) -> None:
        now = time.monotonic()
        self._options = JournalOptions(deadline_seconds=deadline)
        self._sink: Any = SimpleNamespace(hangs=hangs)
        self.busy_since = now - busy if busy else 0.0
        self.unavailable_since = now - away if away else 0.0


def test_stuck_seconds_are_those_of_the_batch_or_of_the_outage() -> None:
    assert _UnderWay(hangs=False, busy=1.5).stuck_seconds == 0.0
    assert _UnderWay(hangs=False, busy=9.0).stuck_seconds >= 9.0
    assert _UnderWay(hangs=True, busy=1.5).stuck_seconds >= 1.5
    assert _UnderWay(hangs=True, busy=0.5).stuck_seconds == 0.0
    assert _UnderWay(hangs=True, away=0.5).stuck_seconds >= 0.5
    assert _UnderWay(hangs=False, away=0.5).stuck_seconds == 0.0


def test_stuck_batch_whose_own_callers_still_wait_refuses_no_others() -> None:
    assert _UnderWay(hangs=False, busy=4.0).stuck_seconds == 0.0
    assert _UnderWay(hangs=False, busy=4.0, deadline=3.0).stuck_seconds >= 4.0
    assert _UnderWay(hangs=False, busy=40.0, deadline=60.0).stuck_seconds == 0.0
