"""Requests on behalf of accounts: webhooks and e-mail, and on-call schedules that are fetched."""

from __future__ import annotations

import asyncio
import json
import smtplib
import ssl
import time
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, datetime, timedelta
from email.message import EmailMessage
from pathlib import Path
from typing import Any, Final
from urllib.parse import parse_qsl, quote, urlencode, urlsplit, urlunsplit

from daypass.config import AccessSettings, Settings
from daypass.domain.errors import DaypassError
from daypass.federation.fetch import Bounds, Fetcher, FetchError, Order, check_url
from daypass.ports.certificates import OutboundFailed
from daypass.ports.heavy import HeavyWork
from daypass.scheduling.process import ready


class Outbound:
    """Outbound requests of accounts.

    Args:
        fetcher: the limits that all callers share.
        private_hosts: host names that may have addresses in private ranges, because the operator has named them.
            For them, http is allowed too.
    """

    def __init__(self, fetcher: Fetcher, private_hosts: frozenset[str]) -> None:
        self._fetcher = fetcher
        self._private_hosts = private_hosts

    def check(self, url: str) -> None:
        """For a URL that is stored: raises OutboundFailed if it can never be requested, whatever its name resolves to."""
        private = self._is_private(url)
        try:
            check_url(url, allow_http=private, allow_private=private)
        except FetchError as error:
            raise OutboundFailed(str(error)) from None

    def _is_private(self, url: str) -> bool:
        """Whether the operator has named the host of a URL."""
        try:
            return (urlsplit(url).hostname or "").lower() in self._private_hosts
        except ValueError:
            return False

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, owner: str, method: str = "POST"
    ) -> bytes:
        """The body of a successful answer. `owner`: the account, which has a limited share. `method`: another one with a
        body. Raises OutboundFailed.
        """
        return await self._sent(url, headers, owner, body, method)

    async def get(self, url: str, headers: Mapping[str, str], *, owner: str) -> bytes:
        """The same, for a GET."""
        return await self._sent(url, headers, owner)

    async def _sent(
        self, url: str, headers: Mapping[str, str], owner: str, body: bytes = b"", method: str = ""
    ) -> bytes:
        private = self._is_private(url)
        order = Order(
            url,
            body=body,
            headers=tuple(headers.items()),
            allow_private=private,
            allow_http=private,
            any_content=True,
            owner=owner,
            method=method,
        )
        try:
            return (await self._fetcher.fetch(order)).body
        except FetchError as error:
            raise OutboundFailed(str(error), error.status) from None


def outbound_of(settings: Settings) -> Outbound:
    """The outbound access of webhooks and schedules."""
    fetcher = Fetcher(Bounds(seconds=settings.federation.fetch_seconds))
    return Outbound(fetcher, frozenset(host.lower() for host in settings.access.private_hosts))


# --- E-mail by SMTP


_SECONDS = 15.0


class Mail:
    """Sends e-mail by the configured SMTP server.

    Args:
        settings: host, port, STARTTLS, user, password and sender.
    """

    def __init__(self, settings: AccessSettings) -> None:
        self._settings = settings

    async def send(self, addresses: str, subject: str, text: str) -> None:
        """`addresses`: separated by commas. Raises OutboundFailed."""
        if not self._settings.smtp_host:
            raise OutboundFailed("no SMTP server is configured (access.smtp_host)")
        try:
            message = self._message(addresses, subject, text)
        except (ValueError, LookupError) as error:  # the library raises both for addresses that it cannot parse
            raise OutboundFailed(f"the message cannot be written: {type(error).__name__}") from None
        try:
            await asyncio.to_thread(self._send, message)
        except (OSError, ValueError, smtplib.SMTPException) as error:
            raise OutboundFailed(f"smtp: {type(error).__name__}") from None

    def _message(self, addresses: str, subject: str, text: str) -> EmailMessage:
        message = EmailMessage()
        message["From"] = self._settings.smtp_from
        message["To"] = addresses
        message["Subject"] = subject
        message.set_content(text)
        return message

    def _send(self, message: EmailMessage) -> None:
        settings = self._settings
        with smtplib.SMTP(settings.smtp_host, settings.smtp_port, timeout=_SECONDS) as smtp:
            if settings.smtp_starttls:
                smtp.starttls(context=ssl.create_default_context())
            password = settings.smtp_password.get_secret_value()
            if settings.smtp_user:
                smtp.login(settings.smtp_user, password)
            smtp.send_message(message)


# --- Who is on call, from iCalendar files and URLs, and from the APIs of on-call systems


