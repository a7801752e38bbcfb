"""Answers to a readiness probe, also while a database does not answer."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from daypass.server import readiness
from daypass.server.readiness import ProcessReadiness


class Hanging:
    """A directory whose database does not answer."""

    stale = revocations_unknown = False

    async def refresh(self) -> bool:
        await asyncio.get_running_loop().create_future()
        return False

    async def read(self, *_: Any, **__: Any) -> Any:
        await self.refresh()


def ready(*, spool: bool) -> ProcessReadiness:
    parts: Any = SimpleNamespace(problem=lambda: "", missing=0, warning="", rings=SimpleNamespace(unreadable=()))
    parts.spool = SimpleNamespace(fault="") if spool else None
    return ProcessReadiness(parts, parts, cast(Any, Hanging()), parts, parts)


async def test_probe_of_a_server_with_a_spool_does_not_wait_long_for_a_hanging_database(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "_READY_SECONDS", 1e9)
    monkeypatch.setattr(readiness, "_SPOOL_SECONDS", 0.001)
    assert await ready(spool=True).problems(detailed=False) == []
    assert await ready(spool=True).uninitialised() is False


async def test_probe_of_a_server_without_a_spool_waits_and_says_that_the_database_does_not_answer(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(readiness, "_READY_SECONDS", 0.001)
    monkeypatch.setattr(readiness, "_SPOOL_SECONDS", 1e9)
    assert await ready(spool=False).problems(detailed=False) == ["the database does not answer"]
