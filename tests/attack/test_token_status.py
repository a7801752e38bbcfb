"""The status of an access token that a second server gave for a session that the first one issued."""

from __future__ import annotations

import base64
import json
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import EVERYTHING, Installation, trust
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    ISSUER,
    PRESIGNED,
    SESSION,
    authorization_server,
    exchange,
    given,
    key_of,
    presigned,
    verified,
)
from tests.oauth_client import api

Pair = tuple[Installation, Installation]


@pytest.fixture
def pair(tmp_path: Path) -> Iterator[Pair]:
    """Two servers on one database."""
    with (
        authorization_server(tmp_path) as one,
        authorization_server(tmp_path, one.wall, first_keys="") as two,
    ):
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
