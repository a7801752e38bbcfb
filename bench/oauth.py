"""The cost of OAuth beside AssumeRole: CPU time of a request, from the application's scope to its answer, all threads.

Everything is in this process, on SQLite with synchronous=FULL; there is no socket and no HTTP. Each figure is the least of several rounds that take turns,
so neighbours on the machine hardly show. Only the ratios within one run say anything.
"""

from __future__ import annotations

import argparse
import asyncio
import tempfile
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from tests.attack.installation import EVERYTHING, Installation, form, trust
from tests.attack.tokens import provider, trust_in, web_identity
from tests.issuer import Issuer
from tests.oauth import ACCESS_TOKEN, AWS, EXCHANGE, FORM, ID_TOKEN, authorization_server, bearer, exchange, given

_RATES = ("failures", "principal", "account")
UNLIMITED = {f"{name}_{what}": 1_000_000 for name in _RATES for what in ("per_second", "burst")}
RS256 = "https://rs256.example"
Ask = tuple[str, list[tuple[bytes, bytes]], bytes, bytes]


def kinds(site: Installation) -> Mapping[str, Ask]:
    """The requests, by name; AssumeRole first."""
    issuer = Issuer("idp.example.com", "ES256")
    trusted = trust_in(provider(site, issuer).arn, StringEquals={"idp.example.com:aud": "daypass"})
    role = site.role("person", trusted, policy=EVERYTHING)
    arn, key = site.user("bench", policy=EVERYTHING)
    id_token = issuer.token(site.now(), sub="ann")
    own = given(exchange(site, id_token, ID_TOKEN, role=role))["access_token"]
    signed = form("AssumeRole", {"RoleArn": site.role("signed", trust(arn)), "RoleSessionName": "job"})

    def asked(subject: str, kind: str, **more: str) -> Ask:
        pairs = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": kind, **more}
        return "POST", FORM, urlencode(pairs).encode(), b"/oauth2/token"

    token = urlencode({"token": own}).encode()
    return {
        "AssumeRole": ("POST", site.signed(key, signed), signed, b"/"),
        "AssumeRoleWithWebIdentity": ("POST", FORM, web_identity(role, id_token), b"/"),
        "exchange, id_token to ES256": asked(id_token, ID_TOKEN, role=role),
        "exchange, id_token to RS256": asked(id_token, ID_TOKEN, role=role, audience=RS256),
        "exchange, access token to the same": asked(own, ACCESS_TOKEN),
        "exchange, access token to AWS": asked(own, ACCESS_TOKEN, requested_token_type=AWS),
        "introspection, bearer": ("POST", [*FORM, bearer(own)], token, b"/oauth2/introspect"),
        "JWKS": ("GET", [], b"", b"/.well-known/jwks.json"),
    }


async def play(site: Installation, ask: Ask, count: int, connections: int = 32) -> None:
    method, headers, body, path = ask

    async def one() -> None:
        for _ in range(count // connections):
            answer = await site.ask(method, headers, body, path=path)
            if answer.status != 200:
                raise SystemExit(f"answered {answer.body!r}")

    await asyncio.gather(*(one() for _ in range(connections)))


def measure(site: Installation, rounds: int, count: int) -> dict[str, float]:
    """Microseconds of CPU time for one request of each kind."""
    asks, least = kinds(site), dict[str, float]()
    for _ in range(rounds):
        for name, ask in asks.items():
            site.run(play(site, ask, 64))
            begun = time.process_time()
            site.run(play(site, ask, count))
            took = (time.process_time() - begun) / count * 1e6
            least[name] = min(least.get(name, took), took)
    return least


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--requests", type=int, default=640, help="of each kind, in each round")
    options = parser.parse_args()
    chosen: dict[str, Any] = {"rates": UNLIMITED, "oauth": {"audience_algorithms": (f"{RS256}=RS256",)}}
    with tempfile.TemporaryDirectory() as folder, authorization_server(Path(folder) / "site", **chosen) as site:
        found = measure(site, options.rounds, options.requests)
    base = next(iter(found.values()))
    for name, took in found.items():
        print(f"{name:36} {took:7.0f} us  {took / base:5.2f} times AssumeRole")


if __name__ == "__main__":
    main()
