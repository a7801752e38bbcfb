"""ErrorKind to the AWS wire: code, status and the error's XML or JSON. It decides nothing else, and shows nothing but `public`."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from daypass.domain.errors import ErrorKind as Kind
from daypass.wire.aws import json
from daypass.wire.aws.json import escape
from daypass.wire.front import RecordedRefusal
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import INTERNAL, INTERNAL_CODE
from daypass.wire.service_models import aws_code

_DEFAULT_NAMESPACE: Final = "https://sts.amazonaws.com/doc/2011-06-15/"
_FAULT_NAMESPACE: Final = "http://webservices.amazon.com/AWSFault/2005-15-09"  # where no service has the operation


def error_xml(namespace: str, code: str, status: int, message: str, request_id: str, encoded: str = "") -> bytes:
    """The error as the query protocol writes it. `encoded` is the encoded authorization message, if there is one."""
    fault = "Sender" if status < 500 else "Receiver"
    more = f"<EncodedAuthorizationMessage>{escape(encoded)}</EncodedAuthorizationMessage>" if encoded else ""
    text = f"<Message>{escape(message)}</Message>" if message else ""
    return (
        f'<ErrorResponse xmlns="{namespace}"><Error><Type>{fault}</Type><Code>{code}</Code>'
        f"{text}{more}</Error><RequestId>{escape(request_id)}</RequestId></ErrorResponse>"
    ).encode()


def _with_reference(message: str, request_id: str) -> str:
    """AWS's message, and the id that `daypass explain` takes. Most tools, the AWS CLI among them, print the message alone."""
    return f"{message} (request {request_id})"


class AwsErrors:
    """`front.ErrorFormat`: XML, or JSON where the request asks for it. `namespaces`: those of the services, by name."""

    def __init__(self, namespaces: Mapping[str, str]) -> None:
        self._namespaces = namespaces

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:
        """See `front.ErrorFormat`."""
        error, operation = refusal.error, refusal.operation
        code, status = aws_code(error.kind)
        message = _with_reference(error.public, request.request_id) if refusal.encoded else error.public
        if json.is_accepted(request.headers):
            body = json.error(code, status, message, request.request_id, refusal.encoded)
            return Response(status, body, json.MEDIA_TYPE, operation=operation, code=code)
        namespace = self._namespaces.get(operation.partition(":")[0], _DEFAULT_NAMESPACE)
        if error.kind is Kind.UNKNOWN_OPERATION:
            namespace = _FAULT_NAMESPACE
        body = error_xml(namespace, code, status, message, request.request_id, refusal.encoded)
        return Response(status, body, operation=operation, code=code)

    def broken(self, request: Request) -> Response:
        """See `front.ErrorFormat`."""
        if json.is_accepted(request.headers):
            body = json.error(INTERNAL_CODE, 500, INTERNAL, request.request_id)
            return Response(500, body, json.MEDIA_TYPE, code=INTERNAL_CODE)
        body = error_xml(_DEFAULT_NAMESPACE, INTERNAL_CODE, 500, INTERNAL, request.request_id)
        return Response(500, body, code=INTERNAL_CODE)


# --- How one service's messages about broken constraints differ from another's


REPEATS_VALUES = {"sts": True, "iam": False}

PATTERN_FIRST = {"sts": True, "iam": False}  # of several constraints that one value breaks

NAMES_ENUM_VALUES = {"sts": True, "iam": False}

_NAME = "It must contain only alphanumeric characters and/or the following: +=,.@_-"
_PATH = "It must begin and end with / and contain only alphanumeric characters and/or / characters."
_PREFIX = "It must begin with the / character and contain only alphanumeric characters and/or / characters."
_DOCUMENT = "It must contain only printable ASCII characters."
_KEY_ID = "It must contain only alphanumeric characters."

# By shape: the sentence about a value that breaks nothing but the shape's pattern.
_SENTENCES: Mapping[str, Mapping[str, str]] = {
    "iam": {
        "existingUserNameType": _NAME,
        "groupNameType": _NAME,
        "instanceProfileNameType": _NAME,
        "policyNameType": _NAME,
        "roleNameType": _NAME,
        "userNameType": _NAME,
        "virtualMFADeviceName": _NAME,
        "pathType": _PATH,
        "policyPathType": _PATH,
        "pathPrefixType": _PREFIX,
        "policyDocumentType": _DOCUMENT,
        "accessKeyIdType": _KEY_ID,
    }
}

# By shape of a list's member: whether its constraints, written out, say that it may not be null.
MEMBER_NOT_NULL = frozenset({("iam", "tagKeyType")})


def sentence(service: str, shape: str, member: str) -> str | None:
    """A service's sentence about a violated pattern; None if the service shows the pattern itself."""
    text = _SENTENCES.get(service, {}).get(shape)
    return _PREFIX if text is _PATH and member == "PathPrefix" else text


def reported(members: Iterable[str]) -> list[str]:
    """Members (lower camel case) in the order in which AWS reports them: that of a Java hash map of sixteen buckets."""
    return sorted(members, key=_bucket)


def _bucket(name: str) -> int:
    code = 0
    for character in name:
        code = (31 * code + ord(character)) & 0xFFFFFFFF
    return (code ^ (code >> 16)) & 15
