"""Two regions, a link that is cut and restored: `make demo-regions` as a test."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
ROOT = Path(__file__).resolve().parents[2]


def test_disconnected_region_issues_and_revocations_reach_both() -> None:
    command = [sys.executable, str(ROOT / "bench/regions.py")]
    done = subprocess.run(command, cwd=ROOT, env=_environment(), capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "every credential is on the record once: yes" in done.stdout


def _environment() -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(ROOT)}
