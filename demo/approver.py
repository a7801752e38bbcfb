"""A person who approves with a passkey: in headless Chromium with its virtual authenticator where Chromium is installed, otherwise
with an authenticator in software that sends the pages' forms.

Both use the same pages, and the server checks both in the same way.
"""

from __future__ import annotations

import hashlib
import http.cookiejar
import json
import os
import secrets
import shutil
import urllib.parse
import urllib.request
from abc import ABC, abstractmethod
from base64 import urlsafe_b64encode
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from fido2.cose import ES256
from fido2.webauthn import Aaguid, AttestationObject, AttestedCredentialData, AuthenticatorData

from chromium import Chromium

CHROMIUM = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), "")
_DEVICES, _REQUEST = "/account/devices", "/console/access-request"


class Approver(ABC):
    """A signed-in person. `base`: the server's URL with a host name, because passkeys belong to one."""

    def __init__(self, base: str) -> None:
        self.base = base

    @abstractmethod
    def sign_in(self, account: str, user: str, password: str) -> None:
        """With a password alone, as somebody who has no device yet."""

    @abstractmethod
    def register(self, name: str) -> None:
        """A passkey of the person."""

    @abstractmethod
    def approve(self, request: str, note: str) -> list[str]:
        """Approves a request and confirms exactly that with the passkey; what the page asked to confirm."""

    @abstractmethod
    def close(self) -> None:
        """Ends the browser."""


class InChromium(Approver):
    """The system's Chromium. Its virtual authenticator verifies its user without asking."""

    def __init__(self, base: str, program: str, folder: Path) -> None:
        super().__init__(base)
        self._page = Chromium(program, folder)
        self._page.send("WebAuthn.enable")
        options = {
            "protocol": "ctap2",
            "transport": "internal",
            "hasResidentKey": True,
            "hasUserVerification": True,
            "isUserVerified": True,
            "automaticPresenceSimulation": True,
        }
        self._page.send("WebAuthn.addVirtualAuthenticator", {"options": options})

    def sign_in(self, account: str, user: str, password: str) -> None:
        self._page.open(f"{self.base}/login?again=age")
        self._page.fill({"#account": account, "#user": user, "#password": password})
        self._page.submit("form[action='/login/password']")
        self._page.wait("!location.pathname.startsWith('/login')")

    def register(self, name: str) -> None:
        self._page.open(self.base + _DEVICES)
        self._page.fill({"#name": name})
        self._page.submit("#passkey")
        self._page.wait("!!document.querySelector('ul.rows strong')")

    def approve(self, request: str, note: str) -> list[str]:
        self._page.open(f"{self.base}{_REQUEST}?id={request}")
        self._page.fill({"#approve-reason": note})
        self._page.submit(f"form[action^='{_REQUEST}/approve']")
        self._page.wait("!!document.querySelector('form[data-options]:not([hidden])')")
        confirmed = self._page.evaluate(
            "[...document.querySelectorAll('dt')].map(e => e.textContent + ': ' + e.nextElementSibling.textContent)"
        )
        self._page.submit("#passkey")
        self._page.wait("new URLSearchParams(location.search).get('done') === 'approved'")
        return [str(each) for each in confirmed]

    def close(self) -> None:
        self._page.close()


