"""A pretended fresh machine: a copy of the checkout, and a PATH that holds only what a test puts there."""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import subprocess
import sys
from dataclasses import dataclass, field
from pathlib import Path
from types import ModuleType
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
BASE_PYTHON = Path(sys._base_executable)
_TOOLS = ("sh", "cat", "dirname", "env", "git", "make", "mkdir", "rm", "sed", "expand", "uname")

# A python3 as systems ship it: `refuse` holds shell patterns of command lines that it cannot carry out. `probed` is what
# it answers to set-up's question about its build and version; "" for the truth.
_SHIM = """#!/bin/sh
echo "${{0##*/}} $*" >>'{log}'
case "$*" in {refuse}) echo "not here" >&2; exit 1 ;; esac
case "$*" in *enable-optimizations*) [ -n '{probed}' ] && {{ echo '{probed}' "$0"; exit; }} ;; esac
exec '{real}' "$@"
"""


def tool(name: str) -> ModuleType:
    """A program of `tools/` as a module."""
    spec = importlib.util.spec_from_file_location(name, ROOT / f"tools/{name}.py")
    assert spec
    assert spec.loader
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def copy_checkout(to: Path) -> Path:
    """The files that git has or would take, without any environment or build result."""
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    ).stdout
    for name in filter(None, listed.decode().split("\0")):
        if (ROOT / name).is_file():  # others may delete while we copy
            (to / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(ROOT / name, to / name)
    return to


def trim_requirements(checkout: Path, *keep: str) -> None:
    """Shortens the demo's requirement file to some packages, hashes and all, so that a set-up takes seconds."""
    path = checkout / "requirements/demo.txt"
    blocks = re.split(r"\n(?=[a-z0-9])", path.read_text())
    kept = [b for b in blocks if b.split("==")[0] in keep]
    assert len(kept) == len(keep)
    path.write_text("\n".join(kept) + "\n")


@dataclass
class Machine:
    """`run` runs a command in the checkout, on this machine's PATH."""

    home: Path
    checkout: Path
    env: dict[str, str] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.bin = self.home / "bin"
        self.bin.mkdir()
        self.log = self.home / "python.log"
        self.env.setdefault("PYENV_ROOT", str(self.home / "pyenv"))  # the interpreters of the real machine stay out
        for tool in _TOOLS:
            found = shutil.which(tool)
            assert found, tool
            (self.bin / tool).symlink_to(found)

    def add_python(
        self,
        name: str = "python3",
        *,
        refuse: str = "nothing",
        real: Path = BASE_PYTHON,
        probed: str = "",
        under: Path | None = None,
    ) -> None:
        shim = (under or self.bin) / name
        shim.parent.mkdir(parents=True, exist_ok=True)
        shim.unlink(missing_ok=True)
        shim.write_text(_SHIM.format(log=self.log, refuse=refuse, real=real, probed=probed))
        shim.chmod(0o755)

    def run(self, *command: str, **options: Any) -> subprocess.CompletedProcess[str]:
        env = {k: v for k, v in os.environ.items() if k not in ("PYTHON", "PYTHONPATH", "VIRTUAL_ENV", "MAKEFLAGS")}
        return subprocess.run(
            command, cwd=self.checkout, env={**env, "PATH": str(self.bin), **self.env}, capture_output=True, text=True,
            timeout=600, check=False, **options,
        )  # fmt: skip

    def calls(self) -> str:
        return self.log.read_text() if self.log.exists() else ""


def run(*command: str | Path, cwd: Path, **env: str) -> subprocess.CompletedProcess[str]:
    kept = {k: v for k, v in os.environ.items() if not k.startswith(("PYTHON", "VIRTUAL_ENV", "DAYPASS_", "AWS_"))}
    return subprocess.run(
        [str(part) for part in command], cwd=cwd, env={**kept, **env}, capture_output=True, text=True, check=False, timeout=300
    )  # fmt: skip


def succeed(*command: str | Path, cwd: Path, **env: str) -> str:
    done = run(*command, cwd=cwd, **env)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    return done.stdout
