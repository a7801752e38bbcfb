"""The management API as an ASGI application. Import it only to build it: FastAPI is slow to import.

It is mounted at `/api/` and sees whole paths. Only its description (OpenAPI and a page) is open to all; every other path
is a signed call. It never answers with anything but JSON, and never with a traceback.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from daypass import __version__
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.ports import Env
from daypass.wire.api import access, docs, lint, providers, roles, routes, trust
from daypass.wire.api.errors import internal_failure_json
from daypass.wire.api.gate import facts_of, refuse

_ROUTERS = tuple(each.router for each in (routes, roles, access, lint, trust, providers))
_DESCRIPTION = (
    "Every call is signed with AWS Signature Version 4 for the service name `daypass`, by any Daypass credentials, and "
    "authorized by policy: the action is `daypass:` and the name of the operation, the resource "
    "`arn:aws:daypass::ACCOUNT:KIND/NAME`. Times are milliseconds since the epoch, UTC."
)


def create_api(env: Env) -> FastAPI:
    """The application over these ports."""
    app = FastAPI(
        title="Daypass management API",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        generate_unique_id_function=_operation_id,
    )
    app.state.env = env
    for router in _ROUTERS:
        app.include_router(router)
    app.add_api_route("/api/docs", _docs, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Exception, _broken)
    return app


def _operation_id(route: APIRoute) -> str:
    return "".join(word.title() for word in route.endpoint.__name__.split("_"))


async def _docs(request: Request) -> HTMLResponse:
    headers = {"content-security-policy": docs.POLICY, "x-content-type-options": "nosniff"}
    return HTMLResponse(docs.page(request.app.openapi()), headers=headers)


async def _unrouted(request: Request, error: Exception) -> Response:
    """No such path, or not by this method. Nobody has proved anything: it is recorded as malformed."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = "This method is not allowed here." if status == 405 else "There is no such path."
    refusal = DaypassError(ErrorKind.UNKNOWN_OPERATION, message)
    response = await refuse(request, facts_of(request, ""), None, refusal, status)
    if status == 405:
        response.headers["allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """All methods of a path; a router knows those of the first route that fits it alone."""
    path = request.scope["path"]
    every = [route for router in _ROUTERS for route in router.routes]
    fitting = [route for route in every if isinstance(route, APIRoute) and route.path_regex.match(path)]
    return sorted({method for route in fitting for method in route.methods or ()})


async def _broken(request: Request, _error: Exception) -> Response:
    """The constant answer; the exception goes on to the error boundary, which logs it."""
    request_id = str(request.scope.get("daypass.request_id", ""))
    return Response(internal_failure_json(request_id), 500, media_type="application/json")
