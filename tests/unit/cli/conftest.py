"""The command line over a scripted server."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import pytest
from tests.unit.client.servers import Script, Step

from daypass.cli import assume, options, process, request
from daypass.cli import exec as exec_module
from daypass.cli.main import run
from daypass.client.http import Connection


@dataclass
class Ran:
    status: int
    out: str
    err: str


Run = Callable[..., Ran]


@pytest.fixture(autouse=True)
def _home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in list(__import__("os").environ):
        if name.startswith(("AWS_", "DAYPASS_")):
            monkeypatch.delenv(name)
    monkeypatch.setenv("DAYPASS_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("TERM", "xterm")


@pytest.fixture
def key(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:8700")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "AKIAEXAMPLE000000000")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "top-secret")


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Script]:
    def start(*steps: Step) -> Script:
        server = Script(*steps)
        made = partial(
            Connection, transport=server, monotonic=server.clock, sleep=server.clock.sleep, clock=server.clock
        )
        for module in (options, assume, exec_module, process, request):
            monkeypatch.setattr(module, "open_connection", made)
        return server

    return start


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Run:
    def call(*arguments: str) -> Ran:
        status = run(list(arguments))
        out, err = capfd.readouterr()
        return Ran(status, out, err)

    return call
