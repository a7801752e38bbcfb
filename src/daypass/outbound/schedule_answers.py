"""Who is on call, by an iCalendar file or the answer of an on-call system. It runs as heavy work: the search for the
recurrences of an event may never end.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final

PAGERDUTY: Final = "pagerduty"


def people_and_more(kind: str, data: bytes, now: int) -> tuple[frozenset[str], bool, str]:
    """The persons of an answer, whether there is another page, and why the answer cannot be read, if so."""
    try:
        more = kind == PAGERDUTY and json.loads(data).get("more") is True
        return READERS[kind](data, now), more, ""
    except Exception as error:  # noqa: BLE001  # nobody is on call if the answer cannot be read, for whatever reason
        return frozenset(), False, type(error).__name__


def icalendar_people(data: bytes, now: int) -> frozenset[str]:
    """The persons of the events that are going on: addresses and names of attendees, and summaries."""
    import recurring_ical_events  # noqa: PLC0415  # only rules with a schedule need it
    from icalendar import Calendar  # noqa: PLC0415

    at = datetime.fromtimestamp(now // 1000, UTC)
    people: set[str] = set()
    for event in recurring_ical_events.of(Calendar.from_ical(data)).between(at, at + timedelta(seconds=1)):
        attendees = event.get("ATTENDEE", [])
        for attendee in attendees if isinstance(attendees, list) else [attendees]:
            people.add(str(attendee).rpartition(":")[2])
            people.add(str(getattr(attendee, "params", {}).get("CN", "")))
        summary = str(event.get("SUMMARY", ""))
        people.update((summary, summary.rpartition(":")[2]))
    return _folded(people)


def pagerduty_people(data: bytes, now: int) -> frozenset[str]:  # noqa: ARG001  # the service has chosen the time
    """`GET /oncalls?include[]=users` of PagerDuty."""
    users = [entry["user"] for entry in json.loads(data)["oncalls"]]
    return _folded(str(user.get(name, "")) for user in users for name in ("email", "summary", "name"))


def opsgenie_people(data: bytes, now: int) -> frozenset[str]:  # noqa: ARG001  # the answer is about now
    """`GET /v2/schedules/ID/on-calls` of Opsgenie."""
    participants: Iterable[Mapping[str, Any]] = json.loads(data)["data"]["onCallParticipants"]
    return _folded(str(each["name"]) for each in participants if each.get("type") == "user")


def incident_io_people(data: bytes, now: int) -> frozenset[str]:  # noqa: ARG001  # the same
    """`GET /v2/schedules/ID` of incident.io."""
    shifts = json.loads(data)["schedule"]["current_shifts"]
    return _folded(str(shift["user"].get(name, "")) for shift in shifts for name in ("email", "name"))


def _folded(texts: Iterable[str]) -> frozenset[str]:
    return frozenset(text.strip().casefold() for text in texts) - {""}


READERS: Final[Mapping[str, Callable[[bytes, int], frozenset[str]]]] = {
    "icalendar": icalendar_people,
    PAGERDUTY: pagerduty_people,
    "opsgenie": opsgenie_people,
    "incident.io": incident_io_people,
}
