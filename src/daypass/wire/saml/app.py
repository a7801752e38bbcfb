"""Logins by browser, at `/saml/`: our metadata, the address for responses, the choice of a role, a command line's code.

Pages take no cookie and set none, run no script and are never cached. Every refusal is on the record before it is shown.
Nothing is taken from the Host header: addresses are the configured ones (attack A88).
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, TypeAlias
from urllib.parse import parse_qsl, urlsplit

from daypass.domain.claims import RequestFacts, nobody
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations import saml_sign_in
from daypass.operations.assume_role_with_saml import RequestedProvider, provider_of, requested_provider, saml_of
from daypass.operations.outcome import refused
from daypass.operations.saml_sign_in import Granted
from daypass.operations.saml_ticket import CommandLine
from daypass.ports import Call, Env
from daypass.wire.http import Header, Response
from daypass.wire.saml import pages
from daypass.wire.saml.errors import wire_error

SIGN_IN: Final = "daypass:SignInWithSAML"
ASSUME: Final = "sts:AssumeRoleWithSAML"
_MAX_FIELDS: Final = 16
_PROVIDER_PATH = re.compile(r"/([0-9]{12})/([A-Za-z0-9._-]{1,128})")
_CHALLENGE = re.compile(r"[A-Za-z0-9_-]{43}")
_PORT = re.compile(r"[1-9][0-9]{3,4}")
_UNAVAILABLE = DaypassError(ErrorKind.UNAVAILABLE, "The request could not be recorded. Try again later.")
_NO_STORE: Final[tuple[Header, ...]] = (
    (b"cache-control", b"no-store"),
    (b"pragma", b"no-cache"),
    (b"x-content-type-options", b"nosniff"),
    (b"x-frame-options", b"DENY"),
    (b"referrer-policy", b"same-origin"),
)

AsgiMessage: TypeAlias = dict[str, Any]
Handler: TypeAlias = "Callable[[_Visit], Awaitable[Response]]"


@dataclass(slots=True)
class _Visit:
    """One request to these pages."""

    env: Env
    method: str
    rest: str  # of the path, behind the page's own
    query: bytes
    body: bytes
    headers: Mapping[bytes, bytes]
    facts: RequestFacts
    wants_json: bool = False
    names: list[str] = field(default_factory=list)

    def form(self) -> dict[str, str]:
        return self._pairs(self.body)

    def parameters(self) -> dict[str, str]:
        return self._pairs(self.query)

    def call(self) -> Call:
        return Call(nobody(self.env.directory.seen()), self.facts, self.env.clock.now())

    def provider(self) -> RequestedProvider | None:
        """The provider whose own address this is. Raises DaypassError(NOT_FOUND) when it is no address at all."""
        if not self.rest:
            return None
        found = _PROVIDER_PATH.fullmatch(self.rest)
        if found is None:
            raise DaypassError(ErrorKind.NOT_FOUND, "There is no such page.")
        return requested_provider(f"arn:aws:iam::{found[1]}:saml-provider/{found[2]}")

    def _pairs(self, data: bytes) -> dict[str, str]:
        try:
            pairs = parse_qsl(data.decode("ascii"), keep_blank_values=True, max_num_fields=_MAX_FIELDS, errors="strict")
        except ValueError:
            raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The form is not well-formed.") from None
        self.names = [name[:64] for name, _ in pairs]
        if len(dict(pairs)) != len(pairs):
            raise DaypassError(ErrorKind.MALFORMED_REQUEST, "A field of the form is there twice.")
        return dict(pairs)


class SamlPages:
    """The ASGI application, mounted at `/saml/`.

    Args:
        public_url: the installation's address for browsers; "" for none: then there are no pages.
        region: what credentials are shown with.
    """

    def __init__(self, env: Env, public_url: str, region: str = "us-east-1") -> None:
        self._env = env
        self._base = public_url.rstrip("/")
        self._region = region
        self._pages: Mapping[str, tuple[str, Handler, str]] = {  # first segment → method, handler, operation
            "metadata": ("GET", self._metadata, SIGN_IN),
            "style.css": ("GET", self._style, SIGN_IN),
            "login": ("GET", self._login, SIGN_IN),
            "acs": ("POST", self._acs, SIGN_IN),
            "choose": ("POST", self._choose, ASSUME),
            "token": ("POST", self._token, ASSUME),
        }

    async def __call__(self, scope: AsgiMessage, receive: Any, send: Any) -> None:
        """ASGI 3. Its body has been read, and is within the limits."""
        name, _, rest = str(scope["path"]).removeprefix("/saml/").partition("/")
        method, handler, operation = self._pages.get(name, ("", _no_page, ""))
        visit = _Visit(
            self._env,
            method=scope["method"],
            rest=f"/{rest}" if rest else "",
            query=scope.get("query_string", b""),
            body=(await receive()).get("body", b""),
            headers=dict(scope["headers"]),
            facts=_facts(scope, self._env, operation),
            wants_json=name == "token",
        )
        response = await self._answer(visit, method, handler)
        headers = [(b"content-type", response.content_type), (b"content-length", b"%d" % len(response.body))]
        await send({"type": "http.response.start", "status": response.status, "headers": [*headers, *response.headers]})
        await send({"type": "http.response.body", "body": b"" if visit.method == "HEAD" else response.body})

    async def _answer(self, visit: _Visit, method: str, handler: Handler) -> Response:
        try:
            if not self._base:
                raise DaypassError(
                    ErrorKind.NOT_FOUND, "There are no logins by browser here: server.public_url is not set."
                )
            if method and visit.method not in (method, "HEAD" if method == "GET" else method):
                refusal = DaypassError(ErrorKind.MALFORMED_REQUEST, f"This page is for {method} alone.")
                response = await self._refuse(visit, refusal)
                return response._replace(status=405, headers=(*response.headers, (b"allow", method.encode("ascii"))))
            return await handler(visit)
        except DaypassError as error:
            return await self._refuse(visit, error)

    async def _refuse(self, visit: _Visit, error: DaypassError) -> Response:
        encoded = ""
        try:
            encoded = await refused(self._env, visit.facts, None, error, {"names": visit.names})
        except DaypassError:
            error = _UNAVAILABLE
        code, status = wire_error(error.kind)
        request_id = visit.facts.request_id
        if visit.wants_json:
            told = {"code": code, "message": error.public, "request_id": request_id}
            body = {"error": {**told, **({"encoded_authorization_message": encoded} if encoded else {})}}
            return Response(status, json.dumps(body).encode("ascii"), b"application/json", _NO_STORE)
        return _html(pages.error_page(code, error.public, request_id, encoded), status=status)

    # --- the pages

    async def _metadata(self, visit: _Visit) -> Response:
        """Our metadata; behind it a provider's account and name: with that provider's address and keys.

        For a provider that does not exist it is as for one without keys.
        """
        wanted = visit.provider()
        provider = await provider_of(self._env, wanted) if wanted else None
        body = await saml_of(self._env).metadata(provider)
        return Response(200, body, b"application/samlmetadata+xml", (_NO_STORE[2],))

    async def _style(self, visit: _Visit) -> Response:
        if visit.rest:
            return await _no_page(visit)
        return Response(200, pages.STYLE.encode(), b"text/css; charset=utf-8", (_NO_STORE[2],))

    async def _login(self, visit: _Visit) -> Response:
        """A command line's browser, on its way to the identity provider."""
        asked = visit.parameters()
        port, challenge = asked.get("port", ""), asked.get("challenge", "")
        if not _PORT.fullmatch(port) or not 1024 <= int(port) <= 65_535 or not _CHALLENGE.fullmatch(challenge):
            raise DaypassError(ErrorKind.VALIDATION, "A login is begun by: daypass login --saml")
        line = CommandLine(int(port), base64.urlsafe_b64decode(f"{challenge}="))
        where = await saml_sign_in.begin(self._env, visit.call(), asked.get("provider", ""), line)
        return Response(303, b"", b"text/plain", (*_NO_STORE, (b"location", where.encode("ascii", "replace"))))

    async def _acs(self, visit: _Visit) -> Response:
        form = visit.form()
        choice = await saml_sign_in.accept(
            self._env, visit.call(), form.get("SAMLResponse", ""), form.get("RelayState", ""), visit.provider()
        )
        line = choice.command_line
        return _html(pages.choice_page(choice), allowed=f" http://127.0.0.1:{line.port}" if line else "")

    async def _choose(self, visit: _Visit) -> Response:
        self._check_origin(visit)
        form = visit.form()
        granted = await saml_sign_in.choose(self._env, visit.call(), form.get("ticket", ""), form.get("choice", ""))
        if granted.redirect:
            location = (b"location", granted.redirect.encode("ascii"))
            return Response(303, b"", b"text/plain", (*_NO_STORE, location))
        return _html(pages.credentials_page(granted, self._base, self._region))

    async def _token(self, visit: _Visit) -> Response:
        form = visit.form()
        granted = await saml_sign_in.redeem(
            self._env, visit.call(), form.get("code", ""), form.get("code_verifier", "")
        )
        return Response(200, json.dumps(_told(granted)).encode("ascii"), b"application/json", _NO_STORE)

    def _check_origin(self, visit: _Visit) -> None:
        """Refuses a choice that another site's page has made: browsers say where a form stands."""
        origin = visit.headers.get(b"origin", b"").decode("latin-1")
        ours = urlsplit(self._base)
        if origin and origin != f"{ours.scheme}://{ours.netloc}":
            raise DaypassError(ErrorKind.ACCESS_DENIED, "This choice was not made on our own page.")


