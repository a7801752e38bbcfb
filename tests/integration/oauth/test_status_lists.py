"""Status lists: every access token has an index in a list that any process serves, from memory for its own log."""

from __future__ import annotations

import base64
import json
import zlib
from typing import Any
from urllib.parse import unquote

import jwt
import pytest
from tests.attack.installation import ADMIN, ALPHA, Answer, Installation, installed
from tests.integration.oauth.conftest import World
from tests.oauth import ACCESS_TOKEN, ISSUER, exchange, given, verified

from daypass.audit import status_lists
from daypass.audit.status_lists import LogStatusLists
from daypass.domain.directory import Revocation
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.revocation_index import match_id


def reference(world: World, token: str) -> tuple[str, int]:
    """Path and index of a token's status."""
    found = verified(world.site, token)["status"]["status_list"]
    assert found["uri"].startswith(f"{ISSUER}/statuslists/")
    return found["uri"].removeprefix(ISSUER), found["idx"]


def fetched(site: Installation, path: str, *headers: tuple[bytes, bytes]) -> Answer:
    return site.send("GET", list(headers), path=path.encode())


def claims_in(site: Installation, answer: Answer) -> dict[str, Any]:
    """The claims of a list token, as a library verifies them from the JWKS."""
    assert answer.status == 200, answer.body
    assert answer.headers["content-type"] == "application/statuslist+jwt"
    text = answer.body.decode()
    header = jwt.get_unverified_header(text)
    assert header["typ"] == "statuslist+jwt"
    jwks = json.loads(site.send("GET", path=b"/.well-known/jwks.json").body)
    key = jwt.PyJWKSet.from_dict(jwks)[header["kid"]]
    unchecked = {"verify_exp": False, "verify_iat": False}
    return dict(jwt.decode(text, key, algorithms=[header["alg"]], issuer=ISSUER, options={**unchecked}))


def claims_of(token: str) -> dict[str, Any]:
    """The claims of a list token, unverified."""
    payload = token.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4))))


