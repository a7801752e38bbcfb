"""The paths of IAM Roles Anywhere."""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError
from daypass.operations.crud.engine import perform
from daypass.operations.crud.operation import recordable
from daypass.operations.rolesanywhere.create_session import SIGNING_NAME
from daypass.operations.rolesanywhere.table import OPERATIONS, ROLES_ANYWHERE
from daypass.wire.front import Front, Progress, target_of
from daypass.wire.http import Request, Response
from daypass.wire.rolesanywhere.model import ERRORS, json_response, load, segments_of
from daypass.wire.rolesanywhere.sessions import OPERATION, SessionsEndpoint
from daypass.wire.routing import POST, Route


def rolesanywhere_routes(front: Front, certificate_header: str = "") -> tuple[Route, ...]:
    """Every path with its handler. The service model determines the methods. `certificate_header`: see
    SessionsEndpoint.
    """
    endpoint, sessions = RolesAnywhereEndpoint(front), SessionsEndpoint(front, certificate_header)
    summary = "IAM Roles Anywhere, by its service model"
    return (
        Route("/sessions", sessions, "IAM Roles Anywhere: CreateSession", POST, ERRORS, OPERATION),
        *(Route(path, endpoint, summary, frozenset(), ERRORS) for path in PATHS),
    )


# --- One request of the REST wire to an operation and back: find, authenticate, parse, run, answer


PATHS: Final = (
    "/trustanchors",
    "/trustanchor/",
    "/profiles",
    "/profiles/",
    "/profile/",
    "/crls",
    "/crl/",
    "/subjects",
    "/subject/",
    "/TagResource",
    "/UntagResource",
    "/ListTagsForResource",
    "/put-notifications-settings",
    "/reset-notifications-settings",
)
"""The paths of the service model. One that ends with "/" is followed by an id."""

_TOKENS: Final = 5.0  # that a call costs, relative to an STS request


class RolesAnywhereEndpoint:
    """The wire of the operations that the service model describes: call it with a request."""

    def __init__(self, front: Front) -> None:
        self._front = front

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        progress = Progress(request, detail={**target_of(request), "parameters": {}})
        try:
            return await self._serve(progress)
        except DaypassError as error:
            return await self._front.refuse(progress, error, ERRORS)

    async def _serve(self, progress: Progress) -> Response:
        request = progress.request
        segments = segments_of(request.raw_path)
        operation = load().find(request.method, segments)
        progress.operation = f"{SIGNING_NAME}:{operation.name}"
        call = await self._front.authenticated(progress, (SIGNING_NAME,), _TOKENS)
        params = operation.parse(segments, request.raw_query, request.body)
        progress.detail = {**target_of(request), "parameters": recordable(params)}
        answer = await perform(self._front.env, call, ROLES_ANYWHERE, OPERATIONS[operation.name], params)
        return json_response(operation.status, operation.render(answer), progress.operation)
