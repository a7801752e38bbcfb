"""Many processes, one cache; and a command that somebody interrupts."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from http.server import BaseHTTPRequestHandler
from pathlib import Path

import pytest
from tests.unit.client.servers import issued

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
