"""Sessions for tokens, assertions and certificates, next to AssumeRole: rates, cold starts, and issuers that hang.

Every request is distinct and made beforehand; tokens, assertions and certificates are those of the tests' own issuers.
Keys of issuers are fetched over https from a process beside this one. Each line is one run; failures must be 0.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

import boto3
from tests import saml_idp, x509
from tests.issuer import Issuer, b64
from tests.kubernetes_api import READER, cluster

from assume_role import ACCOUNT, KEY, LOAD_CORE, SECRET, SERVER_CORE, daypass, report, requests
from daypass.client.http import Connection
from daypass.client.profiles import Profile
from issuers import Peer
from loadgen import Result, run

LOOPBACK = {"DAYPASS_FEDERATION__ALLOW_PRIVATE_NETWORKS": "true"}
STS = "Version=2011-06-15&"
PODS, HOSTS, HANGING = 200, 100, 50
LIMITS_MS = {"A21": 2000, "A26": 50, "A30": 50, "A35": 10_000}


def http_request(url: str, body: bytes, path: str = "/", headers: Sequence[tuple[bytes, bytes]] = ()) -> bytes:
    """A whole HTTP request."""
    known = dict(headers) or {b"content-type": b"application/x-www-form-urlencoded"}
    known |= {b"host": urlsplit(url).netloc.encode(), b"content-length": str(len(body)).encode()}
    lines = b"".join(name + b": " + value + b"\r\n" for name, value in known.items())
    return f"POST {path} HTTP/1.1\r\n".encode() + lines + b"\r\n" + body


def now_ms() -> int:
    return time.time_ns() // 1_000_000


@dataclass
class Site:
    """A running server and what it has been told of: providers, roles, anchors."""

    url: str
    peer: Peer
    plant: x509.Authority = field(default_factory=lambda: x509.Authority.make(at=datetime.now(UTC)))

    def client(self, service: str) -> Any:
        return boto3.client(
            service, endpoint_url=self.url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
        )

    def provider(self, issuer: Issuer, **settings: Any) -> None:
        """A provider for this issuer, and a role of the same name for everyone of it."""
        made = self.client("iam").create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=[issuer.audience])
        known = {"ca_pem": self.peer.ca_pem, **settings}
        connection = Connection(Profile(self.url, KEY, SECRET))
        connection.api("PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": known})
        condition = {"StringEquals": {f"{issuer.url}:aud": issuer.audience}}
        self.role(
            issuer.url, "sts:AssumeRoleWithWebIdentity", {"Federated": made["OpenIDConnectProviderArn"]}, condition
        )

    def role(self, name: str, action: str, principal: dict[str, str], condition: dict[str, Any]) -> str:
        statement = {"Effect": "Allow", "Principal": principal, "Action": action, "Condition": condition}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        arn: str = self.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        return arn

    # --- Requests

    def bring(self, issuer: Issuer, number: int, token: str = "") -> bytes:
        """AssumeRoleWithWebIdentity with a token of its own."""
        asked = {
            "Action": "AssumeRoleWithWebIdentity",
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/{issuer.url}",
            "RoleSessionName": f"job-{number}",
            "WebIdentityToken": token or issuer.token(now_ms(), sub=f"job-{number}", jti=f"{number}"),
        }
        return http_request(self.url, (STS + urlencode(asked)).encode())

    def tokens(self, issuer: Issuer, count: int) -> list[bytes]:
        return [self.bring(issuer, number) for number in range(count)]

    def saml(self, text: str) -> bytes:
        asked = {
            "Action": "AssumeRoleWithSAML",
            "RoleArn": f"arn:aws:iam::{ACCOUNT}:role/saml",
            "PrincipalArn": f"arn:aws:iam::{ACCOUNT}:saml-provider/idp",
            "SAMLAssertion": text,
        }
        return http_request(self.url, (STS + urlencode(asked)).encode())

    def assertions(self, count: int) -> list[bytes]:
        """Each is good for one session; they are signed as RSA-SHA256."""
        provider = f"arn:aws:iam::{ACCOUNT}:saml-provider/idp"
        self.client("iam").create_saml_provider(Name="idp", SAMLMetadataDocument=saml_idp.metadata())
        condition = {"StringEquals": {"saml:aud": saml_idp.AWS_ACS}}
        role = self.role("saml", "sts:AssumeRoleWithSAML", {"Federated": provider}, condition)
        at = now_ms()
        return [
            self.saml(
                saml_idp.Response([f"{role},{provider}"], now=at, assertion_id=f"_a{n}", response_id=f"_r{n}").encoded()
            )
            for n in range(count)
        ]

    def certificates(self, count: int) -> list[bytes]:
        """CreateSession of hosts in turn, each with an ECDSA key and signature of its own."""
        condition = {"StringEquals": {"aws:PrincipalTag/x509Subject/O": "Acme"}}
        actions: Any = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        role = self.role("host", actions, {"Service": "rolesanywhere.amazonaws.com"}, condition)
        anywhere = self.client("rolesanywhere")
        source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": self.plant.pem}}
        anchor = anywhere.create_trust_anchor(name="plant", source=source, enabled=True)["trustAnchor"]
        profile = anywhere.create_profile(
            name="hosts", roleArns=[role], enabled=True, acceptRoleSessionName=True, durationSeconds=3600
        )["profile"]
        arns = {"anchor": anchor["trustAnchorArn"], "profile": profile["profileArn"], "role": role}
        hosts = [self.plant.host(f"O=Acme/CN=host-{n}", at=datetime.now(UTC)) for n in range(HOSTS)]
        host, made = urlsplit(self.url).netloc, []
        for number in range(count):
            body = x509.body(arns, roleSessionName=f"host-{number}")
            headers = x509.sign(hosts[number % HOSTS], body, now_ms(), host=host, region="us-east-1")
            made.append(http_request(self.url, body, "/sessions", headers))
        return made


@contextmanager
def site(environment: dict[str, str] | None = None) -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as folder, daypass(Path(folder) / "data", LOOPBACK | (environment or {})) as url:
        peer = Peer(Path(folder))
        with peer.serving():
            yield Site(url, peer)


def issuer_at(here: Site, name: str, alg: str) -> Issuer:
    """An issuer whose keys are at the peer, and which is trusted."""
    issuer = Issuer(f"{name}.example.com", alg)
    here.provider(issuer, jwks_url=here.peer.publish(name, issuer.jwks()))
    return issuer


# --- Rates -----------------------------------------------------------------------------------------------------------


def measure_rates(args: argparse.Namespace) -> None:
    """Every way in, one after another, at the same server."""
    with site() as here:
        issuers = {alg: issuer_at(here, alg.lower(), alg) for alg in ("RS256", "ES256")}
        ways: dict[str, Callable[[int], list[bytes]]] = {
            "AssumeRole": lambda count: requests(here.url, count),
            "AssumeRoleWithWebIdentity, RS256": lambda count: here.tokens(issuers["RS256"], count),
            "AssumeRoleWithWebIdentity, ES256": lambda count: here.tokens(issuers["ES256"], count),
            "AssumeRoleWithSAML, RSA-SHA256": lambda count: here.assertions(count // 2),
            "CreateSession, X.509 ECDSA": here.certificates,
        }
        for way, make in ways.items():
            if args.way not in way:
                continue
            every = make(args.requests)
            warm, half = len(every) // 20, len(every) // 2
            asyncio.run(run(here.url, every[:warm], 32, 10))
            for connections, part in ((32, every[warm:half]), (256, every[half:])):
                report(f"{way}, {connections}", asyncio.run(run(here.url, part, connections, args.seconds)))
        print(f"keys were fetched {len(here.peer.asked())} times")


# --- Cold starts -----------------------------------------------------------------------------------------------------


async def ask(url: str, request: bytes, answered: Result) -> None:
    """One request over a connection of its own."""
    began = time.perf_counter()
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    writer.write(request)
    status = int((await reader.readline()).split()[1])
    answered.latencies.append(time.perf_counter() - began)
    if not 200 <= status < 300:
        answered.failures += 1
        answered.failed.setdefault(status, await reader.read(3000))
    writer.close()


async def together(url: str, every: Sequence[bytes]) -> Result:
    answered, began = Result(), time.perf_counter()
    await asyncio.gather(*(ask(url, one, answered) for one in every))
    answered.seconds = time.perf_counter() - began
    return answered


def measure_cold_starts() -> None:
    """Pods that start at once, each with a token and connection of its own, at a server that has no keys yet."""
    with tempfile.TemporaryDirectory() as folder:
        peer, data = Peer(Path(folder)), Path(folder) / "data"
        with peer.serving():
            with daypass(data, LOOPBACK) as url:
                issuer = issuer_at(Site(url, peer), "pods", "RS256")
            with daypass(data, LOOPBACK) as url:
                every = Site(url, peer).tokens(issuer, PODS)
                result = asyncio.run(together(url, every))
        asked = len(peer.asked())
        report(f"{PODS} cold starts at once, server just started", result)
        print(f"    all had sessions after {result.seconds * 1000:.0f} ms; keys were fetched {asked} time(s)")


# --- Issuers that hang -----------------------------------------------------------------------------------------------


async def keep_asking(here: Site, issuers: Sequence[Issuer], seconds: float, answered: Result) -> None:
    """One connection for each issuer: it asks, waits for its answer, and asks again two seconds later."""

    async def one(number: int, issuer: Issuer) -> None:
        for again in range(int(seconds / 2)):
            began = time.perf_counter()
            await ask(here.url, here.bring(issuer, again), answered)
            await asyncio.sleep(max(0.0, 2 - (time.perf_counter() - began)) + number / len(issuers) / 10)

    await asyncio.gather(*(one(number, issuer) for number, issuer in enumerate(issuers)))


def measure_hanging(args: argparse.Namespace) -> None:
    """AssumeRole's latency, alone and while connections wait for issuers that take connections and say nothing."""
    with site() as here:
        issuers = [Issuer(f"hang-{number}.example.com", "ES256") for number in range(HANGING)]
        for number, issuer in enumerate(issuers):
            here.provider(issuer, jwks_url=f"{here.peer.url}/mute/{number}")
        seconds = max(6.0, args.seconds)

        async def both() -> tuple[Result, Result]:
            waiting = Result()
            asking = asyncio.ensure_future(keep_asking(here, issuers, seconds, waiting))
            await asyncio.sleep(0.2)
            told = await run(here.url, requests(here.url, args.requests * 4, "b"), 32, seconds)
            await asking
            return told, waiting

        asyncio.run(run(here.url, requests(here.url, 500, "w"), 32, 5))
        alone = asyncio.run(run(here.url, requests(here.url, args.requests * 4, "a"), 32, seconds))
        report("AssumeRole, 32, alone", alone)
        beside, waiting = asyncio.run(both())
        report(f"AssumeRole, 32, beside {HANGING} hanging issuers", beside)
        slowest = max(waiting.latencies) * 1000
        print(f"    {len(waiting.latencies)} tokens of theirs were refused, the slowest after {slowest:.0f} ms")


