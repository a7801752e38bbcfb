"""The rotation of ring keys by command, while no server runs."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from tests.prepared import prepare_sqlite

from daypass.config import Settings
from daypass.crypto.key_encryption import RingError
from daypass.server import ring_keys
from daypass.server.runtime import Runtime


@pytest.fixture
def settings(tmp_path: Path) -> Settings:
    """Those of an installation whose server has run once and has stopped."""
    prepare_sqlite(tmp_path / "daypass.db")
    settings = Settings.model_validate({"server": {"data": str(tmp_path)}})
    asyncio.run(run_once(settings))
    return settings


async def run_once(settings: Settings) -> None:
    runtime = Runtime(settings)
    await runtime.start()
    await runtime.stop()


def test_rotate_twice_at_the_same_moment_is_refused_and_changes_nothing(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ring_keys.wall()
    monkeypatch.setattr(ring_keys, "wall", lambda: now)
    ring_keys.rotate(settings, ())
    before = ring_keys.list_keys(settings)
    with pytest.raises(RingError, match="at the same moment"):
        ring_keys.rotate(settings, ())
    assert ring_keys.list_keys(settings) == before


def test_emergency_rotation_after_two_planned_ones_adds_every_new_key(
    settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    now = ring_keys.wall()
    for later in (1, 2):
        monkeypatch.setattr(ring_keys, "wall", lambda later=later: now + later)
        ring_keys.rotate(settings, ())
    monkeypatch.setattr(ring_keys, "wall", lambda: now + 3)
    _, made = ring_keys.rotate_in_emergency(settings)
    stored = {key.id for key in ring_keys.list_keys(settings)}
    assert {key.id for key in made} <= stored
