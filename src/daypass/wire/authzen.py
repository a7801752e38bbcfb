"""The paths of the AuthZEN API, and its metadata. They decide nothing.

Source: OpenID AuthZEN Authorization API 1.0, 6 to 10.
"""

from __future__ import annotations

import json
import re
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Final, TypeAlias

import msgspec
from msgspec.structs import replace

from daypass.domain.authzen import Evaluation
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.operations import rates
from daypass.operations.access.evaluate_access import ACTION as EVALUATE
from daypass.operations.access.evaluate_access import SLICE, AccessAnswer, evaluate_access
from daypass.operations.access.search_access import ACTION as SEARCH
from daypass.operations.access.search_access import search_actions, search_resources, search_subjects
from daypass.operations.access.snapshot import ResultPage
from daypass.ports import Call
from daypass.wire import authzen_requests
from daypass.wire.access_token import UNPROVEN, authenticated_by_any, challenge, with_nonce
from daypass.wire.authzen_requests import Evaluations, body_of
from daypass.wire.front import ErrorFormat, Front, RecordedRefusal, RequestProgress
from daypass.wire.http import FixedHeaders, Header, Request, Response, only_value, public_document
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE, MEDIA_TYPE, error_json, wire_error
from daypass.wire.routing import GET, POST, Route

_SERVICE: Final = "daypass"
_EVALUATE: Final = f"daypass:{EVALUATE}"
_SEARCH: Final = f"daypass:{SEARCH}"
_REQUEST: Final = "daypass:CreateAccessRequest"
_FOLLOW: Final = "daypass:GetAccessRequest"
_EVALUATION: Final = "/access/v1/evaluation"
_EVALUATIONS: Final = "/access/v1/evaluations"
_SUBJECTS: Final = "/access/v1/search/subject"
_RESOURCES: Final = "/access/v1/search/resource"
_ACTIONS: Final = "/access/v1/search/action"
_METADATA: Final = "/.well-known/authzen-configuration"
_METADATA_SECONDS: Final = 3600
_REQUEST_TOKENS: Final = 1.0  # relative to an STS request
_DECISION_TOKENS: Final = 0.1  # for each decision after the first
_SEARCH_TOKENS: Final = 10.0
_LARGE_BODY: Final = 8_192  # bytes that are read in a turn: a millisecond
_REQUEST_ID = re.compile(rb"[!-~]{1,128}")
_NO_STORE: Final = FixedHeaders((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))

Content: TypeAlias = Mapping[str, Any] | tuple[int, Mapping[str, Any]]
Serve: TypeAlias = "Callable[[Front, RequestProgress, Call], Awaitable[Content]]"


