"""OAuth over HTTP beside npm `oidc-provider`: both on one core, in turns, driven by the same load from another core.

oidc-provider keeps everything in memory and stores nothing. Daypass decides each request by policy and makes it durable on the record (SQLite,
synchronous=FULL). oidc-provider has no token exchange: those rows have no counterpart.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import itertools
import json
import os
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlencode

from tests.issuer import Issuer, b64, compact, make_key, public_jwk
from tests.node import FOLDER, find_node, why_not
from tests.oauth import EXCHANGE, ID_TOKEN
from tests.oauth_client import ASSERTION

from assume_role import (
    ACCOUNT,
    KEY,
    LOAD_CORE,
    SECRET,
    SERVER_CORE,
    free_port,
    iam_client,
    report,
    requests,
    served,
    started,
)
from daypass.client.http import Connection
from daypass.client.profiles import Profile
from loadgen import run
from workers import cpu_seconds

ISSUER = "https://bench.example"
AUDIENCE = "https://api.example"
OPAQUE = "https://opaque.example"
_RATES = ("PRINCIPAL", "ACCOUNT", "FAILURES")
ENVIRONMENT = {
    "DAYPASS_SERVER__PUBLIC_URL": ISSUER,
    **{f"DAYPASS_RATES__{name}_{what}": "100000000" for name in _RATES for what in ("PER_SECOND", "BURST")},
}
Make = Callable[[int], list[bytes]]
"""Makes so many requests of one kind."""


class Place(NamedTuple):
    """A running server: its address and its process."""

    url: str
    pid: int


_serial = itertools.count(1)


def post(url: str, path: str, pairs: Mapping[str, str], authorization: str = "") -> bytes:
    """One whole HTTP request."""
    body = urlencode(pairs)
    host = url.removeprefix("http://")
    head = [f"POST {path} HTTP/1.1", f"Host: {host}", "Content-Type: application/x-www-form-urlencoded"]
    head += [f"Authorization: {authorization}"] if authorization else []
    return "\r\n".join([*head, f"Content-Length: {len(body)}", "", body]).encode()


def get(url: str, path: str) -> bytes:
    return f"GET {path} HTTP/1.1\r\nHost: {url.removeprefix('http://')}\r\n\r\n".encode()


def basic(client_id: str, secret: str) -> str:
    return "Basic " + base64.b64encode(f"{client_id}:{secret}".encode()).decode()


def assertion(client_id: str, audience: str, key: Any) -> dict[str, str]:
    """The parameters of private_key_jwt; each is good once."""
    now = int(time.time())
    claims = {
        "iss": client_id,
        "sub": client_id,
        "aud": audience,
        "iat": now,
        "exp": now + 300,
        "jti": f"a{next(_serial)}",
    }
    return {
        "client_assertion_type": ASSERTION,
        "client_assertion": compact({"alg": "ES256", "kid": "k1"}, claims, key, "ES256"),
    }


def answered(url: str, request: bytes) -> dict[str, Any]:
    """The JSON of the answer to one request."""
    head, _, body = request.decode().partition("\r\n\r\n")
    line, *fields = head.split("\r\n")
    headers = dict(field.split(": ", 1) for field in fields)
    asked = urllib.request.Request(url + line.split(" ")[1], body.encode(), headers)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return dict(json.load(answer))


# --- Daypass -----------------------------------------------------------------------------------------------------------


def of_daypass(url: str) -> dict[str, Make]:
    """The requests by kind, for a server that has just started."""
    key, connection = make_key("ES256"), Connection(Profile(url, KEY, SECRET, "", "us-east-1"))
    iam = iam_client(url)
    common = {"grant_types": ["client_credentials"], "audiences": [AUDIENCE, ISSUER]}
    plain = ["bearer_tokens", "client_secret"]
    kinds: dict[str, dict[str, Any]] = {
        "keys": {"jwks": {"keys": [public_jwk(key, kid="k1")]}, "fapi_exceptions": ["bearer_tokens"]},
        "secret": {"token_endpoint_auth_method": "client_secret_basic", "fapi_exceptions": plain},
    }
    ids: dict[str, str] = {}
    for name, settings in kinds.items():
        made = connection.api("POST", "/clients", body={"name": name, "settings": {**common, **settings}})
        ids[name] = made["client_id"]
        trust = {"Effect": "Allow", "Principal": {"Federated": made["arn"]}, "Action": "sts:AssumeRoleWithWebIdentity"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        arn = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
        changed = {"settings": {**made["settings"], "roles": [arn]}}
        connection.api("PUT", f"/clients/{made['client_id']}", body=changed)
    secret = connection.api("POST", f"/clients/{ids['secret']}/secrets")["client_secret"]
    own = basic(ids["secret"], secret)
    by_secret = post(url, "/oauth2/token", {"grant_type": "client_credentials"}, own)
    token = answered(url, by_secret)["access_token"]
    subjects = {name: subject(connection, iam, name) for name in ("ES256", "RS256")}

    def by_key(count: int) -> list[bytes]:
        made = (assertion(ids["keys"], ISSUER, key) for _ in range(count))
        return [post(url, "/oauth2/token", {"grant_type": "client_credentials", **proof}) for proof in made]

    def exchanged(name: str) -> Make:
        role, text = subjects[name]
        pairs = {"grant_type": EXCHANGE, "subject_token": text, "subject_token_type": ID_TOKEN, "role": role}
        return lambda count: [post(url, "/oauth2/token", pairs)] * count

    return {
        "AssumeRole": lambda count: requests(url, count, f"o{next(_serial)}"),
        "client credentials, secret": lambda count: [by_secret] * count,
        "client credentials, private_key_jwt": by_key,
        "token exchange, ES256 subject": exchanged("ES256"),
        "token exchange, RS256 subject": exchanged("RS256"),
        "introspection": lambda count: [post(url, "/oauth2/introspect", {"token": token}, own)] * count,
        "JWKS": lambda count: [get(url, "/.well-known/jwks.json")] * count,
    }


def subject(connection: Connection, iam: Any, algorithm: str) -> tuple[str, str]:
    """A role, and a token of a provider whose users may assume it."""
    issuer = Issuer(f"{algorithm.lower()}.example", algorithm)
    arn = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["daypass"])["OpenIDConnectProviderArn"]
    connection.api(
        "PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": {"static_jwks": json.dumps(issuer.jwks())}}
    )
    trust = {
        "Effect": "Allow",
        "Principal": {"Federated": arn},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer.url}:aud": "daypass"}},
    }
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=f"subject-{algorithm}", AssumeRolePolicyDocument=document)["Role"]["Arn"]
    now = int(time.time() * 1000)
    return role, issuer.token(now, sub="ann", exp=now // 1000 + 3600)


# --- oidc-provider -----------------------------------------------------------------------------------------------------


@contextmanager
def oidc_provider(folder: Path) -> Iterator[tuple[Place, dict[str, Make]]]:
    """The server, and the requests by kind."""
    key, signing = make_key("ES256"), make_key("ES256")
    private = {
        **public_jwk(signing, kid="s1", use="sig", alg="ES256"),
        "d": b64(signing.private_numbers().private_value.to_bytes(32, "big")),
    }
    grants: dict[str, Any] = {"grant_types": ["client_credentials"], "response_types": [], "redirect_uris": []}
    grants["id_token_signed_response_alg"] = "ES256"
    secret = {"client_id": "secret", "client_secret": "s" * 43, "token_endpoint_auth_method": "client_secret_basic"}
    keys = {
        "client_id": "keys",
        "token_endpoint_auth_method": "private_key_jwt",
        "jwks": {"keys": [public_jwk(key, kid="k1")]},
        "token_endpoint_auth_signing_alg": "ES256",
    }
    settings = {
        "clients": [{**secret, **grants}, {**keys, **grants}],
        "jwks": {"keys": [private]},
        "audience": AUDIENCE,
    }
    file = folder / "peer.json"
    file.write_text(json.dumps(settings))
    port = free_port()
    url = f"http://127.0.0.1:{port}"
    command = [find_node(), str(FOLDER / "oidc_provider.mjs"), str(port), str(file)]
    with started(command, url, "/jwks", {SERVER_CORE}, {"NODE_ENV": "production"}) as pid:
        own = basic("secret", "s" * 43)
        by_secret = post(url, "/token", {"grant_type": "client_credentials", "resource": AUDIENCE}, own)
        opaque = post(url, "/token", {"grant_type": "client_credentials", "resource": OPAQUE}, own)
        token = answered(url, opaque)["access_token"]

        def by_key(count: int) -> list[bytes]:
            made = (assertion("keys", url, key) for _ in range(count))
            pairs = {"grant_type": "client_credentials", "resource": AUDIENCE}
            return [post(url, "/token", {**pairs, **proof}) for proof in made]

        yield (
            Place(url, pid),
            {
                "client credentials, secret": lambda count: [by_secret] * count,
                "client credentials, private_key_jwt": by_key,
                "introspection": lambda count: [post(url, "/token/introspection", {"token": token}, own)] * count,
                "JWKS": lambda count: [get(url, "/jwks")] * count,
            },
        )


# --- The run -----------------------------------------------------------------------------------------------------------


class Best(NamedTuple):
    """The best rounds of one kind at one server: requests in a second, and CPU time of the server for each (ms)."""

    rate: float = 0.0
    cpu: float = float("inf")


def play(name: str, place: Place, make: Make, connections: int, options: argparse.Namespace, best: Best) -> Best:
    """One round, reported. A round with failures does not count."""
    asyncio.run(run(place.url, make(200), connections, 5))
    sent = make(options.requests)
    before = cpu_seconds(place.pid)
    result = asyncio.run(run(place.url, sent, connections, options.seconds))
    cpu = 1000 * (cpu_seconds(place.pid) - before) / max(1, len(result.latencies))
    report(name, result, f"  CPU {cpu:.2f} ms")
    return best if result.failures else Best(max(best.rate, result.rate), min(best.cpu, cpu))


def measure(options: argparse.Namespace) -> None:
    """All kinds at both servers, in turns, and the ratios of the best rounds. On a busy machine only the CPU time counts."""
    assert ACCOUNT
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        with served(folder / "data", ENVIRONMENT, 1) as (url, pid), oidc_provider(folder) as (peer, theirs):
            ours = of_daypass(url)
            os.sched_setaffinity(0, {LOAD_CORE})
            chosen = [(kind, make) for kind, make in ours.items() if options.only in kind]
            for (kind, make), connections in itertools.product(chosen, options.connections):
                best, peer_best = Best(), Best()
                what = f"{kind}, {connections} connections"
                for _ in range(options.rounds):
                    best = play(f"daypass, {what}", Place(url, pid), make, connections, options, best)
                    if kind in theirs:
                        peer_best = play(f"oidc-provider, {what}", peer, theirs[kind], connections, options, peer_best)
                if peer_best.rate:
                    rate, cpu = best.rate / peer_best.rate, best.cpu / peer_best.cpu
                    print(
                        f"{what}: {rate:.2f} times the rate of oidc-provider, {cpu:.2f} times its CPU time\n",
                        flush=True,
                    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=4_000, help="of each kind, in each round")
    parser.add_argument("--connections", type=int, nargs="+", default=[32, 256])
    parser.add_argument("--seconds", type=float, default=5.0, help="a round ends after this time, too")
    parser.add_argument("--only", default="", help="the kinds whose names have this text")
    options = parser.parse_args()
    if reason := why_not():
        raise SystemExit(f"oidc-provider cannot run: {reason}")
    measure(options)


if __name__ == "__main__":
    main()
