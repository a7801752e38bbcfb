"""Attacks on refresh tokens: parallel use over two servers of one database, the reuse of a stolen one (A119), and the
status of a token that a second server gave for a session of the first (A172).
"""

from __future__ import annotations

import asyncio
import base64
import json
import zlib
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.installation import EVERYTHING, Answer, Installation, trust
from tests.attack.meanwhile import change
from tests.attack.tokens import provider, trust_in
from tests.issuer import Issuer
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    EXCHANGE,
    FORM,
    ID_TOKEN,
    ISSUER,
    PRESIGNED,
    SESSION,
    authorization_server,
    exchange,
    given,
    key_of,
    post,
    presigned,
    refusal,
    verified,
)
from tests.oauth_client import BEARER_TOKENS, Client, api, register

from daypass.domain.directory import OAuthClient
from daypass.operations.oauth import refresh
from daypass.operations.oauth.targets import target_of

REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
GENEROUS = {"failures_per_second": 1_000_000, "failures_burst": 1_000_000}
EACH = 50


def first_token(site: Installation) -> tuple[Client, str]:
    """A client, and the first refresh token of a person's session."""
    issuer = Issuer("idp.example.com", "ES256")
    person = site.role("person", trust_in(provider(site, issuer).arn, StringEquals={"idp.example.com:aud": "daypass"}))
    target = site.role("target", trust(person), policy=EVERYTHING)
    site.iam("PutRolePolicy", RoleName="person", PolicyName="p", PolicyDocument=EVERYTHING)
    client = register(site, fapi_exceptions=BEARER_TOKENS, grant_types=[EXCHANGE, "refresh_token"], roles=[target])
    subject = given(exchange(site, issuer.token(site.now(), sub="ann"), ID_TOKEN, role=person))["access_token"]
    asked = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "requested_token_type": REFRESH}
    return client, given(client.token(grant=EXCHANGE, role=target, **asked))["access_token"]


def many(site: Installation, client: Client, token: str) -> list[Answer]:
    """Uses of one refresh token, all at the same time."""
    bodies = [
        urlencode({"grant_type": "refresh_token", "refresh_token": token, **client.credentials()}).encode()
        for _ in range(EACH)
    ]

    async def all_at_once() -> list[Answer]:
        asks = (site.ask("POST", FORM, body, path=b"/oauth2/token") for body in bodies)
        return await asyncio.gather(*asks)

    return site.run(all_at_once())


def test_a119_of_100_parallel_uses_over_two_servers_one_wins_and_a_later_reuse_ends_the_family(tmp_path: Path) -> None:
    with (
        authorization_server(tmp_path, rates=GENEROUS) as one,
        authorization_server(tmp_path, one.wall, rates=GENEROUS, first_keys="") as two,
    ):
        client, token = first_token(one)
        there = Client(two, client.id, client.arn, client.key)
        with ThreadPoolExecutor(2) as threads:
            first, second = threads.submit(many, one, client, token), threads.submit(many, two, there, token)
            answers = [*first.result(), *second.result()]
        outcomes = Counter(answer.status for answer in answers)
        assert outcomes == {200: 1, 429: 2 * EACH - 1}
        (winner,) = [json.loads(answer.body) for answer in answers if answer.status == 200]
        session = verified(one, winner["access_token"])[SESSION]["id"]
        issued = [r for r in one.record_bytes() if b'"session.issued"' in r and client.id.encode() in r]
        assert sum(session.encode() in r for r in issued) == 1
        one.wall.time += 11_000
        thief = there.token(grant="refresh_token", refresh_token=token)
        assert json.loads(thief.body)["error"] == "invalid_grant"
        owner = client.token(grant="refresh_token", refresh_token=winner["refresh_token"])
        assert json.loads(owner.body)["error"] == "invalid_grant"


def test_a119_stolen_token_that_is_used_first_is_noticed_when_the_owner_uses_it(tmp_path: Path) -> None:
    with authorization_server(tmp_path, rates=GENEROUS) as site:
        client, token = first_token(site)
        stolen = given(client.token(grant="refresh_token", refresh_token=token, requested_token_type=AWS))
        site.wall.time += 600_000
        owner = client.token(grant="refresh_token", refresh_token=token)
        assert json.loads(owner.body)["error"] == "invalid_grant"
        assert site.call(key_of(stolen), "GetCallerIdentity").code == "ExpiredToken"
        again = client.token(grant="refresh_token", refresh_token=stolen["refresh_token"])
        assert json.loads(again.body)["error"] == "invalid_grant"


