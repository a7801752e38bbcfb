"""Who is on call: iCalendar with recurrences and time zones, the shapes of on-call systems, and hostile input."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest

from daypass import outbound as module
from daypass.config import Settings
from daypass.outbound import READERS, Schedules
from daypass.ports import OutboundFailed
from daypass.server.heavy import HeavyProcesses
from daypass.server.worker import Setup

OWNER = "111122223333"
CALENDAR = b"""BEGIN:VCALENDAR\r
VERSION:2.0\r
PRODID:-//test//\r
BEGIN:VEVENT\r
UID:1\r
DTSTART;TZID=Europe/Berlin:20261105T080000\r
DTEND;TZID=Europe/Berlin:20261105T180000\r
RRULE:FREQ=WEEKLY;BYDAY=TH\r
SUMMARY:On call: Lou\r
ATTENDEE;CN=Ann Example:mailto:Ann@Example.com\r
END:VEVENT\r
BEGIN:VEVENT\r
UID:2\r
DTSTART:20261127T080000Z\r
DTEND:20261127T180000Z\r
SUMMARY:eve\r
END:VEVENT\r
END:VCALENDAR\r
"""


class Answers:
    """Outbound that answers from a table."""

    def __init__(self, **bodies: bytes) -> None:
        self.bodies = bodies
        self.got: list[tuple[str, Mapping[str, str]]] = []

    async def get(self, url: str, headers: Mapping[str, str], *, owner: str) -> bytes:
        self.got.append((url, headers))
        try:
            return self.bodies[url.partition("?")[0].rpartition("/")[2]]
        except KeyError:
            raise OutboundFailed("timeout") from None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, owner: str) -> bytes:
        raise NotImplementedError


class Here:
    """Heavy work that is done at once."""

    async def compute(self, account: str, work: Callable[..., Any], *args: Any, quick: bool = False) -> Any:
        return work(*args)


def schedules(outbound: Any = None, heavy: Any = None, **settings: Any) -> Schedules:
    access = Settings.model_validate({"access": settings}).access
    return Schedules(access, outbound or Answers(), heavy or Here())


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_icalendar_names_the_persons_of_the_events_that_are_going_on() -> None:
    read = READERS["icalendar"]
    people = read(CALENDAR, at("2026-11-26T09:00:00+01:00"))
    assert people == {"ann@example.com", "ann example", "lou"}, "the words before a name are no person"
    assert read(CALENDAR, at("2026-11-26T07:59:00+01:00")) == frozenset()
    assert read(CALENDAR, at("2026-11-26T18:00:00+01:00")) == frozenset()
    assert read(CALENDAR, at("2026-11-27T08:00:00+00:00")) == {"eve"}


@pytest.mark.parametrize(
    ("kind", "answer", "people"),
    [
        ("pagerduty", {"oncalls": [{"user": {"email": "Ann@x.org", "summary": "Ann"}}]}, {"ann@x.org", "ann"}),
        (
            "opsgenie",
            {"data": {"onCallParticipants": [{"name": "ann@x.org", "type": "user"}, {"name": "t", "type": "team"}]}},
            {"ann@x.org"},
        ),
        (
            "incident.io",
            {"schedule": {"current_shifts": [{"user": {"email": "ann@x.org", "name": "Ann"}}]}},
            {"ann@x.org", "ann"},
        ),
    ],
)
async def test_on_call_systems_are_asked_with_their_token_once_a_minute(
    kind: str, answer: dict[str, Any], people: set[str]
) -> None:
    outbound = Answers(now=json.dumps(answer).encode())
    reader = schedules(outbound, schedule_tokens={OWNER: {"api.example": "Token x"}})
    for _ in range(3):
        assert await reader.on_call(kind, "https://api.example/now", 1, owner=OWNER) == people
    page = "?limit=100&offset=0" if kind == "pagerduty" else ""
    assert outbound.got == [(f"https://api.example/now{page}", {"authorization": "Token x"})]


@pytest.mark.parametrize("kind", ["icalendar", "pagerduty", "opsgenie", "incident.io"])
async def test_a194_on_call_with_a_rule_of_another_account_sends_no_token(kind: str) -> None:
    outbound = Answers()
    reader = schedules(outbound, schedule_tokens={OWNER: {"api.example": "Token x"}})
    for url in ("https://api.example/now", "https://API.example:443/now"):
        with pytest.raises(OutboundFailed):
            await reader.on_call(kind, url, 1, owner="444455556666")
    assert [headers for _, headers in outbound.got] == [{}, {}]


@pytest.mark.parametrize("account", ["api.pagerduty.com", "11112222333", "1111222233334", "*"])
def test_schedule_tokens_without_an_account_are_refused_without_showing_them(account: str) -> None:
    with pytest.raises(ValueError, match="schedule_tokens") as refused:
        schedules(schedule_tokens={account: {"api.example": "canary-token"}})
    assert "canary" not in str(refused.value)


@pytest.mark.parametrize("host", ["api.example:443", "https://api.example", "API.example", "api.example/v2", ""])
def test_schedule_token_for_what_is_no_host_is_refused_without_showing_it(host: str) -> None:
    with pytest.raises(ValueError, match="schedule_tokens") as refused:
        schedules(schedule_tokens={OWNER: {host: "canary-token"}})
    assert "canary" not in str(refused.value)


class Pages:
    """PagerDuty's API with so many entries on call, in pages."""

    def __init__(self, count: int) -> None:
        self.count = count
        self.got: list[str] = []

    async def get(self, url: str, headers: Mapping[str, str], *, owner: str) -> bytes:
        self.got.append(url)
        query = {name: values[0] for name, values in parse_qs(urlsplit(url).query).items()}
        offset, limit = int(query["offset"]), int(query["limit"])
        entries = [{"user": {"email": f"u{n}@x.org"}} for n in range(offset, min(offset + limit, self.count))]
        return json.dumps({"oncalls": entries, "more": offset + limit < self.count}).encode()


