"""OAuth clients for tests: they sign assertions and DPoP proofs with `cryptography` alone, honest ones and others."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

from tests.attack.installation import ROOT, Answer, Installation, Key, document
from tests.issuer import b64, compact, make_key, public_jwk
from tests.oauth import FORM, ISSUER

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
BEARER_TOKENS = ("bearer_tokens",)
_serial = itertools.count(1)


def api(site: Installation, method: str, path: str, body: Any = None, key: Key = ROOT) -> Answer:
    """A signed call of the management API."""
    data = b"" if body is None else json.dumps(body).encode()
    extra = {"content-type": "application/json"} if data else {}
    target, _, query = f"/api/v1{path}".partition("?")
    headers = site.signed(key, data, "daypass", path=target, query=query, method=method, extra=extra)
    return site.send(method, headers, data, path=target.encode(), query=query.encode())


@dataclass
class DpopKey:
    """A key of a client, and the proofs that it makes. `nonce`: the last one that the server gave."""

    site: Installation
    alg: str = "ES256"
    nonce: str = ""
    key: Any = None

    def __post_init__(self) -> None:
        self.key = self.key or make_key(self.alg)

    @property
    def thumbprint(self) -> str:
        members = json.dumps(public_jwk(self.key), sort_keys=True, separators=(",", ":"))
        return b64(hashlib.sha256(members.encode()).digest())

    def proof(
        self,
        path: str = "/oauth2/token",
        method: str = "POST",
        token: str = "",
        header: Mapping[str, Any] | None = None,
        **claims: Any,
    ) -> str:
        """A proof for a request; `header` and `claims` change members (None leaves one out)."""
        head = {"typ": "dpop+jwt", "alg": self.alg, "jwk": public_jwk(self.key), **(header or {})}
        body = {
            "jti": f"proof-{next(_serial)}",
            "htm": method,
            "htu": ISSUER + path,
            "iat": self.site.wall.time // 1000,
            "nonce": self.nonce or None,
            "ath": b64(hashlib.sha256(token.encode()).digest()) if token else None,
            **claims,
        }
        shown = [{name: value for name, value in part.items() if value is not None} for part in (head, body)]
        return compact(shown[0], shown[1], self.key, self.alg)

    def header(self, *args: Any, **more: Any) -> tuple[bytes, bytes]:
        return b"dpop", self.proof(*args, **more).encode()

    def take(self, answer: Answer) -> Answer:
        """Remembers the nonce of a response."""
        self.nonce = answer.headers.get("dpop-nonce", self.nonce)
        return answer


@dataclass
class Client:
    """A registered client."""

    site: Installation
    id: str
    arn: str
    key: Any = None
    alg: str = "ES256"
    more: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str:
        return f"/clients/{self.id}"

    def claims(self, **changes: Any) -> dict[str, Any]:
        now = self.site.wall.time // 1000
        whole = {"iss": self.id, "sub": self.id, "aud": ISSUER, "iat": now, "exp": now + 60, **changes}
        whole.setdefault("jti", f"assertion-{next(_serial)}")
        return {name: value for name, value in whole.items() if value is not None}

    def assertion(self, header: Mapping[str, Any] | None = None, **changes: Any) -> str:
        head = {"alg": self.alg, "kid": "k1", **(header or {})}
        return compact(head, self.claims(**changes), self.key, self.alg)

    def credentials(self, **changes: Any) -> dict[str, str]:
        """The parameters of private_key_jwt."""
        return {"client_assertion_type": ASSERTION, "client_assertion": self.assertion(**changes)}

    def token(
        self, *headers: tuple[bytes, bytes], grant: str = "client_credentials", dpop: DpopKey | None = None, **more: str
    ) -> Answer:
        """A request to the token endpoint, with an assertion unless `more` has other credentials."""
        own = {} if {"client_id", "client_assertion", "client_secret"} & more.keys() or headers else self.credentials()
        pairs = {"grant_type": grant, **own, **more}
        added = (dpop.header(),) if dpop is not None else ()
        answer = self.site.send(
            "POST", [*FORM, *headers, *added], urlencode(pairs).encode("ascii"), path=b"/oauth2/token"
        )
        return dpop.take(answer) if dpop is not None else answer

    def put(self, **settings: Any) -> None:
        """Replaces settings."""
        now = json.loads(api(self.site, "GET", self.path).body)["settings"]
        answer = api(self.site, "PUT", self.path, {"settings": {**now, **settings}})
        assert answer.status == 200, answer.body


def register(site: Installation, *, key: Key = ROOT, alg: str = "ES256", **settings: Any) -> Client:
    """A client with these settings; with a key of its own unless they say how it authenticates."""
    private = None
    if "token_endpoint_auth_method" not in settings and "jwks_uri" not in settings:
        private = make_key(alg)
        settings["jwks"] = {"keys": [public_jwk(private, kid="k1", alg=alg, use="sig")]}
    settings.setdefault("grant_types", ["client_credentials"])
    answer = api(site, "POST", "/clients", {"name": "app", "settings": settings}, key)
    assert answer.status == 201, answer.body
    made = json.loads(answer.body)
    return Client(site, made["client_id"], made["arn"], private, alg)


def trusting(client: Client, **condition: Any) -> str:
    """A trust policy that admits the client."""
    statement: dict[str, Any] = {"Principal": {"Federated": client.arn}, "Action": "sts:AssumeRoleWithWebIdentity"}
    return document({**statement, **({"Condition": condition} if condition else {})})
