"""Anonymous refusals: the first few are durable each, repeats are counted, memory is bounded, nothing is forgotten."""

from __future__ import annotations

import json

import pytest
from msgspec.structs import replace

from daypass.audit import refusals
from daypass.audit.refusals import WINDOW_MS, Refusals
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType, encode

AT = 1_800_000_000_000


class Journal:
    """Keeps what was committed. `broken`: the database is away."""

    def __init__(self) -> None:
        self.events: list[Event] = []
        self.broken = False

    async def commit(self, event: Event, session: object = None) -> None:
        assert session is None
        if self.broken:
            raise DaypassError(ErrorKind.UNAVAILABLE, "away")
        self.events.append(event)

    async def write(self, change: object) -> None:
        raise AssertionError(change)


class World:
    def __init__(self, alike: int = 3) -> None:
        self.time = AT
        self.journal = Journal()
        self.counter = Refusals(self.journal, self, alike)  # type: ignore[arg-type]  # the part that is used

    def now(self) -> int:
        return self.time

    async def refuse(self, times: int = 1, ip: str = "192.0.2.1", agent: str = "curl", error: str = "a") -> None:
        for _ in range(times):
            self.time += 1
            await self.counter.record(event(self.time, ip, agent, error))

    @property
    def counted(self) -> list[Event]:
        return [e for e in self.journal.events if e.type is EventType.REQUEST_REPEATED]

    @property
    def total(self) -> int:
        return sum(e.detail["count"] if e.type is EventType.REQUEST_REPEATED else 1 for e in self.journal.events)


def event(at: int, ip: str, agent: str = "curl", error: str = "a") -> Event:
    source = {"ip": ip, "user_agent": agent}
    detail = {"parameters": {"RoleArn": f"arn:{agent}"}}
    return Event(
        EventType.REQUEST_UNAUTHENTICATED, at, source=source, operation="sts:AssumeRole", error=error, detail=detail
    )


async def test_record_first_refusals_of_a_kind_one_by_one_then_counts() -> None:
    world = World()
    await world.refuse(10)
    await world.refuse(2, error="b")
    assert [e.error for e in world.journal.events] == ["a", "a", "a", "b", "b"], "durable before the answer"
    world.time += WINDOW_MS
    await world.counter.write()
    (counted,) = world.counted
    assert (counted.error, counted.operation, counted.source) == ("a", "sts:AssumeRole", {"ip": "192.0.2.1"})
    assert (counted.detail["count"], counted.detail["first"], counted.detail["last"]) == (7, AT + 4, AT + 10)
    assert counted.detail["type"] == "request.unauthenticated"
    assert counted.detail["values"]["detail.parameters.RoleArn"] == {"arn:curl": 7}
    await world.refuse(1)
    assert world.journal.events[-1].type is EventType.REQUEST_UNAUTHENTICATED, "a new window"


async def test_record_of_many_values_names_the_first_and_counts_the_others() -> None:
    world = World()
    await world.refuse(3)
    for number in range(20):
        await world.refuse(2, agent=f"agent {number}")
    await world.counter.close()
    (counted,) = world.counted
    assert counted.detail["values"]["source.user_agent"] == {f"agent {n}": 2 for n in range(8)}
    assert counted.detail["others"]["source.user_agent"] == 24


async def test_record_of_many_kinds_from_one_source_is_bounded_as_a_whole() -> None:
    world = World()
    for number in range(100):
        await world.refuse(3, error=f"e{number}")
    assert len(world.journal.events) == 30
    await world.counter.close()
    assert world.total == 300
    assert len(world.counted) <= 33


async def test_record_other_source_is_not_affected_and_ipv6_hosts_are_networks() -> None:
    world = World()
    await world.refuse(5, "2001:db8::1")
    await world.refuse(5, "2001:db8::2:2")
    await world.refuse(1, "2001:db8:0:1::1")
    assert [e.source["ip"] for e in world.journal.events] == ["2001:db8::1"] * 3 + ["2001:db8:0:1::1"]
    await world.counter.close()
    (counted,) = world.counted
    assert counted.source == {"ip": "2001:db8::/64"}
    assert counted.detail["values"]["source.ip"] == {"2001:db8::1": 2, "2001:db8::2:2": 5}


async def test_record_while_the_database_is_away_is_unavailable_and_counts_are_written_later() -> None:
    world = World()
    await world.refuse(5)
    world.journal.broken = True
    world.time += WINDOW_MS
    await world.counter.write()
    for _ in range(5):
        with pytest.raises(DaypassError) as caught:
            await world.refuse()
        assert caught.value.kind is ErrorKind.UNAVAILABLE, "nothing like it is on the record yet"
    world.journal.broken = False
    await world.counter.write()
    assert world.total == 5


async def test_count_never_waits_for_the_journal() -> None:
    world = World()
    world.counter.count(event(AT, "192.0.2.1"))
    assert world.journal.events == []
    await world.counter.close()
    assert world.total == 1


async def test_a109_sources_without_end_are_bounded_and_all_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(refusals, "_SOURCES", 16)
    world = World(alike=1)
    for number in range(200):
        await world.refuse(2, ip=f"10.0.{number}.1")
        await world.counter.write()
    assert len(world.counter._sources) == 16
    await world.counter.close()
    assert world.total == 400


async def test_counted_event_of_hostile_values_is_small() -> None:
    world = World()
    await world.refuse(3)
    for number in range(500):
        detail = {f"é{n}" * 50: f"\0{number}" * 100 for n in range(40)}
        await world.counter.record(replace(event(world.time, "192.0.2.1"), detail=detail))
    await world.counter.close()
    (counted,) = world.counted
    assert counted.detail["count"] == 500
    assert len(encode(counted)) < 32_768
    assert "dropped" not in json.loads(encode(counted))["detail"]
