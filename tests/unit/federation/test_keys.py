"""Keys of issuers: how often they are fetched, how long they serve, and what survives."""

from __future__ import annotations

import asyncio
import base64
import json
from pathlib import Path
from typing import Any

import pytest
from tests.fake_network import http
from tests.unit.federation.keys_world import ACCOUNT, DISCOVERY, HOUR, JWKS, NOW, URL, KeyWorld, oidc

from daypass.domain.claims import secret_owner
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import EventType
from daypass.federation.jwks import read_keys


@pytest.fixture
def world() -> KeyWorld:
    return KeyWorld()


async def refused(world: KeyWorld, kid: str = "", **settings: Any) -> DaypassError:
    with pytest.raises(DaypassError) as failed:
        await world.keys.keys(oidc(**settings), kid, world.clock.now())
    assert failed.value.kind is ErrorKind.IDP_COMMUNICATION
    return failed.value


async def test_keys_are_discovered_once_and_then_at_hand(world: KeyWorld) -> None:
    assert await world.kids("key-1") == ["key-1"]
    assert await world.kids("key-1") == ["key-1"]
    assert world.network.asked == [DISCOVERY, JWKS]


async def test_many_first_tokens_at_once_make_one_fetch(world: KeyWorld) -> None:
    await asyncio.gather(*(world.kids("key-1") for _ in range(200)))
    assert world.network.asked == [DISCOVERY, JWKS]


async def test_rotated_key_is_found_when_a_token_names_it(world: KeyWorld) -> None:
    await world.kids("key-1")
    world.issuer.rotate()
    world.publish()
    world.clock.time += 30_000
    assert await world.kids("key-2") == ["key-1", "key-2"]


async def test_keys_that_are_due_are_fetched_behind_the_answer(world: KeyWorld) -> None:
    await world.kids()
    world.issuer.rotate(keep=False)
    world.publish()
    world.clock.time += HOUR
    assert await world.kids("key-1") == ["key-1"]  # without waiting
    await world.settle()
    assert await world.kids() == ["key-2"]
    assert world.fetches == 2


