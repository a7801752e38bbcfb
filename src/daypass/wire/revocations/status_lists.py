"""GET /statuslists/{id}: status list tokens, public and cacheable.

Source: draft-ietf-oauth-status-list, 8 (HTTP). No answer depends on the caller.
"""

from __future__ import annotations

from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.front import Front, Progress
from daypass.wire.http import Request, Response, public_document
from daypass.wire.json_errors import JSON_ERRORS
from daypass.wire.routing import GET, Route

PATH: Final = "/statuslists/"
OPERATION: Final = "daypass:GetStatusList"
_TYPE: Final = b"application/statuslist+jwt"
_MAX_ID: Final = 64


def status_list_route(front: Front) -> Route:
    """The route of all lists."""

    async def serve(request: Request) -> Response:
        progress = Progress(request, OPERATION)
        try:
            front.anonymous(progress)
            return await _answer(front, request)
        except DaypassError as error:
            return await front.refuse(progress, error, JSON_ERRORS)

    return Route(PATH, serve, "A status list token: which access tokens are revoked", GET, JSON_ERRORS, OPERATION)


async def _answer(front: Front, request: Request) -> Response:
    list_id = request.raw_path[len(PATH) :][: _MAX_ID + 1].decode("latin-1")
    status_list = await front.env.statuses.token(list_id)
    if status_list is None:
        raise DaypassError(ErrorKind.NOT_FOUND, "This status list does not exist.")
    tag = b'"' + status_list.tag.encode("ascii") + b'"'
    return public_document(request, status_list.token.encode("ascii"), _TYPE, status_list.max_age, tag, OPERATION)
