"""Key sets: how they are read, and the network that fetches them."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from daypass.federation.jwks import read_discovery, read_keys
from daypass.federation.network import SystemNetwork, tls_context

ISSUERS = frozenset({"https://ci.example.com"})
_NAMES = st.sampled_from(["keys", "kty", "kid", "use", "key_ops", "d", "n", "e", "x", "issuer", "jwks_uri", "alg"])
_WORDS = st.sampled_from(["EC", "RSA", "sig", "jwt-svid", "verify", "https://ci.example.com"])
JSON = st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8) | _WORDS


def NAMED(values: Any) -> Any:
    return st.dictionaries(_NAMES, values, max_size=6)


def as_json(value: Any) -> bytes:
    return json.dumps(value).encode()


KEY = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


@pytest.mark.parametrize(
    ("document", "says"),
    [
        ({"keys": [{**KEY, "kid": "a"}, {**KEY, "kid": "a", "x": "BB"}]}, "same kid"),
        ({"keys": [{**KEY, "kid": str(i)} for i in range(101)]}, "more than 100"),
        ({"keys": []}, "none of its keys"),
        ({"keys": {}}, "not a key set"),
        ([], "not a key set"),
        ({"keys": [{**KEY, "kid": 7}]}, "kid"),
        ({"keys": [{**KEY, "kid": "k" * 513}]}, "kid"),
        ({"keys": [{**KEY, "x": "A" * 4097}]}, "member x"),
        ({"keys": [{"kty": "oct", "k": "AA"}]}, "none of its keys"),
        ({"keys": [{**KEY, "d": "AA"}]}, "none of its keys"),
        ({"keys": [{**KEY, "use": "enc"}]}, "none of its keys"),
        ({"keys": [{**KEY, "key_ops": ["sign"]}]}, "none of its keys"),
        ({"keys": [{**KEY, "key_ops": "verify"}]}, "none of its keys"),
        ({"keys": [7, None, "x", [], {"kty": ["EC"]}]}, None),
    ],
)
def test_key_set_that_is_no_good_is_refused(document: Any, says: str | None) -> None:
    with pytest.raises(ValueError, match=says):
        read_keys(json.dumps(document).encode())


def test_key_set_is_reduced_to_public_parts_in_one_form() -> None:
    one = read_keys(
        json.dumps({"keys": [{**KEY, "kid": "a", "x5c": ["MII"], "jku": "http://x", "use": "sig"}]}).encode()
    )
    two = read_keys(json.dumps({"keys": [{"kid": "a", **KEY}, {"kty": "new"}], "more": 1}).encode())
    assert one == two
    assert json.loads(one.set.jwks) == {"keys": [{"kid": "a", **KEY}]}


def test_key_set_of_very_many_parts_is_refused_before_it_is_read() -> None:
    for body in (
        b"[" + b"{}," * 5_000 + b"{}]",
        b'{"keys":[' + b"[" * 6_000,
        b'{"keys":[],"x":"' + b"," * 6_000 + b'"}',
    ):
        with pytest.raises(ValueError, match="too many parts"):
            read_keys(body)


@given(
    st.one_of(st.binary(max_size=200), st.recursive(JSON, lambda v: st.lists(v) | NAMED(v), max_leaves=20).map(as_json))
)
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_anything_published_is_keys_or_a_value_error(body: bytes) -> None:
    for read in (read_keys, lambda data: read_keys(data, spiffe=True), lambda data: read_discovery(data, ISSUERS)):
        with contextlib.suppress(ValueError):
            read(body)


# --- Names are looked up on threads: what hangs there hinders nobody else


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
