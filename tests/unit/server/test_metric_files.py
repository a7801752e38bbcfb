"""The metric files of worker processes have all their blocks on the disk, and those of ended processes are released."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from daypass.observability import metrics

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
