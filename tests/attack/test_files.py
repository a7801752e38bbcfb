"""Attacks through files by other users of the machine: row A203, a link in the place of a backup's draft."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest
from tests.attack.installation import installed

from daypass.config import Settings
from daypass.crypto import age
from daypass.server import backup


@pytest.mark.parametrize("name", [".daypass.age.partial", ".daypass.age", "daypass.age.partial"])
def test_a203_link_in_the_directory_of_a_backup_is_not_followed(tmp_path: Path, name: str) -> None:
    """The directory may be one that others can write, such as /tmp."""
    victim, shared, data = tmp_path / "victim", tmp_path / "shared", tmp_path / "data"
    shared.mkdir(mode=0o777)
    victim.write_text("kept")
    (shared / name).symlink_to(victim)
    with installed(data):
        pass
    settings = Settings.model_validate({"server": {"data": str(data)}})
    made = backup.make(settings, age.new_identity()[1], shared / "daypass.age")
    assert made.rows
    assert victim.read_text() == "kept"
    assert stat.S_IMODE((shared / "daypass.age").stat().st_mode) == 0o600
    assert {file.name for file in shared.iterdir()} == {"daypass.age", name}
