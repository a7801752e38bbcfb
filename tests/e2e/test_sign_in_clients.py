"""Stock OpenID Connect clients sign a person in at a running server: Authlib, and npm's openid-client."""

from __future__ import annotations

import http.client
import json
import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import jwt
import pytest
from authlib.integrations.requests_client import OAuth2Session
from tests.attack.installation import Answer
from tests.browser import forms
from tests.e2e.conftest import OPERATOR, Server, running
from tests.node import run_script, why_not

pytestmark = pytest.mark.slow

PASSWORD = "Correct-horse-1"
CALLBACK = "http://127.0.0.1:49152/callback"


@dataclass
class Person:
    """A person with a browser: it keeps cookies, and follows redirects within the server."""

    server: Server
    cookies: dict[str, str] = field(default_factory=dict)

    def visit(self, address: str, fields: dict[str, str] | None = None) -> tuple[str, bytes]:
        """The browser's destination: another site's address, or "" and a page."""
        parts = urlsplit(address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
        headers = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())}
        if fields is not None:
            headers |= {"content-type": "application/x-www-form-urlencoded", "origin": self.server.url}
        body = None if fields is None else urlencode(fields)
        connection.request("GET" if fields is None else "POST", f"{parts.path}?{parts.query}", body, headers)
        answer = connection.getresponse()
        if cookie := answer.getheader("set-cookie"):
            name, _, value = cookie.partition(";")[0].partition("=")
            self.cookies[name] = value
        page, location = answer.read(), answer.getheader("location", "")
        connection.close()
        if location.startswith("/"):
            return self.visit(f"{self.server.url}{location}")
        return location, page

    def fill_in(self, page: bytes, path: str, **fields: str) -> tuple[str, bytes]:
        form = forms(Answer(200, {}, page))[path]
        return self.visit(f"{self.server.url}{path}", {**form.fields, **fields})

    def consent(self, address: str) -> str:
        """Signs in and allows what a client asks for: the address to which the client gets the person back."""
        _, page = self.visit(address)
        _, page = self.fill_in(page, "/login/password", account=OPERATOR, user="ann", password=PASSWORD)
        location, _ = self.fill_in(page, "/oauth2/authorize/consent", decision="allow")
        return location


@dataclass(frozen=True)
class World:
    server: Server
    client_id: str


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("clients"), environment=environment) as server:
        iam = server.client("iam")
        iam.create_user(UserName="ann")
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        settings = {
            "token_endpoint_auth_method": "none",
            "grant_types": ["authorization_code", "refresh_token"],
            "redirect_uris": ["http://127.0.0.1/callback"],
        }
        made = server.api("POST", "/clients", body={"name": "app", "settings": settings})
        yield World(server, made["client_id"])


def test_authlib_signs_a_person_in_and_refreshes_the_token(world: World) -> None:
    base, verifier, nonce = world.server.url, secrets.token_urlsafe(48), secrets.token_urlsafe(16)
    client = OAuth2Session(
        world.client_id,
        scope="openid",
        redirect_uri=CALLBACK,
        code_challenge_method="S256",
        token_endpoint_auth_method="none",
    )
    address, state = client.create_authorization_url(f"{base}/oauth2/authorize", code_verifier=verifier, nonce=nonce)
    back = Person(world.server).consent(address)
    answered = dict(parse_qsl(urlsplit(back).query))
    assert (answered["iss"], answered["state"]) == (base, state)
    token: dict[str, Any] = client.fetch_token(
        f"{base}/oauth2/token", authorization_response=back, state=state, code_verifier=verifier
    )
    jwks = jwt.PyJWKClient(f"{base}/.well-known/jwks.json")
    key = jwks.get_signing_key_from_jwt(token["id_token"])
    claims = jwt.decode(token["id_token"], key, algorithms=["ES256"], audience=world.client_id, issuer=base)
    assert (claims["nonce"], claims["preferred_username"]) == (nonce, "ann")
    renewed = client.refresh_token(f"{base}/oauth2/token", refresh_token=token["refresh_token"])
    assert renewed["access_token"] != token["access_token"]


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")
def test_openid_client_signs_a_person_in_and_checks_every_answer(world: World) -> None:
    verifier, nonce, state = (secrets.token_urlsafe(48) for _ in range(3))
    arguments = (world.server.url, world.client_id, CALLBACK, verifier, nonce, state)
    begun = run_script("openid_client.mjs", *arguments, environment={})
    assert begun.returncode == 0, begun.stderr
    back = Person(world.server).consent(json.loads(begun.stdout)["address"])
    ended = run_script("openid_client.mjs", *arguments, back, environment={})
    assert ended.returncode == 0, ended.stderr
    found = json.loads(ended.stdout)
    assert found["claims"]["nonce"] == nonce
    assert found["claims"]["aud"] == world.client_id
    assert found["renewed"] is True