async def test_pagerduty_pages_are_followed_to_the_last() -> None:
    outbound = Pages(250)
    people = await schedules(outbound).on_call(
        "pagerduty", "https://a.example/oncalls?schedule_ids[]=P1&include[]=users&limit=5&offset=7", 1, owner=OWNER
    )
    assert people == {f"u{n}@x.org" for n in range(250)}
    assert outbound.got == [
        f"https://a.example/oncalls?schedule_ids[]=P1&include[]=users&limit=100&offset={offset}"
        for offset in (0, 100, 200)
    ]


async def test_pagerduty_with_endless_pages_names_nobody_after_a_bounded_number() -> None:
    outbound = Pages(10**9)
    with pytest.raises(OutboundFailed, match="more than 20 pages"):
        await schedules(outbound).on_call("pagerduty", "https://a.example/oncalls", 1, owner=OWNER)
    assert len(outbound.got) == 20


@pytest.mark.parametrize("data", [b"", b"{}", b"BEGIN:VCALENDAR", b"\xff" * 100, b"[" * 100_000])
@pytest.mark.parametrize("kind", sorted(READERS))
async def test_schedule_that_cannot_be_read_names_nobody(kind: str, data: bytes) -> None:
    reader = schedules(Answers(x=data))
    if kind == "icalendar" and b"[" not in data and b"\xff" not in data:  # an empty calendar is one with nobody in it
        with suppress(OutboundFailed):
            assert await reader.on_call(kind, "https://a.example/x", 1, owner="1") == frozenset()
        return
    with pytest.raises(OutboundFailed, match="cannot be read"):
        await reader.on_call(kind, "https://a.example/x", 1, owner="1")


async def test_calendar_file_is_read_from_the_configured_directory_alone(tmp_path: Path) -> None:
    (tmp_path / "team").mkdir()
    (tmp_path / "team" / "ops.ics").write_bytes(CALENDAR)
    (tmp_path / "secret.ics").write_bytes(CALENDAR)
    reader = schedules(calendars=str(tmp_path / "team"))
    now = at("2026-11-26T09:00:00+01:00")
    assert "ann@example.com" in await reader.on_call("icalendar", "ops.ics", now, owner="1")
    for name in ("../secret.ics", "/etc/passwd", ".hidden", "none.ics", "team/ops.ics"):
        with pytest.raises(OutboundFailed):
            await reader.on_call("icalendar", name, now, owner="1")
    with pytest.raises(OutboundFailed):
        await schedules().on_call("icalendar", "ops.ics", now, owner="1")


NEVER = b"RRULE:FREQ=SECONDLY;BYMONTH=2;BYMONTHDAY=30"


@pytest.mark.slow  # it starts a worker process
async def test_a265_calendar_whose_search_never_ends_is_given_up_once_a_minute_and_others_are_read() -> None:
    begin, end = CALENDAR.index(b"BEGIN:VEVENT"), CALENDAR.index(b"END:VCALENDAR")
    event = CALENDAR[begin:end].replace(b"RRULE:FREQ=WEEKLY;BYDAY=TH", NEVER)  # each takes seconds
    endless = CALENDAR[:begin] + b"".join(event.replace(b"UID:", b"UID:%d-" % n) for n in range(50)) + CALENDAR[end:]
    outbound, heavy = Answers(bad=endless, good=CALENDAR), HeavyProcesses(1, Setup("sqlite:////nowhere.db", {}))
    try:
        reader = schedules(outbound, heavy)
        for _ in range(3):
            with pytest.raises(OutboundFailed, match="takes too long"):
                await reader.on_call("icalendar", "https://a.example/bad", 1, owner=OWNER)
        assert len(outbound.got) == 1
        now = at("2026-11-26T09:00:00+01:00")
        people = await schedules(outbound, heavy).on_call("icalendar", "https://a.example/good", now, owner="1")
        assert "ann@example.com" in people
    finally:
        await heavy.close()


async def test_schedule_that_failed_is_not_fetched_again_for_a_minute() -> None:
    outbound = Answers()
    reader = schedules(outbound)
    for _ in range(3):
        with pytest.raises(OutboundFailed, match="timeout"):
            await reader.on_call("icalendar", "https://a.example/x", 1, owner=OWNER)
    assert len(outbound.got) == 1


async def test_schedule_with_many_slow_pages_is_given_up_as_a_whole(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_NO_PAGE_AFTER", 0.05)
    asked = 0

    class Slow(Answers):
        async def get(self, url: str, headers: Mapping[str, str], *, owner: str) -> bytes:
            nonlocal asked
            asked += 1
            await asyncio.sleep(0.02)
            return b'{"oncalls": [], "more": true}'

    reader = schedules(Slow())
    for _ in range(2):  # the failure is cached
        with pytest.raises(OutboundFailed, match="takes too long"):
            await reader.on_call("pagerduty", "https://api.pagerduty.example/oncalls", 1, owner=OWNER)
    assert asked < 20
