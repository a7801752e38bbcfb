"""`daypass proxy`: a program without credentials calls Daypass itself through it, with a token and with a signature."""

from __future__ import annotations

import http.client
import http.server
import json
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import OPERATOR, Server, running
from tests.processes import bound

from daypass.client.auth import SigV4Auth
from daypass.client.credentials import Credentials
from daypass.client.profiles import LocalStateError
from daypass.client.proxy import Proxy, host_and_port

LENGTHS = [
    "²".encode("latin-1"),
    "²".encode(),
    b"1\xb2",
    b"5" * 5_000,
    b"+1",
    b"-1",
    b"0x10",
    b"1,1",
    b"1 1",
    b"1_0",
    b"1.0",
    b"",
]
"""Values of Content-Length that are no number of bytes, or one that int() refuses to read."""


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("proxy"), environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        iam = server.client("iam")
        trust = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.create_role(RoleName="reader", AssumeRolePolicyDocument=document)
        allowed = {"Effect": "Allow", "Action": "daypass:EvaluateAccess", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=document)
        yield server


@contextmanager
def proxied(server: Server, home: Path, *arguments: str) -> Iterator[int]:
    command = [sys.executable, "-m", "daypass.cli.main", "proxy", "reader", "--to", server.url, *arguments]
    environment = {**server.environment(), "DAYPASS_HOME": str(home)}
    process = subprocess.Popen(bound(command), env=environment, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        line = process.stderr.readline()
        found = re.search(r"http://127\.0\.0\.1:(\d+) serves", line)
        assert found, line + process.stderr.read()
        yield int(found[1])
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def ask(port: int, target: str, method: str = "GET", body: str = "", **headers: str) -> tuple[int, str]:
    with closing(http.client.HTTPConnection("127.0.0.1", port, timeout=30)) as connection:
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        connection.request(method, target, body or None, named)
        answer = connection.getresponse()
        return answer.status, answer.read().decode()


def decision(port: int, **headers: str) -> tuple[int, bool]:
    """An endpoint that takes access tokens."""
    question = {"subject": {"type": "role", "id": "reader"}, "action": {"name": "daypass:EvaluateAccess"},
                "resource": {"type": "daypass", "id": "access/x"}}  # fmt: skip
    status, text = ask(
        port, "/access/v1/evaluation", "POST", json.dumps(question), Content_Type="application/json", **headers
    )
    return status, "true" in text


def test_token_is_added_and_replaced_when_it_was_revoked(world: Server, tmp_path: Path) -> None:
    with proxied(world, tmp_path, "--audience", world.url) as port:
        assert decision(port) == (200, True)
        assert decision(port, Authorization="Bearer other", Connection="close, Authorization") == (200, True)
        role = f"arn:aws:iam::{OPERATOR}:role/reader"
        world.api("POST", "/revocations", body={"subject": "role", "value": role})
        assert decision(port) == (200, True)


def test_request_is_signed(world: Server, tmp_path: Path) -> None:
    with proxied(world, tmp_path, "--sign", "sts") as port:
        target = "/?Action=GetCallerIdentity&Version=2011-06-15"
        status, text = ask(port, target)
        assert (status, "assumed-role/reader/" in text) == (200, True)
        form = "Action=GetCallerIdentity&Version=2011-06-15"
        kind = "application/x-www-form-urlencoded"
        status, text = ask(port, "/", "POST", form, Content_Type=kind, X_Amz_Date="19700101T000000Z")
        assert (status, "assumed-role/reader/" in text) == (200, True)


class Shown(http.server.BaseHTTPRequestHandler):
    """Answers with the request's headers."""

    def do_GET(self) -> None:
        body = json.dumps(self.headers.items()).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


class Token:
    def headers(self, *_: object) -> dict[str, str]:
        return {"authorization": "Bearer t"}


def test_header_that_is_sent_twice_arrives_whole() -> None:
    with http.server.HTTPServer(("127.0.0.1", 0), Shown) as upstream:
        auth: Any = Token()
        with Proxy(("127.0.0.1", 0), f"http://127.0.0.1:{upstream.server_port}", auth, lambda: None) as proxy:
            threads = [threading.Thread(target=each.serve_forever, daemon=True) for each in (upstream, proxy)]
            for thread in threads:
                thread.start()
            with closing(http.client.HTTPConnection("127.0.0.1", proxy.server_port, timeout=30)) as connection:
                connection.putrequest("GET", "/")
                for name, value in (("Accept", "a/b"), ("Cookie", "x=1"), ("Accept", "c/d"), ("Cookie", "y=2")):
                    connection.putheader(name, value)
                connection.endheaders()
                received = json.loads(connection.getresponse().read())
            for server, thread in zip((upstream, proxy), threads, strict=True):
                server.shutdown()
                thread.join()
    assert [value for name, value in received if name == "accept"] == ["a/b, c/d"]
    assert [value for name, value in received if name == "cookie"] == ["x=1; y=2"]
    assert [value for name, value in received if name == "authorization"] == ["Bearer t"]


class Unused:
    def get(self) -> Credentials:
        pytest.fail("credentials were used")


def unused(to: str, listen: tuple[str, int] = ("127.0.0.1", 0)) -> Proxy:
    """A proxy that must not use its credentials."""
    return Proxy(listen, to, SigV4Auth("https://orders.example", Unused(), "sts"), lambda: pytest.fail("renewed"))


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({"Host": "evil.example"}, 403),
        ({"Host": "evil.example:{port}"}, 403),
        ({"Origin": "https://evil.example"}, 403),
        ({"Sec_Fetch_Site": "cross-site"}, 403),
        ({"Transfer_Encoding": "chunked"}, 413),
        ({"Content_Length": "99999999999"}, 413),
        ({"Content_Length": "-1"}, 413),
    ],
)
def test_a535_web_page_cannot_use_the_proxy(world: Server, headers: dict[str, str], status: int) -> None:
    with unused(world.url) as proxy:
        port = proxy.server_port
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        given = {name: value.replace("{port}", str(port)) for name, value in headers.items()}
        assert ask(port, "/", **given)[0] == status
        proxy.shutdown()
        thread.join()


