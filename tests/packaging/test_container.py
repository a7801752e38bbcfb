"""The container image as an engine builds and runs it: unprivileged, with a root file system that cannot be written."""

from __future__ import annotations

import json
import os
import re
import resource
import secrets
import shutil
import subprocess
import time
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path

import boto3
import pytest
import yaml
from tests.packaging.deployment import CONTAINERFILE, compose
from tests.packaging.machine import ROOT, run
from tests.processes import free_port

_BUILD = ROOT / "deploy/container/build.sh"
_BOOTSTRAP = "AKIACONTAINERTEST001:a-long-random-secret-for-the-test:111122223333"
_DEBIAN = "localhost/daypass-test-python"
Engine = Callable[..., subprocess.CompletedProcess[str]]

_ENGINE = """#!/bin/sh
if [ "$1" = info ]; then exit {answers}; fi
echo "$@"
for last; do :; done
cd "$last" && find . -type f | sort
"""


def build(path: Path, *arguments: str, **env: str) -> subprocess.CompletedProcess[str]:
    """Runs the build script with the programs of a system, and those in `path` alone for an engine."""
    for name in ("sh", "dirname", "mktemp", "mkdir", "cp", "rm", "find", "sort"):
        found = shutil.which(name)
        assert found
        if not (path / name).exists():
            (path / name).symlink_to(found)
    return subprocess.run(
        ["sh", str(_BUILD), *arguments], env={"PATH": str(path), **env}, capture_output=True, text=True, check=False
    )


def add_engine(path: Path, name: str, *, answers: bool) -> None:
    (path / name).write_text(_ENGINE.format(answers=0 if answers else 1))
    (path / name).chmod(0o755)


@pytest.mark.parametrize("installed", [False, True])
def test_build_without_an_engine_that_answers_says_so(tmp_path: Path, installed: bool) -> None:
    if installed:
        add_engine(tmp_path, "docker", answers=False)
    ran = build(tmp_path, "dist/x.whl", "daypass")
    assert (ran.returncode, ran.stdout) == (0, "")
    assert ran.stderr == "The container image daypass was not built: neither podman nor docker is here and answers.\n"


@pytest.mark.parametrize(
    ("podman", "chosen", "used"), [(True, "", "podman"), (False, "", "docker"), (True, "mine", "mine")]
)
def test_build_gives_the_engine_only_what_the_file_copies(tmp_path: Path, podman: bool, chosen: str, used: str) -> None:
    for name, answers in (("podman", podman), ("docker", True), ("mine", False)):
        add_engine(tmp_path, name, answers=answers)
    wheel = tmp_path / "daypass-1-py3-none-any.whl"
    wheel.write_bytes(b"")
    (tmp_path / used).write_text((tmp_path / used).read_text().replace("echo ", f"echo {used} ", 1))
    ran = build(tmp_path, str(wheel), "daypass", "--build-arg", "PYTHON=other", CONTAINER_ENGINE=chosen)
    assert ran.returncode == 0, ran.stderr
    first, *files = ran.stdout.splitlines()
    assert first.startswith(f"{used} build -f {CONTAINERFILE} -t daypass --build-arg PYTHON=other ")
    assert files == ["./deploy/trim.sh", "./dist/daypass-1-py3-none-any.whl", "./requirements/server.txt"]


def test_build_that_the_engine_refuses_fails(tmp_path: Path) -> None:
    (tmp_path / "mine").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "mine").chmod(0o755)
    (tmp_path / "x.whl").write_bytes(b"")
    assert build(tmp_path, str(tmp_path / "x.whl"), "daypass", CONTAINER_ENGINE="mine").returncode == 3


