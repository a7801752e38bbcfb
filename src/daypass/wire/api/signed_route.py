"""Serves every call of the management API: it verifies the signature, runs the operation and records refusals.

A route is only ever reached through `SignedRoute`: every call is signed, and nothing of the body is
interpreted before the signature over it has been verified.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, Final

from fastapi import HTTPException, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException as StarletteHTTPException

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire import http
from daypass.wire.content import json_of
from daypass.wire.form import pairs_of, unique
from daypass.wire.front import Front, Progress, target_of
from daypass.wire.json_errors import JSON_ERRORS

SERVICE = "daypass"
MAX_BODY = 262_144
MAX_VALUES: Final = 6_000
"""Of a body, nested ones too. Each may be a fault of its own. The cursor of a tail has 5,000."""
_TOKENS = 10.0  # that a call costs, relative to an STS request
_MAX_SHOWN = 5  # faults of one request in its error message
_MAX_FIELDS: Final = 1_000
_MAX_QUERY: Final = 20  # parameters of a query on the record

Handler = Callable[[Request], Awaitable[Response]]


class SignedRoute(APIRoute):
    """A route whose name is its action's: `CreateAccount` is authorized as daypass:CreateAccount."""

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self.summary = self.name  # FastAPI's own would be `Createaccount`

    def get_route_handler(self) -> Callable[[Request], Any]:
        """FastAPI's handler, called after the signature is verified."""
        handler: Handler = super().get_route_handler()
        name = f"{SERVICE}:{self.name}"

        async def signed(request: Request) -> Response:
            return await serve_signed(request, name, handler)

        return signed


async def serve_signed(request: Request, operation: str, handler: Handler) -> Response:
    """Authenticates, runs `handler`, and answers in the API's form. Unexpected exceptions go up.

    No variable keeps an error: with its traceback it would be a cycle of a hundred objects for each refusal, and a flood of
    these held up all others while the collector ran (attack A432).
    """
    front: Front = request.app.state.front
    given: http.Request = request.scope[http.REQUEST]
    progress, body = Progress(given, operation), given.body
    try:
        if len(body) > MAX_BODY:
            raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {MAX_BODY} bytes.")
        request.state.call = await front.authenticated(progress, (SERVICE,), _TOKENS)
        json_of(body, MAX_VALUES)
        unique(pairs_of(given.raw_query, _MAX_FIELDS))  # FastAPI reads whatever there is, and of two values the last
        return await handler(request)
    except DaypassError as error:
        return await refuse(front, progress, error)
    except RequestValidationError as error:
        return await refuse(front, progress, _invalid(error.with_traceback(None)))  # FastAPI's function keeps it
    except (HTTPException, StarletteHTTPException) as error:
        return await refuse(front, progress, DaypassError(ErrorKind.MALFORMED_REQUEST, str(error.detail)))


async def refuse(front: Front, progress: Progress, error: DaypassError, status: int = 0) -> Response:
    """Records and answers a refusal. `status`: see `Front.refuse`."""
    progress.detail = {**target_of(progress.request), "query": _query(progress.request)}
    return as_starlette(await front.refuse(progress, error, JSON_ERRORS, status=status))


def as_starlette(answer: http.Response) -> Response:
    """An answer as Starlette has it."""
    headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in answer.headers}
    return Response(answer.body, answer.status, headers, media_type=answer.content_type.decode("ascii"))


def _query(request: http.Request) -> dict[str, str]:
    """The parameters for the record; none when they are not well-formed."""
    try:
        pairs = pairs_of(request.raw_query, _MAX_FIELDS)
    except DaypassError:
        return {}
    return {name[:64]: _recorded(name, value) for name, value in pairs[:_MAX_QUERY]}


def _recorded(name: str, value: str) -> str:
    """A query parameter for the record. Those of a presigned request hold a session token and a signature (A100)."""
    return "***" if name.lower().startswith("x-amz-") else value[:512]


def _invalid(error: RequestValidationError) -> DaypassError:
    """The first few faults, each with its member and rule. What was sent is not repeated."""
    faults = error.errors()
    shown = [f"{'.'.join(str(part)[:64] for part in fault['loc'])}: {fault['msg']}" for fault in faults[:_MAX_SHOWN]]
    return DaypassError(ErrorKind.VALIDATION, "; ".join(shown)[:1024])
