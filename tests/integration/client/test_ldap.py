"""`daypass ldap`: what is not a bind, byte by byte. tests/e2e/test_certificates_by_role.py has PostgreSQL as its client."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator

import pytest

from daypass.client import ldap
from daypass.client.ldap import MAX_MESSAGE, LdapServer, ResultCode, Tokens
from daypass.client.profiles import LocalStateError
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer


def element(tag: int, *parts: bytes) -> bytes:
    content = b"".join(parts)
    size = bytes([len(content)]) if len(content) < 128 else b"\x82" + len(content).to_bytes(2, "big")
    return bytes([tag]) + size + content


def bind(name: bytes = b"app", password: bytes = b"right", version: int = 3, number: int = 7) -> bytes:
    texts = element(0x04, name), element(0x80, password)
    return element(0x30, element(0x02, bytes([number])), element(0x60, element(0x02, bytes([version])), *texts))


@pytest.fixture
def asked() -> list[str]:
    return []


@pytest.fixture
def port(asked: list[str]) -> Iterator[int]:
    def check(user: str, password: str) -> ResultCode:
        asked.append(user)
        return ResultCode.SUCCESS if password == "right" else ResultCode.INVALID_CREDENTIALS

    with LdapServer(("127.0.0.1", 0), check) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server.server_address[1]
        server.shutdown()
        thread.join()


def answers(port: int, *messages: bytes) -> bytes:
    with socket.create_connection(("127.0.0.1", port), 20) as connection:
        connection.sendall(b"".join(messages))
        connection.shutdown(socket.SHUT_WR)
        found = b""
        try:
            while part := connection.recv(4096):
                found += part
        except ConnectionResetError:
            pass
        return found


def result(code: int, number: int = 7) -> bytes:
    return bytes([0x30, 12, 0x02, 1, number, 0x61, 7, 0x0A, 1, code, 4, 0, 4, 0])


def test_bind_is_answered_and_unbind_ends(port: int, asked: list[str]) -> None:
    unbind = element(0x30, element(0x02, b"\x09"), b"\x42\x00")
    sent = bind(), bind(password=b"wrong", number=8), bind(password=b"x" * 9000, number=9), unbind, bind(number=10)
    assert answers(port, *sent) == result(0) + result(49, 8) + result(49, 9)
    assert asked == ["app"] * 3


@pytest.mark.parametrize(
    ("message", "answer"),
    [
        (bind(password=b""), result(49)),  # an anonymous bind
        (bind(name=b""), result(49)),
        (bind(version=2), result(2)),
        (b"", b""),
        (b"GET / HTTP/1.1\r\n\r\n", b""),
        (bind()[:-1], b""),
        (b"\x30\x80" + bind()[2:], b""),  # the indefinite form
        (b"\x30\x84\xff\xff\xff\xff", b""),
        (b"\x30\x83" + (MAX_MESSAGE + 1).to_bytes(3, "big"), b""),
        (b"\x30\xff" + b"\x01" * 127, b""),
        (element(0x30, b"\x02\x01"), b""),
        (element(0x30, element(0x02, b"\x07"), element(0x63, b"")), b""),  # a search
        (element(0x30, element(0x02, b"\x07" * 200), element(0x60, b"")), b""),
        (
            element(
                0x30, element(0x02, b"\7"), element(0x60, element(2, b"\3"), element(4, b"a"), element(0xA3, b"b"))
            ),
            b"",
        ),
    ],
)
def test_a604_what_is_no_simple_bind_asks_nobody(port: int, asked: list[str], message: bytes, answer: bytes) -> None:
    assert answers(port, message) == answer
    assert asked == []
    assert answers(port, bind()) == result(0)


@pytest.fixture
def limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ldap, "_CONNECTIONS", 2)


def test_a610_idle_connections_are_bounded_and_slow_messages_end(
    limits: None, port: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    idle = [socket.create_connection(("127.0.0.1", port), 20) for _ in range(2)]
    assert answers(port, b"") == b""  # the third is closed
    monkeypatch.setattr(ldap, "_MESSAGE_SECONDS", 0.05)
    for each in idle:
        each.sendall(bind() + b"\x30")
        assert each.recv(64) == result(0)
        assert each.recv(64) == b""  # the rest of the next message did not come in time
        each.close()
    monkeypatch.setattr(ldap, "_MESSAGE_SECONDS", 20.0)
    assert result(0) in (answers(port, bind()) for _ in range(100))


@pytest.mark.parametrize(
    ("status", "outcome"), [(200, 0), (400, 49), (401, 49), (403, 49), (503, 52), (302, 52), (0, 52)]
)
def test_only_a_plain_yes_of_the_server_opens(status: int, outcome: int) -> None:
    sent: list[ClientRequest] = []

    def transport(request: ClientRequest, _: float) -> ClientResponse:
        sent.append(request)
        if not status:
            raise NoAnswer("down")
        return ClientResponse(status, {}, b"")

    tokens = Tokens("https://daypass.example", "https://db.example:5432", transport=transport)
    assert tokens.check("app", "db.example:5432/?Action=connect&DBUser=app&X-Amz-Signature=0") == outcome
    assert sent[0].headers["X-Forwarded-Uri"] == "/?Action=connect&DBUser=app&X-Amz-Signature=0"
    assert sent[0].target == "/gateway/auth?audience=https%3A%2F%2Fdb.example%3A5432"
    for user, token in (
        ("app", "db.example:5432/?Action=connect&DBUser=app&DBUser=app"),
        ("app", "db.example:5432/?Action=connect&DBUser=App"),
        ("app", "db.example:5432/?DBUser=app"),
        ("app", "db.example/?Action=connect&DBUser=app"),
        ("app", "db.example:5432/?Action=connect&DBUser=app\r\nX: y"),
        ("app", "é"),
        ("", ""),
    ):
        assert tokens.check(user, token) is ResultCode.INVALID_CREDENTIALS
    assert len(sent) == 1
    with pytest.raises(LocalStateError):
        Tokens("https://daypass.example", "orders")
