"""Health and metrics of one process. The details of /readyz may name hosts, so they are only shown with the metrics
token.
"""

from __future__ import annotations

import json
from hmac import compare_digest
from typing import Any, Final, Protocol

from daypass import __version__
from daypass.observability.metrics import CONTENT_TYPE, OPENMETRICS
from daypass.wire.http import Request, Response, only_value
from daypass.wire.json_errors import MEDIA_TYPE
from daypass.wire.routing import Route

METRICS: Final = "/metrics"
_FIRST: Final = "nobody can log in yet: make the first administrator at /console/setup, with the set-up code"


class Readiness(Protocol):
    """Whether a process can serve, and what an operator should know."""

    async def problems(self, *, detailed: bool) -> list[str]:
        """The reasons why the processes of this node cannot serve; empty when all are ready. `detailed`: includes details that may name hosts."""
        ...

    async def uninitialised(self) -> bool:
        """Whether no account exists yet. Nobody can log in before the first administrator is created."""
        ...

    def degraded(self, *, detailed: bool) -> dict[str, Any] | None:
        """While the database is unavailable and the process serves from memory, or a spool of this node is not drained: how
        old its data are, and what it has spooled. Otherwise None.
        """
        ...

    def warnings(self, *, detailed: bool) -> list[str]:
        """Warnings for an operator that do not stop it from serving. `detailed`: includes details that may name hosts."""
        ...


class Health(Protocol):
    """The health of a process."""

    @property
    def readiness(self) -> Readiness: ...

    def render_metrics(self, *, openmetrics: bool = False) -> bytes:
        """The current metrics, in Prometheus's text format or in OpenMetrics."""
        ...

    def observe_streams(self, count: int) -> None:
        """Called with the number of open streams of revocations when it changes."""
        ...


def health_routes(health: Health, metrics_token: str) -> tuple[Route, ...]:
    """/healthz, /readyz and /metrics. `metrics_token`: "": the metrics are public."""
    token = metrics_token.encode()

    async def healthz(_: Request) -> Response:
        return _json(200, {"status": "alive", "version": __version__})

    async def readyz(request: Request) -> Response:
        detailed = bool(token) and _has_token(request, token)
        problems = await health.readiness.problems(detailed=detailed)
        degraded = health.readiness.degraded(detailed=detailed)
        status = "not ready" if problems else "degraded" if degraded else "ready"
        warnings = health.readiness.warnings(detailed=detailed)
        if status == "ready" and await health.readiness.uninitialised():
            status, warnings = "not initialised", [_FIRST, *warnings]
        content = {"status": status, "problems": problems, "warnings": warnings}
        return _json(503 if problems else 200, content | ({"degraded": degraded} if degraded else {}))

    async def metrics(request: Request) -> Response:
        if token and not _has_token(request, token):
            return Response(401, b"", headers=((b"www-authenticate", b"Bearer"),), code="401")
        if any(OPENMETRICS.encode("ascii") in value for name, value in request.headers if name == b"accept"):
            kind = f"{OPENMETRICS}; version=1.0.0; charset=utf-8"
            return Response(200, health.render_metrics(openmetrics=True), kind.encode("ascii"))
        return Response(200, health.render_metrics(), CONTENT_TYPE.encode("ascii"))

    return (
        Route("/healthz", healthz, "Whether the process is alive"),
        Route("/readyz", readyz, "Whether the process can serve, and what keeps it from it"),
        Route(METRICS, metrics, "The metrics, in Prometheus's text format or in OpenMetrics"),
    )


def _has_token(request: Request, token: bytes) -> bool:
    """Whether the request has this bearer token (RFC 6750, 2.1)."""
    return compare_digest(only_value(request.headers, b"authorization"), b"Bearer " + token)


def _json(status: int, content: dict[str, Any]) -> Response:
    return Response(status, json.dumps(content).encode() + b"\n", MEDIA_TYPE)
