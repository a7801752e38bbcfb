"""An OpenID Connect provider for people, on a network in memory: honest, or hostile in one respect that a test chooses."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qsl, quote, urlencode, urlsplit

import pytest
from tests.attack.installation import ALPHA, ROOT, Answer, Installation, Key, document
from tests.browser import Browser
from tests.fake_network import FakeNetwork, http
from tests.issuer import Issuer
from tests.oauth_client import api
from tests.sign_in import site_with_pages

from daypass.federation import fetch

SECRET = "provider-secret+/="


@contextmanager
def network() -> Iterator[FakeNetwork]:
    """The network of every installation that is started meanwhile."""
    made = FakeNetwork()
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(fetch, "SystemNetwork", lambda: made)
        yield made


@pytest.fixture(scope="module")
def net() -> Iterator[FakeNetwork]:
    """`network`, for tests that import this fixture."""
    with network() as made:
        yield made


@pytest.fixture(scope="module")
def site(net: FakeNetwork, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """An installation with pages on that network, for tests that import both fixtures."""
    with site_with_pages(tmp_path_factory.mktemp("site")) as made:
        yield made


@dataclass
class Person:
    """Who signs in at a provider, and what its answer says."""

    subject: str = "ann"
    claims: dict[str, Any] = field(default_factory=dict)
    response: dict[str, str] = field(default_factory=dict)  # of the authorization response; "" leaves a parameter out


@dataclass
class Provider:
    """A provider at `https://URL`, registered in an account, with one role for its people."""

    site: Installation
    net: FakeNetwork
    url: str = "idp.example.com"
    discovery: dict[str, Any] = field(default_factory=dict)
    root: Key = ROOT
    account: str = ALPHA
    client_id: str = "daypass-web"
    issuer: Issuer = field(init=False)
    codes: dict[str, tuple[dict[str, str], Person]] = field(default_factory=dict)
    redeemed: list[dict[str, str]] = field(default_factory=list)
    used: int = 0

    def __post_init__(self) -> None:
        self.issuer = Issuer(self.url, audience=self.client_id)
        base = f"https://{self.url}"
        document_ = {
            "issuer": base,
            "jwks_uri": f"{base}/jwks",
            "authorization_endpoint": f"{base}/authorize",
            "token_endpoint": f"{base}/token",
            "authorization_response_iss_parameter_supported": True,
            **self.discovery,
        }
        self.net.pages[f"{base}/.well-known/openid-configuration"] = http(document_)
        self.net.pages[f"{base}/jwks"] = http(self.issuer.jwks())
        self.net.pages[f"{base}/token"] = self.token

    @property
    def arn(self) -> str:
        return f"arn:aws:iam::{self.account}:oidc-provider/{self.url}"

    def registered(self, *roles: str, **settings: Any) -> Provider:
        """Makes it a provider of its account, with which people sign in to `roles`."""
        more = {"ClientIDList.member.2": "another"}
        made = self.site.iam(
            "CreateOpenIDConnectProvider",
            self.root,
            **{"Url": f"https://{self.url}", "ClientIDList.member.1": self.client_id, **more},
        )
        assert made.status == 200, made.body
        chosen = {"client_id": self.client_id, "client_secret": SECRET, "roles": list(roles), **settings}
        answer = self.put({"sign_in": chosen})
        assert answer.status == 200, answer.body
        return self

    def put(self, settings: Mapping[str, Any]) -> Answer:
        return api(self.site, "PUT", f"/providers/oidc/{self.url}/settings", {"settings": settings}, self.root)

    def role(self, name: str, **condition: Any) -> str:
        """A role for the people of the provider."""
        statement = {
            "Principal": {"Federated": self.arn},
            "Action": ["sts:AssumeRoleWithWebIdentity", "sts:TagSession", "sts:SetSourceIdentity"],
            "Condition": {"StringEquals": {f"{self.url}:aud": self.client_id, **condition}},
        }
        may = document({"Action": ["sts:AssumeRole", "iam:ListUsers"], "Resource": "*"})
        return self.site.role(name, document(statement), self.root, policy=may)

    # --- what it does

    def answer_to(self, address: str, person: Person) -> str:
        """The address at which the browser comes back, for a person who signs in at `address`."""
        asked = dict(parse_qsl(urlsplit(address).query))
        code = f"code-{len(self.codes)}"
        self.codes[code] = asked, person
        given = {"code": code, "state": asked["state"], "iss": f"https://{self.url}", **person.response}
        target = urlsplit(asked["redirect_uri"]).path
        return f"{target}?{urlencode({name: value for name, value in given.items() if value})}"

    def token(self, request: bytes) -> bytes:
        """The token endpoint: it checks the client's secret, the redirect URI and PKCE, as an honest server does."""
        head, _, body = request.partition(b"\r\n\r\n")
        sent = dict(parse_qsl(body.decode()))
        self.redeemed.append(sent)
        basic = base64.b64encode(f"{self.client_id}:{quote(SECRET, safe='')}".encode())
        asked, person = self.codes.pop(sent.get("code", ""), ({}, Person()))
        digest = hashlib.sha256(sent.get("code_verifier", "").encode()).digest()
        fits = base64.urlsafe_b64encode(digest).rstrip(b"=").decode() == asked.get("code_challenge")
        if b"Basic " + basic not in head or not fits or sent.get("redirect_uri") != asked["redirect_uri"]:
            return http({"error": "invalid_grant"}, "400 Bad Request")
        now = self.site.now()
        claims = {"sub": person.subject, "aud": self.client_id, "nonce": asked["nonce"], **person.claims}
        return http({"access_token": "opaque", "token_type": "Bearer", "id_token": self.issuer.token(now, **claims)})


def started(browser: Browser, provider: Provider, following: str = "", again: str = "") -> str:
    """The address at the provider to which a browser is taken."""
    asked = {"provider": provider.arn, "next": following, "again": again}
    answer = browser.get(f"/login/provider?{urlencode({name: value for name, value in asked.items() if value})}")
    assert answer.status == 303, (answer.status, answer.body)
    return answer.headers["location"]


def came_back(browser: Browser, provider: Provider, person: Person | None = None, **more: str) -> Answer:
    """The answer to a person's browser that comes back from the provider."""
    return browser.get(provider.answer_to(started(browser, provider, **more), person or Person()))
