from __future__ import annotations

import sys
from pathlib import Path

import pytest
from tests.packaging.machine import Machine, copy_checkout, succeed, trim_requirements

# Enough to install the project itself and to import its client.
_SMALL = ("click", "editables", "hatchling", "msgspec", "packaging", "pathspec", "pluggy", "trove-classifiers")


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with git, make and a POSIX shell, no Python yet, and a checkout whose demo needs little."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    trim_requirements(copy_checkout(checkout), *_SMALL)
    return Machine(tmp_path, checkout)


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel of this checkout."""
    source = copy_checkout(tmp_path_factory.mktemp("source"))
    out = tmp_path_factory.mktemp("dist")
    succeed(sys.executable, "-m", "build", "--wheel", "--no-isolation", "-o", out, source, cwd=source)
    return next(out.glob("daypass-*.whl"))
