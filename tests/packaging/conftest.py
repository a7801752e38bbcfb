from __future__ import annotations

from pathlib import Path

import pytest
from tests.packaging.machine import Machine, copy_checkout, trim_requirements

# Enough to install the project itself and to import its client.
_SMALL = (
    "click", "editables", "hatchling", "markdown-it-py", "mdurl", "packaging", "pathspec", "pluggy", "pygments", "rich",
    "trove-classifiers",
)  # fmt: skip


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    """A machine with git, make and a POSIX shell, no Python yet, and a checkout whose demo needs little."""
    checkout = tmp_path / "checkout"
    checkout.mkdir()
    trim_requirements(copy_checkout(checkout), *_SMALL)
    return Machine(tmp_path, checkout)
