"""Outbound requests on behalf of an account: webhooks and calendars. All of them pass the shared fetcher."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol


class OutboundFailed(Exception):
    """The request failed. The message is for an operator or the account's administrator; it contains no address.

    `status`: of an answer that is not a success, else 0.
    """

    def __init__(self, message: str, status: int = 0) -> None:
        super().__init__(message)
        self.status = status


class Outbound(Protocol):
    """Sends requests within limits of time, size and address."""

    def check(self, url: str) -> None:
        """For a URL that is stored: raises OutboundFailed if it can never be requested, whatever its name resolves to."""
        ...

    async def post(
        self, url: str, body: bytes, headers: Mapping[str, str], *, owner: str, method: str = "POST"
    ) -> bytes:
        """The body of a successful answer. `owner`: the account, which has a limited share. `method`: another one with a
        body. Raises OutboundFailed.
        """
        ...

    async def get(self, url: str, headers: Mapping[str, str], *, owner: str) -> bytes:
        """The same, for a GET."""
        ...


class Schedules(Protocol):
    """Who is on call."""

    async def on_call(self, kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        """Names and addresses, in lower case, of the persons who are on call at `now` (ms).

        `kind`: icalendar, pagerduty, opsgenie or incident.io. `source`: a URL, or for iCalendar the name of a file.
        Raises OutboundFailed.
        """
        ...


class Mail(Protocol):
    """Sends e-mail."""

    async def send(self, addresses: str, subject: str, text: str) -> None:
        """`addresses`: separated by commas. Raises OutboundFailed."""
        ...
