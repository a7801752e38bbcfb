"""Stock clients of AWS: programs that say who they are, with nothing of region, endpoint or key in their code."""

from __future__ import annotations

import functools
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from tests.node import FOLDER, find_node, why_not

CLIENTS = ("boto3", "AWS CLI 1", "AWS CLI 2", "JavaScript v3", "Go v2")

_BOTO3 = "import boto3, json; print(json.dumps({'arn': boto3.client('sts').get_caller_identity()['Arn']}))"
_IDENTITY = ("sts", "get-caller-identity", "--query", "{arn: Arn}", "--output", "json")
_GO = Path(__file__).parents[2] / "go"


@functools.cache
def _aws_cli(version: str) -> str:
    """An AWS CLI of this version: that of the virtual environment, or of the system."""
    for candidate in (str(Path(sys.executable).with_name("aws")), "/usr/bin/aws", "/usr/local/bin/aws"):
        if Path(candidate).exists():
            shown = subprocess.run([candidate, "--version"], capture_output=True, text=True, check=False).stdout
            if shown.startswith(f"aws-cli/{version}."):
                return candidate
    return ""


@functools.cache
def go_program(name: str, package: str) -> str:
    """A program of tests/go, built from the system's packages; "" where there is no Go, or not the one that it needs."""
    if not shutil.which("go") or not (Path("/usr/share/gocode/src") / package).exists():
        return ""
    folder = Path(tempfile.gettempdir()) / f"daypass-go-{os.getuid()}"
    folder.mkdir(mode=0o700, exist_ok=True)
    built = folder / name
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "GOPATH": "/usr/share/gocode", "GO111MODULE": "off",
        "GOCACHE": str(folder / "cache"), "GOFLAGS": "", "CGO_ENABLED": "0",
    }  # fmt: skip
    made = subprocess.run(
        ["go", "build", "-o", str(built), str(_GO / f"{name}.go")], env=environment, capture_output=True, check=False
    )
    assert made.returncode == 0, made.stderr
    return str(built)


def command(client: str) -> list[str]:
    """How a client is run. Skips the test where it is not there."""
    if client == "boto3":
        return [sys.executable, "-c", _BOTO3]
    if client.startswith("AWS CLI"):
        program = _aws_cli(client[-1])
        found = [program, *_IDENTITY] if program else []
    elif client == "JavaScript v3":
        found = [] if why_not() else [find_node(), str(FOLDER / "identity.mjs")]
    else:
        program = go_program("identity", "github.com/aws/aws-sdk-go-v2/service/sts")
        found = [program] if program else []
    if not found:
        pytest.skip(f"{client} is not on this machine")
    return found
