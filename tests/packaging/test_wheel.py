"""The built wheel, in clean environments: everything is in it, the client stands alone, the server serves, the demo runs."""

from __future__ import annotations

import json
import os
import re
import shutil
import sys
import zipfile
from pathlib import Path

import pytest
from tests.packaging.machine import ROOT, copy_checkout, run, succeed

pytestmark = pytest.mark.slow

UV = Path(sys.executable).with_name("uv")
VERSIONS = ("3.11", "3.13")


def interpreter(version: str) -> Path:
    """A Python of this version that runs; the test is skipped where there is none."""
    for candidate in (shutil.which(f"python{version}"), f"/usr/bin/python{version}"):
        if candidate and run(candidate, "-c", "import ensurepip", cwd=Path("/")).returncode == 0:
            return Path(candidate)
    pytest.skip(f"no working python{version} on this machine")


def test_wheel_installs_a_man_page_for_each_command(wheel: Path) -> None:
    names = {
        name.rpartition("share/man/man1/")[2] for name in zipfile.ZipFile(wheel).namelist() if "/share/man/" in name
    }
    assert names == {path.name for path in (ROOT / "man").glob("*.1")}


def test_wheel_holds_every_file_of_the_package(wheel: Path) -> None:
    packed = {n for n in zipfile.ZipFile(wheel).namelist() if n.startswith("daypass/")}
    tracked = succeed("git", "ls-files", "--cached", "--others", "--exclude-standard", "src/daypass", cwd=ROOT)
    there = {line.removeprefix("src/") for line in tracked.splitlines() if (ROOT / line).is_file()}
    assert packed == there
    assert "daypass/py.typed" in packed
    assert [n for n in packed if "/migrations/versions/" in n]
    assert [n for n in packed if n.startswith("daypass/data/") and n.endswith(".json")]


def test_archives_built_twice_are_the_same(tmp_path: Path) -> None:
    """From two directories, with other times of the files."""
    made = []
    for name in ("one", "two"):
        (tmp_path / name / "source").mkdir(parents=True)
        source, out = copy_checkout(tmp_path / name / "source"), tmp_path / name / "out"
        if made:
            for path in source.rglob("*"):
                os.utime(path, (1, 1))
        succeed(
            sys.executable,
            "-m",
            "build",
            "--no-isolation",
            "-o",
            out,
            source,
            cwd=source,
            SOURCE_DATE_EPOCH="1750000000",
        )
        made.append({path.name: path.read_bytes() for path in out.iterdir()})
    assert {name.rpartition(".")[2] for name in made[0]} == {"whl", "gz"}
    assert made[0] == made[1]


def test_tool_installation_of_the_docs_gives_the_client(wheel: Path, tmp_path: Path) -> None:
    page = (ROOT / "docs/how-to/packages.md").read_text()
    assert "uv tool install dist/daypass-*.whl" in page
    where = {"UV_TOOL_DIR": str(tmp_path / "tools"), "UV_TOOL_BIN_DIR": str(tmp_path / "bin"), "HOME": str(tmp_path)}
    succeed(UV, "tool", "install", "-q", "--python", interpreter("3.11"), wheel, cwd=tmp_path, **where)
    assert succeed(tmp_path / "bin/daypass", "--version", cwd=tmp_path, **where).startswith("daypass, version ")
    shown = run(tmp_path / "bin/daypass", "whoami", cwd=tmp_path, **where)
    assert (shown.returncode, "daypass login" in shown.stderr) == (6, True)


def test_sbom_names_each_locked_package_with_its_hashes(tmp_path: Path) -> None:
    texts = []
    for name in ("one.json", "two.json"):
        succeed("sh", ROOT / "deploy/sbom.sh", tmp_path / name, cwd=tmp_path)
        texts.append((tmp_path / name).read_text())
    assert texts[0] == texts[1]
    bom = json.loads(texts[0])
    assert (bom["bomFormat"], bom["specVersion"], bom["metadata"]["component"]["name"]) == (
        "CycloneDX",
        "1.6",
        "daypass",
    )
    named = {(each["name"], each["version"]): each["purl"] for each in bom["components"]}
    pinned = re.findall(r"^([a-z0-9-]+)==([^ ]+)", (ROOT / "requirements/server.txt").read_text(), re.MULTILINE)
    assert named.keys() == set(pinned)
    assert all(purl.startswith(f"pkg:pypi/{name}@{version}") for (name, version), purl in named.items())
    for component in bom["components"]:
        hashes = [each["hashes"] for each in component["externalReferences"]]
        assert all(found["alg"] == "SHA-256" and found["content"] for each in hashes for found in each)
        assert any(hashes)


@pytest.mark.parametrize("version", VERSIONS)
def test_wheel_alone_gives_client_and_command_line(wheel: Path, tmp_path: Path, version: str) -> None:
    venv = tmp_path / "venv"
    succeed(UV, "venv", "-q", "--no-project", "--python", interpreter(version), venv, cwd=tmp_path)
    install = (UV, "pip", "install", "-q", "--python", venv / "bin/python")
    succeed(*install, "-c", ROOT / "requirements/server.txt", wheel, cwd=tmp_path)
    succeed(venv / "bin/python", "-c", "import daypass.client.credentials, daypass.cli.main", cwd=tmp_path)
    assert "whoami" in succeed(venv / "bin/daypass", "--help", cwd=tmp_path)
    served = run(venv / "bin/daypass", "serve", cwd=tmp_path)
    assert (served.returncode, "pip install '.[server]'" in served.stderr) == (2, True)


@pytest.mark.parametrize("version", VERSIONS)
def test_wheel_with_the_locked_server_runs_the_demo(wheel: Path, tmp_path: Path, version: str) -> None:
    """The demo starts `daypass serve` on a new database, so migrations and data files are used."""
    venv = tmp_path / "venv"
    succeed(UV, "venv", "-q", "--no-project", "--python", interpreter(version), venv, cwd=tmp_path)
    install = (UV, "pip", "install", "-q", "--python", venv / "bin/python", "--no-deps")
    succeed(*install, "--require-hashes", "-r", ROOT / "requirements/demo.txt", cwd=tmp_path)
    succeed(*install, wheel, cwd=tmp_path)
    shutil.copytree(ROOT / "demo", tmp_path / "demo")
    shown = succeed(venv / "bin/python", tmp_path / "demo/main_job.py", cwd=tmp_path, HOME=str(tmp_path))
    assert "Done in" in shown
