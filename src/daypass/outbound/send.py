"""Sends requests on behalf of accounts (webhooks, calendars) through the shared fetcher, and e-mail by SMTP."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from urllib.parse import urlsplit

from daypass.config import AccessSettings, Settings
from daypass.federation.fetch import Bounds, Fetcher, FetchError, Order, check_url
from daypass.ports.federation import OutboundFailed


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
