"""The way into every call of the management API: proof first, then the operation, and every refusal on the record.

A route is only ever reached through `SignedRoute`: there is no call without a signature, and nothing of the body is
interpreted before the signature over it has been verified.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException

from daypass import sigv4
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authenticate import authenticate
from daypass.operations.outcome import refused
from daypass.ports import Call, Env
from daypass.wire.api.errors import error_json, wire_error

SERVICE = "daypass"
MAX_BODY = 262_144
_MAX_SHOWN = 5  # faults of one request in its error message
_REGION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_UNAVAILABLE = DaypassError(ErrorKind.UNAVAILABLE, "The request could not be recorded. Try again later.")

Handler = Callable[[Request], Awaitable[Response]]


class SignedRoute(APIRoute):
    """A route whose name is its action's: `CreateAccount` is authorized as daypass:CreateAccount."""

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's handler behind the gate."""
        handler: Handler = super().get_route_handler()
        name = f"{SERVICE}:{self.name}"

        async def signed(request: Request) -> Response:
            return await pass_gate(request, name, handler)

        return signed


async def pass_gate(request: Request, operation: str, handler: Handler) -> Response:
    """Authenticates, runs `handler`, and answers in the API's form. Unexpected exceptions go up."""
    env: Env = request.app.state.env
    facts = facts_of(request, operation)
    caller: Caller | None = None
    try:
        body = await _body(request)
        signature = _signature(request, body)
        if _REGION.fullmatch(signature.region):
            facts = replace(facts, region=signature.region)
        caller = await authenticate(env, signature, facts, (SERVICE,))
        request.state.call = Call(caller, facts, env.clock.now())
        _check_json(body)
        return await handler(request)
    except DaypassError as error:
        return await refuse(request, facts, caller, error)
    except RequestValidationError as error:
        return await refuse(request, facts, caller, _invalid(error))
    except (HTTPException, StarletteHTTPException) as error:
        return await refuse(request, facts, caller, DaypassError(ErrorKind.MALFORMED_REQUEST, str(error.detail)))


async def refuse(
    request: Request, facts: RequestFacts, caller: Caller | None, error: DaypassError, status: int = 0
) -> Response:
    """Records and answers a refusal; what cannot be recorded is answered as unavailable."""
    detail = {
        "method": request.method[:16],
        "path": request.scope["path"][:512],  # `request.url` decodes the query, which may be anything
        "query": {name[:64]: _shown(name, value) for name, value in list(request.query_params.items())[:20]},
    }
    try:
        encoded = await refused(request.app.state.env, facts, caller, error, detail)
    except DaypassError:
        error, encoded, status = _UNAVAILABLE, "", 0
    code, mapped = wire_error(error.kind)
    body = error_json(code, error.public, facts.request_id, encoded)
    return Response(body, status or mapped, media_type="application/json")


def _shown(name: str, value: str) -> str:
    """A query parameter for the record. Those of a presigned request hold a session token and a signature (A100)."""
    return "***" if name.lower().startswith("x-amz-") else value[:512]


def facts_of(request: Request, operation: str) -> RequestFacts:
    """How the request came. The application in front has found out id, address and TLS; alone, the connection tells."""
    scope, env = request.scope, request.app.state.env
    headers = dict(scope["headers"])
    trace = _TRACE_PARENT.fullmatch(headers.get(b"traceparent", b""))
    client = scope.get("client")
    return RequestFacts(
        request_id=scope.get("daypass.request_id") or env.ids.request(),
        received_at=env.clock.now(),
        operation=operation,
        source_ip=scope.get("daypass.source_ip", str(client[0]) if client else ""),
        user_agent=headers.get(b"user-agent", b"").decode("latin-1"),
        trace_id=trace[1].decode("ascii") if trace else "",
        referer=headers.get(b"referer", b"").decode("latin-1"),
        secure_transport=scope.get("daypass.secure", scope.get("scheme") == "https"),
    )


async def _body(request: Request) -> bytes:
    """The whole body, capped while it comes; FastAPI finds it where Starlette keeps it."""
    parts: list[bytes] = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > MAX_BODY:
            raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {MAX_BODY} bytes.")
        parts.append(part)
    request._body = b"".join(parts)  # noqa: SLF001  # as Starlette's own `body()` leaves it
    return request._body  # noqa: SLF001


def _signature(request: Request, body: bytes) -> sigv4.UnverifiedSignature:
    scope = request.scope
    path = scope.get("raw_path") or scope["path"].encode("utf-8", "surrogateescape")
    try:
        return sigv4.parse_request(request.method, path, scope["query_string"], scope["headers"], body)
    except sigv4.SigV4Error as error:
        raise DaypassError(ErrorKind(error.kind), error.message) from None


def _check_json(body: bytes) -> None:
    """Refuses bodies that parsers read differently: twin keys, NaN, other encodings, nesting without end."""
    if not body:
        return
    try:
        json.loads(body.decode("utf-8"), object_pairs_hook=_no_twins, parse_constant=_no_constant)
    except (ValueError, RecursionError):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The request body is not well-formed JSON.") from None


def _no_twins(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    content = dict(pairs)
    if len(content) != len(pairs):
        raise ValueError("a key is there twice")
    return content


def _no_constant(name: str) -> Any:
    raise ValueError(f"{name} is not JSON")


def _invalid(error: RequestValidationError) -> DaypassError:
    """The first few faults, by place and rule. What was sent is not repeated."""
    faults = error.errors()
    shown = [f"{'.'.join(str(part)[:64] for part in fault['loc'])}: {fault['msg']}" for fault in faults[:_MAX_SHOWN]]
    return DaypassError(ErrorKind.VALIDATION, "; ".join(shown)[:1024])
