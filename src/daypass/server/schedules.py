"""`ports.Schedules`: who is on call, from iCalendar files and URLs, and from the APIs of on-call systems.

Answers are cached for a minute. A calendar is parsed on a thread, because its recurrences may take a while. It must
never read a file outside the configured directory.
"""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from daypass.config import AccessSettings
from daypass.ports import Outbound, OutboundFailed

_CACHED_SECONDS: Final = 60.0
_MOST_CACHED: Final = 500
_MOST_BYTES: Final = 1_048_576
_MOST_SECONDS: Final = 5.0
PAGERDUTY: Final = "pagerduty"
_MOST_PAGES: Final = 20
_PAGE: Final = 100  # entries; the most that PagerDuty sends


class FetchedSchedules:
    """Schedules of accounts.

    Args:
        settings: the directory of calendar files, and tokens by account and host.
        outbound: fetches.
    """

    def __init__(self, settings: AccessSettings, outbound: Outbound) -> None:
        self._directory = settings.calendars
        self._tokens = settings.schedule_tokens
        self._outbound = outbound
        self._cache: dict[tuple[str, str, str], tuple[float, frozenset[str]]] = {}

    async def on_call(self, kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        """See `ports.Schedules`."""
        key = (owner, kind, source)
        found = self._cache.get(key)
        if found is not None and time.monotonic() < found[0]:
            return found[1]
        people = await self._read(kind, source, now, owner)
        if len(self._cache) >= _MOST_CACHED:
            self._cache.clear()
        self._cache[key] = (time.monotonic() + _CACHED_SECONDS, people)
        return people

    async def _read(self, kind: str, source: str, now: int, owner: str) -> frozenset[str]:
        people: frozenset[str] = frozenset()
        for page in range(_MOST_PAGES):
            data = await self._bytes(page_of(kind, source, page), owner)
            found, more = await self._parsed(kind, data, now)
            people |= found
            if not more:
                return people
        raise OutboundFailed(f"the schedule has more than {_MOST_PAGES} pages")

    async def _parsed(self, kind: str, data: bytes, now: int) -> tuple[frozenset[str], bool]:
        """The persons of an answer, and whether there is another page."""
        try:
            async with asyncio.timeout(_MOST_SECONDS):
                return await asyncio.to_thread(_people_and_more, kind, data, now)
        except TimeoutError:
            raise OutboundFailed("the calendar takes too long to read") from None
        except Exception as error:  # noqa: BLE001  # nobody is on call if the answer cannot be read, for whatever reason
            raise OutboundFailed(f"the schedule cannot be read: {type(error).__name__}") from None

    async def _bytes(self, source: str, owner: str) -> bytes:
        if source.startswith(("https://", "http://")):
            token = self._tokens.get(owner, {}).get((urlsplit(source).hostname or "").lower())
            headers = {"authorization": token.get_secret_value()} if token is not None else {}
            return await self._outbound.get(source, headers, owner=owner)
        return await asyncio.to_thread(self._file, source)

    def _file(self, name: str) -> bytes:
        if self._directory is None or "/" in name or name.startswith("."):
            raise OutboundFailed("a calendar is an https URL, or a file in the configured directory (access.calendars)")
        path = Path(self._directory) / name
        try:
            if path.stat().st_size > _MOST_BYTES:
                raise OutboundFailed("the calendar is too large")
            return path.read_bytes()
        except OSError:
            raise OutboundFailed("the calendar file cannot be read") from None


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


def page_of(kind: str, source: str, page: int) -> str:
    """The address of a page of the answer, counted from 0. Only PagerDuty's answers have several.

    Source: PagerDuty REST API, "Pagination" (classic): `limit` and `offset`, and `more` in the answer.
    """
    if kind != PAGERDUTY:
        return source
    parts = urlsplit(source)
    own = [(n, v) for n, v in parse_qsl(parts.query, keep_blank_values=True) if n not in ("limit", "offset")]
    query = urlencode([*own, ("limit", str(_PAGE)), ("offset", str(page * _PAGE))], quote_via=quote, safe="[]")
    return urlunsplit(parts._replace(query=query))


def _people_and_more(kind: str, data: bytes, now: int) -> tuple[frozenset[str], bool]:
    more = kind == PAGERDUTY and json.loads(data).get("more") is True
    return READERS[kind](data, now), more


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
