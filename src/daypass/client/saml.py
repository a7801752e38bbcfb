"""Logs in with SAML from a command line: with an existing assertion, or with a browser (`loopback`)."""

from __future__ import annotations

import base64
import re
import secrets
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from daypass.client.credentials import Credentials, read_credentials, seconds_of_time
from daypass.client.errors import ClientError
from daypass.client.http import content_of, post_form, result_of
from daypass.client.loopback import LoopbackLogin, check_issuer
from daypass.client.profiles import LocalStateError
from daypass.client.transport import LoginServer

_ROLE = "https://aws.amazon.com/SAML/Attributes/Role"
_ASSERTION = "{urn:oasis:names:tc:SAML:2.0:assertion}"
_BETWEEN_ARNS = re.compile(r"\s*,\s*(?=arn:)")  # a role's name may hold commas
_MAX_ASSERTION = 200_000  # characters


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
    server: LoginServer, assertion: str, role: str, provider: str, duration: int = 0, now: float = 0.0
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
class BrowserLogin(LoopbackLogin):
    """One login by browser: open `url`, then `wait`."""

    provider: str

    @property
    def url(self) -> str:
        query = urlencode({"provider": self.provider, "port": self.port, "challenge": self.challenge})
        return f"{self.server.endpoint}/saml/login?{query}"

    def wait(self, seconds: float, monotonic: Callable[[], float] = time.monotonic) -> tuple[str, Credentials]:
        """The chosen role's ARN and its credentials. Raises ClientError, LocalStateError when the login was not completed in time."""
        given, server = self._wait_for_answer(seconds, monotonic), self.server
        check_issuer(server, given["iss"])
        fields = {"code": given["code"], "code_verifier": self.verifier}
        answer = post_form(
            server.endpoint, "/saml/token", fields, ca_bundle=server.ca_bundle, transport=server.transport
        )
        return _credentials(content_of(answer))

    def _is_end(self, path: str, answer: Mapping[str, str]) -> bool:
        right = secrets.compare_digest(answer.get("state", "").encode(), self.challenge.encode())
        return right and path == "/" and {"code", "iss"} <= answer.keys()


def _credentials(answer: Any) -> tuple[str, Credentials]:
    names = ("RoleArn", "AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration")
    texts = [answer.get(name, "") for name in names] if isinstance(answer, dict) else []
    if not texts or not all(isinstance(text, str) and text for text in texts) or not seconds_of_time(texts[4]):
        raise ClientError("", "the server's answer holds no credentials")
    return texts[0], Credentials(texts[1], texts[2], texts[3], seconds_of_time(texts[4]), time.time())
