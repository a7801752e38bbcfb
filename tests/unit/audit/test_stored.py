"""How the bytes of events are read."""

from __future__ import annotations

import gc

import pytest
from sqlalchemy import create_engine

from daypass.audit.stored import events_of
from daypass.stores.records import audit_records


@pytest.mark.parametrize("count", [10, 1_000])
def test_events_of_leaves_nothing_for_the_garbage_collector_that_grows_with_the_number_of_records(count: int) -> None:
    """The garbage collector stops the event loop: see ADR 0011."""
    engine = create_engine("sqlite://")
    with engine.connect() as conn:
        audit_records.create(conn)
        events_of(conn, [("log", 1)])  # compiles the statement
        gc.collect()
        gc.disable()
        try:
            assert events_of(conn, [("log", number) for number in range(count)]) == {}
            assert gc.collect() < 10 + count // 10
        finally:
            gc.enable()
    engine.dispose()