# --- With an engine -----------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """An engine that runs containers on this machine, and nothing else of it."""
    names = [name for name in ("podman", "docker") if shutil.which(name)]
    if not names:
        pytest.skip("neither podman nor docker is installed")
    settings, [name, *_] = tmp_path_factory.mktemp("engine") / "containers.conf", names
    # By default podman raises limits, which an unprivileged machine refuses.
    limits = {"nofile": resource.RLIMIT_NOFILE, "nproc": resource.RLIMIT_NPROC}
    shown = [f"{key}={most}" for key, limit in limits.items() if (most := resource.getrlimit(limit)[1]) >= 0]
    # crun refuses control groups of two versions at once.
    runtime = '[engine]\nruntime = "runc"\n' if shutil.which("runc") and Path("/sys/fs/cgroup/unified").exists() else ""
    settings.write_text(f"{runtime}[containers]\ndefault_ulimits = {json.dumps(shown)}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("CONTAINERS_CONF_OVERRIDE", str(settings))

        def call(*arguments: str) -> subprocess.CompletedProcess[str]:
            return subprocess.run([name, *arguments], capture_output=True, text=True, check=False, timeout=900)

        call.__name__ = name
        yield call


@pytest.fixture(scope="module")
def base(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> str:
    """The base image: that of the Containerfile, or one made from Debian's packages without an image registry."""
    found = re.search(r"^ARG PYTHON=(\S+)", CONTAINERFILE.read_text(), re.MULTILINE)
    assert found
    for name in (found[1], _DEBIAN):
        ran = engine("run", "--rm", name, "python", "--version")
        if ran.returncode == 0:
            return name
    if shutil.which("mmdebstrap") is None:
        pytest.skip(f"the base image cannot be run, and mmdebstrap is not installed: {ran.stderr[-200:]}")
    archive = tmp_path_factory.mktemp("debian") / "base.tar"
    # The way to the package index is the machine's: its certificates and the settings of pip.
    copied = [file for file in ("/etc/ssl/certs/ca-certificates.crt", "/etc/pip.conf") if Path(file).exists()]
    hooks = [f"--customize-hook=copy-in {file} {Path(file).parent}" for file in copied]
    packages = "--include=python3,python3-venv,python-is-python3,ca-certificates"
    old = '--aptopt=Acquire::Check-Valid-Until "false"'  # a mirror that is not of today serves for a test
    made = run("mmdebstrap", "--variant=minbase", old, packages, *hooks, "stable", archive, cwd=archive.parent)
    if made.returncode or engine("import", str(archive), _DEBIAN).returncode:
        pytest.skip(f"no base image: {made.stderr[-500:]}")
    ran = engine("run", "--rm", _DEBIAN, "python", "--version")
    if ran.returncode:
        pytest.skip(f"{engine.__name__} cannot run containers here: {ran.stderr[-500:]}")
    return _DEBIAN


@pytest.fixture(scope="module")
def image(engine: Engine, base: str, wheel: Path) -> Iterator[str]:
    name = f"daypass-test-{secrets.token_hex(4)}"
    built = subprocess.run(
        ["sh", str(_BUILD), str(wheel), name, "--build-arg", f"PYTHON={base}"],
        env={**os.environ, "CONTAINER_ENGINE": engine.__name__},
        capture_output=True,
        text=True,
        check=False,
        timeout=1800,
    )
    assert built.returncode == 0, built.stdout[-2000:] + built.stderr[-2000:]
    yield name
    engine("rmi", "-f", name)


@pytest.fixture
def container(engine: Engine, image: str) -> Iterator[tuple[str, str]]:
    """The name and the URL of a server that runs as docs/how-to/packages.md says."""
    port = free_port()
    name = f"{image}-{secrets.token_hex(3)}"
    started = engine(
        "run", "-d", "--name", name, "--read-only", "--cap-drop", "all", "--security-opt", "no-new-privileges",
        "--tmpfs", "/tmp", "-v", f"{name}:/var/lib/daypass", "-p", f"127.0.0.1:{port}:8700",
        "-e", f"DAYPASS_BOOTSTRAP={_BOOTSTRAP}", image,
    )  # fmt: skip
    try:
        assert started.returncode == 0, started.stderr
        wait_until_ready(engine, name, f"http://127.0.0.1:{port}")
        yield name, f"http://127.0.0.1:{port}"
    finally:
        engine("rm", "-f", "-v", name)
        engine("volume", "rm", "-f", name)


def wait_until_ready(engine: Engine, name: str, url: str) -> None:
    for _ in range(600):
        try:
            urllib.request.urlopen(f"{url}/readyz", timeout=2).close()
            return
        except OSError:
            time.sleep(0.1)
    pytest.fail(f"it did not become ready: {engine('logs', name).stderr[-2000:]}")


@pytest.mark.slow
def test_container_serves_unprivileged_with_a_root_that_cannot_be_written(
    engine: Engine, container: tuple[str, str]
) -> None:
    name, url = container
    key, secret, account = _BOOTSTRAP.split(":")
    sts = boto3.client("sts", "us-east-1", endpoint_url=url, aws_access_key_id=key, aws_secret_access_key=secret)
    assert sts.get_caller_identity()["Arn"] == f"arn:aws:iam::{account}:root"
    assert engine("exec", name, "id", "-u").stdout == "65532\n"
    refused = engine("exec", name, "sh", "-c", "echo x > /opt/daypass/x")
    assert (refused.returncode != 0, "Read-only file system" in refused.stderr) == (True, True)
    assert "CapEff:\t0000000000000000\n" in engine("exec", name, "cat", "/proc/1/status").stdout
    kms = "from botocore.session import get_session; get_session().create_client('kms', region_name='us-east-1')"
    assert engine("exec", name, "/opt/daypass/bin/python", "-c", kms).returncode == 0  # for keys in AWS KMS
    modes = engine("exec", name, "sh", "-c", "stat -c %a /var/lib/daypass /var/lib/daypass/daypass.db").stdout
    assert modes.split() == ["700", "600"]


@pytest.mark.slow
def test_container_stops_cleanly_and_keeps_its_data(engine: Engine, container: tuple[str, str]) -> None:
    name, url = container
    given = ("-e", "AWS_ENDPOINT_URL=http://127.0.0.1:8700", "-e", "HOME=/tmp")
    key, secret, _ = _BOOTSTRAP.split(":")
    credentials = ("-e", f"AWS_ACCESS_KEY_ID={key}", "-e", f"AWS_SECRET_ACCESS_KEY={secret}")
    made = engine("exec", *given, *credentials, name, "daypass", "group", "create", "kept")
    assert made.returncode == 0, made.stderr
    assert engine("stop", "-t", "60", name).returncode == 0
    assert engine("inspect", name, "--format", "{{.State.ExitCode}}").stdout == "0\n"
    assert engine("start", name).returncode == 0
    wait_until_ready(engine, name, url)
    assert "kept" in engine("exec", *given, *credentials, name, "daypass", "group", "ls").stdout


@pytest.mark.slow
@pytest.mark.parametrize("file", ["compose.yaml", "patroni.yaml"])
def test_health_check_of_compose_passes_where_the_server_is_ready_and_fails_elsewhere(
    engine: Engine, container: tuple[str, str], file: str
) -> None:
    name, _ = container
    services = compose(ROOT / "deploy/compose" / file)["services"]
    checks = {yaml.dump(found["healthcheck"]["test"]) for key, found in services.items() if key.startswith("daypass")}
    [text] = checks
    kind, check = yaml.safe_load(text)
    assert kind == "CMD-SHELL"
    assert engine("exec", name, "sh", "-c", check).returncode == 0
    assert engine("exec", name, "sh", "-c", check.replace("8700", "8799")).returncode != 0
