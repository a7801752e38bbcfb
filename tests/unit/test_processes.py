"""Processes, the environment of tests, sockets."""

from __future__ import annotations

import os
import select
import shutil
import signal
import socket
import subprocess
import sys
from dataclasses import fields
from pathlib import Path

import pytest
import pytest_socket

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import NO_OAUTH, Env, Scene

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


# --- No member of `Env` may be None, and a feature that is off says so


@pytest.mark.parametrize("carrier", [Env, Scene])
def test_no_member_may_be_none(carrier: type) -> None:
    assert not {each.name for each in fields(carrier) if "None" in str(each.type)}


@pytest.mark.parametrize("part", ["signer", "proofs", "documents"])
def test_installation_without_oauth_signs_and_verifies_nothing(part: str) -> None:
    assert not NO_OAUTH.enabled
    with pytest.raises(DaypassError) as refusal:
        getattr(NO_OAUTH, part)
    assert refusal.value.kind is ErrorKind.UNSUPPORTED_OPERATION


# --- The fence around unit tests holds


def test_socket_in_a_unit_test_is_refused() -> None:
    with pytest.raises(pytest_socket.SocketBlockedError):
        socket.socket(socket.AF_INET, socket.SOCK_STREAM)


async def test_event_loop_in_a_unit_test_runs() -> None:
    """The loop's own wake-up socket is a Unix one."""