async def _no_page(_: _Visit) -> Response:
    raise DaypassError(ErrorKind.NOT_FOUND, "There is no such page.")


def _html(body: bytes, *, status: int = 200, allowed: str = "") -> Response:
    """`allowed`: where a form's answer may lead besides to us."""
    policy = (
        f"default-src 'none'; style-src 'self'; form-action 'self'{allowed}; base-uri 'none'; frame-ancestors 'none'"
    )
    headers = (*_NO_STORE, (b"content-security-policy", policy.encode("ascii")))
    return Response(status, body, b"text/html; charset=utf-8", headers)


def _told(granted: Granted) -> dict[str, Any]:
    """As `credential_process` has it, and the role."""
    assert granted.issued is not None
    given = granted.issued.credentials()
    return {
        "Version": 1,
        "RoleArn": granted.role,
        "AccessKeyId": given["AccessKeyId"],
        "SecretAccessKey": given["SecretAccessKey"],
        "SessionToken": given["SessionToken"],
        "Expiration": pages.moment(given["Expiration"]),
    }


def _facts(scope: AsgiMessage, env: Env, operation: str) -> RequestFacts:
    headers = dict(scope["headers"])
    return RequestFacts(
        request_id=scope.get("daypass.request_id") or env.ids.request(),
        received_at=env.clock.now(),
        operation=operation,
        source_ip=scope.get("daypass.source_ip", ""),
        user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
        secure_transport=bool(scope.get("daypass.secure", False)),
    )
