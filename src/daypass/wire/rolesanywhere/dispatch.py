"""One request of the REST wire to an operation and back: find, authenticate, parse, run, answer. It decides nothing.

Every refusal is on the record before it is answered; what cannot be recorded is answered as unavailable.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Final

from daypass import sigv4
from daypass.domain.claims import Caller, RequestFacts
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.authenticate import authenticate
from daypass.operations.outcome import refused
from daypass.operations.rolesanywhere.create_session import SIGNING_NAME
from daypass.operations.rolesanywhere.driver import perform, recordable
from daypass.operations.rolesanywhere.table import OPERATIONS
from daypass.ports import Call, Env
from daypass.wire.http import Request, Response
from daypass.wire.rolesanywhere.errors import error_response, json_response
from daypass.wire.rolesanywhere.model import Operation, load, segments_of

_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_REGION = re.compile(r"[a-z0-9-]{1,32}")  # it becomes part of ARNs
_UNAVAILABLE: Final = DaypassError(ErrorKind.UNAVAILABLE, "The request could not be recorded. Try again later.")


@dataclass(slots=True)
class _Progress:
    """How far one request has come: what a refusal may then say about it."""

    facts: RequestFacts
    caller: Caller | None = None
    operation: Operation | None = None
    params: Mapping[str, Any] | None = None


class RolesAnywhereEndpoint:
    """The wire of the operations that the service model describes: call it with a request."""

    def __init__(self, env: Env) -> None:
        self._env = env

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        progress = _Progress(facts_of(request, ""))
        try:
            return await self._serve(request, progress)
        except DaypassError as error:
            params = recordable(progress.params) if progress.params is not None else {}
            detail = {"method": request.method[:16], "path": request.raw_path[:256].decode("latin-1")}
            return await refuse(self._env, progress.facts, progress.caller, error, {**detail, "parameters": params})

    async def _serve(self, request: Request, progress: _Progress) -> Response:
        env = self._env
        segments = segments_of(request.raw_path)
        operation = load().find(request.method, segments)
        name = f"{SIGNING_NAME}:{operation.name}"
        progress.facts = replace(progress.facts, operation=name)
        signature = _signature(request)
        if not _REGION.fullmatch(signature.region):
            raise DaypassError(ErrorKind.SIGNATURE_MISMATCH, "Credential should be scoped to a valid region.")
        progress.facts = facts = replace(progress.facts, region=signature.region)
        progress.caller = caller = await authenticate(env, signature, facts, (SIGNING_NAME,))
        progress.params = params = operation.parse(segments, request.raw_query, request.body)
        answer = await perform(env, Call(caller, facts, env.clock.now()), OPERATIONS[operation.name], params)
        return json_response(operation.status, operation.render(answer), name)


def facts_of(request: Request, operation: str, region: str = "") -> RequestFacts:
    """How the request came."""
    headers = dict(request.headers)
    trace = _TRACE_PARENT.fullmatch(headers.get(b"traceparent", b""))
    return RequestFacts(
        request.request_id,
        request.received_at,
        operation,
        request.source_ip,
        headers.get(b"user-agent", b"").decode("latin-1"),
        trace[1].decode("ascii") if trace else "",
        region if _REGION.fullmatch(region) else "",
        headers.get(b"referer", b"").decode("latin-1"),
        request.secure,
    )


async def refuse(
    env: Env, facts: RequestFacts, caller: Caller | None, error: DaypassError, detail: Mapping[str, Any]
) -> Response:
    """Records and answers a refusal."""
    try:
        encoded = await refused(env, facts, caller, error, detail)
    except DaypassError:
        error, encoded = _UNAVAILABLE, ""
    return error_response(error.kind, error.public, facts.operation, encoded)


def _signature(request: Request) -> sigv4.UnverifiedSignature:
    try:
        return sigv4.parse_request(request.method, request.raw_path, request.raw_query, request.headers, request.body)
    except sigv4.SigV4Error as error:
        raise DaypassError(ErrorKind(error.kind), error.message) from None
