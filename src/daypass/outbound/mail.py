"""E-mail by SMTP. A message is sent on a thread of its own, within a time limit."""

from __future__ import annotations

import asyncio
import smtplib
import ssl
from email.message import EmailMessage

from daypass.config import AccessSettings
from daypass.ports.federation import OutboundFailed

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
