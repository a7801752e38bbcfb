"""One AWS request from the wire to an operation and back: parse, authenticate, check, run, answer. It decides nothing.

Which service is meant follows from Version and Action; the credential scope must then name that service (attack A6).
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any, Final, TypeAlias

from msgspec import Struct

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.crud import LINT
from daypass.ports import Call, Env
from daypass.wire.aws import json, models
from daypass.wire.aws.errors import AwsErrors
from daypass.wire.aws.models import ModelOperation, ServiceModel
from daypass.wire.aws.query import parse_form
from daypass.wire.front import Front, RequestProgress, target_of
from daypass.wire.http import XML, Request, Response, accepted

METHODS: Final = frozenset({"GET", "POST"})
_TOKENS: Mapping[str, float] = {"iam": 5.0}  # relative to an STS request: it reads the database
MANY: Final = 32
"""Items of a list; writing longer ones takes a turn of the event loop: large roles take milliseconds (attack A310)."""

_MAX_NAMES = 50  # parameter names recorded for an unreadable request
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9.-]{0,63}")  # parameter names; a foreign body may be all "name"
_NO_VERSION = "NO_VERSION_SPECIFIED"


@dataclass(frozen=True, slots=True)
class AwsService:
    """A service: its model, and the handlers of the operations that are served, by name."""

    name: str
    model: ServiceModel
    operations: Mapping[str, OperationHandler | RenderingHandler]


class _Target(Struct, frozen=True):
    """The service and operation of a request."""

    service: AwsService
    operation: ModelOperation
    handler: OperationHandler | RenderingHandler | None  # None: the operation is not served
    full_name: str
    services: tuple[str]  # services that a signature may name
    tokens: float  # that a request costs


class AwsEndpoint:
    """The AWS wire: call it with a request. `errors` writes its refusals. `home`: where a person is taken; "": nowhere."""

    def __init__(self, front: Front, services: Collection[AwsService], home: str = "") -> None:
        self._front = front
        self._home = home
        self.errors = AwsErrors({service.name: service.model.namespace for service in services})
        self._by_version = {service.model.version: service for service in services}
        self._targets: dict[tuple[str | None, str | None], _Target] = {}  # by existing Version and Action

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        progress = RequestProgress(request)
        form: Mapping[str, str] = {}
        target, params = None, None
        try:
            form = parse_form(request.raw_query, request.body)
            asked = form.get("Version"), form.get("Action")
            target = self._targets.get(asked) or self._find(*asked)
            progress.operation = target.full_name
            operation, handler = target.operation, target.handler
            if operation.anonymous:
                call = self._front.anonymous(progress)
            else:
                call = await self._front.authenticated(progress, target.services, target.tokens)
            if handler is None:
                raise DaypassError(
                    ErrorKind.UNSUPPORTED_OPERATION, f"{operation.name} is not supported by this service."
                )
            params = operation.parse(form)
            if not operation.check(params):
                raise DaypassError(ErrorKind.VALIDATION, operation.explain(params))
            if isinstance(handler, RenderingHandler):
                as_json = json.is_accepted(request.headers)
                render = partial(rendered, target.service.name, operation.name, request.request_id, as_json)
                body = await handler.run(self._front.env, call, params, render)
                return Response(200, body, json.MEDIA_TYPE if as_json else XML, (), target.full_name)
            result = await handler(self._front.env, call, params)
            if any(isinstance(member, list) and len(member) > MANY for member in result.values()):
                await self._front.env.slices.turn(call.caller.account)
        except DaypassError as error:
            if error.kind is ErrorKind.MISSING_ACTION and self._home and _is_person(request):
                return _to(self._home)
            progress.detail = _detail(request, form, target, params)
            return await self._front.refuse(progress, error, self.errors)
        return _answer(request, target, result)

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
        target = _Target(service, operation, handler, full_name, (service.name,), _TOKENS.get(service.name, 1.0))
        self._targets[(version, action)] = target
        return target


def services_from(
    load: Callable[[str], ServiceModel], operations: Mapping[str, Mapping[str, OperationHandler | RenderingHandler]]
) -> tuple[AwsService, ...]:
    """The services of these tables (name of the service to its operations). Raises ValueError for unknown
    operations.
    """
    services = []
    for name, table in operations.items():
        model = load(name)
        unknown = set(table) - model.names
        if unknown:
            raise ValueError(f"{name}: the service model has no operations {sorted(unknown)}")
        services.append(AwsService(name, model, table))
    return tuple(services)


# --- The pieces ----------------------------------------------------------------------------------------------------


def _to(path: str) -> Response:
    headers = ((b"location", path.encode("ascii")), (b"cache-control", b"no-store"))
    return Response(303, b"", b"text/plain", headers)


def _is_person(request: Request) -> bool:
    """Whether this is a browser that shows the installation's address: no SDK accepts a page without a query."""
    if request.method != "GET" or request.raw_query or any(name == b"authorization" for name, _ in request.headers):
        return False
    return accepted(request.headers).get(b"text/html", 0) > 0


def _answer(request: Request, target: _Target, result: Mapping[str, Any]) -> Response:
    headers: tuple[tuple[bytes, bytes], ...] = ()
    if lint := result.get(LINT):  # for people who read headers; the model has no such member
        headers = ((LINT.encode("ascii"), lint.encode("ascii", "replace")),)
        result = {name: value for name, value in result.items() if name != LINT}
    if json.is_accepted(request.headers):
        body, media_type = target.operation.render_json(result, request.request_id), json.MEDIA_TYPE
    else:
        body, media_type = target.operation.render(result, request.request_id), XML
    return Response(200, body, media_type, headers, target.full_name)


def _detail(
    request: Request, form: Mapping[str, str], target: _Target | None, params: Mapping[str, Any] | None
) -> dict[str, Any]:
    """The detail of a refused request on the record: its parameters, redacted; for an unreadable request, their
    names.
    """
    if target is not None:
        operation = target.operation
        if params is None:
            known = {n: v for n, v in form.items() if n.partition(".")[0] in operation.members}
            return {"parameters": {n: operation.redact_text(n, v) for n, v in known.items()}}
        return {"parameters": operation.redact(params)}
    detail: dict[str, Any] = target_of(request)
    if form:
        detail["action"] = form.get("Action", "")[:128]
        detail["version"] = form.get("Version", "")[:64]
        detail["names"] = [name if _NAME.fullmatch(name) else "***" for name in list(form)[:_MAX_NAMES]]
    return detail


# --- The functions that serve the operations of the AWS wire, and how a result is rendered in any process


OperationHandler: TypeAlias = Callable[[Env, Call, Mapping[str, Any]], Awaitable[Mapping[str, Any]]]
Render: TypeAlias = Callable[[Mapping[str, Any]], bytes]


class RenderingHandler(Struct, frozen=True):
    """Serves an operation whose result is rendered where it is made: one that may be large in another process, and
    credentials while they are recorded.
    """

    run: Callable[[Env, Call, Mapping[str, Any], Render], Awaitable[bytes]]


def rendered(service: str, operation: str, request_id: str, as_json: bool, result: Mapping[str, Any]) -> bytes:  # noqa: FBT001  # by position, in a partial
    """The body of an answer. Raises LookupError for an operation that the service's model does not have."""
    found = models.load(service).operation(operation)
    if found is None:
        raise LookupError(f"{service} has no operation {operation}")
    return found.render_json(result, request_id) if as_json else found.render(result, request_id)
