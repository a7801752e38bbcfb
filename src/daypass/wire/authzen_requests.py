"""Reads the bodies of AuthZEN requests. Members that the API does not define are ignored, as it demands.

Source: OpenID AuthZEN Authorization API 1.0, 5 to 8.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from daypass.domain.access.request import latest_end
from daypass.domain.authzen import Entity, Evaluation
from daypass.domain.directory import RequestState
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import iso_time
from daypass.operations.access.evaluate_access import MAX_QUESTIONS, AccessAnswer, Semantic, unreadable
from daypass.operations.access.requestable import Denial, check_denial, requestable
from daypass.operations.access.search_access import MAX_LIMIT
from daypass.operations.access_requests.create import NewRequest, create_request
from daypass.operations.access_requests.read import get_request
from daypass.operations.access_requests.view import RequestView
from daypass.ports import Call, Env
from daypass.wire.access_token import UNPROVEN, challenge
from daypass.wire.content import json_object_of
from daypass.wire.front import Front, RecordedRefusal, RequestProgress
from daypass.wire.http import Header, Request, Response, media_type, only_value
from daypass.wire.json_errors import wire_error

_JSON: Final = b"application/json"
_USUAL_LIMIT: Final = 100
_MAX_CURSOR: Final = 4096


class Evaluations(NamedTuple):
    """A request to evaluate. `single`: its answer is one decision, not a list. `reasons`: None for the default."""

    questions: list[Evaluation | AccessAnswer]
    single: bool
    semantic: Semantic = Semantic.EXECUTE_ALL
    reasons: bool | None = None


class Search(NamedTuple):
    """A search. `after`: the cursor of the previous page."""

    question: Evaluation
    after: str
    limit: int


def body_of(request: Request) -> Mapping[str, Any]:
    """The JSON object in the body. Raises DaypassError(MALFORMED_REQUEST)."""
    if media_type(request.headers) != _JSON:
        raise _malformed("The media type of the body must be application/json.")
    return json_object_of(request.body)


def evaluation(body: Mapping[str, Any]) -> Evaluations:
    """One evaluation. Raises DaypassError(MALFORMED_REQUEST)."""
    question = _question(body, {})
    if isinstance(question, AccessAnswer):
        raise _malformed(question.error)
    return Evaluations([question], True, reasons=_reasons(body))


def evaluations(body: Mapping[str, Any]) -> Evaluations:
    """Several evaluations with common defaults; without any, it is a single one (AuthZEN, 7.1)."""
    items = body.get("evaluations")
    if items is None or items == []:
        return evaluation(body)
    if not isinstance(items, list):
        raise _malformed("evaluations must be an array.")
    if len(items) > MAX_QUESTIONS:  # before any of them is read or paid for
        raise _malformed(f"A request may contain at most {MAX_QUESTIONS} evaluations.")
    named = _object(body, "options").get("evaluations_semantic", Semantic.EXECUTE_ALL)
    if named not in tuple(Semantic):
        raise _malformed(f"options.evaluations_semantic must be one of: {', '.join(Semantic)}.")
    questions = [
        _question(item, body) if isinstance(item, dict) else unreadable("an evaluation must be an object")
        for item in items
    ]
    return Evaluations(questions, False, Semantic(named), _reasons(body))


def subject_search(body: Mapping[str, Any]) -> Search:
    """A search of subjects: `subject.id` is ignored. Raises DaypassError(MALFORMED_REQUEST)."""
    return _search({**body, "subject": {**_object(body, "subject"), "id": "*"}}, body)


def resource_search(body: Mapping[str, Any]) -> Search:
    """A search of resources: `resource.id` is ignored. Raises DaypassError(MALFORMED_REQUEST)."""
    return _search({**body, "resource": {**_object(body, "resource"), "id": "*"}}, body)


def action_search(body: Mapping[str, Any]) -> Search:
    """A search of actions: `action` is ignored. Raises DaypassError(MALFORMED_REQUEST)."""
    return _search({**body, "action": {"name": "*"}}, body)


def _search(whole: Mapping[str, Any], body: Mapping[str, Any]) -> Search:
    question = _question(whole, {})
    if isinstance(question, AccessAnswer):
        raise _malformed(question.error)
    page = _object(body, "page")
    after, limit = page.get("token", ""), page.get("limit", _USUAL_LIMIT)
    if not isinstance(after, str) or len(after) > _MAX_CURSOR:
        raise _malformed("page.token must be a string of the previous response.")
    if not isinstance(limit, int) or isinstance(limit, bool) or limit < 1:
        raise _malformed("page.limit must be a positive integer.")
    return Search(question, after, min(limit, MAX_LIMIT))


def _question(item: Mapping[str, Any], defaults: Mapping[str, Any]) -> Evaluation | AccessAnswer:
    """A question. A member of `item` replaces the default as a whole, but for a `type` or `id` that it lacks."""
    try:
        subject, resource = (_entity(item, defaults, name) for name in ("subject", "resource"))
        action = _member(item, defaults, "action")
        name = _text(action, "action", "name")
        context = item["context"] if "context" in item else defaults.get("context")
        if context is None:
            context = {}
        if not isinstance(context, dict):
            raise ValueError("context must be an object")  # noqa: TRY004  # the text is wrong, not a type
        return Evaluation(subject, name, resource, _properties(action, "action"), context)
    except ValueError as error:
        return unreadable(str(error))


def _entity(item: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> Entity:
    own, usual = _member(item, defaults, name), defaults.get(name)
    if isinstance(usual, dict):
        own = {**{key: usual[key] for key in ("type", "id") if key in usual}, **own}
    return Entity(_text(own, name, "type"), _text(own, name, "id"), _properties(own, name))


def _member(item: Mapping[str, Any], defaults: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = item[name] if name in item else defaults.get(name)
    if found is None:
        raise ValueError(f"{name} is missing")
    if not isinstance(found, dict):
        raise ValueError(f"{name} must be an object")  # noqa: TRY004  # as above
    return found


def _text(member: Mapping[str, Any], name: str, key: str) -> str:
    found = member.get(key)
    if found is None:
        raise ValueError(f"{name}.{key} is missing")
    if not isinstance(found, str) or not found:
        raise ValueError(f"{name}.{key} must be a string that is not empty")
    return found


def _properties(member: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = member.get("properties")
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise ValueError(f"{name}.properties must be an object")  # noqa: TRY004  # as above
    return found


def _object(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name)
    if found is None:
        return {}
    if not isinstance(found, dict):
        raise _malformed(f"{name} must be an object.")
    return found


def _reasons(body: Mapping[str, Any]) -> bool | None:
    found = _object(body, "options").get("reasons")
    if found is not None and not isinstance(found, bool):
        raise _malformed("options.reasons must be true or false.")
    return found


def _malformed(message: str) -> DaypassError:
    return DaypassError(ErrorKind.MALFORMED_REQUEST, message[:1].upper() + message[1:])


# --- Requests for access that was denied: they are access requests of Daypass


REQUESTS: Final = "/access/v1/requests"
CAPABILITY: Final = "urn:openid:authzen:capability:access-request"
_ERROR: Final = "urn:openid:authzen:access-request:error:"
_PROBLEMS: Final = {
    ErrorKind.INVALID_GRANT: ("invalid_denial_binding", 400),
    ErrorKind.EXPIRED_IDENTITY_TOKEN: ("expired_denial", 400),
    ErrorKind.ALREADY_EXISTS: ("duplicate_request", 409),
    ErrorKind.NOT_FOUND: ("unknown_task", 404),
    ErrorKind.ACCESS_DENIED: ("not_requestable", 403),
}
_NO_STORE: Final[Header] = (b"cache-control", b"no-store")
_PROBLEM: Final = b"application/problem+json"
_STATUS: Final = {
    RequestState.DRAFT: "pending",
    RequestState.PENDING: "pending",
    RequestState.APPROVED: "approved",
    RequestState.CLAIMED: "approved",
    RequestState.ENDED: "approved",
    RequestState.DENIED: "denied",
    RequestState.EXPIRED: "expired",
    RequestState.CANCELLED: "cancelled",
}


async def hint_of(env: Env, call: Call, asked: Evaluation) -> Mapping[str, Any]:
    """Members of the context of a denial that may be requested; {} for one that may not."""
    denial: Denial | None = await requestable(env, call, asked)
    if denial is None:
        return {}
    hint = {"endpoint": env.oauth.issuer + REQUESTS, "expires_at": iso_time(denial.expires_at)}
    return {
        "evaluation_id": denial.evaluation_id,
        "reason": "approval_required",
        "access_request": {**hint, "binding_token": denial.token},
    }


async def submit(front: Front, progress: RequestProgress, call: Call) -> tuple[int, Mapping[str, Any]]:
    """The answer to a new request: 201 when it is decided at once, otherwise 202."""
    request = progress.request
    body = body_of(request)
    if "items" in body:
        raise DaypassError(ErrorKind.VALIDATION, "items are not supported: send one request for each.")
    asked = evaluation({**body, "options": None}).questions[0]
    assert isinstance(asked, Evaluation)  # `evaluation` raises otherwise
    denial, wished = _request_member(body, "denial"), _request_member(body, "requested_access")
    wanted = await check_denial(front.env, call, str(denial.get("binding_token", "")), asked)
    reason = asked.context.get("business_justification") or asked.context.get("reason")
    new = NewRequest(
        (wanted.role,),
        reason if isinstance(reason, str) else "",
        seconds=_seconds(wished.get("requested_until"), call.now // 1000),
        beneficiary=wanted.beneficiary,
        client_token=only_value(request.headers, b"idempotency-key").decode("latin-1"),
    )
    view = await create_request(front.env, call, new)
    content = _shown(front.env, view, call.now)
    return (202 if content["task"]["status"] == "pending" else 201), content


async def follow(front: Front, progress: RequestProgress, call: Call) -> tuple[int, Mapping[str, Any]]:
    """The task of an earlier request."""
    task = progress.request.raw_path.decode("latin-1").removeprefix(f"{REQUESTS}/")
    return 200, _shown(front.env, await get_request(front.env, call, "", task[:64]), call.now)


def _shown(env: Env, view: RequestView, now: int) -> dict[str, Any]:
    request = view.request
    status = _STATUS[request.state]
    task: dict[str, Any] = {
        "id": request.id,
        "status": status,
        "status_endpoint": f"{env.oauth.issuer}{REQUESTS}/{request.id}",
    }
    if status == "pending":
        task["expires_at"] = iso_time(request.deadline // 1000)
    if status != "approved":
        return {"task": task}
    ends = [grant.ended_at or latest_end(grant, now) for grant in view.grants]
    until = iso_time(max(ends, default=now) // 1000)
    return {"task": task, "result": {"mode": "reevaluate", "approval": {"id": request.id, "approved_until": until}}}


def _request_member(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    found = body.get(name, {})
    if not isinstance(found, Mapping):
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"{name} must be an object.")
    return found


def _seconds(until: Any, now: int) -> int | None:
    """The duration up to an RFC 3339 time; None without one."""
    if until is None:
        return None
    try:
        seconds = int(datetime.fromisoformat(str(until)).timestamp()) - now
    except (ValueError, OverflowError, OSError):
        seconds = 0
    if seconds <= 0:
        raise DaypassError(ErrorKind.VALIDATION, "requested_access.requested_until must be a later time (RFC 3339).")
    return seconds


class ProblemErrors:
    """`front.ErrorFormat`: problem details (RFC 9457) with the types of the profile."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        kind = refusal.error.kind
        code, status = wire_error(kind)
        name, status = _PROBLEMS.get(kind, ("", 400 if kind.family is Family.CONFLICT else status))
        headers: tuple[Header, ...] = (_NO_STORE,)
        if not name and kind.family in UNPROVEN:
            status, headers = 401, (_NO_STORE, challenge(request, kind))
        problem = {"type": _ERROR + name if name else "about:blank", "title": code, "status": status}
        body = json.dumps({**problem, "detail": refusal.error.public, "request_id": request.request_id}).encode()
        return Response(status, body, _PROBLEM, headers, refusal.operation, code)

    def broken(self, request: Request) -> Response:
        body = json.dumps({"type": "about:blank", "status": 500, "request_id": request.request_id}).encode()
        return Response(500, body, _PROBLEM, (_NO_STORE,), code="InternalFailure")


PROBLEMS: Final = ProblemErrors()
