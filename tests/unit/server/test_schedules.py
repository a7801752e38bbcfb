"""Who is on call: iCalendar with recurrences and time zones, the shapes of on-call systems, and hostile input."""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from daypass.config import Settings
from daypass.ports import OutboundFailed
from daypass.server.schedules import READERS, FetchedSchedules

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
            return self.bodies[url.rpartition("/")[2]]
        except KeyError:
            raise OutboundFailed("timeout") from None

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], *, owner: str) -> bytes:
        raise NotImplementedError


def schedules(outbound: Any = None, **settings: Any) -> FetchedSchedules:
    return FetchedSchedules(Settings.model_validate({"access": settings}).access, outbound or Answers())


def at(text: str) -> int:
    return int(datetime.fromisoformat(text).timestamp() * 1000)


def test_icalendar_names_the_persons_of_the_events_that_are_going_on() -> None:
    read = READERS["icalendar"]
    people = read(CALENDAR, at("2026-11-26T09:00:00+01:00"))
    assert people == {"ann@example.com", "ann example", "on call: lou", "lou"}
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
    reader = schedules(outbound, schedule_tokens={"api.example": "Token x"})
    for _ in range(3):
        assert await reader.on_call(kind, "https://api.example/now", 1, owner="1") == people
    assert outbound.got == [("https://api.example/now", {"authorization": "Token x"})]


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
