"""The management API as an ASGI application. Import it only to build it: FastAPI is slow to import.

It is mounted at `/api/` and receives full paths. Only its description (OpenAPI and a page) is public; every other path
is a signed call. It answers only with JSON, and never with a traceback.
"""

from __future__ import annotations

from fastapi import FastAPI, Request
from fastapi.responses import HTMLResponse, Response
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException

from daypass import __version__
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.accounts.read_settings import ShownSettings
from daypass.wire.api import (
    access,
    access_requests,
    browser_sessions,
    chat,
    devices,
    docs,
    event_streams,
    installation,
    lint,
    notifications,
    oauth,
    providers,
    provisioning,
    revocations,
    roles,
    routes,
    trust,
)
from daypass.wire.api.signed_route import as_starlette, refuse
from daypass.wire.front import Front, Progress
from daypass.wire.http import REQUEST
from daypass.wire.json_errors import JSON_ERRORS

_MODULES = (
    routes,
    revocations,
    roles,
    access,
    access_requests,
    browser_sessions,
    devices,
    notifications,
    chat,
    event_streams,
    lint,
    trust,
    providers,
    provisioning,
    oauth,
    installation,
)
ROUTERS = tuple(each.router for each in _MODULES)
_DESCRIPTION = (
    "Every call is signed with AWS Signature Version 4 for the service name `daypass`, by any Daypass credentials, and "
    "authorized by policy: the action is `daypass:` and the name of the operation, the resource "
    "`arn:aws:daypass::ACCOUNT:KIND/NAME`. Times are milliseconds since the epoch, UTC."
)


def create_api(front: Front, settings: ShownSettings) -> FastAPI:
    """The application behind this front end. `settings`: of the server, without secrets."""
    app = FastAPI(
        title="Daypass management API",
        version=__version__,
        description=_DESCRIPTION,
        openapi_url="/api/v1/openapi.json",
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
    )
    app.state.front = front
    app.state.env = front.env
    app.state.settings = settings
    # Not include_router: it would build every route again for each application, at its first request, on the event loop.
    app.router.routes.extend(route for router in ROUTERS for route in router.routes)
    app.add_api_route("/api/docs", _docs, methods=["GET"], include_in_schema=False)
    app.add_exception_handler(HTTPException, _unrouted)
    app.add_exception_handler(Exception, _broken)
    return app


async def _docs(request: Request) -> HTMLResponse:
    headers = {"content-security-policy": docs.POLICY, "x-content-type-options": "nosniff"}
    return HTMLResponse(docs.page(request.app.openapi()), headers=headers)


async def _unrouted(request: Request, error: Exception) -> Response:
    """Refuses an unknown path or method. The caller is not authenticated, so it is recorded as malformed."""
    status = error.status_code if isinstance(error, HTTPException) else 404
    message = "This method is not allowed here." if status == 405 else "This path does not exist."
    refusal = DaypassError(ErrorKind.UNKNOWN_OPERATION, message)
    response = await refuse(request.app.state.front, Progress(request.scope[REQUEST]), refusal, status)
    if response.status_code == 405:
        response.headers["allow"] = ", ".join(_methods(request))
    return response


def _methods(request: Request) -> list[str]:
    """All methods of a path; a router returns only those of the first matching route."""
    path = request.scope["path"]
    every = [route for router in ROUTERS for route in router.routes]
    fitting = [route for route in every if isinstance(route, APIRoute) and route.path_regex.match(path)]
    return sorted({method for route in fitting for method in route.methods or ()})


async def _broken(request: Request, _error: Exception) -> Response:
    """The constant response. The exception is passed to the error boundary, which logs it."""
    return as_starlette(JSON_ERRORS.broken(request.scope[REQUEST]))
