"""Joins the wire to the operations: which paths there are, and what stands behind each."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from hmac import compare_digest
from typing import Any

from daypass import __version__
from daypass.observability.metrics import CONTENT_TYPE
from daypass.operations.authenticate import authenticate
from daypass.operations.outcome import refused
from daypass.server.runtime import Runtime
from daypass.wire.app import Application, Hooks, HttpLimits, Route
from daypass.wire.aws import iam, sts
from daypass.wire.aws.dispatch import AwsEndpoint, services_from
from daypass.wire.aws.models import load
from daypass.wire.http import Request, Response
from daypass.wire.rolesanywhere.app import PREFIXES as ROLES_ANYWHERE
from daypass.wire.rolesanywhere.app import create_app
from daypass.wire.rolesanywhere.sessions import SessionsEndpoint
from daypass.wire.saml.app import SamlPages


def build(runtime: Runtime) -> Application:
    """The application over a started runtime."""
    settings = runtime.settings.server
    services = services_from(load, {"sts": sts.OPERATIONS, "iam": iam.OPERATIONS})
    hooks = Hooks(
        clock=runtime.clock.now,
        new_id=runtime.env.ids.request,
        log=runtime.log.warning,
        observe=runtime.metrics.observe,
    )
    return Application(
        AwsEndpoint(runtime.env, services, authenticate=authenticate, refused=refused),
        hooks,
        routes=_routes(runtime),
        mounts={"/api/": lambda: _api(runtime), "/saml/": lambda: _saml(runtime), **_roles_anywhere(runtime)},
        limits=HttpLimits(body=settings.max_body_bytes, body_seconds=settings.body_timeout_seconds),
        trusted_proxies=settings.trusted_proxies,
    )


def _api(runtime: Runtime) -> Any:
    from daypass.wire.api.app import create_api  # noqa: PLC0415  # FastAPI is slow to import: only when it is called

    return create_api(runtime.env)


def _roles_anywhere(runtime: Runtime) -> dict[str, Callable[[], Any]]:
    """The paths of the service model: one application stands behind all of them."""
    built = cache(lambda: create_app(runtime.env))
    return dict.fromkeys(ROLES_ANYWHERE, built)


def _saml(runtime: Runtime) -> Any:
    regions = runtime.settings.aws.regions or ("us-east-1",)
    return SamlPages(runtime.env, runtime.settings.server.public_url, regions[0])


def _routes(runtime: Runtime) -> dict[str, Route]:
    async def healthz(_: Request) -> Response:
        return _json(200, {"status": "alive", "version": __version__})

    async def readyz(_: Request) -> Response:
        problems = await runtime.problems()
        return _json(503 if problems else 200, {"status": "not ready" if problems else "ready", "problems": problems})

    async def metrics(request: Request) -> Response:
        if token and not _bears(request, token):
            return Response(401, b"", headers=((b"www-authenticate", b"Bearer"),), operation="/metrics", code="401")
        return Response(200, runtime.render_metrics(), CONTENT_TYPE.encode("ascii"), operation="/metrics")

    token = runtime.settings.server.metrics_token.get_secret_value().encode()
    sessions = SessionsEndpoint(runtime.env, runtime.settings.server.client_certificate_header)
    return {
        "/healthz": Route(healthz),
        "/readyz": Route(readyz),
        "/metrics": Route(metrics),
        "/sessions": Route(sessions, frozenset({"POST"})),
    }


def _bears(request: Request, token: bytes) -> bool:
    """Whether the request has this bearer token (RFC 6750, 2.1)."""
    found = [value for name, value in request.headers if name == b"authorization"]
    return len(found) == 1 and compare_digest(found[0], b"Bearer " + token)


def _json(status: int, content: dict[str, Any]) -> Response:
    body = json.dumps(content).encode() + b"\n"
    return Response(status, body, b"application/json", operation="health")