_CACHED_SECONDS: Final = 60.0
_MAX_CACHED: Final = 500
_MAX_BYTES: Final = 1_048_576
_MAX_SECONDS: Final = 5.0
_NO_PAGE_AFTER: Final = 5.0  # seconds
_MAX_PAGES: Final = 20
_PAGE: Final = 100  # entries; the most that PagerDuty sends


class Schedules:
    """Schedules of accounts.

    Args:
        settings: the directory of calendar files, and tokens by account and host.
        outbound: fetches.
        heavy: parses.
    """

    def __init__(self, settings: AccessSettings, outbound: Outbound, heavy: HeavyWork) -> None:
        self._directory = settings.calendars
        self._tokens = settings.schedule_tokens
        self._outbound = outbound
        self._heavy = heavy
        self._cache: dict[tuple[str, str, str], tuple[float, frozenset[str] | OutboundFailed]] = {}

    async def on_call(self, kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        """Names and addresses, in lower case, of the persons who are on call at `now` (ms).

        `kind`: icalendar, pagerduty, opsgenie or incident.io. `source`: a URL, or for iCalendar the name of a file.
        Raises OutboundFailed.
        """
        key = (owner, kind, source)
        until, outbound_failed = self._cache.get(key, (0.0, frozenset[str]()))
        if time.monotonic() >= until:
            try:
                outbound_failed = await self._read(kind, source, now, owner)
            except OutboundFailed as error:
                outbound_failed = error
            if len(self._cache) >= _MAX_CACHED:
                self._cache.clear()
            self._cache[key] = (time.monotonic() + _CACHED_SECONDS, outbound_failed)
        if isinstance(outbound_failed, OutboundFailed):
            raise OutboundFailed(str(outbound_failed))
        return outbound_failed

    async def _read(self, kind: str, source: str, now: int, owner: str) -> frozenset[str]:
        people: frozenset[str] = frozenset()
        until = time.monotonic() + _NO_PAGE_AFTER
        for page in range(_MAX_PAGES):
            if time.monotonic() >= until:
                raise OutboundFailed("the schedule takes too long to read")
            data = await self._bytes(page_of(kind, source, page), owner)
            names, more = await self._parsed(kind, data, now, owner)
            people |= names
            if not more:
                return people
        raise OutboundFailed(f"the schedule has more than {_MAX_PAGES} pages")

    async def _parsed(self, kind: str, data: bytes, now: int, owner: str) -> tuple[frozenset[str], bool]:
        """The persons of an answer, and whether there is another page."""
        try:
            await self._heavy.compute(owner, ready)  # the start of a process is not the calendar's time
            async with asyncio.timeout(_MAX_SECONDS):
                people, more, fault = await self._heavy.compute(owner, people_and_more, kind, data, now)
        except TimeoutError:
            raise OutboundFailed("the calendar takes too long to read") from None
        except DaypassError as error:
            raise OutboundFailed(f"the schedule cannot be read now: {error}") from None
        if fault:
            raise OutboundFailed(f"the schedule cannot be read: {fault}")
        return people, more

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
            if path.stat().st_size > _MAX_BYTES:
                raise OutboundFailed("the calendar is too large")
            return path.read_bytes()
        except OSError:
            raise OutboundFailed("the calendar file cannot be read") from None


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


# --- Who is on call, by an iCalendar file or the answer of an on-call system. It runs as heavy work: the search for the


PAGERDUTY: Final = "pagerduty"


def people_and_more(kind: str, data: bytes, now: int) -> tuple[frozenset[str], bool, str]:
    """The persons of an answer, whether there is another page, and why the answer cannot be read, if so."""
    try:
        more = kind == PAGERDUTY and json.loads(data).get("more") is True
        return READERS[kind](data, now), more, ""
    except Exception as error:  # noqa: BLE001  # nobody is on call if the answer cannot be read, for whatever reason
        return frozenset(), False, type(error).__name__


def icalendar_people(data: bytes, now: int) -> frozenset[str]:
    """The persons of the events that are going on: addresses and names of attendees, and summaries ("Ann", "On call: Ann")."""
    import recurring_ical_events  # noqa: PLC0415  # only rules with a schedule need it
    from icalendar import Calendar  # noqa: PLC0415

    at = datetime.fromtimestamp(now // 1000, UTC)
    people: set[str] = set()
    for event in recurring_ical_events.of(Calendar.from_ical(data)).between(at, at + timedelta(seconds=1)):
        attendees = event.get("ATTENDEE", [])
        for attendee in attendees if isinstance(attendees, list) else [attendees]:
            people.add(str(attendee).rpartition(":")[2])
            people.add(str(getattr(attendee, "params", {}).get("CN", "")))
        people.add(str(event.get("SUMMARY", "")).rpartition(":")[2])
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
