"""The real transport against servers that misbehave."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import issued

from daypass.client import transport
from daypass.client.transport import ClientRequest, NoAnswer, exchange


def _request(url: str, body: bytes = b"x") -> ClientRequest:
    return ClientRequest(url, "POST", "/", {"host": "h", "X-A": "b"}, body)


def _answer(handler: BaseHTTPRequestHandler, body: bytes, length: int | None = None, status: int = 200) -> None:
    handler.send_response(status)
    handler.send_header("X-Some", "thing")
    handler.send_header("content-length", str(len(body) if length is None else length))
    handler.end_headers()
    handler.wfile.write(body)


def test_exchange_gives_status_headers_and_body(loopback: Callable) -> None:
    server = loopback(lambda handler, body: _answer(handler, b"<" + body + b">", status=403))
    answer = exchange(_request(server.url, b"body"), 10)
    assert (answer.status, answer.headers["x-some"], answer.body) == (403, "thing", b"<body>")


def test_exchange_nobody_there_was_not_sent() -> None:
    with socket.socket() as bound:  # it does not listen, and nobody else can have its port
        bound.bind(("127.0.0.1", 0))
        with pytest.raises(NoAnswer, match="refused") as failed:
            exchange(_request(f"http://127.0.0.1:{bound.getsockname()[1]}"), 10)
    assert (failed.value.sent, failed.value.final) == (False, False)


def test_exchange_name_that_does_not_exist_is_final(monkeypatch: pytest.MonkeyPatch) -> None:
    def unknown(*_: object, **__: object) -> None:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    monkeypatch.setattr(socket, "getaddrinfo", unknown)
    with pytest.raises(NoAnswer, match="its name is not known") as failed:
        exchange(_request("http://daypass.example.com"), 10)
    assert (failed.value.sent, failed.value.final) == (False, True)


def test_exchange_with_tls_at_a_port_without_it_is_final() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:

        def answer() -> None:
            caller, _ = server.accept()
            with caller:
                caller.recv(65_536)
                caller.sendall(b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        with pytest.raises(NoAnswer, match="does not speak TLS") as failed:
            exchange(_request(f"https://127.0.0.1:{server.getsockname()[1]}"), 30)
        thread.join()
    assert (failed.value.sent, failed.value.final) == (False, True)


def test_exchange_answer_cut_short_may_have_been_done(loopback: Callable) -> None:
    server = loopback(lambda handler, _: _answer(handler, b"half", length=8))
    with pytest.raises(NoAnswer, match="cut short") as failed:
        exchange(_request(server.url), 10)
    assert failed.value.sent


def test_exchange_connection_closed_without_an_answer_may_have_been_done(loopback: Callable) -> None:
    server = loopback(lambda handler, _: handler.connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(NoAnswer) as failed:
        exchange(_request(server.url), 10)
    assert failed.value.sent


def test_exchange_answer_too_large_is_refused(loopback: Callable, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(transport, "MAX_ANSWER", 1000)
    server = loopback(lambda handler, _: _answer(handler, b"x" * 1001))
    with pytest.raises(NoAnswer, match="too large") as failed:
        exchange(_request(server.url), 10)
    assert failed.value.final


def test_exchange_answer_that_trickles_ends_at_the_deadline(loopback: Callable) -> None:
    stop = threading.Event()

    def trickle(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        handler.send_response(200)
        handler.send_header("content-length", "1000")
        handler.end_headers()
        while not stop.wait(0.05):
            handler.wfile.write(b"x")

    server = loopback(trickle)
    began = time.monotonic()
    try:
        with pytest.raises(NoAnswer, match="in time"):
            exchange(_request(server.url), 0.5)
    finally:
        stop.set()
    assert time.monotonic() - began < 40  # the whole answer takes 50


def test_exchange_silence_ends_at_the_deadline() -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        with pytest.raises(NoAnswer) as failed:
            exchange(_request(f"http://127.0.0.1:{silent.getsockname()[1]}"), 0.3)
        assert failed.value.sent


@pytest.mark.parametrize("target", ["/a b", "/\n", "/\r\nX: y"])
def test_exchange_what_cannot_be_sent_is_final(target: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        url = f"http://127.0.0.1:{silent.getsockname()[1]}"
        with pytest.raises(NoAnswer, match="cannot be sent") as failed:
            exchange(ClientRequest(url, "GET", target, {"host": "h"}, b""), 5)
    assert failed.value.final


def test_exchange_connection_that_is_not_accepted_ends_at_the_connect_timeout(monkeypatch: pytest.MonkeyPatch) -> None:
    assert transport.CONNECT_SECONDS <= 1.75
    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.2)
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        port = full.getsockname()[1]
        waiting = []
        for _ in range(4):  # the queue of a listener that accepts nothing; then the kernel answers no more
            caller = socket.socket()
            caller.setblocking(False)
            caller.connect_ex(("127.0.0.1", port))
            waiting.append(caller)
        try:
            with pytest.raises(NoAnswer, match=r"no connection within 0\.2 s") as failed:
                exchange(_request(f"http://127.0.0.1:{port}"), 20)
        finally:
            for caller in waiting:
                caller.close()
    assert (failed.value.sent, failed.value.final) == (False, False)


def test_exchange_connection_that_stands_after_the_connect_timeout_sends_nothing(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The caller is told that nothing was sent, and sends it again: the first attempt must not be done as well."""
    go_on, connect = threading.Event(), socket.create_connection

    def late(*given: Any, **options: Any) -> socket.socket:
        go_on.wait(30)
        return connect(*given, **options)

    monkeypatch.setattr(transport, "CONNECT_SECONDS", 0.1)
    monkeypatch.setattr(socket, "create_connection", late)
    with socket.create_server(("127.0.0.1", 0)) as server:
        server.settimeout(30)
        with pytest.raises(NoAnswer, match="no connection within") as failed:
            exchange(_request(f"http://127.0.0.1:{server.getsockname()[1]}"), 20)
        go_on.set()
        caller, _ = server.accept()
        with caller:
            caller.settimeout(30)
            assert caller.recv(65_536) == b""
    assert not failed.value.sent