class InSoftware(Approver):
    """Pages without a browser, and an authenticator with one key."""

    def __init__(self, base: str) -> None:
        super().__init__(base)
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._credential, self._count = os.urandom(32), 0
        cookies = urllib.request.HTTPCookieProcessor(http.cookiejar.CookieJar())
        self._open = urllib.request.build_opener(cookies).open

    def sign_in(self, account: str, user: str, password: str) -> None:
        page = self._get("/login?again=age")
        given = {"account": account, "user": user, "password": password}
        self._post("/login/password", {**page.forms["/login/password"], **given})

    def register(self, name: str) -> None:
        page = self._get(_DEVICES)
        asked, path = json.loads(page.options), f"{_DEVICES}/add"
        public = ES256.from_cryptography_key(self._key.public_key())  # type: ignore[no-untyped-call]  # fido2 has no type here
        made = AttestedCredentialData.create(Aaguid(bytes(16)), self._credential, public)
        data = AuthenticatorData.create(self._rp_hash, AuthenticatorData.FLAG(0x45), 0, made)
        response = {
            "clientDataJSON": _text(self._client("webauthn.create", asked["challenge"])),
            "attestationObject": _text(AttestationObject.create("none", data, {})),
            "transports": ["internal"],
        }
        self._post(path, {**page.forms[path], "name": name, "response": self._answer(response)})

    def approve(self, request: str, note: str) -> list[str]:
        page, path = self._get(f"{_REQUEST}?id={request}"), f"{_REQUEST}/approve?id={request}"
        page = self._post(path, {**page.forms[path], "reason": note})
        asked, self._count = json.loads(page.options), self._count + 1
        data = AuthenticatorData.create(self._rp_hash, AuthenticatorData.FLAG(0x05), self._count)
        client = self._client("webauthn.get", asked["challenge"])
        signature = self._key.sign(data + hashlib.sha256(client).digest(), ec.ECDSA(hashes.SHA256()))
        response = {"authenticatorData": _text(data), "signature": _text(signature), "clientDataJSON": _text(client)}
        done = self._post(path, {**page.forms[path], "response": self._answer(response)})
        if "done=approved" not in done.url:
            raise RuntimeError(f"the approval was not accepted: {done.url}")
        return page.facts

    def close(self) -> None:
        pass

    @property
    def _rp_hash(self) -> bytes:
        return hashlib.sha256(str(urllib.parse.urlsplit(self.base).hostname).encode()).digest()

    def _client(self, kind: str, challenge: str) -> bytes:
        return json.dumps({"type": kind, "challenge": challenge, "origin": self.base, "crossOrigin": False}).encode()

    def _answer(self, response: dict[str, Any]) -> str:
        known = _text(self._credential)
        return json.dumps({"id": known, "rawId": known, "type": "public-key", "response": response})

    def _get(self, path: str) -> _Page:
        return self._read(urllib.request.Request(self.base + path))

    def _post(self, path: str, fields: dict[str, str]) -> _Page:
        headers = {"Origin": self.base, "Sec-Fetch-Site": "same-origin"}
        return self._read(urllib.request.Request(self.base + path, urllib.parse.urlencode(fields).encode(), headers))

    def _read(self, request: urllib.request.Request) -> _Page:
        with self._open(request, timeout=30) as answer:
            page = _Page(answer.url)
            page.feed(answer.read().decode())
        return page


class _Page(HTMLParser):
    """The forms of a page by their action, the options of its passkey, and its list of facts."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.url, self.options = url, ""
        self.forms: dict[str, dict[str, str]] = {}
        self.facts: list[str] = []
        self._form: dict[str, str] = {}
        self._in = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = {name: value or "" for name, value in attrs}
        self._in = tag
        if tag == "form":
            self._form = self.forms[given.get("action", "")] = {}
            self.options = given.get("data-options", "") or self.options
        elif tag == "input" and "name" in given:
            self._form[given["name"]] = given.get("value", "")
        elif tag == "dt":
            self.facts.append("")

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002  # the base class names it
        self._in = ""

    def handle_data(self, data: str) -> None:
        if self._in in ("dt", "dd") and self.facts:
            self.facts[-1] += f"{data}: " if self._in == "dt" else data


def _text(value: bytes) -> str:
    return urlsafe_b64encode(value).decode().rstrip("=")


def approver(base: str, folder: Path, *, software: bool) -> tuple[Approver, str]:
    """The person, and with what the person approves. `software`: also where Chromium is installed."""
    if software or not CHROMIUM:
        return InSoftware(base), "an authenticator in software" + (
            "" if CHROMIUM else ", because Chromium is not installed"
        )
    return InChromium(base, CHROMIUM, folder), f"the virtual authenticator of headless {Path(CHROMIUM).name}"


def new_password() -> str:
    """A password as password policies want it."""
    return f"Aa1-{secrets.token_urlsafe(18)}"
