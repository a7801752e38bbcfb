"""One AWS request from the wire to an operation and back: parse, authenticate, check, run, answer. It decides nothing.

Every refusal is on the record before it is answered; what cannot be recorded is answered as unavailable. Which service
is meant follows from Version and Action; the credential scope must then name that service (attack A6).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, NamedTuple, TypeAlias

from daypass import sigv4
from daypass.domain.claims import Caller, RequestFacts, nobody
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.iam.work import LINT
from daypass.ports import Call, Env
from daypass.wire.aws.errors import INTERNAL_CODE, error_xml, internal_failure_xml, wire_error
from daypass.wire.aws.models import Operation, ServiceModel
from daypass.wire.aws.query import parse_form
from daypass.wire.http import XML, Request, Response

OperationHandler: TypeAlias = Callable[[Env, Call, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Authenticate: TypeAlias = Callable[[Env, sigv4.UnverifiedSignature, RequestFacts, Collection[str]], Awaitable[Caller]]
Refused: TypeAlias = Callable[[Env, RequestFacts, Caller | None, DaypassError, Mapping[str, Any]], Awaitable[str]]

_METHODS = ("GET", "POST")
_MAX_NAMES = 50  # of parameters that an unreadable request is recorded with
_TRACE_PARENT = re.compile(rb"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,63}")  # of a parameter; a body of another protocol may be all "name"
_REGION = re.compile(r"[A-Za-z0-9._-]{1,64}")
_DEFAULT_NAMESPACE = "https://sts.amazonaws.com/doc/2011-06-15/"
_FAULT_NAMESPACE = "http://webservices.amazon.com/AWSFault/2005-15-09"  # of requests for what no service has
_NO_VERSION = "NO_VERSION_SPECIFIED"
_UNAVAILABLE = DaypassError(ErrorKind.UNAVAILABLE, "The request could not be recorded. Try again later.")


@dataclass(frozen=True, slots=True)
class AwsService:
    """A service: its model, and the handlers of the operations that are served, by name."""

    name: str
    model: ServiceModel
    operations: Mapping[str, OperationHandler]


class _Target(NamedTuple):
    """What a request is for."""

    service: AwsService
    operation: Operation
    handler: OperationHandler | None  # None: the operation is not served
    full_name: str
    services: tuple[str]  # those that a signature may be for


class _Progress(NamedTuple):
    """How far a request that is refused had come: what the refusal may say about it."""

    request: Request
    form: Mapping[str, str] = MappingProxyType({})
    target: _Target | None = None
    region: str = ""  # unverified
    caller: Caller | None = None
    params: Mapping[str, Any] | None = None


class AwsEndpoint:
    """The AWS wire: call it with a request.

    Args:
        authenticate: proof to caller; raises DaypassError.
        refused: puts a refusal on the record and returns the encoded authorization message or ""; raises DaypassError
            (UNAVAILABLE) when it cannot.
    """

    def __init__(
        self, env: Env, services: Collection[AwsService], *, authenticate: Authenticate, refused: Refused
    ) -> None:
        self._env = env
        self._by_version = {service.model.version: service for service in services}
        self._targets: dict[tuple[str | None, str | None], _Target] = {}  # by Version and Action that do exist
        self._authenticate = authenticate
        self._refused = refused

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        env = self._env
        form: Mapping[str, str] = {}
        target, region, caller, params = None, "", None, None
        try:
            if request.method not in _METHODS:
                raise DaypassError(ErrorKind.MALFORMED_REQUEST, "Only GET and POST are allowed here.")
            form = parse_form(request.raw_query, request.body)
            asked = form.get("Version"), form.get("Action")
            target = self._targets.get(asked) or self._find(*asked)
            operation, handler = target.operation, target.handler
            if operation.anonymous:
                facts, who = _facts(request, target, ""), nobody(env.directory.seen())
            else:
                signature = _read_signature(request)
                if _REGION.fullmatch(signature.region):
                    region = signature.region
                facts = _facts(request, target, region)
                who = caller = await self._authenticate(env, signature, facts, target.services)
            if handler is None:
                raise DaypassError(
                    ErrorKind.UNSUPPORTED_OPERATION, f"{operation.name} is not supported by this service."
                )
            params = operation.parse(form)
            if not operation.check(params):
                raise DaypassError(ErrorKind.VALIDATION, operation.explain(params))
            result = await handler(env, Call(who, facts, env.clock.now()), params)
        except DaypassError as error:
            response = await self._refuse(_Progress(request, form, target, region, caller, params), error)
            if request.method not in _METHODS:
                return response._replace(status=405, headers=(*response.headers, (b"allow", b"GET, POST")))
            return response
        return _answer(request, target, result)

    async def refuse(self, request: Request, error: DaypassError) -> Response:
        """Records and answers a request that the server would not even read (too large, too slow)."""
        return await self._refuse(_Progress(request), error)

    def broken(self, request: Request) -> Response:
        """The constant answer to an unexpected failure."""
        body = internal_failure_xml(_DEFAULT_NAMESPACE, request.request_id)
        return Response(500, body, code=INTERNAL_CODE)

    def _find(self, version: str | None, action: str | None) -> _Target:
        if action is None:
            raise DaypassError(ErrorKind.MISSING_ACTION, "The request must contain the parameter Action.")
        service = self._by_version.get(version or "")
        operation = service.model.operation(action) if service is not None else None
        if service is None or operation is None:
            raise DaypassError(
                ErrorKind.UNKNOWN_OPERATION,
                f"Could not find operation {action[:128]} for version {_NO_VERSION if version is None else version[:64]}",
            )
        full_name, handler = f"{service.name}:{operation.name}", service.operations.get(operation.name)
        found = _Target(service, operation, handler, full_name, (service.name,))
        self._targets[(version, action)] = found
        return found

    async def _refuse(self, progress: _Progress, error: DaypassError) -> Response:
        request, target = progress.request, progress.target
        facts = _facts(request, target, progress.region)
        try:
            encoded = await self._refused(self._env, facts, progress.caller, error, _detail(progress))
        except DaypassError:
            error, encoded = _UNAVAILABLE, ""
        code, status = wire_error(error.kind)
        namespace = target.service.model.namespace if target is not None else _DEFAULT_NAMESPACE
        if error.kind is ErrorKind.UNKNOWN_OPERATION:
            namespace = _FAULT_NAMESPACE
        body = error_xml(namespace, code, status, error.public, request.request_id, encoded)
        return Response(status, body, operation=facts.operation, code=code)


def services_from(
    load: Callable[[str], ServiceModel], operations: Mapping[str, Mapping[str, OperationHandler]]
) -> tuple[AwsService, ...]:
    """The services of these tables (name of the service to its operations). Raises ValueError for unknown operations."""
    services = []
    for name, table in operations.items():
        model = load(name)
        unknown = set(table) - model.names
        if unknown:
            raise ValueError(f"{name}: the service model has no operations {sorted(unknown)}")
        services.append(AwsService(name, model, table))
    return tuple(services)


# --- The pieces ----------------------------------------------------------------------------------------------------


def _facts(request: Request, target: _Target | None, region: str) -> RequestFacts:
    headers = dict(request.headers)
    parent = headers.get(b"traceparent")
    trace = _TRACE_PARENT.fullmatch(parent) if parent else None
    return RequestFacts(
        request.request_id,
        request.received_at,
        target.full_name if target is not None else "",
        request.source_ip,
        headers.get(b"user-agent", b"").decode("latin-1"),
        trace[1].decode("ascii") if trace else "",
        region,
        headers.get(b"referer", b"").decode("latin-1"),
        request.secure,
    )


def _read_signature(request: Request) -> sigv4.UnverifiedSignature:
    try:
        return sigv4.parse_request(request.method, request.raw_path, request.raw_query, request.headers, request.body)
    except sigv4.SigV4Error as error:
        raise DaypassError(ErrorKind(error.kind), error.message) from None


def _answer(request: Request, target: _Target, result: Mapping[str, Any]) -> Response:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if lint := result.get(LINT):  # for people who read headers; the model has no member for it
        headers = ((LINT.encode("ascii"), lint.encode("ascii", "replace")),)
        result = {name: value for name, value in result.items() if name != LINT}
    return Response(200, target.operation.render(result, request.request_id), XML, headers, target.full_name)


def _detail(progress: _Progress) -> dict[str, Any]:
    """What the record says of a refused request: its parameters, redacted; of an unreadable one, their names."""
    request = progress.request
    if progress.target is not None:
        operation = progress.target.operation
        known = progress.params
        if known is None:
            known = {n: v for n, v in progress.form.items() if n.partition(".")[0] in operation.members}
            return {"parameters": {n: operation.redact_text(n, v) for n, v in known.items()}}
        return {"parameters": operation.redact(known)}
    detail: dict[str, Any] = {"method": request.method[:16], "path": request.raw_path[:256].decode("latin-1")}
    if progress.form:
        detail["action"] = progress.form.get("Action", "")[:128]
        detail["version"] = progress.form.get("Version", "")[:64]
        detail["names"] = [name if _NAME.fullmatch(name) else "***" for name in list(progress.form)[:_MAX_NAMES]]
    return detail
