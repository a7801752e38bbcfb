"""Stock applications that people have sign a person in at a running server: passport and express-openid-connect (npm), pyoidc
(PyPI) with its defaults, and a command line as kubelogin is, with a redirect to localhost and refreshed ID tokens.
"""

from __future__ import annotations

import base64
import hashlib
import http.client
import json
import secrets
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any
from urllib.parse import parse_qs, urlencode, urlsplit

import jwt
import pytest
from tests.e2e.conftest import Server, running
from tests.e2e.test_sign_in_clients import PASSWORD, Person
from tests.node import FOLDER, find_node, why_not

pytestmark = pytest.mark.slow
CONFIDENTIAL = ("bearer_tokens", "client_secret", "pkce", "unpushed_requests")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("applications"), environment=environment) as made:
        iam = made.client("iam")
        iam.create_user(UserName="ann", Tags=[{"Key": "email", "Value": "ann@example.com"}])
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        iam.create_group(GroupName="developers")
        iam.add_user_to_group(GroupName="developers", UserName="ann")
        yield made


def client(server: Server, **settings: Any) -> tuple[str, str]:
    """A confidential client with a secret, as an administrator registers it for such a library: id and secret."""
    given = {
        "token_endpoint_auth_method": "client_secret_basic",
        "grant_types": ["authorization_code", "refresh_token"],
        "fapi_exceptions": list(CONFIDENTIAL),
        **settings,
    }
    made = server.api("POST", "/clients", body={"name": "application", "settings": given})["client_id"]
    if given["token_endpoint_auth_method"] == "none":
        return made, ""
    return made, server.api("POST", f"/clients/{made}/secrets")["client_secret"]


@dataclass
class Visitor:
    """The browser of a person at the application: it keeps the application's cookies."""

    address: str
    cookies: dict[str, str] = field(default_factory=dict)

    def get(self, address: str) -> tuple[int, str, bytes]:
        """Status, location and body."""
        parts = urlsplit(address if address.startswith("http") else self.address + address)
        connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
        held = {"cookie": "; ".join(f"{name}={value}" for name, value in self.cookies.items())} if self.cookies else {}
        connection.request("GET", f"{parts.path}?{parts.query}", headers=held)
        answer = connection.getresponse()
        for name, value in answer.getheaders():
            if name.lower() == "set-cookie":
                key, _, rest = value.partition(";")[0].partition("=")
                self.cookies[key] = rest
        body = answer.read()
        connection.close()
        return answer.status, answer.getheader("location", ""), body


@contextmanager
def application(*arguments: str) -> Iterator[Visitor]:
    """A running application of express_clients.mjs."""
    command = [find_node(), str(FOLDER / "express_clients.mjs"), *arguments]
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    with subprocess.Popen(command, **pipes) as process:  # type: ignore[call-overload]
        try:
            line = process.stdout.readline().strip()
            assert line.startswith("http://"), line + process.communicate(timeout=10)[0]
            yield Visitor(line)
        finally:
            process.terminate()
            process.wait(30)


@pytest.mark.skipif(bool(why_not()), reason=why_not() or "it can run")
@pytest.mark.parametrize(
    ("which", "method"), [("passport", "client_secret_post"), ("express-openid-connect", "client_secret_basic")]
)
def test_stock_application_of_express_signs_a_person_in(server: Server, which: str, method: str) -> None:
    own = {"redirect_uris": ["http://127.0.0.1/callback"], "id_token_signed_response_alg": "RS256"}
    made, secret = client(server, token_endpoint_auth_method=method, **own)
    with application(which, server.url, made, secret) as visitor:
        status, to_us, body = visitor.get("/login")
        assert status == 302, body
        back = Person(server).consent(to_us)
        status, _, body = visitor.get(back)
        assert status == 302, body
        user = json.loads(visitor.get("/user")[2])
    if which == "passport":
        assert (user["displayName"], user["emails"]) == ("ann", [{"value": "ann@example.com"}])
    else:
        assert (user["name"], user["email"]) == ("ann", "ann@example.com")


