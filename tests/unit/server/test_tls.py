"""TLS: which certificates are served, accepted and watched."""

from __future__ import annotations

import asyncio
import json
import os
import ssl
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Literal

import pytest
import uvloop
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    KeySerializationEncryption,
    NoEncryption,
    PrivateFormat,
)
from structlog.testing import capture_logs
from tests.x509 import certify, ec_key, name

from daypass.audit.certificate_uses import CertificateUses
from daypass.config import ConfigError, ServerSettings
from daypass.domain.directory import X509Subject
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.jws import VerifiedCertificate
from daypass.operations.rolesanywhere.anchors import record_uses
from daypass.ports import CertificateUse
from daypass.server.tls import Served, load


def pair(folder: Path, encryption: KeySerializationEncryption) -> tuple[Path, Path]:
    key = ec_key()
    certificate, private = folder / "server.pem", folder / "server.key"
    certificate.write_bytes(certify("CN=server", key, (key, name("CN=server")), ()).public_bytes(Encoding.PEM))
    private.write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, encryption))
    return certificate, private


@pytest.mark.parametrize("client_certificates", ["optional", "required"])
def test_load_encrypted_key_is_refused_without_asking_for_its_passphrase(
    tmp_path: Path, client_certificates: Literal["optional", "required"]
) -> None:
    certificate, encrypted = pair(tmp_path, BestAvailableEncryption(b"secret"))
    with pytest.raises(ConfigError, match="the key is encrypted"):
        load(ServerSettings(tls_cert=certificate, tls_key=encrypted, client_certificates=client_certificates))


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_unverified_clients_large_messages_arrive_whole_after_broken_handshakes(
    tmp_path: Path, version: ssl.TLSVersion
) -> None:
    """Both ways, also when the end of the connection comes directly after the last byte."""
    certificate, key = pair(tmp_path, NoEncryption())
    context = load(ServerSettings(tls_cert=certificate, tls_key=key, client_certificates="optional"))
    ours = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    ours.check_hostname, ours.verify_mode = False, ssl.CERT_NONE
    ours.minimum_version = ours.maximum_version = version
    ours.load_cert_chain(certificate, key)
    message = os.urandom(5_000_000)

    async def echo(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(await reader.readexactly(len(message)))
        await writer.drain()
        writer.close()

    async def exchange() -> bytes:
        server = await asyncio.start_server(echo, "127.0.0.1", 0, ssl=context)
        host, port = server.sockets[0].getsockname()
        for start in (b"", b"\x16", hello(ours)[:40], hello(ours), b"GET / HTTP/1.1\r\n\r\n"):
            _, cut = await asyncio.open_connection(host, port)
            cut.write(start)
            cut.close()
        reader, writer = await asyncio.open_connection(host, port, ssl=ours)
        writer.write(message)
        answer = await asyncio.wait_for(reader.read(-1), 60)
        writer.close()
        server.close()
        return answer

    assert uvloop.run(exchange()) == message


def hello(context: ssl.SSLContext) -> bytes:
    """The first message of a client."""
    outgoing = ssl.MemoryBIO()
    with pytest.raises(ssl.SSLWantReadError):
        context.wrap_bio(ssl.MemoryBIO(), outgoing).do_handshake()
    return outgoing.read()


@pytest.mark.parametrize(
    ("days", "says"), [(-1, "the TLS certificate expired at"), (13, "the TLS certificate expires at"), (15, "")]
)
def test_h6_certificate_that_has_expired_or_soon_will_is_warned_of(days: int, says: str) -> None:
    now = datetime(2026, 12, 1, tzinfo=UTC)
    served = Served()
    with capture_logs() as logged:
        served.note(now + timedelta(days=days))
    warning = served.warning(round(now.timestamp() * 1000))
    assert warning.startswith(says)
    assert bool(warning) == bool(says)
    assert Served().warning(0) == ""
    if days < 0:
        assert [line["event"] for line in logged] == ["server.certificate_expires"]


# --- Uses of certificates: written in batches behind the requests' backs, bounded, and never in a request's way


class Journal:
    """The subjects that were written, and how often. `broken`: so many writes fail, with this kind."""

    def __init__(self) -> None:
        self.subjects: dict[str, X509Subject] = {}
        self.events: list[Event] = []
        self.broken: list[ErrorKind] = []

    def get(self, _: type[Any], *, id: str) -> X509Subject | None:  # noqa: A002  # as the port names it
        return self.subjects.get(id)

    def insert(self, subject: X509Subject) -> None:
        assert subject.id not in self.subjects
        self.subjects[subject.id] = subject

    def replace(self, subject: X509Subject) -> None:
        assert subject.id in self.subjects
        self.subjects[subject.id] = subject

    async def write(self, change: Callable[[Any], tuple[Any, Event]], **_: Any) -> Any:
        if self.broken:
            raise DaypassError(self.broken.pop(0), "It is there.")
        result, event = change(self)
        self.events.append(event)
        return result

    def now(self) -> int:
        return 9


def seen(
    number: int, *, subject: str = "CN=a", account: str = "111122223333", at: int = 1, **more: Any
) -> CertificateUse:
    certificate = VerifiedCertificate(number, subject, "CN=ca", 0, f"f{number}", (), (), pem=f"PEM {number}")
    return CertificateUse(account, "eu-central-1", certificate.subject_id(account), certificate, at, **more)


async def test_flush_writes_what_was_seen_once_for_each_account() -> None:
    journal = Journal()
    certificate_uses = CertificateUses(journal, journal, record_uses)
    for one in (seen(1), seen(1, at=2), seen(2, failed=True), seen(3, subject="CN=b"), seen(1, account="444455556666")):
        certificate_uses.note(one)
    await certificate_uses.flush()
    await certificate_uses.flush()
    assert [event.account for event in journal.events] == ["111122223333", "444455556666"]
    subject = journal.subjects[seen(1).subject_id]
    credentials = json.loads(subject.credentials)
    assert [(c["serialNumber"], c["failed"], c["seenAt"]) for c in credentials] == [("2", True, 1), ("1", False, 2)]
    assert (subject.x509_subject, subject.last_seen_at, len(journal.subjects)) == ("CN=a", 2, 3)


async def test_flush_keeps_the_newest_few_of_a_subject() -> None:
    journal = Journal()
    certificate_uses = CertificateUses(journal, journal, record_uses)
    for number in range(15):
        certificate_uses.note(seen(number, at=number, properties=(("rack", str(number)),)))
        await certificate_uses.flush()
    subject = journal.subjects[seen(0).subject_id]
    assert [c["serialNumber"] for c in json.loads(subject.credentials)] == [str(n) for n in range(14, 4, -1)]
    assert [p["properties"]["rack"] for p in json.loads(subject.instance_properties)][:2] == ["14", "13"]
    assert len(json.loads(subject.instance_properties)) == 10
    assert (subject.created_at, subject.last_seen_at) == (0, 14)


async def test_flush_loses_what_cannot_be_stored_and_nothing_beside_it() -> None:
    journal = Journal()
    refused = journal.write

    async def write(change: Callable[[Any], tuple[Any, Event]]) -> Any:
        before = dict(journal.subjects)
        result = await refused(change)
        if any("\0" in subject.x509_subject for subject in journal.subjects.values()):
            journal.subjects = before
            raise DaypassError(ErrorKind.INVALID_INPUT, "It cannot be stored.")
        return result

    journal.write = write  # type: ignore[method-assign]
    certificate_uses = CertificateUses(journal, journal, record_uses)  # type: ignore[arg-type]
    for number, subject in enumerate(("CN=a", "bad\0", "CN=b")):
        certificate_uses.note(seen(number, subject=subject))
    await certificate_uses.flush()
    assert sorted(subject.x509_subject for subject in journal.subjects.values()) == ["CN=a", "CN=b"]


async def test_note_beyond_the_bound_is_lost_and_counted() -> None:
    journal = Journal()
    certificate_uses = CertificateUses(journal, journal, record_uses)
    for number in range(1_005):
        certificate_uses.note(seen(number, subject=f"CN={number}"))
    assert certificate_uses.lost == 5
    await certificate_uses.flush()
    assert len(journal.subjects) == 1_000


async def test_flush_that_another_process_overtook_is_written_again_and_one_that_cannot_be_written_is_let_go() -> None:
    journal = Journal()
    certificate_uses = CertificateUses(journal, journal, record_uses)
    journal.broken = [ErrorKind.ALREADY_EXISTS]
    certificate_uses.note(seen(1))
    await certificate_uses.flush()
    assert len(journal.subjects) == 1
    journal.broken = [ErrorKind.UNAVAILABLE]
    certificate_uses.note(seen(2, subject="CN=b"))
    await certificate_uses.flush()
    await certificate_uses.flush()
    assert len(journal.subjects) == 1
