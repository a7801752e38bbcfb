"""A real OpenID Connect issuer, npm's `oidc-provider`: tokens that it issued, keys that it changes, and its absence."""

from __future__ import annotations

import base64
import http.cookiejar
import json
import secrets
import socket
import ssl
import subprocess
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import OPERATOR, Server, running
from tests.e2e.pki import Pki
from tests.e2e.workload import Workload, session_of
from tests.issuer import make_key, number, public_jwk
from tests.node import FOLDER, find_node, why_not

pytestmark = [pytest.mark.slow, pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")]
one_database = pytest.mark.parametrize("server", ["sqlite"], indirect=True)  # the issuer is the point
AUDIENCE = "https://sts.example.com"
BACK = "https://app.example.com/back"
CLIENT = {"client_id": "ci", "client_secret": "secret-of-the-client-ci"}
AS_ACCESS_TOKENS = {"token_types": ["JWT", "at+jwt"]}


@dataclass
class RealIssuer:
    """The issuer's process; tokens come from its own endpoints alone."""

    url: str
    pem: Path
    ca: Path
    back: str = ""  # a further redirect URI of its client
    process: subprocess.Popen[str] = field(init=False)
    keys: list[dict[str, Any]] = field(default_factory=list)  # private, the current one first
    made: int = 0  # keys, so far

    def __post_init__(self) -> None:
        self.start()

    def start(self) -> None:
        """With a key that it never had before, and no other."""
        command = [find_node(), str(FOLDER / "issuer.mjs"), self.url.rpartition(":")[2], str(self.pem), self.back]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.DEVNULL}
        self.process = subprocess.Popen(command, text=True, **pipes)  # type: ignore[call-overload]
        self.keys = []
        self.rotate("RS256")

    def stop(self) -> None:
        self.process.communicate(timeout=30)

    def rotate(self, alg: str) -> None:
        """A new current key; those that it had stay published."""
        self.made += 1
        self._serve([private_jwk(make_key(alg, self.made), alg), *self.keys])

    def drop(self) -> None:
        """All keys but the current one."""
        self._serve(self.keys[:1])

    @property
    def kids(self) -> list[str]:
        return [key["kid"] for key in self.keys]

    def _serve(self, keys: list[dict[str, Any]]) -> None:
        self.keys = keys
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        late = threading.Timer(30, self.process.kill)
        late.start()
        self.process.stdin.write(f"{json.dumps(keys)}\n")
        self.process.stdin.flush()
        line = next(line for line in self.process.stdout if line.startswith("{"))  # it remarks on its settings, too
        late.cancel()
        assert json.loads(line) == {"url": self.url}

    def access_token(self) -> str:
        """For a machine (RFC 6749, 4.4), for one resource (RFC 8707), as a JWT (RFC 9068)."""
        token: str = self._token({"grant_type": "client_credentials", "resource": AUDIENCE})["access_token"]
        return token

    def id_token(self) -> str:
        """For a person, by the code flow (OpenID Connect Core, 3.1): a browser is sent to and fro."""
        asked = {"client_id": "ci", "response_type": "code", "scope": "openid", "redirect_uri": BACK, "nonce": "n-1"}
        landed = self._browse(f"{self.url}/auth?{urllib.parse.urlencode(asked)}")
        code = urllib.parse.parse_qs(urllib.parse.urlsplit(landed).query)["code"][0]
        token: str = self._token({"grant_type": "authorization_code", "code": code, "redirect_uri": BACK})["id_token"]
        return token

    def _token(self, asked: dict[str, str]) -> dict[str, Any]:
        body = urllib.parse.urlencode({**asked, **CLIENT}).encode()
        with urllib.request.urlopen(f"{self.url}/token", body, timeout=60, context=self._tls()) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    def _tls(self) -> ssl.SSLContext:
        return ssl.create_default_context(cafile=str(self.ca))

    def _browse(self, url: str) -> str:
        """Follows redirects, with cookies, until one leads away; where to."""
        jar = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        browser = urllib.request.build_opener(jar, urllib.request.HTTPSHandler(context=self._tls()), _Stay())
        while url.startswith(self.url):
            with pytest.raises(urllib.error.HTTPError) as sent:
                browser.open(url, timeout=60)
            sent.value.close()
            url = urllib.parse.urljoin(url, sent.value.headers["location"])
        return url


class _Stay(urllib.request.HTTPRedirectHandler):
    """Redirects are not followed by themselves."""

    def redirect_request(self, *_: Any) -> None:
        return None


@pytest.fixture
def issuer(tmp_path: Path) -> Iterator[RealIssuer]:
    pki = Pki(tmp_path)
    pem = tmp_path / "both.pem"
    pem.write_bytes(pki.server_key.read_bytes() + pki.server_cert.read_bytes())
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
    started = RealIssuer(url, pem, pki.ca)
    yield started
    started.stop()


def trusted(server: Server, issuer: RealIssuer, subject: str, **more: Any) -> str:
    """A provider for the issuer, whose keys are fetched, and a role for one subject of it; the role's ARN."""
    server.client("iam").create_open_id_connect_provider(Url=issuer.url, ClientIDList=[AUDIENCE, CLIENT["client_id"]])
    configure(server, issuer, **more)
    return role_for(server, issuer, subject)


