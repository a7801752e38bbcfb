"""The common part of the endpoints of event streams: authentication, the body, and refusals. Nothing here decides."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.assume.request import commit_once
from daypass.operations.outcome import served
from daypass.ports import Call, Env
from daypass.wire.access_token import UNPROVEN, authenticated_by_any, challenge, with_nonce
from daypass.wire.content import json_object_of
from daypass.wire.front import Front, Progress
from daypass.wire.http import Header, Request, Response
from daypass.wire.json_errors import JSON_ERRORS

JSON: Final = b"application/json"
MAX_BODY: Final = 65_536
_SERVICE: Final = "daypass"
_TOKENS: Final = 10.0  # that a call costs, relative to an STS request
_NO_STORE: Final[tuple[Header, ...]] = ((b"cache-control", b"no-store"), (b"x-content-type-options", b"nosniff"))


@dataclass(frozen=True, slots=True)
class EndpointContext:
    """One authenticated request. `body`: the members of its JSON object."""

    env: Env
    call: Call
    request: Request
    body: dict[str, Any]

    def text(self, name: str, default: str | None = None) -> str:
        """A member that is a string. Raises DaypassError(VALIDATION)."""
        value = self.body.get(name, default)
        if not isinstance(value, str):
            raise DaypassError(ErrorKind.VALIDATION, f"The member {name} must be a string.")
        return value


Serve: TypeAlias = Callable[[EndpointContext], Awaitable[Response]]


class SsfEndpoint:
    """The handler of one path.

    Args:
        operations: the operation of each method, as the record names it, and the function that serves it.
        certificate_header: the header in which trusted proxies forward a client's certificate, "" for none.
    """

    def __init__(self, front: Front, operations: dict[str, tuple[str, Serve]], certificate_header: str) -> None:
        self._front = front
        self._operations = operations
        self._certificate_header = certificate_header.lower()

    async def __call__(self, request: Request) -> Response:
        """The answer. Anything but a DaypassError goes up to the error boundary."""
        env = self._front.env
        if not env.oauth.enabled:
            raise DaypassError(ErrorKind.NOT_FOUND, "Event streams are off: server.public_url is not set.")
        name, serve = self._operations[request.method]
        progress = Progress(request, f"{_SERVICE}:{name}")
        try:
            response = await serve(await self._context(progress))
        except DaypassError as error:
            unproven = error.kind.family in UNPROVEN
            response = await self._front.refuse(progress, error, JSON_ERRORS, status=401 if unproven else 0)
            if response.status == 401:
                response = replace(response, headers=(*response.headers, challenge(request, error.kind)))
        return with_nonce(env, progress, replace(response, operation=progress.operation))

    async def _context(self, progress: Progress) -> EndpointContext:
        request, env = progress.request, self._front.env
        if len(request.body) > MAX_BODY:
            raise DaypassError(ErrorKind.REQUEST_TOO_LARGE, f"The request body is over {MAX_BODY} bytes.")
        call = await authenticated_by_any(self._front, progress, (_SERVICE,), _TOKENS, self._certificate_header)
        if progress.replays:  # most operations are reads, so the proof is consumed by itself
            await commit_once(env, served(call, detail={"proof": "consumed"}), progress.replays)
            progress.replays = ()
        return EndpointContext(env, call, request, json_object_of(request.body))


def answer(content: Any, status: int = 200) -> Response:
    """A served request, with JSON."""
    return Response(status, json.dumps(content).encode("ascii"), JSON, _NO_STORE)


def empty(status: int = 204) -> Response:
    """A served request without content."""
    return Response(status, b"", JSON, _NO_STORE)
