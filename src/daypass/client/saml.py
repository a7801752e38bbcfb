"""Logs in with SAML from a command line: with an existing assertion, or with a browser that returns to the loopback
address.

The browser brings a code, never credentials; the code is redeemed only with the verifier, which stays in this
process (RFC 8252, RFC 7636). The listener accepts only loopback connections and serves only its own
login.
"""

from __future__ import annotations

import base64
import hashlib
import re
import secrets
import time
from calendar import timegm
from collections.abc import Callable
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any, Self
from urllib.parse import parse_qs, urlencode, urlsplit
from xml.etree import ElementTree as ET

from daypass.client.credentials import Credentials, read_credentials
from daypass.client.errors import ClientError
from daypass.client.http import content_of, post_form, result_of
from daypass.client.profiles import LocalStateError
from daypass.client.transport import Transport, exchange

_ROLE = "https://aws.amazon.com/SAML/Attributes/Role"
_ASSERTION = "{urn:oasis:names:tc:SAML:2.0:assertion}"
_BETWEEN_ARNS = re.compile(r"\s*,\s*(?=arn:)")  # a role's name may hold commas
_MAX_ASSERTION = 200_000  # characters
_MAX_TARGET = 65_536
_STYLE = "font:16px/1.5 system-ui,sans-serif;margin:3rem auto;max-width:40rem;padding:0 1rem"
_DONE = (
    "<!doctype html><html lang='en'><meta charset='utf-8'><meta name='viewport' content='width=device-width'>"
    f"<meta name='color-scheme' content='light dark'><title>Daypass</title><body style='{_STYLE}'>"
    "<h1>Done</h1><p>The command line goes on. You can close this window.</p>"
)


@dataclass(frozen=True, slots=True)
class Server:
    """Where to log in, and how it is reached."""

    endpoint: str
    ca_bundle: str = ""
    transport: Transport = exchange


def read_assertion(text: str) -> str:
    """A SAML response in base64, from base64 or from XML, as people save either. Raises LocalStateError."""
    text = text.strip()
    if len(text) > _MAX_ASSERTION or not text.isascii():
        raise LocalStateError("This is not a SAML response: it is too long, or not in base64.")
    return base64.b64encode(text.encode()).decode("ascii") if text.startswith("<") else "".join(text.split())


def roles_offered(assertion: str) -> list[tuple[str, str]]:
    """(role ARN, provider ARN) that a response of one's own offers; [] when it is encrypted or not readable."""
    try:
        text = base64.b64decode(assertion, validate=True).decode("utf-8")
        if "<!DOCTYPE" in text:
            return []
        root = ET.fromstring(text)  # noqa: S314  # no DOCTYPE, so no entities; text, so no other encoding
    except (ValueError, ET.ParseError):
        return []
    pairs = []
    for attribute in root.iter(f"{_ASSERTION}Attribute"):
        if attribute.get("Name") == _ROLE:
            for value in attribute.iter(f"{_ASSERTION}AttributeValue"):
                first, *others = _BETWEEN_ARNS.split((value.text or "").strip())
                second = others[0] if len(others) == 1 else ""
                pairs.append((second, first) if ":saml-provider/" in first else (first, second))
    return [(role, provider) for role, provider in pairs if ":role/" in role and ":saml-provider/" in provider]


def assume_role_with_saml(
    server: Server, assertion: str, role: str, provider: str, duration: int = 0, now: float = 0.0
) -> Credentials:
    """One AssumeRoleWithSAML call. `duration` in seconds, 0 for what the assertion says. Raises ClientError."""
    fields = {
        "Action": "AssumeRoleWithSAML",
        "Version": "2011-06-15",
        "RoleArn": role,
        "PrincipalArn": provider,
        "SAMLAssertion": assertion,
        "DurationSeconds": duration or None,
    }
    answer = post_form(server.endpoint, "/", fields, ca_bundle=server.ca_bundle, transport=server.transport)
    return read_credentials(result_of(answer, "AssumeRoleWithSAML"), now or time.time())


# --- By browser ------------------------------------------------------------------------------------------------------


@dataclass(slots=True)
class BrowserLogin:
    """One login by browser: open `url`, then `wait`. Use it as a context manager; it holds a port until its end."""

    server: Server
    provider: str
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(32), repr=False)
    _listener: HTTPServer = field(init=False, repr=False)
    _code: list[str] = field(default_factory=list, init=False, repr=False)

    def __post_init__(self) -> None:
        self._listener = HTTPServer(("127.0.0.1", 0), handler_of(self._accepts))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._listener.server_close()

    @property
    def port(self) -> int:
        return int(self._listener.server_address[1])

    @property
    def challenge(self) -> str:
        digest = hashlib.sha256(self.verifier.encode("ascii")).digest()
        return base64.urlsafe_b64encode(digest).decode("ascii").rstrip("=")

    @property
    def url(self) -> str:
        query = urlencode({"provider": self.provider, "port": self.port, "challenge": self.challenge})
        return f"{self.server.endpoint}/saml/login?{query}"

    def wait(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> tuple[str, Credentials]:
        """The chosen role's ARN and its credentials. Raises ClientError, LocalStateError when the login was not completed in time."""
        ends = monotonic() + seconds
        while not self._code:
            left = ends - monotonic()
            if left <= 0:
                raise LocalStateError("The login was not completed in time. Try again.")
            self._listener.timeout = left
            self._listener.handle_request()
        fields = {"code": self._code[0], "code_verifier": self.verifier}
        server = self.server
        answer = post_form(
            server.endpoint, "/saml/token", fields, ca_bundle=server.ca_bundle, transport=server.transport
        )
        return _credentials(content_of(answer))

    def _accepts(self, host: str, target: str) -> bool:
        """Whether this request of a browser is the end of this login; then its code is kept."""
        try:
            parts = urlsplit(target[:_MAX_TARGET])
            given = parse_qs(parts.query, max_num_fields=4)
        except ValueError:
            return False
        state = given.get("state", [""])
        right = len(state) == 1 and secrets.compare_digest(state[0].encode(), self.challenge.encode())
        if not right or parts.path != "/" or host != f"127.0.0.1:{self.port}" or len(given.get("code", ())) != 1:
            return False
        self._code.append(given["code"][0])
        return True


def handler_of(come: Callable[[str, str], bool]) -> type[BaseHTTPRequestHandler]:
    """The handler of a listener on a loopback address. `come`: takes host and target; whether they are the end of its login."""

    class Handler(BaseHTTPRequestHandler):
        timeout = 10  # seconds for one request, so that a silent connection cannot block the login

        def do_GET(self) -> None:  # the library calls it so
            done = come(self.headers.get("host", ""), self.path)
            body = _DONE.encode() if done else b"This is not the end of the login that was begun here.\n"
            self.send_response(200 if done else 400)
            self.send_header("content-type", "text/html; charset=utf-8" if done else "text/plain; charset=utf-8")
            self.send_header("content-length", str(len(body)))
            self.send_header("cache-control", "no-store")
            self.send_header("connection", "close")
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            """Nothing: the request line holds the code."""

    return Handler


def _credentials(answer: Any) -> tuple[str, Credentials]:
    try:
        texts = [answer[name] for name in ("RoleArn", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")]
        if not all(isinstance(text, str) and text for text in texts):
            raise TypeError
        expiration = timegm(time.strptime(texts[4][:19], "%Y-%m-%dT%H:%M:%S"))
    except (KeyError, TypeError, ValueError):
        raise ClientError("", "the server's answer holds no credentials") from None
    return texts[0], Credentials(texts[1], texts[2], texts[3], float(expiration), time.time())