COMMAND = [sys.executable, "-m", "daypass.cli.main", "credential-process", "111122223333/deployer"]


def _environment(url: str, home: Path) -> dict[str, str]:
    found = {n: v for n, v in os.environ.items() if not n.startswith(("AWS_", "DAYPASS_"))}
    found |= {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "AKIAEXAMPLE000000000", "AWS_SECRET_ACCESS_KEY": "s"}
    return {**found, "DAYPASS_HOME": str(home)}


@pytest.mark.slow
def test_credential_process_twenty_at_once_make_one_session(loopback: Callable, tmp_path: Path) -> None:
    later = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(time.time() + 3600))

    def issue(handler: BaseHTTPRequestHandler, _: bytes) -> None:
        time.sleep(1)  # long enough for the others to come and wait
        body = issued(len(server.bodies), later).body
        handler.send_response(200)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    server = loopback(issue)
    environment = _environment(server.url, tmp_path)
    running = [
        subprocess.Popen(COMMAND, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE) for _ in range(20)
    ]
    answers = [process.communicate(timeout=60) for process in running]
    assert [process.returncode for process in running] == [0] * 20, answers
    assert {json.loads(out)["AccessKeyId"] for out, _ in answers} == {"ASIA0000000000000001"}
    assert len(server.bodies) == 1


def test_credential_process_interrupted_while_the_server_is_silent_ends_at_once(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as silent:
        silent.settimeout(30)
        environment = _environment(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        process = subprocess.Popen(
            COMMAND,
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),  # noqa: PLW1509  # background jobs ignore it
        )
        connection, _ = silent.accept()
        with connection:
            time.sleep(0.2)
            process.send_signal(signal.SIGINT)
            out, err = process.communicate(timeout=60)
    assert (process.returncode, out, err.strip()) == (130, b"", b"")
