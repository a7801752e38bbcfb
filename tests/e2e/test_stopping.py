"""Stops under load: whatever the server has accepted is answered, and nothing is answered with an error."""

from __future__ import annotations

import asyncio
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import pytest
from tests.e2e.conftest import ADMIN_KEY, Server, running
from tests.processes import bound

from daypass import sigv4

STOPS = 15
KEPT, FRESH = 40, 10


def identity(server: Server) -> bytes:
    """One whole signed request."""
    host, body = (
        urlsplit(server.url).netloc,
        urlencode({"Action": "GetCallerIdentity", "Version": "2011-06-15"}).encode(),
    )
    key = sigv4.SigningKey(*ADMIN_KEY, "eu-central-1", "sts")
    signed = sigv4.sign(key, "POST", "/", "", {"host": host}, body, int(time.time() * 1000))
    lines = "".join(f"{name}: {value}\r\n" for name, value in signed.items())
    return f"POST / HTTP/1.1\r\n{lines}Content-Length: {len(body)}\r\n\r\n".encode() + body


class Load:
    """Clients that ask until they are told to stop connecting. `outcomes` counts what they saw."""

    def __init__(self, server: Server) -> None:
        self.port = urlsplit(server.url).port
        self.request = identity(server)
        self.outcomes: Counter[str] = Counter()
        self.over = False

    async def keep(self) -> None:
        """Asks again and again over one connection, until an answer says that it is the last."""
        while not self.over:
            if not await self._connection(again=True):
                return

    async def fresh(self) -> None:
        """Asks once over each connection."""
        while not self.over:
            if not await self._connection(again=False):
                return

    async def _connection(self, *, again: bool) -> bool:
        try:
            reader, writer = await asyncio.wait_for(asyncio.open_connection("127.0.0.1", self.port), 0.9)
        except (OSError, TimeoutError):
            self.outcomes["not connected"] += 1  # nothing was sent: another server can have it
            return False
        try:
            while True:
                writer.write(self.request)
                head = (await reader.readuntil(b"\r\n\r\n")).lower()
                body = await reader.readexactly(int(head.split(b"content-length: ")[1].split(b"\r\n")[0]))
                code = body.partition(b"<Code>")[2].partition(b"<")[0]
                self.outcomes[f"{head[9:12].decode()} {code.decode()}".rstrip()] += 1
                if b"connection: close" in head or not again:
                    return True
                await asyncio.sleep(0.02)
        except (OSError, asyncio.IncompleteReadError) as error:
            self.outcomes[type(error).__name__] += 1
            return False
        finally:
            writer.close()


async def stop_under_load(server: Server) -> Counter[str]:
    load = Load(server)
    tasks = [asyncio.ensure_future(load.keep()) for _ in range(KEPT)]
    tasks += [asyncio.ensure_future(load.fresh()) for _ in range(FRESH)]
    await asyncio.sleep(0.7)
    server.process.send_signal(signal.SIGTERM)
    done, late = await asyncio.wait(tasks, timeout=15)
    load.over = True
    assert not late
    assert [task.exception() for task in done] == [None] * len(tasks)
    return load.outcomes


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_a115_stop_under_load_breaks_no_request(tmp_path: Path, workers: str) -> None:
    for number in range(STOPS):
        with running(tmp_path / str(number), "--workers", workers) as server:
            outcomes = asyncio.run(stop_under_load(server))
            assert server.process.wait(120) == 0
        assert set(outcomes) <= {"200", "not connected"}, f"stop {number}: {outcomes}\n{server.log.read_text()[-3000:]}"
        assert outcomes["200"] > 50


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_stop_requested_with_the_first_line_of_output_ends_with_status_0(
    tmp_path: Path, number: signal.Signals
) -> None:
    command = [sys.executable, "-m", "daypass.cli.main", "serve", "--dev", "--port", "0", "--data", str(tmp_path / "d")]
    with subprocess.Popen(bound(command), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as started:
        assert started.stdout is not None
        assert any("listens on" in line for line in started.stdout)
        started.send_signal(number)
        _, errors = started.communicate(timeout=180)
    assert started.returncode == 0, errors
    assert "Warning" not in errors
    assert "Traceback" not in errors
