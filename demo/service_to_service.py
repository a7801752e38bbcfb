"""Service A acts for a person at service B, for real: B verifies the token by itself, and one revocation ends everything.

A person's company signs people in. Service A has a role of its own. A exchanges the person's token, together with its own, for a token that
only B accepts, and B needs nothing of Daypass but its public keys.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from stage import cli, client, document, new_key, note, refused, say, server

from issuer import Answer, Issuer, https

ACCOUNT = "111122223333"
COMPANY = "login.company.example"
SERVICE_B = "https://orders.example"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
AWS = "urn:daypass:token-type:aws-credentials"

# All of service B: PyJWT, the issuer, its own name, and the key set on standard input. It opens no connection.
VERIFIER = """
import json, sys, jwt
token, issuer, me = sys.argv[1:]
try:
    key = jwt.PyJWKSet.from_dict(json.load(sys.stdin))[jwt.get_unverified_header(token)["kid"]]
    need = {"require": ["exp", "iss", "aud", "sub", "jti", "client_id"]}
    print(json.dumps(jwt.decode(token, key, algorithms=["ES256"], issuer=issuer, audience=me, options=need)))
except (jwt.PyJWTError, KeyError) as error:
    print(json.dumps({"refused": f"{type(error).__name__}: {error}"}))
"""


def post(url: str, path: str, fields: dict[str, str], bearer: str = "") -> dict[str, Any]:
    """A form to the authorization server; its JSON, whatever the status."""
    headers = {"content-type": "application/x-www-form-urlencoded"}
    if bearer:
        headers["authorization"] = f"Bearer {bearer}"
    request = urllib.request.Request(f"{url}{path}", urlencode(fields).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            return dict(json.load(answer))
    except urllib.error.HTTPError as error:
        return dict(json.load(error))


def exchange(url: str, subject: str, kind: str, **more: str) -> dict[str, Any]:
    return post(
        url, "/oauth2/token", {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": kind, **more}
    )


def introspect(url: str, key: tuple[str, str], token: str) -> dict[str, Any]:
    """An administrator's view of a token. The request is signed as those to AWS are."""
    request = AWSRequest(
        "POST",
        f"{url}/oauth2/introspect",
        {"content-type": "application/x-www-form-urlencoded"},
        urlencode({"token": token}),
    )
    SigV4Auth(Credentials(*key), "daypass", "eu-central-1").add_auth(request)
    sent = urllib.request.Request(request.url, request.body, dict(request.headers.items()))
    with urllib.request.urlopen(sent, timeout=20) as answer:
        return dict(json.load(answer))


def given(answer: dict[str, Any]) -> str:
    if "access_token" not in answer:
        sys.exit(f"no token was issued: {answer}")
    return str(answer["access_token"])


def must_fail(answer: dict[str, Any]) -> str:
    if "error" not in answer:
        sys.exit("the exchange was allowed")
    return f"{answer['error']}: {answer['error_description']}"