# --- Times that the attack list asks for -----------------------------------------------------------------------------


def timed(here: Site, attack: str, name: str, request: bytes, times: int = 10) -> None:
    """The slowest of several; the request must be refused."""
    slowest = 0.0
    for _ in range(times):
        answered = Result()
        asyncio.run(ask(here.url, request, answered))
        if not answered.failures or min(answered.failed) >= 500:
            raise SystemExit(f"{attack}, {name}: {answered.failed or 'allowed'}")
        slowest = max(slowest, answered.latencies[0] * 1000)
    print(f"{attack} {name:40} refused in {slowest:7.1f} ms at most (limit {LIMITS_MS[attack]})", flush=True)


def hostile_documents() -> dict[str, str]:
    """XML that would be costly to read."""
    entities = "".join(f'<!ENTITY a{n} "{f"&a{n - 1};" * 10}">' for n in range(1, 9))
    return {
        "entity bomb": f'<!DOCTYPE a [<!ENTITY a0 "a">{entities}]><a>&a8;</a>',
        "nesting": "<a>" * 9_000 + "</a>" * 9_000,
        "many elements": "<a>" + "<b/>" * 12_000 + "</a>",
        "many namespaces": "<a " + " ".join(f'xmlns:b{n}="u:{n}"' for n in range(3_000)) + "/>",
        "nesting of 200k": "<a>" * 200_000,
    }


