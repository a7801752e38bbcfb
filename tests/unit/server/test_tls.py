"""The context of TLS, and the files that cannot be used for one."""

from __future__ import annotations

import asyncio
import os
import ssl
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Literal

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

from daypass.config import ConfigError, ServerSettings
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
