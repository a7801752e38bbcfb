"""Names are looked up on threads: what hangs there hinders nobody else."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from daypass.federation.network import SystemNetwork, tls_context


@pytest.fixture
def hanging(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Look-ups, in order; those of names that begin with "slow" hang until the test ends."""
    asked: list[str] = []
    ended = threading.Event()

    def getaddrinfo(host: str, port: int, **_: Any) -> list[Any]:
        asked.append(host)
        if host.startswith("slow"):
            ended.wait(60)
        if host.startswith("bad"):
            raise UnicodeError("label too long") if host == "bad-label" else socket.gaierror(-2, "unknown")
        kind = (socket.AF_INET, socket.SOCK_STREAM, 6, "")
        return [(*kind, ("192.0.2.1", port)), (*kind, ("192.0.2.1", port)), (*kind, ("192.0.2.2", port))]

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    yield asked
    ended.set()


async def test_resolve_gives_each_address_once(hanging: list[str]) -> None:
    assert await SystemNetwork().resolve("a", 443, "x") == ("192.0.2.1", "192.0.2.2")


@pytest.mark.parametrize("host", ["bad", "bad-label"])
async def test_resolve_of_what_is_no_name_is_an_oserror(hanging: list[str], host: str) -> None:
    network = SystemNetwork()
    for _ in range(100):  # and leaves nothing behind
        with pytest.raises(OSError, match=r"unknown|host name"):
            await network.resolve(host, 443, "x")


async def test_one_look_up_of_a_hanging_name_is_shared_and_others_go_on(hanging: list[str]) -> None:
    network = SystemNetwork()
    for _ in range(20):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(network.resolve("slow", 443, "x"), 0.001)
    assert hanging.count("slow") == 1
    assert await network.resolve("a", 443, "x")


async def test_hanging_names_of_one_account_leave_room_for_another(hanging: list[str]) -> None:
    network = SystemNetwork()
    for number in range(8):
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(network.resolve(f"slow-{number}", 443, "x"), 0.001)
    with pytest.raises(OSError, match="too many look-ups"):
        await network.resolve("a", 443, "x")
    assert await network.resolve("a", 443, "y")


def test_tls_context_verifies_and_refuses_what_is_no_certificate() -> None:
    context = tls_context("")
    assert context.check_hostname
    assert context.verify_mode.name == "CERT_REQUIRED"
    for text in ("x", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n", "é", "\0"):
        with pytest.raises(ValueError, match="PEM"):
            tls_context(text)


async def test_look_up_without_a_free_thread_is_an_oserror_and_takes_no_place(
    hanging: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def start(_: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    network = SystemNetwork()
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", start)
        for _ in range(20):
            with pytest.raises(OSError, match="no thread"):
                await network.resolve("a", 443, "x")
    assert await network.resolve("a", 443, "x")
