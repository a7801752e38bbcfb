"""Accepting: many at a time, and none is lost that the system has taken before the listener is closed."""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import sys
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from structlog.testing import capture_logs
from tests.e2e.pki import Pki

from daypass.domain.errors import ErrorKind
from daypass.server import listener
from daypass.server.listener import Listener, refuse_handshakes
from daypass.server.protocol import HttpProtocol


class Counted(asyncio.Protocol):
    """Answers a byte with a byte, then ends; `made` counts."""

    made = 0

    def __init__(self) -> None:
        self.lost = False
        self.asked_to_end = False

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        Counted.made += 1
        self.transport = transport

    def data_received(self, data: bytes) -> None:
        self.transport.write(data)  # type: ignore[attr-defined]
        self.transport.close()

    def connection_lost(self, _: Exception | None) -> None:
        self.lost = True

    def shutdown(self) -> None:
        self.asked_to_end = True


@pytest.fixture
def sock() -> socket.socket:
    made = socket.socket()
    made.bind(("127.0.0.1", 0))
    return made


def ask(address: tuple[str, int]) -> socket.socket:
    client = socket.create_connection(address, timeout=60)
    client.sendall(b"x")
    client.setblocking(False)
    return client


async def test_a115_accepts_hundreds_in_one_turn(sock: socket.socket) -> None:
    Counted.made = 0
    listener = Listener(asyncio.get_running_loop(), sock, Counted, 512)
    clients = [ask(sock.getsockname()) for _ in range(300)]
    listener._accept()
    assert len(listener._connecting) == 300
    await asyncio.wait(listener._connecting)
    assert Counted.made == 300
    listener.close()
    sock.close()
    for client in clients:
        client.close()
    await listener.wait_closed()


async def test_tls_handshakes_that_are_too_many_or_fail_are_reported(
    sock: socket.socket, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A flood of them would otherwise leave no trace on the record."""
    pki, refusals = Pki(tmp_path), asyncio.Queue[tuple[str, ErrorKind, str]]()
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    listener = Listener(
        asyncio.get_running_loop(), sock, Counted, 512, context, lambda *refusal: refusals.put_nowait(refusal)
    )
    clients = [ask(sock.getsockname())]
    clients[0].sendall(b"GET / HTTP/1.1\r\nHost: h\r\n\r\n")
    async with asyncio.timeout(30):
        assert await refusals.get() == ("127.0.0.1", ErrorKind.MALFORMED_REQUEST, "the TLS handshake failed")
        monkeypatch.setattr("daypass.server.listener._MAX_HANDSHAKES", 0)
        clients.append(ask(sock.getsockname()))
        assert await refusals.get() == ("127.0.0.1", ErrorKind.OVERLOADED, "too many TLS handshakes")
    for client in clients:
        client.close()
    listener.close()
    sock.close()
    await listener.wait_closed()


async def closed_with_a_backlog(sock: socket.socket) -> int:
    """Closes a listener with 100 connections in its backlog, each of which must be served; what a later client gets."""
    loop = asyncio.get_running_loop()
    listener = Listener(loop, sock, Counted, 512)
    address = sock.getsockname()
    clients = [ask(address) for _ in range(100)]  # the loop has not turned: they are in the backlog
    refuse_handshakes(sock)
    refuse_handshakes(sock)  # the supervisor and each worker do
    listener.close()
    sock.close()
    late = socket.socket()
    status = late.connect_ex(address)
    async with asyncio.timeout(30):
        answers = [await loop.sock_recv(client, 1) for client in clients]
        late.close()
        await listener.wait_closed()
    assert answers == [b"x"] * 100
    assert not listener.is_serving()
    for client in clients:
        client.close()
    return status


@pytest.mark.skipif(sys.platform != "linux", reason="the socket option is Linux's")
async def test_close_serves_what_is_in_the_backlog_and_lets_nothing_new_in(sock: socket.socket) -> None:
    assert await closed_with_a_backlog(sock) == errno.ECONNREFUSED


async def test_close_where_handshakes_cannot_be_refused_serves_the_backlog_and_warns_once() -> None:
    class Plain(socket.socket):
        """A socket of a system without the option."""

        def getsockopt(self, *_: Any) -> Any:
            raise OSError(errno.ENOPROTOOPT, "Protocol not available")

    listener._warn_of_resets.cache_clear()
    made = Plain()
    made.bind(("127.0.0.1", 0))
    with capture_logs() as logged:
        assert await closed_with_a_backlog(made) == 0
    assert [(entry["log_level"], entry["event"], entry["error"]) for entry in logged] == [
        ("warning", "server.handshakes_not_refused", "Protocol not available")
    ]


def test_h5_age_of_a_request_counts_from_its_arrival_in_the_systems_buffers() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")  # before the connection is accepted
        until = time.monotonic() + 60
        with server.accept()[0] as accepted:
            protocol: Any = SimpleNamespace(transport=SimpleNamespace(get_extra_info=lambda _: accepted))
            while (age := HttpProtocol._age(protocol)) < 0.02:
                assert time.monotonic() < until
            assert age < 60
    protocol.transport.get_extra_info = lambda _: None
    assert HttpProtocol._age(protocol) == 0.0