def authzen_routes(front: Front, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. `certificate_header`: see `RouteSettings`."""

    def route(path: str, operation: str, tokens: float, serve: Serve, summary: str) -> Route:
        endpoint = _Endpoint(front, operation, tokens, serve, certificate_header)
        return Route(path, endpoint, summary, POST, ERRORS, operation)

    def requests_route(path: str, operation: str, serve: Serve, summary: str, methods: frozenset[str]) -> Route:
        endpoint = _Endpoint(front, operation, _REQUEST_TOKENS, serve, certificate_header, authzen_requests.PROBLEMS)
        return Route(path, endpoint, summary, methods, authzen_requests.PROBLEMS, operation)

    async def metadata(request: Request) -> Response:
        return _metadata(front, request)

    return (
        route(_EVALUATION, _EVALUATE, _REQUEST_TOKENS, _evaluation, "One access decision (AuthZEN)"),
        route(_EVALUATIONS, _EVALUATE, _REQUEST_TOKENS, _evaluations, "Several access decisions (AuthZEN)"),
        route(_SUBJECTS, _SEARCH, _SEARCH_TOKENS, _subjects, "Subjects that may do something (AuthZEN)"),
        route(_RESOURCES, _SEARCH, _SEARCH_TOKENS, _resources, "Resources that a subject may act on (AuthZEN)"),
        route(_ACTIONS, _SEARCH, _SEARCH_TOKENS, _actions, "Actions that a subject may perform (AuthZEN)"),
        requests_route(
            authzen_requests.REQUESTS, _REQUEST, authzen_requests.submit, "Requests denied access (AuthZEN)", POST
        ),
        requests_route(
            f"{authzen_requests.REQUESTS}/",
            _FOLLOW,
            authzen_requests.follow,
            "The state of such a request (AuthZEN)",
            GET,
        ),
        Route(_METADATA, metadata, "Metadata of the policy decision point (AuthZEN)", GET, ERRORS),
    )


class _Endpoint:
    """The handler of one path: authenticates, serves, and records a refusal."""

    def __init__(  # the columns of its row
        self,
        front: Front,
        operation: str,
        tokens: float,
        serve: Serve,
        certificate_header: str,
        errors: ErrorFormat | None = None,
    ) -> None:
        self._errors = errors or ERRORS
        self._front = front
        self._operation = operation
        self._tokens = tokens
        self._serve = serve
        self._certificate_header = certificate_header.lower()

    async def __call__(self, request: Request) -> Response:
        progress = RequestProgress(request, self._operation)
        try:
            call = await authenticated_by_any(
                self._front,
                progress,
                (_SERVICE,),
                self._tokens,
                self._certificate_header,
                consuming=self._errors is ERRORS,
            )
            content = await self._serve(self._front, progress, call)
        except DaypassError as error:
            response = await self._front.refuse(progress, error, self._errors)
        else:
            status, content = content if isinstance(content, tuple) else (200, content)
            echoed = _echoed(request)
            headers = (*_NO_STORE, *echoed) if echoed else _NO_STORE
            response = Response(status, msgspec.json.encode(content), MEDIA_TYPE, headers, self._operation)
        return with_nonce(self._front.env, progress, response)


# --- Evaluations -----------------------------------------------------------------------------------------------------


async def _evaluation(front: Front, progress: RequestProgress, call: Call) -> Mapping[str, Any]:
    asked = authzen_requests.evaluation(body_of(progress.request))
    shown, question = await _decided(front, progress, call, asked), asked.questions[0]
    if shown["decision"] or not isinstance(question, Evaluation):
        return shown
    hint = await authzen_requests.hint_of(front.env, call, question)
    return {**shown, "context": {**shown.get("context", {}), **hint}} if hint else shown


async def _evaluations(front: Front, progress: RequestProgress, call: Call) -> Mapping[str, Any]:
    slices, account = front.env.slices, call.caller.account
    if len(progress.request.body) > _LARGE_BODY:
        await slices.begin(account)
    body = body_of(progress.request)
    items = body.get("evaluations")
    if isinstance(items, list) and len(items) > SLICE:  # a thousand questions of few bytes take milliseconds to read
        await slices.turn(account)
    return await _decided(front, progress, call, authzen_requests.evaluations(body))


async def _decided(front: Front, progress: RequestProgress, call: Call, evaluations: Evaluations) -> Mapping[str, Any]:
    """Reasons are given for a single decision; for several, if the request asks for them."""
    if len(evaluations.questions) > 1:
        rates.charge(front.env, call.caller, _DECISION_TOKENS * (len(evaluations.questions) - 1))
    reasons = evaluations.single if evaluations.reasons is None else evaluations.reasons
    answers = await evaluate_access(
        front.env, call, evaluations.questions, evaluations.semantic, reasons=reasons, replays=progress.replays
    )
    shown = [_decision_json(answer) for answer in answers]
    return shown[0] if evaluations.single else {"evaluations": shown}


def _decision_json(answer: AccessAnswer) -> Mapping[str, Any]:
    if answer.error:
        return {"decision": False, "context": {"error": {"status": answer.status, "message": answer.error}}}
    if answer.encoded:
        return {"decision": answer.allowed, "context": {"encoded_authorization_message": answer.encoded}}
    if answer.explanation is not None:
        context = {"reason_admin": {"en": answer.message}, "explanation": answer.explanation}
        return {"decision": answer.allowed, "context": context}
    return {"decision": answer.allowed}


# --- Searches --------------------------------------------------------------------------------------------------------


async def _subjects(front: Front, progress: RequestProgress, call: Call) -> Mapping[str, Any]:
    search = authzen_requests.subject_search(body_of(progress.request))
    page = await search_subjects(front.env, call, *search, progress.replays)
    return _page(page, lambda name: {"type": search.question.subject.type, "id": name})


async def _resources(front: Front, progress: RequestProgress, call: Call) -> Mapping[str, Any]:
    search = authzen_requests.resource_search(body_of(progress.request))
    page = await search_resources(front.env, call, *search, progress.replays)
    return _page(page, lambda name: {"type": search.question.resource.type, "id": name})


async def _actions(front: Front, progress: RequestProgress, call: Call) -> Mapping[str, Any]:
    search = authzen_requests.action_search(body_of(progress.request))
    page = await search_actions(front.env, call, *search, progress.replays)
    return _page(page, lambda name: {"name": name})


def _page(page: ResultPage[str], shown: Callable[[str], Mapping[str, Any]]) -> Mapping[str, Any]:
    results = [shown(name) for name in page.entries]
    return {"results": results, "page": {"next_token": page.following, "count": len(results)}}


# --- Metadata and errors ---------------------------------------------------------------------------------------------


def _metadata(front: Front, request: Request) -> Response:
    server = front.env.oauth
    if not server.enabled:
        raise DaypassError(ErrorKind.NOT_FOUND, "AuthZEN metadata is off: server.public_url is not set.")
    at = server.issuer
    content = {
        "policy_decision_point": at,
        "access_evaluation_endpoint": at + _EVALUATION,
        "access_evaluations_endpoint": at + _EVALUATIONS,
        "search_subject_endpoint": at + _SUBJECTS,
        "search_resource_endpoint": at + _RESOURCES,
        "search_action_endpoint": at + _ACTIONS,
        "access_request_endpoint": at + authzen_requests.REQUESTS,
        "jwks_uri": f"{at}/.well-known/jwks.json",
        "capabilities": [authzen_requests.CAPABILITY],
    }
    body = json.dumps(content).encode("ascii")
    response = public_document(request, body, MEDIA_TYPE, _METADATA_SECONDS)
    return replace(response, headers=(*response.headers, *_echoed(request)))


def _echoed(request: Request) -> tuple[Header, ...]:
    """X-Request-ID of the request, which every answer repeats (AuthZEN, 10.1.3)."""
    found = only_value(request.headers, b"x-request-id")
    return ((b"x-request-id", found),) if _REQUEST_ID.fullmatch(found) else ()


class AuthzenErrors:
    """`front.ErrorFormat`: the bodies of the management API, with the status codes of AuthZEN (10.1.2)."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        code, status = wire_error(refusal.error.kind)
        headers = (*_NO_STORE, *_echoed(request))
        family = refusal.error.kind.family
        if family in UNPROVEN:
            status, headers = 401, (*headers, challenge(request, refusal.error.kind))
        elif family is Family.CONFLICT:
            status = 400
        body = error_json(code, refusal.error.public, request.request_id, refusal.encoded)
        return Response(status, body, MEDIA_TYPE, headers, refusal.operation, code)

    def broken(self, request: Request) -> Response:
        body = error_json(INTERNAL_CODE, INTERNAL, request.request_id)
        return Response(500, body, MEDIA_TYPE, (*_NO_STORE, *_echoed(request)), code=INTERNAL_CODE)


ERRORS: Final = AuthzenErrors()
