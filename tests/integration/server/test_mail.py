"""E-mail by SMTP to a server on this machine: sent with its headers, with STARTTLS and authentication, or not at all."""

from __future__ import annotations

import base64
import socketserver
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from email import message_from_bytes, policy
from email.message import EmailMessage
from pathlib import Path
from typing import Any, cast

import pytest
from tests.e2e.pki import Pki

from daypass.config import AccessSettings
from daypass.outbound import Mail
from daypass.ports import OutboundFailed


@dataclass
class Smtp:
    """An SMTP server (RFC 5321) with AUTH PLAIN and, given a certificate, STARTTLS."""

    context: ssl.SSLContext | None = None
    port: int = 0
    got: list[tuple[list[str], EmailMessage]] = field(default_factory=list)
    users: list[str] = field(default_factory=list)
    plain_mails: int = 0


class _Session(socketserver.StreamRequestHandler):
    server: Any

    def handle(self) -> None:
        smtp, encrypted = cast("Smtp", self.server.smtp), False
        recipients: list[str] = []
        self._say("220 localhost ESMTP")
        while line := self.rfile.readline():
            verb, _, rest = line.decode().strip().partition(" ")
            match verb.upper():
                case "EHLO":
                    offers = ["AUTH PLAIN", *(["STARTTLS"] if smtp.context and not encrypted else [])]
                    self._say("250-localhost", *(f"250-{each}" for each in offers[:-1]), f"250 {offers[-1]}")
                case "STARTTLS" if smtp.context:
                    self._say("220 go on")
                    try:
                        self.connection = smtp.context.wrap_socket(self.connection, server_side=True)
                    except OSError:  # the client does not accept the certificate
                        return
                    self.rfile, self.wfile = self.connection.makefile("rb"), self.connection.makefile("wb")
                    encrypted = True
                case "AUTH":
                    smtp.users.append(base64.b64decode(rest.partition(" ")[2]).decode().replace("\0", "/"))
                    self._say("235 accepted")
                case "RCPT":
                    recipients.append(rest.partition("<")[2].partition(">")[0])
                    self._say("250 ok")
                case "DATA":
                    self._say("354 go on")
                    lines = list(iter(self.rfile.readline, b".\r\n"))
                    smtp.got.append((recipients, message_from_bytes(b"".join(lines), policy=policy.default)))
                    smtp.plain_mails += not encrypted
                    self._say("250 ok")
                case "QUIT":
                    self._say("221 bye")
                    break
                case _:
                    self._say("250 ok")
        if encrypted:
            self.rfile.close()
            self.wfile.close()
            self.connection.close()

    def _say(self, *lines: str) -> None:
        self.wfile.write("".join(f"{line}\r\n" for line in lines).encode())
        self.wfile.flush()


@contextmanager
def serving(smtp: Smtp) -> Iterator[Smtp]:
    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), _Session) as server:
        server.daemon_threads = False
        server.smtp = smtp  # type: ignore[attr-defined]
        smtp.port = server.server_address[1]
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield smtp
        finally:
            server.shutdown()
            thread.join(30)


def mail(smtp: Smtp, **more: Any) -> Mail:
    given = {"smtp_host": "127.0.0.1", "smtp_port": smtp.port, "smtp_from": "daypass@example.com", **more}
    return Mail(AccessSettings.model_validate(given))


async def test_mail_is_sent_to_every_address_with_its_subject_and_text() -> None:
    with serving(Smtp()) as smtp:
        sender = mail(smtp, smtp_starttls=False)
        await sender.send("ops@example.com, lead@example.com", "[Daypass] Access is requested", "reason: ünï\n.\nend\n")
    [(recipients, message)] = smtp.got
    assert recipients == ["ops@example.com", "lead@example.com"]
    assert (message["subject"], message["from"]) == ("[Daypass] Access is requested", "daypass@example.com")
    assert "reason: ünï" in message.get_content()
    assert "end" in message.get_content(), "a line with one dot does not end the text"


async def test_mail_over_starttls_authenticates_after_the_encryption(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pki = Pki(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    trusted = ssl.create_default_context(cafile=str(pki.ca))
    monkeypatch.setattr("daypass.outbound.ssl.create_default_context", lambda: trusted)
    with serving(Smtp(context)) as smtp:
        await mail(smtp, smtp_user="daypass", smtp_password="canary").send("ops@example.com", "s", "t")
    assert (len(smtp.got), smtp.plain_mails, smtp.users) == (1, 0, ["/daypass/canary"])


async def test_mail_to_a_server_with_an_unknown_certificate_or_without_starttls_is_not_sent(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    for smtp in (Smtp(context), Smtp()):
        with serving(smtp), pytest.raises(OutboundFailed, match="smtp: "):
            await mail(smtp, smtp_user="daypass", smtp_password="canary").send("ops@example.com", "s", "t")
        assert (smtp.got, smtp.users) == ([], [])


async def test_mail_without_a_listening_server_fails_and_says_so() -> None:
    with serving(Smtp()) as smtp:
        pass
    with pytest.raises(OutboundFailed, match="smtp: ConnectionRefusedError"):
        await mail(smtp).send("ops@example.com", "s", "t")


@pytest.mark.parametrize(
    ("addresses", "subject", "text"),
    [
        ('"', "s", "t"),
        ("a@b\nBcc: c@d", "s", "t"),
        ("a@b", "one\ntwo", "t"),
        ("a@b", "\ud800", "t"),
        ("a@b", "s", "\ud800"),
    ],
)
async def test_mail_that_cannot_be_written_fails_and_says_so(addresses: str, subject: str, text: str) -> None:
    with pytest.raises(OutboundFailed, match="cannot be written"):
        await mail(Smtp()).send(addresses, subject, text)