def status(site: Installation, path: str, index: int) -> int:
    site.wall.time += 1000  # a list is made at most once in a second
    lst = claims_in(site, fetched(site, path))["status_list"]
    assert lst["bits"] == 1
    data = zlib.decompress(base64.urlsafe_b64decode(lst["lst"] + "=" * (-len(lst["lst"]) % 4)))
    return data[index // 8] >> index % 8 & 1


def revoke(site: Installation, subject: str, value: str, *, force: bool = False) -> None:
    body = json.dumps({"subject": subject, "value": value, "force": force}).encode()
    path = "/api/v1/revocations"
    headers = site.signed(ADMIN, body, "daypass", path=path, extra={"content-type": "application/json"})
    assert site.send("POST", headers, body, path=path.encode()).status == 201


@pytest.fixture
def other(world: World) -> LogStatusLists:
    """The lists as a second process on the same database sees them."""
    runtime = world.site.runtime
    read, feed = runtime.records.run, runtime.directory.feed
    return LogStatusLists("f" * 32, runtime.clock, runtime.env.oauth.issuer, runtime.env.oauth.sign, feed, read, ttl=10)


def test_status_list_shows_a_revoked_token_and_no_other(world: World) -> None:
    first, second = world.person_token(), world.person_token()
    path, index = reference(world, first)
    other_path, other_index = reference(world, second)
    assert (path, index) != (other_path, other_index)
    assert status(world.site, path, index) == 0
    revoke(world.site, "session", verified(world.site, first)["urn:daypass:session"]["id"])
    assert (status(world.site, path, index), status(world.site, other_path, other_index)) == (1, 0)


def test_status_list_shows_a_token_made_from_a_revoked_session(world: World) -> None:
    parent = world.person_token()
    child = given(exchange(world.site, parent, ACCESS_TOKEN, role=world.target))["access_token"]
    path, index = reference(world, child)
    assert status(world.site, path, index) == 0
    revoke(world.site, "session", verified(world.site, parent)["urn:daypass:session"]["id"])
    assert status(world.site, path, index) == 1


def test_status_list_shows_a_token_of_a_deleted_role(world: World) -> None:
    name = "deleted-soon"
    trust = world.site.iam("GetRole", RoleName=world.target.rpartition("/")[2]).text("AssumeRolePolicyDocument")
    arn = world.site.role(name, unquote(trust))
    token = given(exchange(world.site, world.person_token(), ACCESS_TOKEN, role=arn))["access_token"]
    path, index = reference(world, token)
    assert status(world.site, path, index) == 0
    world.site.iam("DeleteRole", RoleName=name)
    assert status(world.site, path, index) == 1


def test_status_list_token_says_how_long_it_may_be_cached(world: World) -> None:
    path, _ = reference(world, world.person_token())
    answer = fetched(world.site, path)
    claims = claims_in(world.site, answer)
    assert (claims["sub"], claims["ttl"]) == (ISSUER + path, 10)
    assert claims["exp"] - claims["iat"] >= 120
    assert answer.headers["cache-control"] == "public, max-age=5"
    again = fetched(world.site, path, (b"if-none-match", answer.headers["etag"].encode()))
    assert (again.status, again.body) == (304, b"")


def test_status_list_is_made_at_most_once_in_a_second(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """Anybody may ask for it, and with many tokens each list costs 0.1 s."""
    path, _ = reference(world, world.person_token())
    feed, asked = world.site.runtime.env.statuses._feed, 0  # type: ignore[attr-defined]
    ends = feed.ends

    def counted(*given: Any) -> bool:
        nonlocal asked
        asked += 1
        return bool(ends(*given))

    monkeypatch.setattr(feed, "ends", counted)
    status(world.site, path, 0)
    made = asked
    assert made > 0
    for number in range(5):
        world.person_token()
        revoke(world.site, "source_identity", f"someone-{number}", force=True)
        fetched(world.site, path)
    assert asked == made
    world.site.wall.time += 1000
    fetched(world.site, path)
    assert asked >= made + 5


def test_status_indexes_are_in_no_order(world: World) -> None:
    """An index shows neither how many tokens there are nor which one came next."""
    indexes = [reference(world, world.person_token())[1] for _ in range(12)]
    assert len(set(indexes)) == 12
    assert indexes != sorted(indexes)
    assert max(indexes) > 1000


def test_status_lists_give_every_place_once(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(status_lists, "STATUSES", 64)
    places = status_lists._Places()
    assert sorted(place for _ in range(64) if (place := places.take()) is not None) == [*range(64)]
    assert places.take() is None


@pytest.mark.parametrize("name", ["", "x", "0" * 32, "0" * 32 + "-0", "../metrics", "0" * 32 + "-0" * 40])
def test_status_list_that_does_not_exist_is_refused(world: World, name: str) -> None:
    assert fetched(world.site, f"/statuslists/{name}").status == 404


def test_status_list_token_is_not_accepted_as_an_access_token(world: World) -> None:
    path, _ = reference(world, world.person_token())
    text = fetched(world.site, path).body.decode()
    refused = exchange(world.site, text, ACCESS_TOKEN, role=world.target)
    assert json.loads(refused.body)["error"] == "invalid_request"


def test_status_list_of_another_process_is_read_from_the_record(world: World, other: LogStatusLists) -> None:
    token = world.person_token()
    path, index = reference(world, token)
    revoke(world.site, "session", verified(world.site, token)["urn:daypass:session"]["id"])
    found = world.site.run(other.token(path.rpartition("/")[2]))
    assert found is not None
    payload = found.token.split(".")[1]
    lst = json.loads(base64.urlsafe_b64decode(payload + "=="))["status_list"]["lst"]
    data = zlib.decompress(base64.urlsafe_b64decode(lst + "=="))
    assert data[index // 8] >> index % 8 & 1 == 1


def test_status_list_of_this_process_is_served_without_the_database(
    world: World, other: LogStatusLists, monkeypatch: pytest.MonkeyPatch
) -> None:
    path, index = reference(world, world.person_token())

    def unavailable(*_: Any, **__: Any) -> Any:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The service is unavailable.")

    monkeypatch.setattr(world.site.runtime.database, "read", unavailable)
    assert status(world.site, path, index) == 0
    with pytest.raises(DaypassError, match="unavailable"):
        world.site.run(other.token(path.rpartition("/")[2]))


def test_access_token_shows_its_hops_by_match_ids_only(world: World) -> None:
    token = world.person_token(resource="https://api.example.com")
    claims = verified(world.site, token, "https://api.example.com")["urn:daypass:session"]
    hops = claims["hops"]
    assert [len(hop) for hop in hops] == [5, 5]
    account, _, _, _, ids = hops[-1]
    assert account == ALPHA
    made = Revocation("r", ALPHA, "session", claims["id"], 0, 0)
    assert match_id(made) in [ids[at : at + 12] for at in range(0, len(ids), 12)]
    assert claims["id"] not in json.dumps(hops)


def test_match_ids_differ_by_kind_account_and_value() -> None:
    made = [
        Revocation("r", account, subject, value, 0, 0)
        for account in ("1", "2")
        for subject in ("session", "role", "access_key")
        for value in ("a", "b")
    ]
    assert len({match_id(each) for each in made}) == len(made)
    role, principal = Revocation("r", "1", "role", "a", 0, 0), Revocation("r", "1", "principal", "a", 0, 0)
    assert match_id(role) == match_id(principal)


def test_status_index_survives_no_restart(tmp_path: Any) -> None:
    """A second start has another log, so its lists have other names."""
    with installed(tmp_path, server={"public_url": ISSUER}) as site:
        first = site.runtime.env.statuses.reference(0)
    with installed(tmp_path, server={"public_url": ISSUER}, first_keys="") as site:
        assert site.runtime.env.statuses.reference(0) != first
