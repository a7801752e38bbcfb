"""SIGHUP: new connections get the certificate that is in the files now; a file that cannot be used changes nothing."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import pty
import re
import shutil
import signal
import ssl
import subprocess
import sys
import threading
import urllib.request
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import BOOTSTRAP, Server, running
from tests.e2e.pki import Pki
from tests.e2e.test_running import within

pytestmark = pytest.mark.slow


@pytest.fixture
def pki(tmp_path: Path) -> Pki:
    return Pki(tmp_path)


def options(pki: Pki, *more: str) -> tuple[str, ...]:
    return ("--tls-cert", str(pki.server_cert), "--tls-key", str(pki.server_key), *more)


def trusting(*authorities: Path) -> ssl.SSLContext:
    context = ssl.create_default_context(cafile=str(authorities[0]))
    for authority in authorities[1:]:
        context.load_verify_locations(authority)
    return context


def served(server: Server) -> str:
    """The certificate of a new connection."""
    return ssl.get_server_certificate(("127.0.0.1", int(server.url.rpartition(":")[2])))


def is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=60) as answer:
            return bool(answer.status == 200 and answer.read())
    except OSError:
        return False


def catching_hangup(server: Server) -> int:
    """How many worker processes have a handler for SIGHUP. A worker that is still starting would exit."""
    children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children").read_text().split()
    found = [re.search(r"^SigCgt:\s+(\w+)$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE) for pid in children]
    return sum(int(mask[1], 16) & 1 for mask in found if mask)


def logged(server: Server, event: str) -> list[dict[str, Any]]:
    lines = [line for line in server.log.read_text().splitlines() if line.startswith("{")]
    return [found for found in map(json.loads, lines) if found["event"] == event]


@pytest.mark.parametrize("workers", ["1", "2"])
def test_hangup_new_connections_get_the_new_certificate(pki: Pki, tmp_path: Path, workers: str) -> None:
    (tmp_path / "new").mkdir()
    new = Pki(tmp_path / "new")
    both = trusting(pki.ca, new.ca)
    with running(tmp_path / "data", *options(pki, "--workers", workers), tls=both) as server:
        port = int(server.url.rpartition(":")[2])
        keeping = http.client.HTTPSConnection("127.0.0.1", port, context=both)
        with contextlib.closing(keeping):
            hang_up_and_look(server, keeping, pki, new, int(workers))


def hang_up_and_look(server: Server, keeping: http.client.HTTPSConnection, pki: Pki, new: Pki, workers: int) -> None:
    if workers > 1:
        within(30, lambda: catching_hangup(server) == workers)
    keeping.request("GET", "/healthz")
    keeping.getresponse().read()
    old = served(server)
    shutil.copy(new.server_cert, pki.server_cert)
    shutil.copy(new.server_key, pki.server_key)
    assert served(server) == old  # only the signal reads the files
    server.process.send_signal(signal.SIGHUP)
    within(10, lambda: len(logged(server, "server.certificate_reloaded")) == workers)
    assert {served(server) for _ in range(12)} == {new.server_cert.read_text()}
    keeping.request("GET", "/healthz")
    with keeping.getresponse() as answer:
        assert (answer.status, bool(answer.read())) == (200, True)
    assert logged(server, "server.certificate_reloaded")[0]["not_after"][:2] == "20"


@pytest.mark.parametrize("file", ["server_cert", "server_key"])
def test_hangup_with_a_broken_file_keeps_the_old_certificate_and_logs(pki: Pki, tmp_path: Path, file: str) -> None:
    (tmp_path / "new").mkdir()
    with running(tmp_path / "data", *options(pki), tls=trusting(pki.ca)) as server:
        old = served(server)
        # A half-done replacement: one of the two files is new, so they do not belong together.
        shutil.copy(getattr(Pki(tmp_path / "new"), file), getattr(pki, file))
        server.process.send_signal(signal.SIGHUP)
        within(10, lambda: bool(logged(server, "server.certificate_kept")))
        getattr(pki, file).unlink()
        server.process.send_signal(signal.SIGHUP)
        within(10, lambda: len(logged(server, "server.certificate_kept")) == 2)
        assert served(server) == old
        urllib.request.urlopen(f"{server.url}/readyz", timeout=60, context=server.tls).close()
        assert "cannot be used" in logged(server, "server.certificate_kept")[0]["error"]


def test_hangup_without_tls_changes_nothing(tmp_path: Path) -> None:
    with running(tmp_path / "data") as server:
        server.process.send_signal(signal.SIGHUP)
        within(10, lambda: bool(logged(server, "server.nothing_to_reload")))
        assert is_ready(server.url)


def test_hangup_of_the_terminal_without_tls_stops_the_server(tmp_path: Path) -> None:
    """Somebody tries it out and closes the window."""
    controller, terminal = pty.openpty()
    command = [sys.executable, "-m", "daypass.cli.main", "serve", "--port", "0", "--data", str(tmp_path / "data")]
    environment = {**os.environ, "DAYPASS_BOOTSTRAP": BOOTSTRAP}
    with subprocess.Popen(command, env=environment, stdin=terminal, stderr=subprocess.PIPE, text=True) as process:
        os.close(terminal)
        watchdog = threading.Timer(60, process.kill)
        watchdog.start()
        try:
            assert process.stderr is not None
            url = next(line.split()[-1] for line in process.stderr if line.startswith("Daypass listens on "))
            within(30, lambda: is_ready(url))
            process.send_signal(signal.SIGHUP)
            assert process.wait(120) == 0
        finally:
            watchdog.cancel()
            process.kill()
            os.close(controller)
