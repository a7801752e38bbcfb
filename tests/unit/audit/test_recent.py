"""The batches of the last minutes: which are held, and which are sent again after a failover."""

from __future__ import annotations

import weakref
from typing import Any

import pytest

from daypass.audit import recent
from daypass.audit.log import LogBatch, Position
from daypass.audit.recent import RecentBatches
from daypass.audit.sql import RECORD_COLUMNS


class Told:
    """Stands for an item, which refers to its request, event and session."""


class Statements:
    """Records what is inserted."""

    def __init__(self) -> None:
        self.seqs: list[int] = []

    def insert_records(self, _conn: Any, rows: list[tuple[Any, ...]]) -> int:
        self.seqs += [row[1] for row in rows]
        return len(rows)


def batch(first: int, count: int = 2, size: int = 10) -> LogBatch:
    """Records `first` to `first` + `count` - 1."""

    def row(seq: int) -> tuple[Any, ...]:
        values = {"log": "log", "seq": seq, "at": seq, "account": "1", "operation": f"iam:{seq}", "bytes": b"x" * size}
        return tuple(values.get(name) for name in RECORD_COLUMNS)

    start, end = Position(first - 1, b"%d" % (first - 1)), Position(first + count - 1, b"%d" % (first + count - 1))
    return LogBatch(start, end, [row(seq) for seq in range(first, first + count)])


def restored(held: RecentBatches, at: Position | None, monkeypatch: pytest.MonkeyPatch) -> tuple[list[int], Any]:
    monkeypatch.setattr(recent, "note_hours", lambda *_: None)
    monkeypatch.setattr(recent, "head", lambda *_: None if at is None else (at.seq, at.chain))
    statements = Statements()
    found = held.restore(None, statements)  # type: ignore[arg-type]
    return statements.seqs, found


def test_restore_sends_what_follows_the_end_in_the_database(monkeypatch: pytest.MonkeyPatch) -> None:
    held = RecentBatches()
    for first in (0, 2, 4):
        held.note("log", batch(first), changed=first == 4)
    seqs, [found] = restored(held, Position(1, b"1"), monkeypatch)
    assert seqs == [2, 3, 4, 5]
    assert found.detail() == {
        "log": "log",
        "records": 4,
        "first": 2,
        "lost_changes": 2,
        "named": [{"seq": 4, "operation": "iam:4"}, {"seq": 5, "operation": "iam:5"}],
    }


@pytest.mark.parametrize("at", [Position(5, b"5"), Position(1, b"other"), Position(0, b"0"), Position(9, b"9"), None])
def test_restore_leaves_a_log_alone_that_is_complete_or_has_another_history(
    at: Position | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    held = RecentBatches()
    for first in (0, 2, 4):
        held.note("log", batch(first))
    assert restored(held, at, monkeypatch) == ([], [])


def test_batches_are_held_for_some_minutes_and_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    held = RecentBatches(lambda: now[0])
    held.note("log", batch(0))
    now[0] = recent.SECONDS + 1
    held.note("log", batch(2))
    assert restored(held, Position(-1, b"-1"), monkeypatch)[0] == []
    assert restored(held, Position(1, b"1"), monkeypatch)[0] == [2, 3]
    monkeypatch.setattr(recent, "MAX_BYTES", 5000)
    held.note("log", batch(4, 1, 4500))
    assert restored(held, Position(1, b"1"), monkeypatch)[0] == []
    assert restored(held, Position(3, b"3"), monkeypatch)[0] == [4]


def test_batch_that_does_not_continue_the_ones_before_replaces_them(monkeypatch: pytest.MonkeyPatch) -> None:
    held = RecentBatches()
    held.note("log", batch(0))
    held.note("log", batch(4))
    assert restored(held, Position(-1, b"-1"), monkeypatch)[0] == []
    assert restored(held, Position(3, b"3"), monkeypatch)[0] == [4, 5]


def test_note_holds_the_rows_of_a_batch_and_none_of_its_items() -> None:
    held, noted = RecentBatches(), batch(0)
    held.note("log", noted)
    item = Told()
    noted.outcome.done.append((item, None))  # type: ignore[arg-type]
    known = weakref.ref(item)
    del item
    assert known() is not None
    del noted
    assert known() is None


def test_note_of_a_database_without_failover_holds_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    held = RecentBatches(fails_over=False)
    for first in (0, 2):
        held.note("log", batch(first))
    assert restored(held, Position(1, b"1"), monkeypatch) == ([], [])
