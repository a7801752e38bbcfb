"""Streams of peers: one that sends what cannot be read is followed again, and a loop that has closed ends the thread."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import pytest
from tests.patience import eventually

from daypass.server import nodes
from daypass.server.nodes import PeerStreams


class Peer:
    """A peer that answers each connection with the next of these heartbeats."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *heartbeats: Any) -> None:
        self.heard: list[str] = []
        self.answers = threading.Event()
        self.answers.set()
        self._heartbeats = iter(heartbeats)
        monkeypatch.setattr(nodes, "open_response", self._open)
        monkeypatch.setattr(nodes, "_PAUSE_SECONDS", 0.01)

    @contextmanager
    def _open(self, *_: Any) -> Iterator[Any]:
        assert self.answers.wait(20)
        data = json.dumps(next(self._heartbeats, {})).encode()
        lines = iter([b"event: heartbeat\n", b"data: " + data + b"\n", b"\n"])
        yield SimpleNamespace(status=200, readline=lambda _: next(lines, b""))

    def streams(self) -> PeerStreams:
        known = SimpleNamespace(freshness=SimpleNamespace(note_contact=lambda node, _: self.heard.append(node)))
        proofs = SimpleNamespace(make=lambda: "proof")
        return PeerStreams(["http://127.0.0.1:1"], "", proofs, known)  # type: ignore[arg-type]


@pytest.mark.parametrize("broken", [{"at": 1, "nodes": None}, {"at": 1, "nodes": []}, [], {"at": 10**400, "nodes": {}}])
async def test_peer_that_sends_what_cannot_be_read_is_followed_again(
    monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    peer = Peer(monkeypatch, broken, {"at": 1000, "nodes": {"other": 0}})
    streams = peer.streams()
    streams.start()
    await eventually(lambda: peer.heard == ["other"])
    streams.stop()


def test_thread_of_a_peer_ends_quietly_when_the_loop_has_closed(monkeypatch: pytest.MonkeyPatch) -> None:
    """As after a start that failed."""
    faults: list[Any] = []
    monkeypatch.setattr(threading, "excepthook", faults.append)
    peer = Peer(monkeypatch, {"at": 1000, "nodes": {"other": 0}})
    peer.answers.clear()
    streams = peer.streams()

    async def start() -> None:
        streams.start()

    asyncio.run(start())
    peer.answers.set()
    [thread] = streams._threads
    thread.join(20)
    assert (thread.is_alive(), faults, peer.heard) == (False, [], [])
