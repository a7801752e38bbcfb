"""Hostile requests at every OAuth endpoint that the routes table has: whatever comes, the answer is OAuth's, never a 500.

Requests are good ones with something changed: parameters, credentials of a client, DPoP proofs, certificate headers.
"""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.attack.installation import EVERYTHING, Installation
from tests.attack.junk import HOSTILE
from tests.oauth import FORM, ISSUER, authorization_server
from tests.oauth_client import BEARER_TOKENS, Client, DpopKey, register, trusting

pytestmark = pytest.mark.slow

PATHS = ("/oauth2/token", "/oauth2/introspect", "/oauth2/revoke")
NAMES = (
    *(
        "grant_type",
        "client_id",
        "client_secret",
        "client_assertion",
        "client_assertion_type",
        "refresh_token",
        "token",
    ),
    *("role", "authorization_details", "scope", "audience", "resource", "requested_token_type", "subject_token"),
    *("subject_token_type", "actor_token", "actor_token_type", "assertion", "code", "code_verifier", "token_type_hint"),
)
STATUSES = (200, 400, 401, 413, 415)
UNLIMITED = {
    f"{name}_{what}": 1_000_000 for name in ("failures", "principal", "account") for what in ("per_second", "burst")
}
PROXY = {"trusted_proxies": ["127.0.0.1/32"], "client_certificate_header": "Client-Cert"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with authorization_server(tmp_path_factory.mktemp("site"), rates=UNLIMITED, server=PROXY) as made:
        yield made


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    made = register(
        site, fapi_exceptions=BEARER_TOKENS, audiences=[ISSUER], grant_types=["client_credentials", "refresh_token"]
    )
    made.put(roles=[site.role("fuzzed", trusting(made), policy=EVERYTHING)])
    return made


def check(site: Installation, path: str, pairs: list[tuple[str, str]], headers: list[tuple[bytes, bytes]]) -> int:
    body = urlencode(pairs, errors="surrogatepass").encode("ascii")
    answer = site.send("POST", [*FORM, *headers], body, path=path.encode())
    assert answer.status in STATUSES, (path, pairs, headers, answer.body)
    if answer.status != 200:
        content: dict[str, Any] = json.loads(answer.body)
        assert content["error"].replace("_", "").isalpha()
        assert "Traceback" not in answer.body.decode()
        assert len(site.records(answer.request_id)) >= 1
    return answer.status


def good(client: Client, key: DpopKey, number: random.Random) -> tuple[dict[str, str], list[tuple[bytes, bytes]]]:
    """A request that is served, and its headers."""
    pairs = {"grant_type": "client_credentials", **client.credentials()}
    headers = [key.header()] if number.random() < 0.5 else []
    return pairs, headers


def test_a100_good_requests_with_something_hostile_in_them_never_fail(site: Installation, client: Client) -> None:
    number, key = random.Random(13), DpopKey(site)
    key.take(client.token(dpop=key))
    served = 0
    for path in PATHS:
        for _ in range(120):
            pairs, headers = good(client, key, number)
            pairs["token"] = "x"
            if number.random() < 0.9:
                pairs[number.choice(NAMES)] = number.choice(HOSTILE)
            listed = [(name, value) for name, value in pairs.items()]
            if number.random() < 0.2:
                listed.append(number.choice(listed))
            if number.random() < 0.3:
                name = number.choice([b"authorization", b"dpop", b"client-cert", b"client-cert-chain"])
                text = number.choice(HOSTILE).encode("utf-8", "replace")[:4000]
                headers.append((name, text.replace(b"\n", b"").replace(b"\r", b"").replace(b"\0", b"")))
            served += check(site, path, listed, headers) == 200
    assert served > 50  # otherwise nothing but the first check was tried


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    path=st.sampled_from(PATHS),
    header=st.dictionaries(
        st.sampled_from(["typ", "alg", "kid", "jwk", "crit", "jku"]),
        st.none() | st.text(max_size=20) | st.integers() | st.dictionaries(st.text(max_size=5), st.text(max_size=9)),
        max_size=4,
    ),
    claims=st.dictionaries(
        st.sampled_from(["iss", "sub", "aud", "exp", "iat", "nbf", "jti", "htm", "htu", "nonce", "ath"]),
        st.none() | st.text(max_size=20) | st.integers() | st.lists(st.text(max_size=9), max_size=3) | st.booleans(),
        max_size=5,
    ),
    proof=st.booleans(),
)
def test_a74_signed_proofs_with_any_content_never_fail(
    site: Installation, client: Client, path: str, header: dict[str, Any], claims: dict[str, Any], proof: bool
) -> None:
    """The signature is right, so that everything behind it is reached."""
    header = {name: value for name, value in header.items() if name != "alg" or value is None}
    pairs = [("grant_type", "client_credentials"), ("token", "x")]
    key, headers = DpopKey(site), []
    if proof:
        headers.append((b"dpop", key.proof(path, header=header, **claims).encode()))
        pairs += list(client.credentials().items())
    else:
        pairs += list(client.credentials(header=header, **claims).items())
    check(site, path, pairs, headers)
