"""A server made of a list of answers, and a clock that only waiting moves."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs

from daypass.client.http import Connection
from daypass.client.profiles import Profile
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer

PROFILE = Profile("http://127.0.0.1:8700", "AKIAEXAMPLE000000000", "top-secret-top-secret-top-secret-top-sec")
NOW = 1_800_000_000.0


@dataclass
class Clock:
    """Seconds; sleeping moves it at once."""

    now: float = NOW
    slept: list[float] = field(default_factory=list)

    def __call__(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self.now += seconds


Step = ClientResponse | NoAnswer | Callable[[ClientRequest], ClientResponse]


class Script:
    """A transport that gives one step after the other; the last one for ever. It keeps what was sent."""

    def __init__(self, *steps: Step, takes: float = 0.0, clock: Clock | None = None) -> None:
        self.steps, self.sent = list(steps), list[ClientRequest]()
        self.clock = clock or Clock()
        self.takes = takes
        self.seconds: list[float] = []

    def __call__(self, request: ClientRequest, seconds: float) -> ClientResponse:
        self.sent.append(request)
        self.seconds.append(seconds)
        self.clock.now += min(self.takes, seconds)
        step = self.steps.pop(0) if len(self.steps) > 1 else self.steps[0]
        if isinstance(step, NoAnswer):
            raise step
        return step if isinstance(step, ClientResponse) else step(request)

    def connection(self, profile: Profile = PROFILE, **more: Any) -> Connection:
        return Connection(
            profile,
            clock=more.pop("clock", self.clock),
            monotonic=self.clock,
            sleep=self.clock.sleep,
            jitter=lambda: 1.0,
            transport=self,
            **more,
        )


def xml(body: str, status: int = 200, **headers: str) -> ClientResponse:
    return ClientResponse(status, {"content-type": "text/xml", **headers}, body.encode())


def result(action: str, body: str) -> ClientResponse:
    return xml(f'<{action}Response xmlns="urn:x"><{action}Result>{body}</{action}Result></{action}Response>')


def error(code: str, message: str, status: int, **headers: str) -> ClientResponse:
    body = f"<ErrorResponse><Error><Code>{code}</Code><Message>{message}</Message></Error><RequestId>r-1</RequestId>"
    return xml(body + "</ErrorResponse>", status, **headers)


def as_json(value: Any, status: int = 200) -> ClientResponse:
    return ClientResponse(status, {"content-type": "application/json"}, json.dumps(value).encode())


def issued(number: int = 1, expiration: str = "2027-01-15T09:00:00Z") -> ClientResponse:
    """An AssumeRole answer; NOW is 2027-01-15T08:00:00Z."""
    body = (
        f"<Credentials><AccessKeyId>ASIA{number:016d}</AccessKeyId><SecretAccessKey>issued-secret-{number}"
        f"</SecretAccessKey><SessionToken>token-{number}</SessionToken><Expiration>{expiration}</Expiration>"
        "</Credentials>"
    )
    return result("AssumeRole", body)


def parameters(request: ClientRequest) -> dict[str, str]:
    return {name: values[0] for name, values in parse_qs(request.body.decode(), keep_blank_values=True).items()}


def actions(requests: Iterable[ClientRequest]) -> list[str]:
    return [parameters(request)["Action"] for request in requests]