def configure(server: Server, issuer: RealIssuer, **more: Any) -> None:
    settings = {"ca_pem": issuer.ca.read_text(), "allow_private_networks": True, **more}
    server.api("PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": settings})


def role_for(server: Server, issuer: RealIssuer, subject: str) -> str:
    url = issuer.url.removeprefix("https://")
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": f"arn:aws:iam::{OPERATOR}:oidc-provider/{url}"},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{url}:sub": subject}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = f"real-{secrets.token_hex(4)}"
    role: str = server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    return role


@pytest.fixture
def workload(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Workload:
    return Workload(tmp_path, monkeypatch)


def private_jwk(key: Any, alg: str) -> dict[str, Any]:
    """RFC 7518, section 6: the public members, and the private ones."""
    made = public_jwk(key, alg=alg, use="sig", kid=secrets.token_hex(8))
    numbers = key.private_numbers()
    if alg == "ES256":
        return {**made, "d": number(numbers.private_value, 32)}
    private = {
        "d": numbers.d,
        "p": numbers.p,
        "q": numbers.q,
        "dp": numbers.dmp1,
        "dq": numbers.dmq1,
        "qi": numbers.iqmp,
    }
    return {**made, **{name: number(value) for name, value in private.items()}}


def kid_of(token: str) -> str:
    head = token.partition(".")[0]
    kid: str = json.loads(base64.urlsafe_b64decode(head + "=" * (-len(head) % 4)))["kid"]
    return kid


def refresh(server: Server, issuer: RealIssuer, kids: list[str]) -> None:
    """As an operator asks for it, which helps once a second, until Daypass has these keys."""
    for _ in range(600):
        shown = server.api("POST", f"/providers/oidc/{issuer.url}/keys/refresh")
        if {key["kid"] for key in shown["keys"]} == set(kids):
            return
        time.sleep(0.1)
    pytest.fail(f"not {kids}: {shown}")


@one_database
def test_access_token_of_a_machine_is_taken_only_where_such_tokens_are(
    server: Server, issuer: RealIssuer, workload: Workload
) -> None:
    role = trusted(server, issuer, "ci", **AS_ACCESS_TOKENS)
    who = partial(workload.who, server, role)
    assert who(issuer.access_token()) == session_of(role)
    configure(server, issuer)
    with pytest.raises(ClientError, match=r"InvalidIdentityToken.*type 'at\+jwt' is not among those"):
        who(issuer.access_token())


@one_database
def test_id_token_of_a_person_is_taken_and_another_person_is_not(
    server: Server, issuer: RealIssuer, workload: Workload
) -> None:
    role = trusted(server, issuer, "ann")
    token = issuer.id_token()
    assert workload.who(server, role, token) == session_of(role)
    other = role_for(server, issuer, "bob")
    with pytest.raises(ClientError, match="AccessDenied"):
        workload.who(server, other, token)
    head, payload, signature = token.split(".")
    forged = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    text = base64.urlsafe_b64encode(json.dumps({**forged, "sub": "bob"}).encode()).rstrip(b"=").decode()
    with pytest.raises(ClientError, match="InvalidIdentityToken"):
        workload.who(server, other, f"{head}.{text}.{signature}")


@one_database
def test_keys_that_the_issuer_changes_are_followed_and_a_removed_one_is_refused(
    server: Server, issuer: RealIssuer, workload: Workload
) -> None:
    role = trusted(server, issuer, "ci", **AS_ACCESS_TOKENS)
    who = partial(workload.who, server, role)
    old = issuer.access_token()
    assert who(old) == session_of(role)
    issuer.rotate("ES256")
    kids = issuer.kids
    assert kids[1] == kid_of(old)
    new = issuer.access_token()
    assert kid_of(new) == kids[0]
    with pytest.raises(ClientError, match="InvalidIdentityToken"):  # strangers cannot make it fetch all the time
        who(new)
    refresh(server, issuer, kids)
    assert who(new) == who(old) == session_of(role)
    issuer.drop()
    assert who(old) == session_of(role)  # nobody has told us yet
    refresh(server, issuer, kids[:1])
    with pytest.raises(ClientError, match="InvalidIdentityToken"):
        who(old)
    assert who(new) == session_of(role)


def test_issuer_that_is_away_is_not_missed_even_by_a_server_that_restarts(
    issuer: RealIssuer, tmp_path: Path, workload: Workload
) -> None:
    data = tmp_path / "data"
    with running(data) as server:
        role = trusted(server, issuer, "ci", **AS_ACCESS_TOKENS)
        tokens = [issuer.access_token() for _ in range(3)]
        assert workload.who(server, role, tokens[0]) == session_of(role)
        issuer.stop()
        assert workload.who(server, role, tokens[1]) == session_of(role)
    with running(data) as server:
        assert workload.who(server, role, tokens[2]) == session_of(role)
        assert server.api("GET", f"/providers/oidc/{issuer.url}/keys")["keys"]
        issuer.start()  # with another key
        new = issuer.access_token()
        assert kid_of(new) != kid_of(tokens[0])
        assert workload.who(server, role, new) == session_of(role)