@pytest.mark.filterwarnings("ignore:datetime.datetime.utc:DeprecationWarning")
def test_pyoidc_with_its_defaults_signs_a_person_in(server: Server) -> None:
    from oic.oic import Client
    from oic.oic.message import AuthorizationResponse, RegistrationResponse
    from oic.utils.authn.client import CLIENT_AUTHN_METHOD

    back_to = "http://127.0.0.1:49152/callback"
    made, secret = client(server, redirect_uris=[back_to], id_token_signed_response_alg="RS256")
    library = Client(client_authn_method=CLIENT_AUTHN_METHOD)
    library.provider_config(server.url)
    library.store_registration_info(RegistrationResponse(client_id=made, client_secret=secret))
    library.redirect_uris = [back_to]
    state, nonce = secrets.token_urlsafe(16), secrets.token_urlsafe(16)
    asked = {"client_id": made, "response_type": "code", "scope": ["openid", "email"], "nonce": nonce, "state": state}
    request = library.construct_AuthorizationRequest(request_args={**asked, "redirect_uri": back_to})
    back = Person(server).consent(request.request(library.authorization_endpoint))
    answered = library.parse_response(AuthorizationResponse, info=urlsplit(back).query, sformat="urlencoded")
    assert answered["state"] == state
    arguments = {"code": answered["code"], "redirect_uri": back_to}
    tokens = library.do_access_token_request(state=state, request_args=arguments, authn_method="client_secret_basic")
    assert (tokens["id_token"]["nonce"], tokens["id_token"]["email"]) == (nonce, "ann@example.com")
    about = library.do_user_info_request(state=state)
    assert about["sub"] == tokens["id_token"]["sub"]


def test_command_line_like_kubelogin_signs_a_person_in_and_renews_its_id_token(server: Server) -> None:
    """kubelogin's default: a public client with PKCE, and a redirect to http://localhost with any free port."""
    made, _ = client(server, token_endpoint_auth_method="none", fapi_exceptions=[], redirect_uris=["http://localhost/"])
    arrived: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            arrived.append(self.path)
            self.send_response(200)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with HTTPServer(("127.0.0.1", 0), Handler) as listener:
        threading.Thread(target=listener.handle_request, daemon=True).start()
        redirect = f"http://localhost:{listener.server_address[1]}/"
        verifier, state = secrets.token_urlsafe(48), secrets.token_urlsafe(16)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        asked = {
            "access_type": "offline",
            "client_id": made,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
            "nonce": "n",
            "redirect_uri": redirect,
            "response_type": "code",
            "scope": "openid email groups offline_access",
            "state": state,
        }
        back = Person(server).consent(f"{server.url}/oauth2/authorize?{urlencode(asked)}")
        with socket.create_connection(listener.server_address, timeout=10) as sock:
            sock.sendall(f"GET {urlsplit(back).path}?{urlsplit(back).query} HTTP/1.0\r\n\r\n".encode())
            sock.recv(100)
    answered = parse_qs(urlsplit(arrived[0]).query)
    assert answered["state"] == [state]
    sent = {"grant_type": "authorization_code", "code": answered["code"][0], "redirect_uri": redirect}
    first = posted(server, {**sent, "client_id": made, "code_verifier": verifier})
    renewed = posted(
        server, {"grant_type": "refresh_token", "refresh_token": first["refresh_token"], "client_id": made}
    )
    for text in (first["id_token"], renewed["id_token"]):
        key = jwt.PyJWKClient(f"{server.url}/.well-known/jwks.json").get_signing_key_from_jwt(text)
        claims = jwt.decode(text, key, algorithms=["ES256"], audience=made, issuer=server.url)
        assert (claims["groups"], claims["email"]) == (["developers"], "ann@example.com")


def posted(server: Server, form: dict[str, str]) -> dict[str, Any]:
    parts = urlsplit(server.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=30)
    connection.request("POST", "/oauth2/token", urlencode(form), {"content-type": "application/x-www-form-urlencoded"})
    answer = connection.getresponse()
    body = json.loads(answer.read())
    connection.close()
    assert answer.status == 200, body
    return dict(body)
