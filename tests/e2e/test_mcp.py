"""MCP authorization with the stock `mcp` package: its client signs a person in, its server accepts the token offline.

The package has an environment of its own: its dependencies are not Daypass's. The client is known by the URL of its metadata
document. `DAYPASS_MCP_PYTHON` names an interpreter that has the package already.
"""

from __future__ import annotations

import json
import os
import ssl
import subprocess
import sys
import threading
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.cookiejar import CookieJar
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.browser import parsed_forms
from tests.e2e.conftest import OPERATOR, Server, running
from tests.e2e.pki import Pki
from tests.processes import free_port, until_listening

ROOT = Path(__file__).parents[2]
PASSWORD = "Correct-horse-1"
pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def interpreter(tmp_path_factory: pytest.TempPathFactory) -> str:
    """A Python with the packages of requirements/mcp.txt."""
    if given := os.environ.get("DAYPASS_MCP_PYTHON"):
        return given
    folder = tmp_path_factory.mktemp("mcp") / "venv"
    subprocess.run([sys.executable, "-m", "venv", folder], check=True, timeout=300)
    install = ["-m", "pip", "install", "-q", "--require-hashes", "--no-deps", "-r", ROOT / "requirements/mcp.txt"]
    subprocess.run([folder / "bin/python", *install], check=True, timeout=600)
    return str(folder / "bin/python")


@contextmanager
def published(document: dict[str, Any], pki: Pki) -> Iterator[str]:
    """A metadata document at an https URL on loopback, with its own URL as `client_id`."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            body = json.dumps({**document, "client_id": url}).encode()
            self.send_response(200)
            self.send_header("content-type", "application/json")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            pass

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        server.socket = context.wrap_socket(server.socket, server_side=True)
        url = f"https://127.0.0.1:{server.server_port}/oauth/client.json"
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield url
        finally:
            server.shutdown()
            thread.join()


@contextmanager
def mcp_server(interpreter: str, issuer: str) -> Iterator[str]:
    """The MCP server; its URL."""
    port = free_port()
    command = [interpreter, str(ROOT / "tests/mcp/server.py"), str(port), issuer]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as process:
        try:
            until_listening(process, port)
            yield f"http://127.0.0.1:{port}/mcp"
        finally:
            process.terminate()


class _Stay(urllib.request.HTTPRedirectHandler):
    """Follows redirects of one origin."""

    def __init__(self, origin: str) -> None:
        self.origin, self.left_for = origin, ""

    def redirect_request(self, req: Any, fp: Any, code: int, msg: str, headers: Any, newurl: str) -> Any:
        if newurl.startswith(self.origin):
            return super().redirect_request(req, fp, code, msg, headers, newurl)
        self.left_for = newurl
        return None


class Person:
    """A person with a browser without a screen: it fills in the forms of our pages."""

    def __init__(self, origin: str) -> None:
        self.origin, self._stay = origin, _Stay(origin)
        self._browser = urllib.request.build_opener(urllib.request.HTTPCookieProcessor(CookieJar()), self._stay)

    def allows(self, address: str) -> str:
        """Signs in and consents; the address to which the application gets the person back."""
        page = self._open(address)
        page = self._submit(page, "/login/password", account=OPERATOR, user="ann", password=PASSWORD)
        self._submit(page, "/oauth2/authorize/consent", decision="allow")
        return self._stay.left_for

    def _submit(self, page: str, action: str, **fields: str) -> str:
        form = parsed_forms(page)[action]
        return self._open(self.origin + action, urllib.parse.urlencode({**form.fields, **fields}).encode())

    def _open(self, address: str, body: bytes | None = None) -> str:
        request = urllib.request.Request(address, body, {"origin": self.origin} if body else {})
        try:
            with self._browser.open(request, timeout=60) as answer:
                return str(answer.read().decode())
        except urllib.error.HTTPError as error:
            with error:
                if not self._stay.left_for:
                    pytest.fail(error.read().decode())
            return ""


def prepared(server: Server, document: str, resource: str) -> None:
    iam = server.client("iam")
    iam.create_user(UserName="ann")
    iam.create_login_profile(UserName="ann", Password=PASSWORD)
    allowed = {"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"}
    policy = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_user_policy(UserName="ann", PolicyName="mcp", PolicyDocument=policy)
    settings = {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "metadata_documents": [document],
        "audiences": [resource],
        "scopes": ["tools"],
    }
    server.api("POST", "/clients", body={"name": "mcp-clients", "settings": settings})
    path = f"/resource-servers/{urllib.parse.quote(resource, safe='')}"
    server.api("PUT", path, body={"name": "orders", "settings": {"scopes": {"tools": {}}}})


def test_stock_mcp_client_signs_a_person_in_and_calls_a_tool_of_a_stock_server(
    interpreter: str, tmp_path: Path
) -> None:
    pki, back = Pki(tmp_path), "http://127.0.0.1:9/callback"
    document = {
        "client_name": "Agent",
        "redirect_uris": [back],
        "grant_types": ["authorization_code", "refresh_token"],
        "token_endpoint_auth_method": "none",
    }
    environment = {
        "DAYPASS_SERVER__PUBLIC_URL": "{url}",
        "DAYPASS_FEDERATION__ALLOW_PRIVATE_NETWORKS": "true",
        "SSL_CERT_FILE": str(pki.ca),
    }
    with (
        published(document, pki) as client_id,
        running(tmp_path / "data", environment=environment) as server,
        mcp_server(interpreter, server.url) as resource,
    ):
        prepared(server, client_id, resource)
        command = [interpreter, str(ROOT / "tests/mcp/client.py"), resource, client_id, back]
        pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        with subprocess.Popen(command, text=True, **pipes) as client:  # type: ignore[call-overload]
            line = client.stdout.readline()
            assert line.startswith("open "), client.communicate(timeout=60)[1]
            came_back = Person(server.url).allows(line.removeprefix("open ").strip())
            output, errors = client.communicate(f"{came_back}\n", timeout=60)
    assert client.returncode == 0, errors
    subject, _, by = output.strip().removeprefix("result ").partition(" by ")
    assert (subject[:4], by) == ("AIDA", client_id), output
