"""Wrong secrets of a client: what they cost the server, and whom."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import Installation
from tests.oauth import authorization_server, refusal
from tests.oauth_client import BEARER_TOKENS, Client, api, register

from daypass.operations import heavy


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lane of each piece of long work that is asked for."""
    compute, asked = heavy.compute, list[str]()

    async def observed(env: Any, account: str, *args: Any, **more: Any) -> Any:
        if more.get("size", heavy.SMALL + 1) > heavy.SMALL:
            asked.append(account)
        return await compute(env, account, *args, **more)

    monkeypatch.setattr(heavy, "compute", observed)
    return asked


def client_with_secret(site: Installation) -> tuple[Client, str]:
    exceptions = ["client_secret", *BEARER_TOKENS]
    made = register(site, token_endpoint_auth_method="client_secret_post", fapi_exceptions=exceptions)
    return made, json.loads(api(site, "POST", f"{made.path}/secrets").body)["client_secret"]


def authenticates(client: Client, secret: str) -> bool:
    answer = client.token(client_id=client.id, client_secret=secret)
    return bool(json.loads(answer.body)["error"] == "invalid_request")  # it names no role


def test_a232_wrong_secret_with_a_known_id_costs_no_long_work(site: Installation, lanes: list[str]) -> None:
    client, secret = client_with_secret(site)
    for end in ("x", "y", "z"):
        answer = client.token(client_id=client.id, client_secret=f"{secret[:-1]}{end}x")
        record = refusal(site, answer, "invalid_client", 401)
        assert record["detail"]["private"]["reason"] == "the secret is not one of the client's"
    assert authenticates(client, secret)
    assert lanes == []


def test_a232_source_of_wrong_secrets_is_throttled(tmp_path: Path) -> None:
    with authorization_server(tmp_path, rates={"failures_per_second": 0.01, "failures_burst": 5}) as site:
        client, secret = client_with_secret(site)
        statuses = [client.token(client_id=client.id, client_secret=f"{secret}x").status for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