@pytest.mark.parametrize("length", LENGTHS)
def test_malformed_length_of_a_body_is_refused(world: Server, length: bytes) -> None:
    with unused(world.url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        with socket.create_connection(("127.0.0.1", proxy.server_port), 20) as connection:
            head = b"POST / HTTP/1.1\r\nHost: 127.0.0.1:%d\r\nContent-Length: %b\r\n\r\n{}"
            connection.sendall(head % (proxy.server_port, length))
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert (answer.status, b"Content-Length" in answer.read()) == (413, True)
            assert connection.recv(1) == b""  # the rest of the connection is not read as another request
        proxy.shutdown()
        thread.join()


def test_a535_proxy_serves_its_own_user_alone(world: Server, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daypass.client.proxy.uid_of_peer", lambda *_: 12345)
    with unused(world.url) as proxy:
        thread = threading.Thread(target=proxy.serve_forever, daemon=True)
        thread.start()
        assert ask(proxy.server_port, "/") == (403, "The proxy serves its own user alone.\n")
        proxy.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("listen", "to"),
    [
        ("0.0.0.0:0", "https://orders.example"),
        ("10.0.0.1:9", "https://orders.example"),
        ("127.0.0.1:0", "http://orders.example"),
        ("127.0.0.1:0", "https://orders.example/path"),
        ("127.0.0.1", "https://orders.example"),
    ],
)
def test_proxy_listens_on_loopback_and_sends_credentials_by_tls(listen: str, to: str) -> None:
    with pytest.raises(LocalStateError):
        unused(to, host_and_port(listen))
