"""The lock files are what the project's metadata asks for, pinned by hash, and name no registry."""

from __future__ import annotations

import re
import tomllib
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from tests.packaging.machine import ROOT

PROJECT: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())
FILES = ("client", "server", "demo", "dev")
_PIN = re.compile(r"(?P<name>[a-z0-9-]+)==(?P<version>[0-9][\w.]*)( ; (?P<marker>[^\\]+?))? \\")


def pins(name: str) -> dict[tuple[str, str], str]:
    """(package, marker) → version."""
    lines = (ROOT / f"requirements/{name}.txt").read_text().splitlines()
    found = [_PIN.fullmatch(line) for line in lines if re.match(r"[a-z]", line)]
    assert all(found)
    return {(m["name"], m["marker"] or ""): m["version"] for m in found if m}


def group(name: str) -> list[str]:
    found: list[str] = []
    for entry in PROJECT["dependency-groups"][name]:
        found += [entry] if isinstance(entry, str) else group(entry["include-group"])
    return found


def wanted(name: str) -> list[Requirement]:
    project = PROJECT["project"]
    if name == "client":
        return [Requirement(r) for r in project["dependencies"]]
    extra = [] if name == "server" else group(name)
    return [Requirement(r) for r in (*project["dependencies"], *project["optional-dependencies"]["server"], *extra)]


@pytest.mark.parametrize("name", FILES)
def test_lock_holds_a_fitting_release_of_everything_asked_for(name: str) -> None:
    locked: dict[str, list[str]] = {}
    for (package, _), version in pins(name).items():
        locked.setdefault(package, []).append(version)
    for requirement in wanted(name):
        versions = locked.get(canonicalize_name(requirement.name), [])
        assert versions, f"{requirement} is not in requirements/{name}.txt: run `make lock`"
        assert all(v in requirement.specifier for v in versions), (
            f"{requirement} is locked at {versions}: run `make lock`"
        )


@pytest.mark.parametrize("name", FILES)
def test_lock_line_is_a_pin_a_hash_or_a_comment(name: str) -> None:
    for line in (ROOT / f"requirements/{name}.txt").read_text().splitlines():
        assert (
            _PIN.fullmatch(line)
            or re.fullmatch(r"    --hash=sha256:[0-9a-f]{64}( \\)?", line)
            or re.fullmatch(r"    # via [\w ().,\[\]/:-]+", line)
        ), line
        assert "://" not in line
        assert "index" not in line.split("#")[0]


def test_locks_agree_so_that_what_serves_dev_serves_the_demo() -> None:
    dev = pins("dev")
    for name in ("client", "server", "demo"):
        assert pins(name).items() <= dev.items()


def test_demo_lock_holds_no_development_tool() -> None:
    assert not {"pytest", "ruff", "mypy", "moto", "mkdocs"} & {package for package, _ in pins("demo")}


def test_client_install_asks_for_little() -> None:
    assert {Requirement(r).name for r in PROJECT["project"]["dependencies"]} <= {"click", "msgspec"}