def test_a257_repeated_use_is_for_the_audiences_and_scope_of_the_first_one_alone(tmp_path: Path) -> None:
    one, other = "https://one.example", "https://other.example"
    with authorization_server(tmp_path, rates=GENEROUS) as site:
        arn, key = site.user("ann", policy=EVERYTHING)
        role = site.role("target", trust(arn), policy=EVERYTHING)
        settings = {"audiences": [ISSUER, one, other], "scopes": ["read", "write"], "roles": [role]}
        client = register(site, fapi_exceptions=BEARER_TOKENS, grant_types=[EXCHANGE, "refresh_token"], **settings)
        subject = given(exchange(site, presigned(site, site.assume(key, role, "ann").key), PRESIGNED))["access_token"]
        asked = {"subject_token": subject, "subject_token_type": ACCESS_TOKEN, "requested_token_type": REFRESH}
        pairs = [("grant_type", EXCHANGE), *asked.items(), *client.credentials().items(), ("scope", "read write")]
        token = given(post(site, "/oauth2/token", [*pairs, ("resource", one), ("resource", other)]))["access_token"]
        use = {"grant": "refresh_token", "refresh_token": token}
        first = given(client.token(**use, resource=one, scope="read"))
        site.wall.time += 2_000
        refusal(site, client.token(**use, resource=other), "invalid_target")
        refusal(site, client.token(**use, resource=one, scope="write"), "invalid_scope")
        for again in ({"resource": one, "scope": "read"}, {}):
            repeated = given(client.token(**use, **again))
            claims = verified(site, repeated["access_token"], one)
            assert (claims["aud"], claims["scope"], repeated["refresh_token"]) == (one, "read", first["refresh_token"])


def test_a617_repeated_use_by_a_client_that_is_disabled_meanwhile_gives_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with authorization_server(tmp_path, rates=GENEROUS) as site:
        client, token = first_token(site)
        given(client.token(grant="refresh_token", refresh_token=token))
        site.wall.time += 2_000

        async def slowly(*args: Any) -> Any:
            await change(site, lambda tx: tx.replace(replace(tx.get(OAuthClient, id=client.id), enabled=False)))
            return await target_of(*args)

        monkeypatch.setattr(refresh, "target_of", slowly)
        refusal(site, client.token(grant="refresh_token", refresh_token=token), "invalid_client", 401)


Pair = tuple[Installation, Installation]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers on one database."""
    with authorization_server(tmp_path) as one, authorization_server(tmp_path, one.wall, first_keys="") as two:
        yield one, two


def aws_session(site: Installation) -> tuple[str, str, str]:
    arn, key = site.user("ann", policy=EVERYTHING)
    found = site.assume(key, site.role("person", trust(arn), policy=EVERYTHING), "ann").key
    assert len(found) == 3
    return found


def reference(site: Installation, text: str) -> tuple[str, int]:
    found = verified(site, text)["status"]["status_list"]
    return found["uri"].removeprefix(ISSUER), found["idx"]


def is_revoked(site: Installation, text: str) -> bool:
    """The status in the list that `site` serves."""
    path, index = reference(site, text)
    answer = site.send("GET", path=path.encode())
    assert answer.status == 200, answer.body
    lst = part(answer.body.decode())["status_list"]["lst"]
    data = zlib.decompress(base64.urlsafe_b64decode(lst + "=" * (-len(lst) % 4)))
    return bool(data[index // 8] >> index % 8 & 1)


def part(text: str) -> dict[str, Any]:
    raw = text.split(".")[1]
    return dict(json.loads(base64.urlsafe_b64decode(raw + "=" * (-len(raw) % 4))))


def revoke(site: Installation, text: str) -> None:
    body = {"subject": "session", "value": verified(site, text)[SESSION]["id"]}
    assert api(site, "POST", "/revocations", body).status == 201


def test_a172_token_that_another_server_gives_for_a_session_has_a_status_of_its_own(pair: Pair) -> None:
    one, two = pair
    first = given(exchange(one, presigned(one, aws_session(one)), PRESIGNED))["access_token"]
    second = given(exchange(two, first, ACCESS_TOKEN))["access_token"]
    back = key_of(given(exchange(two, second, ACCESS_TOKEN, requested_token_type=AWS)))
    third = given(exchange(one, presigned(one, back), PRESIGNED))["access_token"]
    tokens = (first, second, third)
    assert len({verified(one, text)[SESSION]["id"] for text in tokens}) == 1
    assert len({reference(one, text) for text in tokens}) == 3
    for site in pair:
        assert [is_revoked(site, text) for text in tokens] == [False] * 3
    revoke(one, first)
    one.wall.time += 5_000
    for site in pair:
        site.run(site.runtime.env.directory.refresh())
        assert [is_revoked(site, text) for text in tokens] == [True] * 3
