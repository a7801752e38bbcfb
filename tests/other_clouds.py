"""Other clouds for tests, each of which accepts tokens as its documents say: by discovery from the issuer alone, with PyJWT.

They know nothing of Daypass but what `daypass bridge` prints. Loopback only.
Sources: RFC 8693; Microsoft identity platform, "client credentials flow with a certificate or federated credential";
Vault, "JWT/OIDC auth method (API)".
"""

from __future__ import annotations

import json
import secrets
import ssl
import threading
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl

import jwt


class Refused(Exception):
    """The token is not accepted; the message says why."""


def verified(text: str, issuer: str, audiences: list[str], algorithms: list[str]) -> dict[str, Any]:
    """The claims of a token of the issuer, by its discovery document. Raises Refused."""
    with urllib.request.urlopen(f"{issuer}/.well-known/openid-configuration", timeout=30) as answer:
        metadata = json.load(answer)
    if metadata["issuer"] != issuer:
        raise Refused("the issuer names another")
    with urllib.request.urlopen(metadata["jwks_uri"], timeout=30) as answer:
        keys = jwt.PyJWKSet.from_dict(json.load(answer))
    try:
        header = jwt.get_unverified_header(text)
        required = {"require": ["exp", "iat", "iss", "aud", "sub"]}
        return dict(jwt.decode(text, keys[header["kid"]], algorithms, required, audience=audiences, issuer=issuer))
    except (jwt.PyJWTError, KeyError) as error:
        raise Refused(f"{type(error).__name__}: {error}") from None


class Cloud:
    """The shared part of the other clouds. `settings` are those of the other side's administrator.

    `calls` are the requests that came, as (path, fields); `given` the tokens that were given out, by subject.
    """

    def __init__(self) -> None:
        self.settings: Mapping[str, Any] = {}
        self.calls: list[tuple[str, dict[str, Any]]] = []
        self.given: dict[str, str] = {}
        self.url = ""

    def answer(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        raise NotImplementedError

    def token_for(self, subject: str) -> str:
        return self.given.setdefault(subject, secrets.token_urlsafe(16))


class Google(Cloud):
    """The token endpoint of workload identity federation."""

    def answer(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        del path
        provider = self.settings
        claims = verified(
            fields["subject_token"], provider["issuer_uri"], provider["allowed_audiences"], ["RS256", "ES256"]
        )
        if provider["attribute_condition"] != f'assertion.sub == "{claims["sub"]}"':
            raise Refused("the attribute condition does not hold")
        return {
            "access_token": self.token_for(claims["sub"]),
            "issued_token_type": "urn:ietf:params:oauth:token-type:access_token",
            "token_type": "Bearer",
            "expires_in": 3600,
        }


class Entra(Cloud):
    """The token endpoint of Microsoft Entra, with a federated credential of an application."""

    def answer(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        if path.endswith("/.well-known/openid-configuration"):
            tenant = path.split("/")[1]
            at = f"{self.url}/{tenant}"
            return {
                "issuer": f"{at}/v2.0",
                "authorization_endpoint": f"{at}/oauth2/v2.0/authorize",
                "token_endpoint": f"{at}/oauth2/v2.0/token",
            }
        if "client_assertion" not in fields:
            raise Refused("a client assertion is needed")
        credential = self.settings
        claims = verified(fields["client_assertion"], credential["issuer"], credential["audiences"], ["RS256"])
        if claims["sub"] != credential["subject"]:
            raise Refused("AADSTS700213: no matching federated identity record found")
        return {"token_type": "Bearer", "expires_in": 3599, "access_token": self.token_for(claims["sub"])}


class Vault(Cloud):
    """The JWT auth method of Vault and OpenBao: one role."""

    def answer(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        config, role = self.settings["config"], self.settings["role"]
        if path != "/v1/auth/jwt/login" or fields.get("role") != role["name"]:
            raise Refused("no such role")
        claims = verified(
            fields["jwt"], config["oidc_discovery_url"], role["bound_audiences"], ["RS256", "ES256", "ES384", "EdDSA"]
        )
        if claims["iss"] != config["bound_issuer"] or claims["sub"] != role["bound_subject"]:
            raise Refused("error validating claims")
        return {
            "auth": {
                "client_token": self.token_for(claims[role["user_claim"]]),
                "policies": role["token_policies"],
                "lease_duration": 3600,
            }
        }


@contextmanager
def serving(cloud: Cloud, tls: ssl.SSLContext | None = None) -> Iterator[str]:
    """Serves it on a free port; yields its URL."""

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_GET(self) -> None:
            self._reply({})

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0))).decode()
            json_body = self.headers.get("content-type", "").startswith("application/json")
            self._reply(json.loads(body) if json_body else dict(parse_qsl(body)))

        def _reply(self, fields: dict[str, Any]) -> None:
            path = self.path.partition("?")[0]
            cloud.calls.append((path, fields))
            try:
                status, content = 200, cloud.answer(path, fields)
            except Refused as error:
                status, content = 400, {"error": "invalid_grant", "error_description": str(error)}
            text = json.dumps(content).encode()
            self.send_response(status)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(text)))
            self.end_headers()
            self.wfile.write(text)

        def log_message(self, *_: Any) -> None:
            """Says nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls is not None:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    cloud.url = f"{'https' if tls else 'http'}://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield cloud.url
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
