"""The ids that the record is indexed by grow with time: an index on random ones costs more than the row."""

from __future__ import annotations

import time
import uuid

from daypass.crypto.ids import Ids


def test_session_ids_are_in_order_of_time() -> None:
    ids, made = Ids(), []
    began = time.time_ns() // 1_000_000
    for _ in range(5):
        made.append(ids.session())
        time.sleep(0.002)
    assert made == sorted(made)
    assert all(len(each) == 32 and each == each.lower() and int(each, 16) >= 0 for each in made)
    assert began <= int(made[-1][:12], 16) <= time.time_ns() // 1_000_000


def test_request_ids_are_version_7_uuids_in_order_of_time() -> None:
    ids, made = Ids(), []
    for _ in range(5):
        made.append(ids.request())
        time.sleep(0.002)
    assert made == sorted(made)
    for each in made:
        parsed = uuid.UUID(each)
        assert (str(parsed), parsed.version, parsed.variant) == (each, 7, uuid.RFC_4122)


def test_ids_of_the_same_millisecond_differ_and_are_in_order() -> None:
    ids = Ids()
    made = [ids.session() for _ in range(20_000)]
    assert made == sorted(made)
    assert len({ids.session() for _ in range(20_000)} | {ids.request() for _ in range(20_000)}) == 40_000
