"""Figures that are counted a page at a time are those that a count of all records gives."""

from __future__ import annotations

import asyncio
from random import Random
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.record import figures, summarize
from daypass.operations.record.explore import place_of
from daypass.operations.record.figures import Figures
from daypass.operations.record.summarize import AGAIN_MS, FRESH_MS, LATE_MS, STEP, Counting, Summaries
from daypass.ports import Env, RecordFilter, RecordView, Viewer

LENGTH = 3_600_000
START = 10 * LENGTH
VIEWER = Viewer("111122223333")


class FakeRecords:
    """A record in memory. `sent`: the searches."""

    def __init__(self) -> None:
        self.views: list[RecordView] = []
        self.sent: list[RecordFilter] = []
        self.fails = False

    def add(self, at: int, body: dict[str, Any]) -> None:
        self.views.append(RecordView("log", len(self.views), at, "", "", body, b""))

    def refuse(self, at: int, number: int) -> None:
        for _ in range(number):
            self.add(at, {"type": "request.denied", "operation": "sts:AssumeRole", "error": "access_denied"})

    async def search(self, _: Viewer, query: RecordFilter) -> list[RecordView]:
        self.sent.append(query)
        await asyncio.sleep(0)
        if self.fails:
            raise DaypassError(ErrorKind.UNAVAILABLE, "The database is unavailable.")
        return self.between(query.since or 0, query.until or 0, query.before)[: query.limit]

    def between(self, since: int, until: int, before: tuple[int, str, int] | None = None) -> list[RecordView]:
        found = [view for view in self.views if since <= view.at < until and (not before or place_of(view) < before)]
        return sorted(found, key=place_of, reverse=True)


@pytest.fixture
def records() -> FakeRecords:
    return FakeRecords()


@pytest.fixture
def env(records: FakeRecords) -> Env:
    return cast("Env", SimpleNamespace(records=records))


def counting(region: str = "") -> Counting:
    return Counting(VIEWER, "", LENGTH, region)


async def whole(each: Counting, env: Env, now: int) -> figures.Summary:
    found = await each.advance(env, now)
    while found.counting:
        found = await each.advance(env, now)
    return found


def event(random: Random, at: int) -> dict[str, Any]:
    region = random.choice(["", "eu-central-1", "us-east-1"])
    who = {"arn": f"arn:aws:iam::111122223333:user/u{random.randrange(30)}"}
    body: dict[str, Any] = {"source": {"region": region, "ip": "192.0.2.1"}, "operation": "sts:AssumeRole"}
    if random.random() < 0.9:
        body["actor"] = who
    issued = {"kind": "role", "principal": f"role-{random.randrange(9)}", "expires_at": at + random.randrange(10**8)}
    chosen: dict[str, Any] = random.choice(
        [
            {"type": "session.issued", "detail": issued, "grant_id": random.choice(["", "g"])},
            {"type": "request.denied", "error": "access_denied", "decision": {"blocked_by": "resource"}},
            {"type": "request.failed", "error": "expired_credentials", "detail": {"private": {"reason": "revoked"}}},
            {"type": "request.repeated", "error": "access_denied", "detail": {"count": random.randrange(1, 9)}},
            {"type": "access.requested", "detail": {"risk": random.randrange(100), "automatic": random.random() < 0.3}},
            {"type": "access.approved", "detail": {"waited_ms": random.randrange(10**6)}},
            {"type": "anomaly.detected", "detail": {"severity": random.choice(["low", "high"])}},
            {"type": "request.allowed", "operation": "iam:GetRole"},
        ]
    )
    return body | chosen


@pytest.mark.parametrize("region", ["", "eu-central-1"])
@pytest.mark.parametrize("most", [5_000, 300])
async def test_advance_with_new_and_late_records_equals_a_full_count(
    records: FakeRecords, env: Env, monkeypatch: pytest.MonkeyPatch, region: str, most: int
) -> None:
    for module in (figures, summarize):
        monkeypatch.setattr(module, "MAX_RECORDS", most)
    random, now, kept = Random(most), START, counting(region)
    for _ in range(20):
        before, now = now, now + random.choice([FRESH_MS, 60_000, LENGTH // 4])
        for _ in range(random.choice([0, 3, 400])):
            at = random.randrange(before - LATE_MS, now)
            records.add(at, event(random, at))
        found = await whole(kept, env, now)
        full, every = Figures(region), records.between(now - LENGTH, now)
        full.add(every[:most])
        assert found == full.summary(now - LENGTH, now, complete=len(every) < most)
    assert sum(found.series["issued"]) > 0


async def test_advance_reads_one_page_and_later_only_what_arrived(records: FakeRecords, env: Env) -> None:
    records.refuse(START - LENGTH // 2, 2 * STEP + 10)
    kept = counting()
    read = [(await kept.advance(env, START)).read for _ in range(3)]
    assert read == [STEP, 2 * STEP, 2 * STEP + 10]
    assert [query.limit for query in records.sent] == [STEP] * 3
    fresh = await kept.advance(env, START + FRESH_MS - 1)
    assert (fresh.read, fresh.complete, len(records.sent)) == (read[-1], True, 3)
    records.refuse(START + 1, 1)
    assert (await kept.advance(env, START + FRESH_MS)).read == read[-1] + 1
    assert records.sent[-1].since == START - LATE_MS


async def test_advance_after_some_minutes_finds_records_that_were_committed_later(
    records: FakeRecords, env: Env
) -> None:
    kept = counting()
    assert (await whole(kept, env, START)).read == 0
    records.refuse(START - 2 * LATE_MS, 1)
    assert (await whole(kept, env, START + FRESH_MS)).read == 0
    assert (await whole(kept, env, START + AGAIN_MS)).read == 1


async def test_advance_of_two_readers_shares_a_page_and_a_failed_one_is_read_again(
    records: FakeRecords, env: Env
) -> None:
    records.refuse(START - 1, STEP + 1)
    kept, records.fails = counting(), True
    first = await asyncio.gather(*(kept.advance(env, START) for _ in range(2)), return_exceptions=True)
    assert [type(each) for each in first] == [DaypassError] * 2
    records.fails = False
    both = await asyncio.gather(*(kept.advance(env, START) for _ in range(2)))
    assert [each.read for each in both] == [STEP] * 2
    assert len(records.sent) == 2
    assert (await kept.advance(env, START)).read == STEP + 1


async def test_summaries_drop_figures_that_nobody_looks_at(records: FakeRecords, env: Env) -> None:
    summaries = Summaries()
    kept = summaries.get(VIEWER, "", LENGTH, "", START)
    await kept.advance(env, START)
    assert summaries.get(VIEWER, "", LENGTH, "", START + FRESH_MS) is kept
    assert summaries.get(Viewer("444455556666"), "", LENGTH, "", START) is not kept
    assert summaries.get(VIEWER, "", LENGTH, "", START + AGAIN_MS) is not kept
    assert not records.views


async def test_summaries_of_one_account_displace_no_other_ones(records: FakeRecords, env: Env) -> None:
    summaries, other = Summaries(), Viewer("444455556666")
    kept = summaries.get(other, "", LENGTH, "", START)
    await kept.advance(env, START)
    for number in range(40):
        mine = summaries.get(VIEWER, "", LENGTH, f"region-{number}", START)
        await mine.advance(env, START)
    assert summaries.get(other, "", LENGTH, "", START) is kept
    assert summaries.get(VIEWER, "", LENGTH, "region-39", START) is mine
