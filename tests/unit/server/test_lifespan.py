"""The life of one server process, without its parts: what happens from the start to the stop, in order."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from daypass import config
from daypass.server import process


class _Parts:
    """A runtime and an application that only remember what was asked of them."""

    def __init__(self) -> None:
        self.done: list[str] = []
        self.built = asyncio.Event()

    async def start(self) -> None:
        self.done.append("start")

    async def stop(self) -> None:
        self.done.append("stop")

    async def build_mounts(self) -> None:
        self.done.append("build")
        self.built.set()


async def test_server_that_has_started_builds_mounted_applications_before_a_request_needs_them(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """The management API takes a second to import: the first revocation must not wait for that."""
    parts = _Parts()
    monkeypatch.setattr(process.startup, "Runtime", lambda *_: parts)
    monkeypatch.setattr(process, "build", lambda _: parts)
    for name in ("disable_core_dumps", "tune_interpreter", "_end_with_parent"):
        monkeypatch.setattr(process, name, lambda: None)
    monkeypatch.setattr(process.logs, "configure", lambda *_: None)
    messages = iter(({"type": "lifespan.startup"}, {"type": "lifespan.shutdown"}))

    async def receive() -> Any:
        message = next(messages)
        if message["type"] == "lifespan.shutdown":
            await parts.built.wait()
        return message

    async def send(message: Any) -> None:
        parts.done.append(message["type"])

    settings = config.load(None, {}, {"server": {"data": tmp_path}})
    await asyncio.wait_for(process.Lifespan(settings)({"type": "lifespan"}, receive, send), 60)
    expected = ["start", "lifespan.startup.complete", "build", "stop", "lifespan.shutdown.complete"]
    assert parts.done == expected
