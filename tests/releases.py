"""Earlier releases of Daypass, taken from the history of the repository, to run beside this one."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
_VERSIONS = "src/daypass/stores/migrations/versions"

PREVIOUS_REVISION = "0013"
"""The newest migration of the previous release. Set it when a release is made."""


def previous_release(folder: Path) -> Path:
    """The source folder of the last commit whose newest migration is PREVIOUS_REVISION, for PYTHONPATH.

    Skips the test where the history does not have such a commit: in a source distribution, in a shallow clone, and
    where the migrations that follow were added by one commit together with it.
    """
    number = int(PREVIOUS_REVISION)
    added = _git("log", "--diff-filter=A", "--format=%H", "--", f"{_VERSIONS}/r{number + 1:04}_*").split()
    before = f"{added[-1]}^" if added else "HEAD"
    names = [Path(path).name for path in _git("ls-tree", "--name-only", before, f"{_VERSIONS}/").split()]
    newest = max((name for name in names if name.startswith("r")), default="none")
    if not newest.startswith(f"r{PREVIOUS_REVISION}"):
        pytest.skip(f"the history here has no commit whose newest migration is {PREVIOUS_REVISION}, but {newest}")
    archive = subprocess.run(
        ["git", "-C", REPOSITORY, "archive", before, "src"], check=True, capture_output=True
    ).stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as files:
        files.extractall(folder, filter="data")
    return folder / "src"


def _git(*arguments: str) -> str:
    done = subprocess.run(["git", "-C", REPOSITORY, *arguments], capture_output=True, text=True, check=False)
    return done.stdout.strip() if done.returncode == 0 else ""
