"""Microseconds of each piece of the AWS wire, on this machine, one after another. Targets stand beside the figures.

Run it with `python bench/wire.py`; it takes a few seconds and opens no socket.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from daypass import sigv4
from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.session import FeedPosition
from daypass.scheduling.buckets import RequestRates
from daypass.wire.app import Application
from daypass.wire.aws import models
from daypass.wire.aws.dispatch import METHODS, AwsEndpoint, services_from
from daypass.wire.aws.query import parse_form
from daypass.wire.front import Front
from daypass.wire.routing import Route, Routes

NOW = 1_795_600_800_000
KEY = sigv4.SigningKey("AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "us-east-1", "sts")
POLICY = '{"Version":"2012-10-17","Statement":{"Effect":"Allow","Action":"orders:Read","Resource":"*"}}'
PLAIN = (
    b"Action=AssumeRole&Version=2011-06-15&RoleArn=arn%3Aaws%3Aiam%3A%3A123456789012%3Arole%2Fdemo"
    b"&RoleSessionName=session-1&DurationSeconds=3600"
)
RICH = PLAIN + b"&Tags.member.1.Key=Team&Tags.member.1.Value=blue&Policy=" + quote(POLICY, safe="").encode()
RESULT = {
    "Credentials": {
        "AccessKeyId": "ASIAIOSFODNN7EXAMPLE",
        "SecretAccessKey": "x" * 40,
        "SessionToken": "y" * 900,
        "Expiration": NOW + 3_600_000,
    },
    "AssumedRoleUser": {
        "AssumedRoleId": "AROAIOSFODNN7EXAMPLE1:session-1",
        "Arn": "arn:aws:sts::123456789012:assumed-role/demo/session-1",
    },
    "PackedPolicySize": 3,
}
CALLER = Caller(
    PrincipalKind.USER,
    "123456789012",
    "arn",
    "arn",
    "AIDA",
    "AIDA",
    "bench",
    KEY.access_key_id,
    FeedPosition("", 0),
    (),
)


def measure(name: str, target: float, act: Callable[[], object], count: int = 20_000) -> None:
    """Prints the best of three means: what the code costs, not what its neighbours do."""
    for _ in range(500):
        act()
    best = float("inf")
    for _ in range(3):
        started = time.process_time()
        for _ in range(count // 3):
            act()
        best = min(best, (time.process_time() - started) / (count // 3))
    print(f"{name:<48} {best * 1e6:8.1f} us   (target {target:g})")


def wire_headers(body: bytes) -> list[tuple[bytes, bytes]]:
    """A request as boto3 sends it."""
    sent = sigv4.sign(
        KEY,
        "POST",
        "/",
        "",
        {
            "host": "127.0.0.1:8700",
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            "amz-sdk-invocation-id": "0d4a3a6c-2c5d-4d6e-8f7a-6f1c2b3a4d5e",
            "amz-sdk-request": "attempt=1",
        },
        body,
        NOW,
    )
    more = {
        "user-agent": "Boto3/1.44 md/Botocore#1.44 ua/2.1",
        "accept-encoding": "identity",
        "content-length": str(len(body)),
    }
    return [(n.lower().encode(), v.encode()) for n, v in {**sent, **more}.items()]


class _Nothing:
    """Stands in for Env: the clock, ids and rates, and nothing else that this bench calls."""

    rates = RequestRates((1e9, 1e9), (1e9, 1e9), (1e9, 1e9))

    class ids:  # noqa: N801
        @staticmethod
        def request() -> str:
            return "0d4a3a6c-2c5d-4d6e-8f7a-6f1c2b3a4d5e"

    class clock:  # noqa: N801
        @staticmethod
        def now() -> int:
            return NOW


async def _whole(body: bytes, count: int) -> float:
    """Seconds for each request through the ASGI application, with an operation that does nothing."""

    async def answer(_: Any, __: Any, ___: Mapping[str, Any]) -> Mapping[str, Any]:
        return RESULT

    async def authenticate(_: Any, signature: sigv4.UnverifiedSignature, services: Any) -> Caller:
        sigv4.verify(signature, KEY.secret, NOW, skew_ms=300_000, services=services)
        return CALLER

    async def refused(*_: Any) -> str:
        raise SystemExit("the bench's own request was refused")

    services = services_from(models.load, {"sts": {"AssumeRole": answer}})
    front = Front(_Nothing(), authenticate=authenticate, record=refused)  # type: ignore[arg-type]
    endpoint = AwsEndpoint(front, services)
    app = Application(front, Routes([Route("/", endpoint, "", METHODS, endpoint.errors)]))
    scope = {
        "type": "http", "method": "POST", "path": "/", "raw_path": b"/", "query_string": b"", "scheme": "http",
        "headers": wire_headers(body), "client": ("127.0.0.1", 5000),
    }  # fmt: skip

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": body, "more_body": False}

    async def send(message: dict[str, Any]) -> None:
        if message.get("status", 200) != 200:
            raise SystemExit("the bench's own request failed")

    started = time.process_time()
    for _ in range(count):
        await app(dict(scope), receive, send)
    return (time.process_time() - started) / count


def main() -> None:
    headers = wire_headers(PLAIN)
    operation = models.load("sts").operation("AssumeRole")
    assert operation is not None

    def signed() -> None:
        sigv4.verify(
            sigv4.parse_request("POST", b"/", b"", headers, PLAIN), KEY.secret, NOW, skew_ms=300_000, services=("sts",)
        )

    def parsed(body: bytes) -> Callable[[], object]:
        return lambda: operation.check(operation.parse(parse_form(b"", body)))

    measure("sigv4: parse and verify", 25, signed)
    measure("query: AssumeRole, parse and validate", 15, parsed(PLAIN))
    measure("query: the same with a tag and a session policy", 15, parsed(RICH))
    measure("xml: AssumeRole's answer", 10, lambda: operation.render(RESULT, "request-id"))
    for name, body in (("plain", PLAIN), ("with tag and policy", RICH)):
        best = min(asyncio.run(_whole(body, 4000)) for _ in range(3))
        print(f"{f'ASGI application around them, {name}':<48} {best * 1e6:8.1f} us")


if __name__ == "__main__":
    main()
