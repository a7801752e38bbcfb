"""Files of metrics, logs and readiness of a server."""

from __future__ import annotations

import asyncio
import json
import os
import subprocess
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daypass.observability import metrics
from daypass.server import readiness
from daypass.server.readiness import ProcessReadiness

# The library looks at the environment when it is imported.
_WORKER = """
import os
from daypass.observability.metrics import Metrics
made = Metrics()
made["daypass_errors"].inc(3)
made["daypass_grants_open"].set(2)
print(os.getpid())
"""


def _run(directory: Path, program: str = _WORKER) -> str:
    environment = {**os.environ, metrics.VARIABLE: str(directory)}
    done = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    return done.stdout


def _shown(directory: Path) -> set[str]:
    program = "from daypass.observability.metrics import Metrics; print(Metrics().render().decode())"
    return {
        line
        for line in _run(directory, program).splitlines()
        if line.startswith(("daypass_errors_t", "daypass_grants_o"))
    }


def test_worker_that_starts_has_every_block_of_its_metric_files(tmp_path: Path) -> None:
    pid = int(_run(tmp_path))
    files = sorted(tmp_path.iterdir())
    assert [file.name for file in files] == [
        f"{kind}_{pid}.db" for kind in ("counter", "gauge_livemax", "gauge_livesum", "histogram")
    ]
    for file in files:
        assert file.stat().st_blocks * 512 >= file.stat().st_size >= 1 << 20


def test_release_of_an_ended_worker_keeps_its_totals_and_drops_its_gauges(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = int(_run(tmp_path))
    assert _shown(tmp_path) == {"daypass_errors_total 3.0", "daypass_grants_open 2.0"}
    monkeypatch.setenv(metrics.VARIABLE, str(tmp_path))
    metrics.release(pid)
    assert sum(file.stat().st_size for file in tmp_path.glob(f"*_{pid}.db")) < 1 << 17
    assert "daypass_errors_total 3.0" in _shown(tmp_path)
    assert "daypass_grants_open 2.0" not in _shown(tmp_path)


def test_release_of_a_worker_that_wrote_nothing_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(metrics.VARIABLE, str(tmp_path))
    metrics.reserve()
    metrics.release(os.getpid())
    assert list(tmp_path.iterdir()) == []


# --- Log lines in the Elastic Common Schema


def test_log_of_ecs_names_level_message_request_and_trace(capfd: pytest.CaptureFixture[str]) -> None:
    program = (
        "import logging, structlog; from daypass.observability import logs; logs.configure('info', 'ecs')\n"
        "with structlog.contextvars.bound_contextvars(trace_id='ab'):\n"
        "    try: 1 / 0\n"
        "    except ZeroDivisionError: logs.get().warning('it failed\\n', request_id='r1', seconds=2, exc_info=True)\n"
        "logging.getLogger('x').error('of a library')"
    )
    subprocess.run([sys.executable, "-c", program], check=True)
    first, second = map(json.loads, capfd.readouterr().err.splitlines())
    assert (first["log.level"], first["message"], first["http.request.id"]) == ("warning", "it failed\n", "r1")
    assert (first["trace.id"], first["daypass.seconds"], first["ecs.version"]) == ("ab", 2, "8.11.0")
    assert first["@timestamp"].endswith("Z")
    assert "ZeroDivisionError" in first["error.stack_trace"]
    assert (second["message"], second["service.name"]) == ("of a library", "daypass")


# --- Answers to a readiness probe, also while a database does not answer


class Hanging:
    """A directory whose database does not answer."""

    stale = revocations_unknown = False

    async def refresh(self) -> bool:
        await asyncio.get_running_loop().create_future()
        return False

    async def read(self, *_: Any, **__: Any) -> Any:
        await self.refresh()


def ready(*, spool: bool) -> ProcessReadiness:
    parts: Any = SimpleNamespace(problem=lambda: "", missing=0, warning="", rings=SimpleNamespace(unreadable=()))
    parts.spool = SimpleNamespace(fault="") if spool else None
    return ProcessReadiness(parts, parts, cast(Any, Hanging()), parts, parts)


async def test_probe_of_a_server_with_a_spool_does_not_wait_long_for_a_hanging_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "_READY_SECONDS", 1e9)
    monkeypatch.setattr(readiness, "_SPOOL_SECONDS", 0.001)
    assert await ready(spool=True).problems(detailed=False) == []
    assert await ready(spool=True).uninitialised() is False


async def test_probe_of_a_server_without_a_spool_waits_and_says_that_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "_READY_SECONDS", 0.001)
    monkeypatch.setattr(readiness, "_SPOOL_SECONDS", 1e9)
    assert await ready(spool=False).problems(detailed=False) == ["the database does not answer"]