def service_b(token: str, issuer: str, keys: str) -> dict[str, Any]:
    """Service B's verification of a token, in a separate process that has only the key set."""
    ran = subprocess.run(
        [sys.executable, "-c", VERIFIER, token, issuer, SERVICE_B],
        input=keys,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    return dict(json.loads(ran.stdout))


def chain(claims: dict[str, Any]) -> list[str]:
    """Who the token is for and who acts, the newest first."""
    links, act = [claims["sub"]], claims.get("act")
    while act:
        links.append(act["sub"])
        act = act.get("act")
    return links


def set_up(url: str, home: Path, key: tuple[str, str], keys_at: str, authority: str) -> tuple[str, str]:
    """The company's sign-in as a provider, the role of service A, and the one that A may take on for people."""
    cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
    ca = home / "ca.pem"
    ca.write_text(authority)
    here = (f"jwks_url={keys_at}/jwks", f"ca_pem=@{ca}", "allow_private_networks=true")  # its keys are on this machine
    cli(home, "provider", "add", f"https://{COMPANY}", "--client-id", "shop", *here, quiet=True)
    iam = client("iam", url, key)
    federated = {"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{COMPANY}"}
    web_identity = {"Principal": federated, "Action": "sts:AssumeRoleWithWebIdentity"}
    only_a = {"StringEquals": {f"{COMPANY}:aud": "shop", f"{COMPANY}:sub": "service-a"}}
    made = iam.create_role(RoleName="service-a", AssumeRolePolicyDocument=document(**web_identity, Condition=only_a))
    service = str(made["Role"]["Arn"])
    through_a = {
        "StringEquals": {f"{COMPANY}:aud": "shop", "daypass:Audience": SERVICE_B},
        "ArnEquals": {"daypass:ActorArn": service},
    }
    made = iam.create_role(RoleName="orders", AssumeRolePolicyDocument=document(**web_identity, Condition=through_a))
    return service, str(made["Role"]["Arn"])


@contextmanager
def company_and_server(account: str) -> Iterator[tuple[str, Path, tuple[str, str], Issuer, str, str]]:
    """A company that publishes its keys, and a server with this account. Yields the server's URL, a home for the command
    line, the account's first key, the company, where its keys are, and who vouches for that place (PEM).
    """
    key, company = new_key(), Issuer(f"https://{COMPANY}")

    def answers(path: str, _headers: object, _body: bytes) -> Answer:
        return (200, company.jwks()) if path == "/jwks" else (404, {})

    with (
        tempfile.TemporaryDirectory() as folder,
        https(answers) as (keys_at, authority),
        server(Path(folder) / "data", {account: key}, DAYPASS_SERVER__PUBLIC_URL="{url}") as url,
    ):
        yield url, Path(folder) / "home", key, company, keys_at, authority


def offline(url: str, token: str, keys: str) -> dict[str, Any]:
    """Service B at work: the good token, and three that it refuses."""
    claims = service_b(token, url, keys)
    for link, who in zip(chain(claims), ("the session", "acts", "its proof", "for"), strict=True):
        note(f"{who:12} {link}")
    note(f"{'session':12} {claims['urn:daypass:session']['arn']}")
    head, body, signature = token.split(".")
    for what, bad in (
        ("altered", f"{head}.{body}.{signature[:-4]}AAAA"),
        ("signed by somebody else", Issuer(url).token(sub="ann", aud=SERVICE_B)),
    ):
        note(f"{what}: refused: {service_b(bad, url, keys)['refused']}")
    return claims


def main() -> None:
    started = time.perf_counter()
    with company_and_server(ACCOUNT) as (url, home, key, company, keys_at, authority):
        say("1. A role for service A, and one that A may take on for people, for service B alone")
        service, orders = set_up(url, home, key, keys_at, authority)

        say("2. Service A gets a token of its own; Ann signs in at her company and calls A")
        own = given(exchange(url, company.token(aud="shop", sub="service-a"), ID_TOKEN, role=service))
        ann = company.token(aud="shop", sub="ann")
        note(f"service A: a token of {len(own)} characters")

        say("3. A exchanges Ann's token, with its own beside it, for one that B accepts")
        asked = {"role": orders, "audience": SERVICE_B, "scope": "orders.read"}
        acting = {"actor_token": own, "actor_token_type": ACCESS_TOKEN}
        answer = exchange(url, ann, ID_TOKEN, **asked, **acting)
        token = given(answer)
        note(f"scope {answer['scope']}, {answer['expires_in']} s")
        note(f"without the actor: {must_fail(exchange(url, ann, ID_TOKEN, **asked))}")
        elsewhere = {**asked, "audience": "https://billing.example"}
        note(f"for another service: {must_fail(exchange(url, ann, ID_TOKEN, **elsewhere, **acting))}")

        say("4. B verifies it offline, from the public keys alone, and sees the whole chain")
        with urllib.request.urlopen(f"{url}/.well-known/jwks.json", timeout=10) as found:
            keys = found.read().decode()
        claims = offline(url, token, keys)
        note(f"A's own token: refused: {service_b(own, url, keys)['refused']}")

        say("5. B cannot exchange what it was called with")
        note(must_fail(exchange(url, token, ACCESS_TOKEN, requested_token_type=AWS)))

        say("6. The same kind of session in its other form: A's token as AWS credentials")
        aws = exchange(url, own, ACCESS_TOKEN, requested_token_type=AWS)
        sts = client("sts", url, (aws["access_key_id"], aws["secret_access_key"], given(aws)))
        note(sts.get_caller_identity()["Arn"])

        say("7. One revocation of A's session ends its token, its AWS credentials, and what it does for Ann")
        session = post(url, "/oauth2/introspect", {"token": own}, own)["urn:daypass:session"]["id"]
        delegated = claims["urn:daypass:session"]["id"]
        note(f"introspection: active {introspect(url, key, token)['active']}")
        cli(home, "revoke", "session", session, "--reason", "service A is compromised")
        note(f"introspection: active {introspect(url, key, token)['active']}")
        note(f"AWS credentials: refused: {refused(sts.get_caller_identity, 'ExpiredToken').response['Error']['Code']}")
        note(f"A's token: {must_fail(exchange(url, own, ACCESS_TOKEN))}")

        say("8. The record")
        cli(home, "audit", "search", "--session-id", delegated)
        cli(home, "audit", "verify")
    say(f"Done in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
