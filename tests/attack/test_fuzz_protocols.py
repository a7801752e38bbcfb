"""schemathesis at every path of OAuth, OpenID Connect, AuthZEN, SSF, SCIM, status lists and sign-in: never a 500.

The description is made from the routes table, so that a new path below one of these prefixes is covered at once.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Iterator
from typing import Any, cast
from urllib.parse import quote, urlencode

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, Installation, trust
from tests.directory_service import directory_of
from tests.generated import cases
from tests.oauth import ACCESS_TOKEN, EXCHANGE, ID_TOKEN, ISSUER, PRESIGNED, SESSION, exchange, presigned
from tests.oauth import given as served
from tests.oauth_client import BEARER_TOKENS, register, trusting
from tests.sign_in import signed_in, site_with_pages, user

from daypass.wire.front import Front
from daypass.wire.routes import RouteSettings, routes
from daypass.wire.routing import Route

pytestmark = pytest.mark.slow

FORMS = ("/oauth2/", "/login", "/logout", "/account", "/device", "/saml/")
BODIES = ("/access/", "/ssf/", "/scim/")
SHOWN = ("/.well-known/", "/outbound/", "/statuslists/")
COVERED = (*FORMS, *BODIES, *SHOWN)
TEXT = {"type": "string", "maxLength": 40}
VALUES: dict[str, list[str]] = {
    "grant_type": [EXCHANGE, "client_credentials", "refresh_token", "authorization_code"],
    "subject_token_type": [ACCESS_TOKEN, ID_TOKEN, PRESIGNED],
    "actor_token_type": [ACCESS_TOKEN],
    "requested_token_type": [ACCESS_TOKEN, ID_TOKEN, "urn:ietf:params:oauth:token-type:id-jag"],
    "authorization_details": [json.dumps([{"type": SESSION, "role": "x"}]), "[]", "{", "null"],
    "role": [f"arn:aws:iam::{ALPHA}:role/fuzzed"],
    "code_challenge_method": ["S256", "plain"],
    "response_type": ["code"],
    "redirect_uri": ["https://app.example/callback", "http://127.0.0.1/"],
    "scope": ["openid", "read write", ""],
    "audience": [ISSUER, "https://api.example"],
    "filter": ['userName eq "ann"', "(", 'a[b eq "c"]', "not (a pr)"],
    "schemas": ["urn:ietf:params:scim:schemas:core:2.0:User"],
    **{
        name: []
        for name in (
            *("client_id", "client_secret", "subject_token", "actor_token", "assertion", "resource", "token", "code"),
            *("code_verifier", "code_challenge", "refresh_token", "request_uri", "state", "nonce", "prompt", "max_age"),
            *("acr_values", "csrf", "ticket", "user", "password", "account", "next", "user_code", "device_code"),
            *("SAMLResponse", "RelayState", "provider", "startIndex", "count", "attributes", "consent", "decision"),
        )
    },
}
MEMBERS: dict[str, Any] = {
    "subject": {"anyOf": [{"type": "object"}, TEXT]},
    "action": {"type": "object"},
    "resource": {"type": "object"},
    "context": {"type": "object"},
    "evaluations": {"type": "array", "maxItems": 3},
    "options": {"type": "object"},
    "page": {"type": "object"},
    "delivery": {"type": "object"},
    "events_requested": {"type": "array", "items": TEXT, "maxItems": 3},
    "stream_id": TEXT,
    "status": TEXT,
    "state": TEXT,
    "acks": {"type": "array", "items": TEXT, "maxItems": 3},
    "setErrs": {"type": "object"},
    "maxEvents": {"type": "integer"},
    "userName": TEXT,
    "displayName": TEXT,
    "active": {"type": "boolean"},
    "emails": {"type": "array", "maxItems": 3},
    "members": {"type": "array", "maxItems": 3},
    "Operations": {"type": "array", "maxItems": 3},
    "schemas": {"type": "array", "items": {"enum": ["urn:ietf:params:scim:schemas:core:2.0:User", "x"]}, "maxItems": 2},
}


def description() -> dict[str, Any]:
    """OpenAPI of the covered paths: any of the known parameters, with values that mean something and others."""
    front = Front(cast("Any", None))  # the table is built, not called
    paths: dict[str, Any] = {}
    for row in routes(front, cast("Any", None), RouteSettings(public_url=ISSUER)).rows:
        if isinstance(row, Route) and row.path.startswith(COVERED):
            tail = row.path.endswith("/")
            paths[f"{row.path}{{rest}}" if tail else row.path] = {
                method.lower(): operation(row.path, method, tail=tail)
                for method in sorted(row.methods - {"HEAD"} or {"GET", "POST"})
            }
    return {"openapi": "3.0.3", "info": {"title": "paths", "version": "1"}, "paths": paths}


def operation(path: str, method: str, *, tail: bool) -> dict[str, Any]:
    properties = {name: {"anyOf": [{"enum": values}, TEXT]} if values else TEXT for name, values in VALUES.items()}
    made: dict[str, Any] = {"responses": {"default": {"description": "any"}}, "parameters": []}
    if tail:
        made["parameters"].append({"name": "rest", "in": "path", "required": True, "schema": TEXT})
    if method in ("GET", "DELETE"):
        made["parameters"] += [{"name": n, "in": "query", "schema": schema} for n, schema in properties.items()]
        return made
    form = path.startswith(FORMS)
    schema = {"type": "object", "properties": properties if form else MEMBERS}
    content = "application/x-www-form-urlencoded" if form else "application/json"
    made["requestBody"] = {"required": True, "content": {content: {"schema": schema}}}
    return made


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    names = ("failures", "principal", "account")
    unlimited = {f"{name}_{what}": 1_000_000 for name in names for what in ("per_second", "burst")}
    with site_with_pages(tmp_path_factory.mktemp("protocols"), rates=unlimited) as made:
        yield made


class Sender:
    """Sends a case as somebody whom the path knows, every second time: a client, a session, a directory, a browser."""

    def __init__(self, site: Installation) -> None:
        self._site = site
        grants = ["client_credentials", "refresh_token", "authorization_code", EXCHANGE]
        redirects = ["https://app.example/callback"]
        self._client = register(site, fapi_exceptions=BEARER_TOKENS, grant_types=grants, redirect_uris=redirects)
        self._client.put(roles=[site.role("fuzzed", trusting(self._client), policy=EVERYTHING)])
        arn, key = site.user("holder", policy=EVERYTHING)
        session = site.assume(key, site.role("held", trust(arn), policy=EVERYTHING), "ann").key
        self._bearer = served(exchange(site, presigned(site, session), PRESIGNED))["access_token"]
        self._scim = directory_of(site).token
        self._browser = signed_in(site, user(site))
        self._turn = 0

    def __call__(self, case: Any) -> int:
        self._turn += 1
        path = case.path
        for name, value in (case.path_parameters or {}).items():
            path = path.replace(f"{{{name}}}", quote(str(value), safe=""))
        query = urlencode(pairs_of(case.query), errors="surrogatepass").encode()
        body, headers = self._body(case), []
        if self._turn % 2:
            headers, body = self._as_somebody(path, body, case)
        if case.method not in ("GET", "DELETE"):
            kind = "x-www-form-urlencoded" if case.path.startswith(FORMS) else "json"
            headers.append((b"content-type", f"application/{kind}".encode()))
        answer = self._site.send(case.method, headers, body, path=path.encode(), query=query)
        assert answer.status < 500, (case.method, path, query, body, answer.body)
        assert b"Traceback" not in answer.body
        return answer.status

    def _body(self, case: Any) -> bytes:
        if not isinstance(case.body, (dict, list, str, int, float, bool)) and case.body is not None:
            return b""
        if case.path.startswith(FORMS):
            return urlencode(pairs_of(case.body), errors="surrogatepass").encode()
        return json.dumps(case.body).encode()

    def _as_somebody(self, path: str, body: bytes, case: Any) -> tuple[list[tuple[bytes, bytes]], bytes]:
        if path.startswith("/scim/"):
            return [(b"authorization", f"Bearer {self._scim}".encode())], body
        if path.startswith(("/access/", "/ssf/", "/oauth2/userinfo", "/oauth2/introspect")):
            return [(b"authorization", f"Bearer {self._bearer}".encode())], body
        if path.startswith("/oauth2/") and case.method == "POST":
            own = urlencode({**dict(pairs_of(case.body)), **self._client.credentials()}, errors="surrogatepass")
            return [], own.encode()
        cookie = "; ".join(f"{name}={value}" for name, value in self._browser.cookies.items())
        return [(b"cookie", cookie.encode()), (b"origin", ISSUER.encode())], body


def pairs_of(found: Any) -> list[tuple[str, str]]:
    return [(str(name), str(value)) for name, value in found.items()] if isinstance(found, dict) else []


def test_a100_generated_requests_at_every_protocol_never_fail(site: Installation) -> None:
    send, made = Sender(site), cases(description(), 12)
    statuses: dict[str, Counter[int]] = {}
    for case in made:
        statuses.setdefault(case.path, Counter())[send(case)] += 1
    assert len(statuses) > 50
    assert len(made) > 300
    for prefix in COVERED:
        assert any(path.startswith(prefix) for path in statuses), prefix
    for path in ("/access/v1/evaluation", "/ssf/streams", "/scim/v2/{rest}", "/oauth2/userinfo"):
        assert set(statuses[path]) - {401}, path  # somebody was let in
