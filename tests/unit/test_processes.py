"""A process that a test has started ends when the test run is killed."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest

_ROOT = Path(__file__).resolve().parents[2]
_PARENT = """
import subprocess, sys, time
from tests.processes import bound
child = subprocess.Popen(bound({command}, "{signal}"))
while "{name}" not in open("/proc/%d/comm" % child.pid).read():
    time.sleep(0.01)  # setpriv has not become the command yet
print(child.pid, flush=True)
time.sleep(600)
"""


@pytest.mark.skipif(not shutil.which("setpriv"), reason="setpriv is not installed")
@pytest.mark.parametrize(("by", "command"), [("TERM", ["sleep", "600"]), ("HUP", ["bash", "-c", "sleep 600 & wait"])])
def test_process_ends_with_the_one_that_started_it(by: str, command: list[str]) -> None:
    parent = subprocess.Popen(
        [sys.executable, "-c", _PARENT.format(signal=by, command=command, name=command[0])],
        cwd=_ROOT,
        stdout=subprocess.PIPE,
        preexec_fn=lambda: signal.signal(signal.SIGHUP, signal.SIG_DFL),  # noqa: PLW1509  # ignored under nohup
        text=True,
    )
    assert parent.stdout is not None
    with parent.stdout:
        child = os.pidfd_open(int(parent.stdout.readline()))
        parent.send_signal(signal.SIGKILL)
        parent.wait()
        assert select.select([child], [], [], 30)[0], "it is still running"
    os.close(child)
