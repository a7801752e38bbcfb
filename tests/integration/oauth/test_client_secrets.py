"""Wrong secrets of a client: what they cost the server, and whom."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.oauth import authorization_server, refusal
from tests.oauth_client import BEARER_TOKENS, Client, api, register

from daypass.domain.directory import OAuthClient
from daypass.domain.encoding import base64url
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations import heavy
from daypass.operations.iam import login_profiles as passwords
from daypass.operations.oauth import client_secrets

_HASH_OF_0_1_0 = (14, 8, 1)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def lanes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The lane of each piece of long work that is asked for."""
    compute, asked = heavy.compute, list[str]()

    async def observed(env: Any, account: str, *args: Any, **more: Any) -> Any:
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


@pytest.fixture
def of_0_1_0(site: Installation) -> tuple[Client, str]:
    """A client whose secret has the slow hash of early versions."""
    with pytest.MonkeyPatch.context() as earlier:
        earlier.setattr(passwords, "RANDOM_COST", _HASH_OF_0_1_0)
        return client_with_secret(site)


def stored(site: Installation, client: Client) -> OAuthClient:
    found = site.run(
        site.runtime.env.directory.read(lambda tx: tx.get(OAuthClient, account=ALPHA, id=client.id), account=ALPHA)
    )
    assert found is not None
    return found


def replacements(site: Installation, client: Client) -> list[dict[str, Any]]:
    records = map(json.loads, site.record_bytes())
    known = [one for one in records if one.get("detail", {}).get("secret_hash_replaced")]
    return [one for one in known if client.id in one["detail"]["client"]]


@pytest.mark.parametrize("change", ["longer", "another seed", "another end", "no seed", "other letters", "huge"])
def test_a222_wrong_secret_of_an_earlier_release_costs_no_long_work(
    site: Installation, lanes: list[str], of_0_1_0: tuple[Client, str], change: str
) -> None:
    client, secret = of_0_1_0
    secret_id, seed = secret.split(".")
    wrong = {
        "longer": f"{secret}x",
        "another seed": f"{secret_id}.{'A' * len(seed)}",
        "another end": f"{secret[:-1]}{'h' if secret[-1] != 'h' else 'i'}",
        "no seed": f"{secret_id}.",
        "other letters": f"{secret_id}.{'é' * len(seed)}",
        "huge": f"{secret_id}.{'A' * 100_000}",
    }[change]
    record = refusal(site, client.token(client_id=client.id, client_secret=wrong), "invalid_client", 401)
    assert record["detail"]["private"]["reason"] == "the secret is not one of the client's"
    assert lanes == []


def test_a222_secret_of_an_earlier_release_gets_a_quick_hash_by_its_first_use(
    site: Installation, lanes: list[str], of_0_1_0: tuple[Client, str]
) -> None:
    client, secret = of_0_1_0
    before = stored(site, client)
    assert authenticates(client, secret)
    assert authenticates(client, secret)
    after = stored(site, client)
    assert lanes == [f"client {client.id}"]
    assert passwords.is_quick(after.secrets[0][2])
    assert passwords.matches(secret, after.secrets[0][2])
    assert replace(after, secrets=before.secrets) == before  # remembered consents depend on updated_at
    assert [secret[:2] for secret in after.secrets] == [secret[:2] for secret in before.secrets]
    assert len(replacements(site, client)) == 1
    seed = secret.partition(".")[2].encode()
    assert not any(seed in record for record in site.record_bytes())


def test_a222_two_processes_that_use_an_old_secret_at_once_store_one_quick_hash(
    site: Installation, of_0_1_0: tuple[Client, str]
) -> None:
    client, secret = of_0_1_0
    old, env = stored(site, client), site.runtime.env

    async def both() -> None:
        await asyncio.gather(*(client_secrets.check_secret(env, old, secret, site.now()) for _ in range(4)))

    site.run(both())
    assert len(replacements(site, client)) == 1
    assert authenticates(client, secret)


def test_a222_old_secret_is_accepted_while_its_hash_cannot_be_stored(
    site: Installation, of_0_1_0: tuple[Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    client, secret = of_0_1_0
    old, env = stored(site, client), site.runtime.env
    with monkeypatch.context() as outage:

        async def unavailable(*_: Any, **__: Any) -> None:
            raise DaypassError(ErrorKind.UNAVAILABLE, "no database")

        outage.setattr(env.journal, "write", unavailable)
        site.run(client_secrets.check_secret(env, old, secret, site.now()))
    assert stored(site, client) == old
    assert authenticates(client, secret)
    assert passwords.is_quick(stored(site, client).secrets[0][2])


def test_a222_text_with_the_id_of_its_seed_is_hashed_once(
    site: Installation, lanes: list[str], of_0_1_0: tuple[Client, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Finding one takes 2**32 digests; here the digest is one that everything has in common."""
    client, secret = of_0_1_0
    secret_id = secret.partition(".")[0]
    monkeypatch.setattr(client_secrets, "new_secret", lambda seed: (secret_id, f"{secret_id}.{base64url(seed)}"))
    wrong = f"{secret_id}.{base64url(bytes(40))}"
    for _ in range(5):
        refusal(site, client.token(client_id=client.id, client_secret=wrong), "invalid_client", 401)
    assert lanes == [f"client {client.id}"]
    assert authenticates(client, secret)


def test_a232_source_of_wrong_secrets_is_throttled(tmp_path: Path) -> None:
    with authorization_server(tmp_path, rates={"failures_per_second": 0.01, "failures_burst": 5}) as site:
        client, secret = client_with_secret(site)
        statuses = [client.token(client_id=client.id, client_secret=f"{secret}x").status for _ in range(12)]
    assert statuses[0] == 401
    assert statuses[-1] == 429
