"""Pushes in the background: a receiver that hangs delays no other stream, and no account takes every push."""

from __future__ import annotations

import asyncio
from collections import Counter
from types import SimpleNamespace
from typing import Any

import pytest

from daypass.server import background
from daypass.server.background import AT_ONCE, AT_ONCE_OF_ACCOUNT, follow, new_pushes, start_due


class Receivers:
    """Streams that are due, and pushes that hang until `go_on`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.due: list[Any] = []
        self.pushed: list[str] = []
        self.go_on = asyncio.Event()
        self.queued = 0
        monkeypatch.setattr(background, "due_streams", self._due)
        monkeypatch.setattr(background, "push_stream", self._push)
        monkeypatch.setattr(background, "queue_revocations", self._queue)

    def add(self, account: str, count: int) -> None:
        self.due += [SimpleNamespace(id=f"{account}-{number}", account=account) for number in range(count)]

    async def _due(self, _: Any) -> list[Any]:
        return self.due

    async def _push(self, _: Any, stream: Any) -> int:
        self.pushed.append(stream.id)
        await self.go_on.wait()
        return 1

    async def _queue(self, _: Any) -> int:
        self.queued += 1
        return 0


async def _others_run() -> None:
    for _ in range(10):
        await asyncio.sleep(0)


async def test_start_due_pushes_some_streams_of_each_account(monkeypatch: pytest.MonkeyPatch) -> None:
    receivers = Receivers(monkeypatch)
    for account in "abcdef":
        receivers.add(account, 20)
    env, pushes = SimpleNamespace(), new_pushes()
    for _ in range(3):  # a stream that is being pushed is not pushed again
        await start_due(env, pushes)  # type: ignore[arg-type]
        await _others_run()
    assert len(set(receivers.pushed)) == len(receivers.pushed) == AT_ONCE
    assert max(Counter(name[0] for name in receivers.pushed).values()) == AT_ONCE_OF_ACCOUNT
    receivers.go_on.set()
    await _others_run()
    await start_due(env, pushes)  # type: ignore[arg-type]
    await _others_run()
    assert len(receivers.pushed) == 2 * AT_ONCE
    await pushes.stop()


async def test_follow_queues_revocations_while_a_receiver_hangs(monkeypatch: pytest.MonkeyPatch) -> None:
    receivers = Receivers(monkeypatch)
    receivers.add("a", 1)
    feed = SimpleNamespace(version=1, closed=False)

    async def changed(_: int, __: float) -> bool:
        await asyncio.sleep(0)
        return True

    feed.changed = changed
    following = asyncio.create_task(follow(SimpleNamespace(revocations=feed)))  # type: ignore[arg-type]
    await _others_run()
    assert receivers.pushed == ["a-0"]
    feed.version = 2
    await _others_run()
    assert receivers.queued == 2
    feed.closed = True
    await _others_run()
    assert following.done(), "it does not wait for the receiver either"


async def test_push_that_fails_is_reported_and_leaves_room(monkeypatch: pytest.MonkeyPatch) -> None:
    receivers = Receivers(monkeypatch)
    receivers.add("a", 1)
    count = 0

    async def broken(*_: Any) -> int:
        nonlocal count
        count += 1
        raise RuntimeError("broken")

    monkeypatch.setattr(background, "push_stream", broken)
    env, pushes = SimpleNamespace(), new_pushes()
    for _ in range(3):
        await start_due(env, pushes)  # type: ignore[arg-type]
        await _others_run()
    assert count == 3
