"""Tokens of an installation for tests: who brings what to the token endpoint, and what comes back."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import jwt
from jwt.types import Options
from tests.attack.installation import HOST, Answer, Installation, Key, SetClock, installed

from daypass import sigv4
from daypass.sigv4.canonical import presign

ISSUER = "https://daypass.test"
ACCESS_TOKEN = "urn:ietf:params:oauth:token-type:access_token"
ID_TOKEN = "urn:ietf:params:oauth:token-type:id_token"
JWT = "urn:ietf:params:oauth:token-type:jwt"
SAML2 = "urn:ietf:params:oauth:token-type:saml2"
REFRESH = "urn:ietf:params:oauth:token-type:refresh_token"
PRESIGNED = "urn:daypass:token-type:presigned-get-caller-identity"
AWS = "urn:daypass:token-type:aws-credentials"
EXCHANGE = "urn:ietf:params:oauth:grant-type:token-exchange"
BEARER = "urn:ietf:params:oauth:grant-type:jwt-bearer"
SESSION = "urn:daypass:session"
FORM = [(b"content-type", b"application/x-www-form-urlencoded")]
Pairs = Mapping[str, str] | list[tuple[str, str]]


@contextmanager
def authorization_server(data: Path, wall: SetClock | None = None, **settings: Any) -> Iterator[Installation]:
    """An installation with a public URL, and so with OAuth."""
    server = {"public_url": ISSUER, **settings.pop("server", {})}
    with installed(data, wall, server=server, **settings) as site:
        yield site


def post(site: Installation, path: str, pairs: Pairs, *headers: tuple[bytes, bytes]) -> Answer:
    return site.send("POST", [*FORM, *headers], urlencode(pairs).encode("ascii"), path=path.encode())


def token(site: Installation, pairs: Pairs) -> Answer:
    """One request at the token endpoint."""
    return post(site, "/oauth2/token", pairs)


def exchange(site: Installation, subject: str, kind: str, **more: str) -> Answer:
    pairs = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": kind, **more}
    return token(site, pairs)


def given(answer: Answer) -> dict[str, Any]:
    """The members of a response that is served."""
    assert answer.status == 200, answer.body
    assert answer.headers["cache-control"] == "no-store"
    return dict(json.loads(answer.body))


def details(**members: Any) -> str:
    return json.dumps([{"type": SESSION, **members}])


def key_of(response: Mapping[str, Any]) -> Key:
    """The AWS credentials in a response."""
    return response["access_key_id"], response["secret_access_key"], response["access_token"]


def presigned(site: Installation, key: Key, **query: str) -> str:
    """A presigned GetCallerIdentity for an exchange here, or with another query."""
    asked = {"Action": "GetCallerIdentity", "Version": "2011-06-15", "X-Daypass-Audience": ISSUER, **query}
    pairs = [(name, value) for name, value in asked.items() if value]
    signing = sigv4.SigningKey(key[0], key[1], "eu-central-1", "sts", *key[2:3])
    return f"{ISSUER}/?{presign(signing, 'GET', HOST, '/', pairs, 300, site.wall.time)}"


def verified(site: Installation, text: str, audience: str = ISSUER) -> dict[str, Any]:
    """The claims, as another library verifies them from the JWKS alone."""
    jwks = json.loads(site.send("GET", path=b"/.well-known/jwks.json").body)
    header = jwt.get_unverified_header(text)
    key = jwt.PyJWKSet.from_dict(jwks)[header["kid"]]
    unchecked: Options = {"verify_exp": False, "verify_iat": False, "verify_nbf": False}  # the site's clock is set
    return dict(jwt.decode(text, key, algorithms=[header["alg"]], audience=audience, issuer=ISSUER, options=unchecked))


def refusal(site: Installation, answer: Answer, code: str, status: int = 400) -> dict[str, Any]:
    """Checks that an answer is a refusal in OAuth's form, on the record and not cached; returns its record."""
    content = json.loads(answer.body)
    assert (content["error"], answer.status) == (code, status), answer.body
    assert content["error_description"]
    assert answer.headers["cache-control"] == "no-store"
    records = site.records(answer.request_id)
    assert len(records) == 1, answer.body
    assert records[0]["error"]
    return records[0]


def bearer(text: str) -> tuple[bytes, bytes]:
    return b"authorization", f"Bearer {text}".encode("latin-1")


def signed_post(site: Installation, key: Key, path: str, pairs: Pairs) -> Answer:
    """A request that the holder of AWS credentials has signed."""
    body = urlencode(pairs).encode("ascii")
    extra = {"content-type": "application/x-www-form-urlencoded"}
    return site.send("POST", site.signed(key, body, "daypass", path=path, extra=extra), body, path=path.encode())