@pytest.mark.parametrize(
    ("said", "waits"),
    [
        ("max-age=1000", 900_000),
        ("public, max-age=0", 270_000),
        ("max-age=99999999", 6 * HOUR * 9 // 10),
        ("no-store", HOUR * 9 // 10),
        ("max-age=-5", HOUR * 9 // 10),
        ("s-max-age=7000", HOUR * 9 // 10),
    ],
)
async def test_max_age_is_honoured_within_bounds(world: KeyWorld, said: str, waits: int) -> None:
    world.publish(cache_control=said)
    status = await world.keys.status(oidc(), NOW)
    assert status.due_at - status.fetched_at == waits


async def test_source_in_use_is_kept_fresh_and_an_idle_one_is_not(world: KeyWorld) -> None:
    keys = world.process(idle=3 * HOUR)
    await world.kids(keys=keys)
    keys.start(pause=0)
    for expected in (2, 3, 3, 3):
        world.clock.time += HOUR
        await world.settle()
        assert world.fetches == expected
    await keys.stop()


async def test_stale_keys_serve_while_the_issuer_is_away_up_to_the_limit(world: KeyWorld) -> None:
    await world.kids()
    world.away()
    world.clock.time += 24 * HOUR
    assert await world.kids("key-1") == ["key-1"]
    await world.settle()
    world.clock.time += 1
    error = await refused(world)
    assert "no connection" in error.private["keys"]
    assert "ci.example.com" not in error.public


async def test_restart_while_the_issuer_is_away_goes_on(world: KeyWorld) -> None:
    await world.kids()
    await world.settle()
    world.away()
    world.clock.time += 2 * HOUR
    assert await world.kids("key-1", keys=world.process()) == ["key-1"]
    world.clock.time += 22 * HOUR + 1
    with pytest.raises(DaypassError):
        await world.kids(keys=world.process())


async def test_fresh_keys_of_another_process_are_taken_without_a_fetch(world: KeyWorld) -> None:
    await world.kids()
    await world.settle()
    assert await world.kids("key-1", keys=world.process()) == ["key-1"]
    assert world.fetches == 1


async def test_key_made_since_the_kept_ones_is_fetched_at_once_after_a_restart(world: KeyWorld) -> None:
    await world.kids("key-1")
    await world.settle()
    restarted = world.process()
    assert await world.kids("key-1", restarted) == ["key-1"]
    assert world.fetches == 1
    world.issuer.rotate()
    world.publish()
    assert await world.kids("key-2", restarted) == ["key-1", "key-2"]


async def test_keys_are_written_once_when_they_change_and_hourly_when_not(world: KeyWorld) -> None:
    provider = oidc()
    for _ in range(6):
        await world.keys.status(provider, world.clock.now(), refresh=True)
        await world.settle()
        world.clock.time += 1_000_000
    changed = [(event.type, event.detail["changed"]) for event in world.rows.events]
    assert changed == [(EventType.ISSUER_KEYS, True), (EventType.ISSUER_KEYS, False)]
    [row] = world.rows.rows.values()
    assert (row.url, row.account, row.fetched_at) == (DISCOVERY, "", NOW + 4_000_000)


async def test_a22_unknown_kids_at_several_processes_make_one_fetch_for_all(world: KeyWorld) -> None:
    several = [world.process(poll_seconds=0.001) for _ in range(4)]
    for process in several:
        await world.kids("key-1", keys=process)
        await world.settle()
    assert world.fetches == 1
    for minute in range(1, 4):
        world.clock.time += 60_000
        found = [world.kids(f"unknown-{minute}-{n}", keys=process) for n in range(20) for process in several]
        assert await asyncio.gather(*found) == [["key-1"]] * 80
        await world.settle()
        assert world.fetches == 1 + minute


async def test_rotated_key_is_found_by_all_processes_with_one_fetch(world: KeyWorld) -> None:
    several = [world.process(poll_seconds=0.001) for _ in range(4)]
    for process in several:
        await world.kids("key-1", keys=process)
        await world.settle()
    world.issuer.rotate()
    world.publish()
    world.clock.time += 60_000
    found = await asyncio.gather(*(world.kids("key-2", keys=process) for process in several))
    assert found == [["key-1", "key-2"]] * 4
    assert world.fetches == 2


async def test_unknown_kid_while_the_database_is_away_is_looked_for_nevertheless(world: KeyWorld) -> None:
    await world.kids()
    world.issuer.rotate()
    world.publish()
    world.clock.time += 60_000
    world.rows.away = True
    assert await world.kids("key-2") == ["key-1", "key-2"]


async def test_database_away_hinders_no_fetch(world: KeyWorld) -> None:
    world.rows.away = True
    assert await world.kids("key-1") == ["key-1"]


async def test_failing_first_fetches_are_spaced_out(world: KeyWorld) -> None:
    world.away()
    for _ in range(600):
        await refused(world)
        world.clock.time += 100
    assert 5 <= world.fetches <= 7  # at 0, 2, 6, 14, 30, 60 s or so


async def test_accounts_share_what_differs_in_nothing(world: KeyWorld) -> None:
    await world.kids()
    await world.kids(provider=oidc(account="444455556666"))
    assert world.fetches == 1
    await world.kids(provider=oidc(account="444455556666", jwks_url=JWKS))
    assert world.fetches == 2


async def test_change_of_settings_takes_other_keys_at_once_and_forgets_the_old(world: KeyWorld) -> None:
    await world.kids(provider=oidc(jwks_url=JWKS))
    await world.settle()
    await world.kids(provider=oidc(jwks_url=JWKS, allow_private_networks=True))
    await world.settle()
    assert world.fetches == 2
    assert len(world.rows.rows) == 1


async def test_static_keys_touch_nothing(world: KeyWorld) -> None:
    provider = oidc(static_jwks=world.issuer.jwks())
    assert await world.kids("unknown", provider=provider) == ["key-1"]
    assert (world.fetches, world.rows.reads) == (0, 0)
    assert (await world.keys.status(provider, NOW)).keys[0]["kid"] == "key-1"


async def test_unusable_static_keys_are_no_keys(world: KeyWorld) -> None:
    assert "verifies signatures" in (await refused(world, static_jwks={"keys": []})).private["keys"]


async def test_keys_of_a_file_follow_it(tmp_path: Path) -> None:
    (tmp_path / "files").mkdir()
    world = KeyWorld(files=tmp_path / "files")
    file = tmp_path / "files/jwks.json"
    file.write_text(json.dumps(world.issuer.jwks()))
    provider = oidc(jwks_file="jwks.json")
    assert await world.kids(provider=provider) == ["key-1"]
    world.issuer.rotate()
    file.write_text(json.dumps(world.issuer.jwks()))
    world.clock.time += 30_000
    assert await world.kids("key-2", provider=provider) == ["key-1", "key-2"]
    file.unlink()
    world.clock.time += HOUR
    assert await world.kids("key-2", provider=provider) == ["key-1", "key-2"]
    assert world.rows.rows == {}


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "link", "missing", "\0", "directory", "big"])
async def test_file_outside_or_unusable_is_no_keys(tmp_path: Path, name: str) -> None:
    files = tmp_path / "files"
    (files / "directory").mkdir(parents=True)
    (tmp_path / "secret").write_text(json.dumps(KeyWorld().issuer.jwks()))
    (files / "link").symlink_to(tmp_path / "secret")
    (files / "big").write_bytes(b" " * 1_048_577)
    world = KeyWorld(files=files)
    with pytest.raises(DaypassError) as failed:
        await world.kids(provider=oidc(jwks_file=name))
    assert failed.value.kind is ErrorKind.IDP_COMMUNICATION
    assert "file" in failed.value.private["keys"]


async def test_file_is_not_read_without_a_directory_for_files(world: KeyWorld) -> None:
    assert "federation.files" in (await refused(world, jwks_file="/etc/passwd")).private["keys"]


async def test_link_within_the_directory_is_followed(tmp_path: Path) -> None:
    (tmp_path / "..data").mkdir()
    world = KeyWorld(files=tmp_path)
    (tmp_path / "..data/token").write_text("t0ken\n")
    (tmp_path / "token").symlink_to("..data/token")
    await world.kids(provider=oidc(jwks_url=JWKS, jwks_bearer_file="token"))
    assert b"\r\nauthorization: Bearer t0ken\r\n" in world.network.requests[0].lower().replace(b"bearer", b"Bearer")


def sealed(value: str, member: str = "jwks_bearer", url: str = URL, account: str = ACCOUNT) -> str:
    return base64.b64encode(f"{account}|{secret_owner(url, member)}|{value}".encode()).decode()


async def test_bearer_goes_to_its_own_origin_alone(world: KeyWorld) -> None:
    elsewhere = "https://keys.example.net/jwks"
    world.network.pages[DISCOVERY] = http({**world.issuer.discovery(), "jwks_uri": elsewhere})
    world.network.pages[elsewhere] = http(world.issuer.jwks())
    await world.kids(provider=oidc(jwks_bearer=sealed("s3cret")))
    first, second = world.network.requests
    assert b"Bearer s3cret" in first
    assert b"s3cret" not in second


@pytest.mark.parametrize(
    "text", ["!", sealed("x", url="other"), sealed("x", "token_review.bearer"), sealed("x", account="1")]
)
async def test_bearer_of_another_is_not_sent(world: KeyWorld, text: str) -> None:
    await refused(world, jwks_bearer=text)
    assert world.network.requests == []


@pytest.mark.parametrize(
    "document",
    [
        {"issuer": "https://ci.example.com/", "jwks_uri": JWKS},
        {"issuer": "https://CI.example.com", "jwks_uri": JWKS},
        {"jwks_uri": JWKS},
        {"issuer": "https://ci.example.com"},
        {"issuer": ["https://ci.example.com"], "jwks_uri": JWKS},
        {"issuer": "https://ci.example.com", "jwks_uri": "http://ci.example.com/jwks"},
        {"issuer": "https://ci.example.com", "jwks_uri": ["x"]},
        [],
        b'{"issuer":"https://evil.example","issuer":"https://ci.example.com","jwks_uri":"https://ci.example.com/jwks"}',
    ],
)
async def test_discovery_that_is_not_exactly_the_issuers_is_no_keys(world: KeyWorld, document: Any) -> None:
    world.network.pages[DISCOVERY] = http(document)
    await refused(world)
    assert JWKS not in world.network.asked


async def test_bare_issuer_is_discovered_over_https(world: KeyWorld) -> None:
    assert await world.kids(provider=oidc(issuer=URL)) == ["key-1"]


async def test_status_shows_what_an_operator_needs(world: KeyWorld) -> None:
    world.publish(date="Fri, 15 Jan 2027 08:00:07 GMT")
    status = await world.keys.status(oidc(), NOW)
    assert (status.kind, status.place, status.fetched_at) == ("discovery", DISCOVERY, NOW)
    assert status.keys == ({"kid": "key-1", "kty": "EC", "alg": "ES256", "crv": "P-256"},)
    assert (status.error, status.skew_ms) == ("", 7_000)
    world.away()
    world.clock.time += HOUR
    status = await world.keys.status(oidc(), world.clock.now(), refresh=True)
    assert (status.failed_at, status.fetched_at) == (world.clock.now(), NOW)
    assert "no connection" in status.error
    assert world.keys.ages() == (HOUR, 1)


async def test_refreshes_on_demand_at_once_are_spaced_and_shared(world: KeyWorld) -> None:
    keys = world.process(ordered=20)
    await asyncio.gather(*(keys.status(oidc(), NOW, refresh=True) for _ in range(20)))
    assert world.fetches == 2  # the first one's, and one that began after all the others had asked


async def test_refresh_on_demand_never_shows_what_was_fetched_before_it(world: KeyWorld) -> None:
    keys = world.process(ordered=20)
    await world.kids("key-1", keys)
    world.issuer.rotate()
    world.publish()
    status = await keys.status(oidc(), NOW, refresh=True)  # in the same moment
    assert [key["kid"] for key in status.keys] == ["key-1", "key-2"]


async def test_refresh_on_demand_waits_its_second_at_most_when_the_clock_was_put_back(world: KeyWorld) -> None:
    keys = world.process(ordered=20)
    await world.kids("key-1", keys)
    async with asyncio.timeout(60):
        await keys.status(oidc(), NOW - HOUR, refresh=True)
    assert world.fetches == 2


# --- SPIFFE


def bundle(world: KeyWorld, sequence: int, **more: Any) -> dict[str, Any]:
    keys = [{**key, "use": "jwt-svid"} for key in world.issuer.jwks()["keys"]]
    x509 = {"kty": "EC", "use": "x509-svid", "crv": "P-256", "x": "AA", "y": "AA", "x5c": ["MII"]}
    return {"keys": [x509, *keys], "spiffe_sequence": sequence, "spiffe_refresh_hint": 600, **more}


async def test_spiffe_bundle_gives_its_jwt_authorities_by_its_own_hint(world: KeyWorld) -> None:
    provider = oidc(jwks_url=JWKS, spiffe_trust_domain="example.org")
    world.publish(bundle(world, 5))
    assert await world.kids(provider=provider) == ["key-1"]
    status = await world.keys.status(provider, NOW)
    assert status.due_at - status.fetched_at == 540_000


async def test_spiffe_bundle_that_goes_back_is_not_taken(world: KeyWorld) -> None:
    provider = oidc(jwks_url=JWKS, spiffe_trust_domain="example.org")
    world.publish(bundle(world, 5))
    await world.kids(provider=provider)
    await world.settle()
    world.issuer.rotate(keep=False)
    world.publish(bundle(world, 4))
    world.clock.time += HOUR
    assert await world.kids("key-2", provider=provider) == ["key-1"]
    restarted = world.process()
    assert await world.kids("key-2", keys=restarted, provider=provider) == ["key-1"]


def test_spiffe_bundle_holds_no_keys_for_ordinary_tokens(world: KeyWorld) -> None:
    body = json.dumps(bundle(world, 1)).encode()
    with pytest.raises(ValueError, match="none of its keys"):
        read_keys(body)
    with pytest.raises(ValueError, match="none of its keys"):
        read_keys(json.dumps(world.issuer.jwks()).encode(), spiffe=True)
