"""Stand-ins for what stands behind the wire: operations, proof and record, all in memory."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

from tests.environment import environment

from daypass import sigv4
from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event
from daypass.domain.session import FeedPosition
from daypass.ports import Call, Env
from daypass.wire.app import Application, HttpLimits
from daypass.wire.aws import models
from daypass.wire.aws.dispatch import METHODS, AwsEndpoint, services_from
from daypass.wire.front import Front
from daypass.wire.http import Request, Response
from daypass.wire.routing import POST, Mount, Route, Routes

NOW = 1_795_600_800_000  # 2026-11-25T10:00:00Z
KEY = sigv4.SigningKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "sts")
HOST = {"host": "127.0.0.1:8700", "content-type": "application/x-www-form-urlencoded"}
REQUEST_ID = "0d4a3a6c-2c5d-4d6e-8f7a-6f1c2b3a4d5e"
IDENTITY = {"Account": "123456789012", "Arn": "arn:aws:iam::123456789012:user/ada", "UserId": "AIDAIOSFODNN7EXAMPLE1"}
CALLER = Caller(
    PrincipalKind.USER,
    IDENTITY["Account"],
    IDENTITY["Arn"],
    IDENTITY["Arn"],
    IDENTITY["UserId"],
    IDENTITY["UserId"],
    "ada",
    KEY.access_key_id,
    FeedPosition("i", 1),
    (),
)


class Refusal(NamedTuple):
    facts: RequestFacts
    caller: Caller | None
    error: DaypassError
    detail: Mapping[str, Any]


class Answer(NamedTuple):
    status: int
    headers: dict[bytes, bytes]
    body: bytes

    @property
    def code(self) -> str:
        """The error code of an AWS answer; "" when it is not an error."""
        found = ET.fromstring(self.body).find("{*}Error/{*}Code")
        return found.text or "" if found is not None else ""

    @property
    def message(self) -> str:
        found = ET.fromstring(self.body).find("{*}Error/{*}Message")
        return found.text or "" if found is not None else ""


class _Clock:
    def now(self) -> int:
        return NOW

    def wall(self) -> int:
        return NOW


class _Ids:
    def request(self) -> str:
        return REQUEST_ID


class _Directory:
    def seen(self) -> FeedPosition:
        return FeedPosition("i", 1)


_HEALTH = Response(200, b"ok\n", b"text/plain")


@dataclass
class World:
    """A whole wire with fakes behind it. `calls` and `refusals` are what came through."""

    limits: HttpLimits = field(default_factory=HttpLimits)
    trusted: tuple[str, ...] = ()
    calls: list[tuple[str, Call, Mapping[str, Any]]] = field(default_factory=list)
    refusals: list[Refusal] = field(default_factory=list)
    observed: list[tuple[str, str]] = field(default_factory=list)
    logged: list[str] = field(default_factory=list)
    raises: Exception | None = None  # what every operation raises
    record_raises: Exception | None = None
    encoded: str = ""
    result: Mapping[str, Any] = field(default_factory=lambda: IDENTITY)
    mounts: dict[str, Any] = field(default_factory=dict)
    home: str = ""
    known: bool = True  # the credentials that a request names
    asked: list[sigv4.UnverifiedSignature] = field(default_factory=list)  # whether they are
    unrecorded: list[str] = field(default_factory=list)
    overloads: list[Event] = field(default_factory=list)
    health: Response = _HEALTH

    def __post_init__(self) -> None:
        tables = {
            "sts": {n: self._handler(n) for n in ("AssumeRole", "GetCallerIdentity", "AssumeRoleWithWebIdentity")},
            "iam": {n: self._handler(n) for n in ("CreateUser", "CreateRole", "DeleteUser", "CreateLoginProfile")},
        }
        unused: Any = None  # the wire uses the clock, ids, `seen` and the counter of refusals
        env = environment(_Clock(), _Ids(), _Directory(), unused, unused, refusals=self)  # type: ignore[arg-type]
        front = Front(
            env,
            authenticate=self._authenticate,
            record=self._refused,
            credentials=self._names_credentials,
            unrecorded=self.unrecorded.append,
        )
        endpoint = AwsEndpoint(front, services_from(models.load, tables), self.home)
        rows = (
            Route("/", endpoint, "", METHODS, endpoint.errors),
            Route("/healthz", self._health, ""),
            Route("/boom", self._boom, "", POST),
            Route("/refused", self._refuse, "", operation="daypass:Refused"),
            Route("/below/", self._health, ""),
            *(Mount(path, app, "") for path, app in self.mounts.items()),
        )
        self.app = Application(
            front,
            Routes(rows),
            log=lambda event, **_: self.logged.append(event),
            observe=lambda operation, code, _: self.observed.append((operation, code)),
            limits=self.limits,
            trusted_proxies=self.trusted,
        )

    def _handler(self, name: str) -> Any:
        async def handle(env: Env, call: Call, params: Mapping[str, Any]) -> Mapping[str, Any]:
            self.calls.append((name, call, params))
            if self.raises is not None:
                raise self.raises
            return self.result

        return handle

    async def _authenticate(self, env: Env, signature: sigv4.UnverifiedSignature, services: Collection[str]) -> Caller:
        try:
            sigv4.verify(signature, KEY.secret, NOW, skew_ms=300_000, services=services)
        except sigv4.SigV4Error as error:
            raise DaypassError(ErrorKind(error.kind), error.message) from None
        return CALLER

    async def _refused(
        self, env: Env, facts: RequestFacts, caller: Caller | None, error: DaypassError, detail: Mapping[str, Any]
    ) -> str:
        if self.record_raises is not None:
            raise self.record_raises
        self.refusals.append(Refusal(facts, caller, error, detail))
        return self.encoded

    async def _names_credentials(self, env: Env, signature: sigv4.UnverifiedSignature) -> bool:
        self.asked.append(signature)
        return self.known

    def count(self, event: Event) -> None:
        self.overloads.append(event)

    async def _refuse(self, request: Request) -> Response:
        raise DaypassError(ErrorKind.NOT_FOUND, "Nothing is here.", private={"reason": "canary"})

    async def _health(self, request: Request) -> Response:
        return self.health

    async def _boom(self, request: Request) -> Response:
        raise RuntimeError("secret-canary")

    # --- Sending ---------------------------------------------------------------------------------------------------

    async def send(
        self,
        method: str = "POST",
        path: bytes = b"/",
        query: bytes = b"",
        headers: list[tuple[bytes, bytes]] | None = None,
        body: bytes = b"",
        *,
        chunks: list[bytes] | None = None,
        client: tuple[str, int] | None = ("10.1.2.3", 4000),
        scheme: str = "http",
        after: dict[str, Any] | None = None,
        scope: dict[str, Any] | None = None,
        receive_raises: Exception | None = None,
    ) -> Answer:
        """One request through the ASGI application. `after`: what `receive` gives once the body is through."""
        messages = [{"type": "http.request", "body": c, "more_body": True} for c in (chunks or [])]
        if after is None:
            messages.append({"type": "http.request", "body": b"" if chunks else body, "more_body": False})
        sent: list[dict[str, Any]] = []

        async def receive() -> dict[str, Any]:
            if receive_raises is not None:
                raise receive_raises
            if messages:
                return messages.pop(0)
            if after is None or after["type"] == "wait":
                await asyncio.sleep(3600)
            assert after is not None
            return after

        async def send(message: dict[str, Any]) -> None:
            sent.append(message)

        scope = {} if scope is None else scope
        scope |= {
            "type": "http",
            "method": method,
            "path": path.decode("utf-8", "replace"),
            "raw_path": path,
            "query_string": query,
            "headers": headers or [],
            "scheme": scheme,
            "client": client,
        }
        await self.app(scope, receive, send)
        if not sent:
            return Answer(0, {}, b"")
        assert [m["type"] for m in sent] == ["http.response.start", "http.response.body"]
        return Answer(sent[0]["status"], dict(sent[0]["headers"]), sent[1]["body"])

    async def call(self, key: sigv4.SigningKey = KEY, /, *, now: int = NOW, **params: str) -> Answer:
        """A signed POST with these parameters; `_` in a name stands for a dot."""
        body = form(**params)
        return await self.send(headers=signed(body, key, now=now), body=body)


def form(**params: str) -> bytes:
    return urlencode({name.replace("_", "."): value for name, value in params.items()}).encode()


def signed(
    body: bytes, key: sigv4.SigningKey = KEY, *, method: str = "POST", query: str = "", now: int = NOW, **more: str
) -> list[tuple[bytes, bytes]]:
    sent = sigv4.sign(key, method, "/", query, {**HOST, **more}, body, now)
    return [(name.lower().encode("latin-1"), value.encode("utf-8")) for name, value in sent.items()]
