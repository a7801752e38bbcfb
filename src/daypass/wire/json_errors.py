"""Errors as JSON: for the management API, and for every path whose protocol has no error format."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from typing import Final

from daypass.domain.errors import ErrorKind as Kind
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import Header, Request, Response
from daypass.wire.service_models import aws_code

MEDIA_TYPE: Final = b"application/json"
INTERNAL_CODE: Final = "InternalFailure"
INTERNAL: Final = "The request processing has failed because of an unknown error, exception or failure."

_EXCEPTIONS: Final[Mapping[Kind, tuple[str, int]]] = {
    Kind.UNKNOWN_OPERATION: ("UnknownOperation", 404),
    Kind.MISSING_ACTION: ("UnknownOperation", 404),
    Kind.EXPIRED_IDENTITY_TOKEN: ("ExpiredToken", 400),
    Kind.POLICY_EVALUATION: ("PolicyEvaluation", 400),
    Kind.THROTTLED: ("Throttling", 429),
}


def wire_error(kind: Kind) -> tuple[str, int]:
    """Code and HTTP status. The codes are those of the AWS wire, so that clients need one table."""
    return _EXCEPTIONS.get(kind) or aws_code(kind)


def error_json(code: str, message: str, request_id: str, encoded: str = "") -> bytes:
    """The error's body. `encoded` is the encoded authorization message, if there is one."""
    error = {"code": code, "message": message, "request_id": request_id}
    if encoded:
        error["encoded_authorization_message"] = encoded
    return json.dumps({"error": error}).encode("ascii")


class JsonErrors:
    """`front.ErrorFormat`. `code_of`: code and HTTP status of a kind. `headers`: of every refusal."""

    def __init__(
        self, code_of: Callable[[Kind], tuple[str, int]] = wire_error, headers: tuple[Header, ...] = ()
    ) -> None:
        self._code_of = code_of
        self._headers = headers

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        code, status = self._code_of(refusal.error.kind)
        body = error_json(code, refusal.error.public, request.request_id, refusal.encoded)
        return Response(status, body, MEDIA_TYPE, self._headers, refusal.operation, code)

    def broken(self, request: Request) -> Response:
        body = error_json(INTERNAL_CODE, INTERNAL, request.request_id)
        return Response(500, body, MEDIA_TYPE, self._headers, code=INTERNAL_CODE)


JSON_ERRORS: Final[ErrorFormat] = JsonErrors()
