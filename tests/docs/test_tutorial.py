"""The tutorial does what it says: its server, the variables that are printed, and its Python, block after block."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.packaging.machine import ROOT

_EXPORT = re.compile(r"^\s*export +(AWS_.*)$", re.MULTILINE)
_VARIABLE = re.compile(r"(AWS_\w+)=(\S+)")
_PYTHON = re.compile(r"```python\n(.*?)```", re.DOTALL)


def _answers(url: str) -> bool:
    """Whether the server answers: it prints before it accepts connections."""
    try:
        urllib.request.urlopen(f"{url}/readyz", timeout=60).close()
    except OSError:
        return False
    return True


@pytest.fixture(scope="module")
def exports(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, str]]:
    """The variables that `daypass serve --dev` prints to paste."""
    tmp_path = tmp_path_factory.mktemp("dev")
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DAYPASS_"))}
    command = [
        sys.executable,
        "-m",
        "daypass.cli.main",
        "serve",
        "--dev",
        "--port",
        "0",
        "--data",
        str(tmp_path / "data"),
    ]
    with subprocess.Popen(
        command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True
    ) as process:
        watchdog = threading.Timer(300, process.kill)  # of a server that never gets ready
        watchdog.start()
        try:
            assert process.stdout
            found: dict[str, str] = {}
            for line in process.stdout:
                if line.startswith("Then try"):
                    break
                if match := _EXPORT.match(line):
                    found |= _VARIABLE.findall(match[1])
            while process.poll() is None and not _answers(found["AWS_ENDPOINT_URL"]):
                time.sleep(0.1)
            watchdog.cancel()
            yield {**environment, **found, "AWS_EC2_METADATA_DISABLED": "true", "HOME": str(tmp_path)}
        finally:
            watchdog.cancel()
            process.terminate()
            process.wait(120)


def test_tutorial_runs_as_written(exports: dict[str, str]) -> None:
    # Later sections ask questions: tests/e2e/test_first_hour.py answers them.
    page = (ROOT / "docs/tutorial/first-assume-role.md").read_text().partition("## 5.")[0]
    assert exports.keys() >= {name for line in _EXPORT.findall(page) for name, _ in _VARIABLE.findall(line)}
    done = subprocess.run(
        [sys.executable, "-c", "\n".join(_PYTHON.findall(page))], env=exports, capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert ":assumed-role/auditor/morning-shift\n" in done.stdout
    assert re.search(r"^AccessDenied User: \S+ is not authorized to perform: iam:CreateUser", done.stdout, re.MULTILINE)
    explained = json.loads(done.stdout.splitlines()[-1])
    assert explained["allowed"] is False


def test_example_roles_take_what_the_page_on_the_command_line_hands_on(exports: dict[str, str], tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/cli.md").read_text()
    [command] = re.findall(r"^daypass (exec deployer .*--policy \S+ .*) ./release.sh$", page, re.MULTILINE)
    (tmp_path / "narrower.json").write_text(
        '{"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}}'
    )
    done = subprocess.run(
        [sys.executable, "-m", "daypass.cli.main", *command.split(), "--", sys.executable, "-c", "print('ran')"],
        env=exports, cwd=tmp_path, capture_output=True, text=True, check=False, timeout=300,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "ran\n"), done.stderr
