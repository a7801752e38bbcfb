"""Access requests of policy enforcement points: what was denied and may be requested is requested here, and followed.

Source: AuthZEN Access Request and Approval Profile, draft 1, 9 to 11 and 16. One request is for one question; there are no
callbacks, catalogs or cancellation.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import datetime
from typing import Any, Final

from daypass.domain.access.request import latest_end
from daypass.domain.authzen import Evaluation
from daypass.domain.directory import RequestState
from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import iso_time
from daypass.operations.access.requestable import Denial, check_denial, requestable
from daypass.operations.access_requests.create import NewRequest, create_request
from daypass.operations.access_requests.read import get_request
from daypass.operations.access_requests.view import RequestView
from daypass.ports import Call, Env
from daypass.wire.access_token import UNPROVEN, challenge
from daypass.wire.authzen.requests import body_of, evaluation
from daypass.wire.front import Front, Progress, Refusal
from daypass.wire.http import Header, Request, Response, only_value
from daypass.wire.json_errors import wire_error

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


async def submit(front: Front, progress: Progress, call: Call) -> tuple[int, Mapping[str, Any]]:
    """The answer to a new request: 201 when it is decided at once, otherwise 202."""
    request = progress.request
    body = body_of(request)
    if "items" in body:
        raise DaypassError(ErrorKind.VALIDATION, "items are not supported: send one request for each.")
    asked = evaluation({**body, "options": None}).questions[0]
    assert isinstance(asked, Evaluation)  # `evaluation` raises otherwise
    denial, wished = _member(body, "denial"), _member(body, "requested_access")
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


async def follow(front: Front, progress: Progress, call: Call) -> tuple[int, Mapping[str, Any]]:
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


def _member(body: Mapping[str, Any], name: str) -> Mapping[str, Any]:
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

    def refused(self, request: Request, refusal: Refusal) -> Response:
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
