"""The one-file client, the Debian package and the steps of the container image: built, looked into, and run."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import tomllib
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from tests.packaging.deployment import command, stages, words
from tests.packaging.machine import ROOT, run, succeed
from tests.processes import bound, free_port

pytestmark = pytest.mark.slow

_NOBODY = 65532
_PYTHON = Path("/usr/bin/python3")  # a package of a distribution is for the distribution's interpreter
_BOOTSTRAP = "AKIAPACKAGETEST00001:a-long-random-secret-for-the-test:111122223333"


@contextmanager
def serving(*start: str | Path, data: Path, user: int | None = None) -> Iterator[str]:
    """A server started by this command as an unprivileged user; yields its URL when it is ready."""
    port = free_port()
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "DAYPASS_", "AWS_"))}
    environment = {**kept, "DAYPASS_BOOTSTRAP": _BOOTSTRAP, "HOME": str(data)}
    who = {"user": user, "group": user, "extra_groups": []} if user is not None and os.geteuid() == 0 else {}
    process = subprocess.Popen(
        bound([str(part) for part in (*start, "--port", port)]), env=environment, cwd="/", stderr=subprocess.PIPE, text=True,
        **who,  # type: ignore[call-overload]
    )  # fmt: skip
    try:
        for _ in range(600):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/readyz", timeout=2).close()
                break
            except OSError:
                if process.poll() is not None:
                    pytest.fail(f"it ended: {process.stderr.read()[-2000:]}")
                time.sleep(0.1)
        else:
            pytest.fail("it did not become ready")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        assert process.wait(120) == 0
        process.stderr.close()


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that other users can pass through; pytest's is closed to them."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


def owned(directory: Path, user: int) -> Path:
    directory.mkdir(mode=0o700)
    if os.geteuid() == 0:
        os.chown(directory, user, user)
    return directory


# --- The client ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def client(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("client") / "daypass.pyz"
    succeed("sh", ROOT / "deploy/client/build.sh", wheel, out, cwd=ROOT)
    return out


@pytest.mark.parametrize("python", ["python3.11", "python3.13"])
def test_client_in_one_file_logs_in_and_verifies_the_record(client: Path, tmp_path: Path, python: str) -> None:
    if run(python, "-c", "", cwd=tmp_path).returncode:
        pytest.skip(f"{python} is not installed")
    here = shutil.copy(client, tmp_path / "daypass.pyz")
    home = {"HOME": str(tmp_path), "USER": "anna"}
    key, secret, _ = _BOOTSTRAP.split(":")
    start = (sys.executable, "-m", "daypass.cli.main", "serve", "--data", tmp_path / "data")
    with serving(*start, data=tmp_path) as url:
        given = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        succeed(python, here, "login", cwd=tmp_path, **home, **given)
        assert "arn:aws:iam::111122223333:root" in succeed(python, here, "whoami", cwd=tmp_path, **home)
        succeed(python, here, "audit", "verify", cwd=tmp_path, **home)
        exported = succeed(python, here, "profile", "export", "--role", "r", cwd=tmp_path, **home)
    assert "credential_process = " in exported
    program = exported.partition("credential_process = ")[2].split()[0]
    assert program == "daypass" or Path(program) == Path(here)


def test_client_in_one_file_says_that_the_server_is_not_in_it(client: Path, tmp_path: Path) -> None:
    served = run(_PYTHON, "-I", client, "serve", cwd=tmp_path, HOME=str(tmp_path))
    assert (served.returncode, "the server is not installed" in served.stderr) == (2, True), served.stderr


@pytest.mark.parametrize("variable", ["HOME", "SHIV_ROOT"])
def test_client_in_one_file_that_cannot_unpack_itself_says_so_in_one_line(
    client: Path, tmp_path: Path, variable: str
) -> None:
    (tmp_path / "file").write_text("")
    ran = run(
        _PYTHON, "-I", client, "--version", cwd=tmp_path, **{"HOME": str(tmp_path), variable: str(tmp_path / "file")}
    )
    assert (ran.returncode, ran.stderr.count("\n")) == (6, 1), ran.stderr
    assert ran.stderr.startswith(f"daypass: cannot unpack itself: {tmp_path}/file")
    assert ran.stderr.endswith(". Set SHIV_ROOT to a directory of your own.\n")


def test_client_in_one_file_is_the_same_for_the_same_input(client: Path, wheel: Path, tmp_path: Path) -> None:
    again = shutil.copy(wheel, tmp_path)
    os.utime(again, (1_600_000_000, 1_600_000_000))
    succeed("sh", ROOT / "deploy/client/build.sh", again, tmp_path / "daypass.pyz", cwd=ROOT)
    assert (tmp_path / "daypass.pyz").read_bytes() == client.read_bytes()


# --- The Debian package -------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def package(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    if shutil.which("dpkg-deb") is None:
        pytest.skip("dpkg-deb is not installed")
    if run(_PYTHON, "-c", "import venv, sys; sys.exit(sys.version_info < (3, 11))", cwd=Path("/")).returncode:
        pytest.skip("the system has no Python 3.11 or newer with venv")
    out = tmp_path_factory.mktemp("deb")
    succeed("sh", ROOT / "deploy/deb/build.sh", wheel, out, cwd=ROOT, PYTHON=str(_PYTHON))
    return next(out.glob("daypass_*.deb"))


def test_package_is_the_same_for_the_same_input(package: Path, wheel: Path, tmp_path: Path) -> None:
    again = shutil.copy(wheel, tmp_path)
    os.utime(again, (1_600_000_000, 1_600_000_000))
    succeed("sh", ROOT / "deploy/deb/build.sh", again, tmp_path, cwd=tmp_path, PYTHON=str(_PYTHON))
    assert (tmp_path / package.name).read_bytes() == package.read_bytes()


def test_package_holds_unit_settings_and_command_and_no_trace_of_its_build(package: Path, tmp_path: Path) -> None:
    listed = succeed("dpkg-deb", "--contents", package, cwd=tmp_path)
    assert all(line.split()[1] == "root/root" for line in listed.splitlines())
    paths = {line.split()[5].removeprefix("./"): line.split()[0] for line in listed.splitlines()}
    assert {
        "usr/bin/daypass",
        "usr/lib/systemd/system/daypass.service",
        "usr/lib/sysusers.d/daypass.conf",
        "usr/share/man/man1/daypass.1",
        "usr/share/bash-completion/completions/daypass",
        "usr/share/zsh/vendor-completions/_daypass",
        "usr/share/fish/vendor_completions.d/daypass.fish",
        "usr/share/doc/daypass/copyright",
    } <= paths.keys()
    assert paths["etc/daypass/daypass.toml"] == "-rw-r-----"
    assert not [path for path, mode in paths.items() if "s" in mode.lower() or (mode[8] == "w" and mode[0] != "l")]
    assert {path.partition("/")[0] for path in paths if path} == {"etc", "usr"}
    fields = succeed("dpkg-deb", "--field", package, cwd=tmp_path)
    minor = succeed(_PYTHON, "-c", "import sys; print(sys.version_info.minor)", cwd=tmp_path).strip()
    assert f"Depends: python3.{minor}, " in fields
    [who] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["maintainers"]
    assert f"Maintainer: {who['name']}\n" in fields
    succeed("dpkg-deb", "-x", package, tmp_path / "out", cwd=tmp_path)
    completion = (tmp_path / "out/usr/share/zsh/vendor-completions/_daypass").read_text()
    assert completion.startswith("#compdef daypass")
    texts = [
        p for p in (tmp_path / "out").rglob("*") if p.is_file() and p.suffix in ("", ".cfg", ".py", ".json", ".pth")
    ]
    assert not [p for p in texts if b"/tmp/" in p.read_bytes()[:300] or bytes(ROOT) in p.read_bytes()]


def test_package_scripts_are_valid_and_keep_data(package: Path, tmp_path: Path) -> None:
    succeed("dpkg-deb", "-e", package, tmp_path / "control", cwd=tmp_path)
    for name in ("postinst", "prerm", "postrm"):
        succeed("sh", "-n", tmp_path / "control" / name, cwd=tmp_path)
        assert "/var/lib/daypass" not in (tmp_path / "control" / name).read_text().replace(
            "--home /var/lib/daypass", ""
        )
    compiled = "/usr/lib/daypass/bin/python3 -m compileall -q -j 0 /usr/lib/daypass/lib\n"
    assert compiled in (tmp_path / "control/postinst").read_text()
    assert "__pycache__" in (tmp_path / "control/prerm").read_text()
    assert (tmp_path / "control/conffiles").read_text() == "/etc/daypass/daypass.toml\n"


def test_package_extracted_serves_and_its_command_talks_to_it(package: Path, open_directory: Path) -> None:
    root = open_directory / "root"
    succeed("dpkg-deb", "-x", package, root, cwd=open_directory)
    python, program = root / "usr/lib/daypass/bin/python3", root / "usr/bin/daypass"
    data = owned(open_directory / "data", _NOBODY)
    assert program.read_text().splitlines()[0] == "#!/usr/lib/daypass/bin/python3 -I"
    with serving(python, "-I", program, "serve", "--data", data, data=data, user=_NOBODY) as url:
        key, secret, _ = _BOOTSTRAP.split(":")
        given = {"AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": key, "AWS_SECRET_ACCESS_KEY": secret}
        shown = succeed(python, "-I", program, "whoami", cwd=open_directory, HOME=str(open_directory), **given)
    assert "arn:aws:iam::111122223333:root" in shown


# --- The container image ------------------------------------------------------------------------------------------------


def test_container_steps_make_an_image_that_serves_without_writing_outside_its_data(
    wheel: Path, open_directory: Path
) -> None:
    """No container engine is needed: each step runs with its paths moved into a directory, the start as another user."""
    source, image = open_directory / "src", open_directory / "image"
    data = image / "var/lib/daypass"
    (source / "dist").mkdir(parents=True)
    data.parent.mkdir(parents=True)
    shutil.copy(wheel, source / "dist")
    build, last = stages()

    def moved(text: str) -> str:
        return text.replace("/opt/daypass", str(image / "opt/daypass")).replace("/var/lib/daypass", str(data))

    for instruction, value in build.steps:
        if instruction == "COPY" and not words(value)[0].startswith("dist/"):
            (source / words(value)[1]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(ROOT / words(value)[0], source / words(value)[1])
        elif instruction == "RUN":
            succeed("sh", "-c", moved(re.sub("^python ", f"{_PYTHON} ", value)), cwd=source)
    for value in last.all("RUN"):
        if os.geteuid() == 0:
            succeed("sh", "-c", moved(value), cwd=source)
        else:
            data.mkdir(mode=0o700)
    before = {path: path.lstat().st_mtime_ns for path in image.rglob("*") if data not in (path, *path.parents)}
    program, *arguments = command(last)
    assert sum(path.stat().st_size for path in image.rglob("*") if path.is_file()) < 180_000_000
    start = (
        image / "opt/daypass/bin" / program,
        *(moved(argument).replace("0.0.0.0", "127.0.0.1") for argument in arguments),
    )
    with serving(*start, data=data, user=_NOBODY) as url:
        urllib.request.urlopen(f"{url}/healthz", timeout=60).close()
        with pytest.raises(urllib.error.HTTPError) as refused:
            urllib.request.urlopen(url, b"Action=GetCallerIdentity&Version=2011-06-15", timeout=60)
        refused.value.close()
    after = {path: path.lstat().st_mtime_ns for path in image.rglob("*") if data not in (path, *path.parents)}
    assert after == before