def measure_times() -> None:
    with site() as here:
        good = issuer_at(here, "good", "ES256")
        for manner in ("mute", "drip", "huge"):
            issuer = Issuer(f"{manner}.example.com", "ES256")
            here.provider(issuer, jwks_url=f"{here.peer.url}/{manner}/1")
            timed(here, "A21", f"keys that are {manner}", here.bring(issuer, 1), 1)
        start = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10**9, "p2s": b64(bytes(16)), "zip": "DEF"}
        jwe = f"{b64(json.dumps(start).encode())}.{b64(bytes(24))}.{b64(bytes(12))}.{'A' * 16_000}.{b64(bytes(16))}"
        timed(here, "A26", "encrypted token, p2c of 10^9, zip", here.bring(good, 1, jwe))
        timed(here, "A26", "signed token with zip", here.bring(good, 1, good.token(now_ms(), header={"zip": "DEF"})))
        here.client("iam").create_saml_provider(Name="idp", SAMLMetadataDocument=saml_idp.metadata())
        for name, text in hostile_documents().items():
            timed(here, "A30", name, here.saml(saml_idp.encode(text)))
        measure_deleted_pod(here)


def measure_deleted_pod(here: Site) -> None:
    """From the deletion of a pod to the first refusal of its token, at the default pause between reviews."""
    with tempfile.TemporaryDirectory() as folder, cluster(Path(folder), now_ms) as kubernetes:
        kubernetes.run_pod("prod", "web")
        keys = {"jwks_url": f"{kubernetes.url}/openid/v1/jwks", "jwks_bearer": READER, "ca_pem": kubernetes.ca_pem}
        here.provider(kubernetes.issuer, **keys, token_review={"url": kubernetes.url, "bearer": READER})
        request = here.bring(kubernetes.issuer, 1, kubernetes.token("prod", "web", "web"))
        answered = Result()
        asyncio.run(ask(here.url, request, answered))
        if answered.failures:
            raise SystemExit(f"A35: a running pod is refused: {answered.failed}")
        kubernetes.delete_pod("prod", "web")
        began = time.perf_counter()
        while time.perf_counter() - began < 30:
            answered = Result()
            asyncio.run(ask(here.url, request, answered))
            if answered.failures:
                break
            time.sleep(0.05)
        took = (time.perf_counter() - began) * 1000
        print(f"A35 {'token of a deleted pod':40} refused after {took:5.0f} ms (limit {LIMITS_MS['A35']})", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=6000, help="requests for each run; half as many with SAML")
    parser.add_argument("--seconds", type=float, default=8, help="longest time of each run")
    parser.add_argument("--way", default="", help="rates of ways with this in their names alone")
    parser.add_argument("--only", default="rates,cold,hanging,times", help="rates, cold, hanging, times")
    args = parser.parse_args()
    os.sched_setaffinity(0, {LOAD_CORE})
    print(f"server on core {SERVER_CORE}, load and issuers on core {LOAD_CORE}")
    parts: dict[str, Callable[[], None]] = {
        "rates": lambda: measure_rates(args),
        "cold": measure_cold_starts,
        "hanging": lambda: measure_hanging(args),
        "times": measure_times,
    }
    for name in args.only.split(","):
        parts[name]()


if __name__ == "__main__":
    main()
