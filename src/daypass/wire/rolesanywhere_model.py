"""The service model of IAM Roles Anywhere: the method and path of each operation, and the location of its parameters.

The description is read once, at first use.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any, Final, TypeAlias, assert_never
from urllib.parse import unquote_to_bytes

from daypass.domain.errors import DaypassError, ErrorKind, Family
from daypass.domain.jws import iso_time
from daypass.sigv4.canonical import query_pairs
from daypass.wire.content import json_object_of
from daypass.wire.front import ErrorFormat, RecordedRefusal
from daypass.wire.http import Request, Response
from daypass.wire.json_errors import INTERNAL
from daypass.wire.service_models import description_of

VERSION: Final = "2018-05-10"
_MAX_QUERY: Final = 100  # names in a query string


@dataclass(frozen=True, slots=True)
class RestOperation:
    """One operation as it goes over the wire."""

    name: str
    method: str
    path: tuple[str, ...]  # its segments; `{member}` is a parameter
    status: int
    input: str
    output: str
    shapes: Shapes

    def matches(self, segments: tuple[str, ...]) -> bool:
        """Whether a decoded path belongs to this operation."""
        return len(segments) == len(self.path) and all(
            pattern == given or (pattern[0] == "{" and given)
            for pattern, given in zip(self.path, segments, strict=True)
        )

    def parse(self, segments: tuple[str, ...], raw_query: bytes, body: bytes) -> Mapping[str, Any]:
        """The typed parameters of a request. Raises DaypassError: MALFORMED_REQUEST, VALIDATION."""
        members = self.shapes[self.input]["members"]
        content = json_object_of(body) if any("location" not in target for target in members.values()) else {}
        query = query_of(raw_query)
        labels = {pattern[1:-1]: text for pattern, text in zip(self.path, segments, strict=True) if pattern[0] == "{"}
        given = {name: value for name, value in content.items() if "location" not in members.get(name, {})}
        for name, target in members.items():
            place = target.get("locationName", name)
            if target.get("location") == "uri":
                given[name] = labels[place]
            elif target.get("location") == "querystring" and place in query:
                given[name] = self._from_query(target["shape"], place, query[place])
        return self.checked(given)

    def checked(self, given: Mapping[str, Any]) -> Mapping[str, Any]:
        """Typed parameters from JSON values by member. Raises DaypassError(VALIDATION)."""
        made: Mapping[str, Any] = typed(self.shapes, self.input, dict(given))
        return made

    def _from_query(self, shape: str, name: str, texts: list[str]) -> Any:
        if self.shapes[shape]["type"] == "list":
            return texts
        if len(texts) > 1:
            raise DaypassError(ErrorKind.MALFORMED_REQUEST, f"The query parameter {name} must be there once.")
        return from_text(self.shapes, shape, texts[0])

    def render(self, answer: Mapping[str, Any]) -> Any:
        """A result as a JSON value."""
        return rendered(self.shapes, self.output, answer)


class Model:
    """All operations; `find` looks them up."""

    def __init__(self, description: Mapping[str, Any]) -> None:
        shapes: Shapes = description["shapes"]
        self.operations = {
            name: RestOperation(
                name,
                found["http"]["method"],
                tuple(found["http"]["requestUri"].strip("/").split("/")),
                found["http"]["responseCode"],
                found["input"]["shape"],
                found["output"]["shape"],
                shapes,
            )
            for name, found in description["operations"].items()
        }

    def find(self, method: str, segments: tuple[str, ...]) -> RestOperation:
        """The operation of a request. Raises UNKNOWN_OPERATION."""
        for operation in self.operations.values():
            if operation.method == method and operation.matches(segments):
                return operation
        raise DaypassError(ErrorKind.UNKNOWN_OPERATION, "No operation has this method and path.")


def segments_of(raw_path: bytes) -> tuple[str, ...]:
    """The decoded segments of a path. An encoded slash does not separate segments. Raises UNKNOWN_OPERATION."""
    try:
        return tuple(unquote_to_bytes(part).decode("utf-8") for part in raw_path.removeprefix(b"/").split(b"/"))
    except UnicodeDecodeError:
        raise DaypassError(ErrorKind.UNKNOWN_OPERATION, "No operation has this method and path.") from None


def query_of(raw_query: bytes) -> dict[str, list[str]]:
    """Values of a query string by name. Raises MALFORMED_REQUEST."""
    pairs = query_pairs(raw_query)
    if len(pairs) > _MAX_QUERY:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The query string has too many parameters.")
    found: dict[str, list[str]] = {}
    try:
        for name, value in pairs:
            found.setdefault(name.decode("utf-8"), []).append(value.decode("utf-8"))
    except UnicodeDecodeError:
        raise DaypassError(ErrorKind.MALFORMED_REQUEST, "The query string is not UTF-8.") from None
    return found


@cache
def load() -> Model:
    """The model. Raises FileNotFoundError when botocore's data files are not installed."""
    return Model(description_of("rolesanywhere", VERSION))


# --- JSON to typed parameters and back, by the shapes of the service model


Shapes: TypeAlias = Mapping[str, Mapping[str, Any]]

_MAX_PROBLEMS: Final = 10
_INTEGER = re.compile(r"-?[0-9]{1,9}")
_ARN_PATTERN: Final = "arn:aws"  # patterns of ARNs backtrack; an ARN is checked where its resource is looked up
_INVALID = object()


def typed(shapes: Shapes, name: str, value: Any) -> Any:
    """`value` as the type of the shape: blobs are bytes. Raises VALIDATION with up to ten problems."""
    problems: list[str] = []
    made = _build(shapes, name, value, "", problems)
    if problems:
        plural = "s" if len(problems) != 1 else ""
        raise DaypassError(
            ErrorKind.VALIDATION, f"{len(problems)} validation error{plural} detected: {'; '.join(problems)}"
        )
    return made


def from_text(shapes: Shapes, name: str, text: str) -> Any:
    """A value of a URI or query string as its JSON equivalent."""
    kind = shapes[name]["type"]
    if kind == "integer" and _INTEGER.fullmatch(text):
        return int(text)
    if kind == "boolean" and text in ("true", "false"):
        return text == "true"
    return text


# --- Values in -------------------------------------------------------------------------------------------------------


def _build(shapes: Shapes, name: str, value: Any, path: str, problems: list[str]) -> Any:
    if len(problems) >= _MAX_PROBLEMS:
        return _INVALID
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        return _structure(shapes, shape, value, path, problems)
    if kind == "list":
        return _list(shapes, shape, value, path, problems)
    if kind == "map":
        return _map(shapes, shape, value, path, problems)
    made = _scalar(kind, value)
    if made is _INVALID:
        problems.append(_problem(path, f"Member must be of type {kind}"))
        return made
    problems.extend(_problem(path, constraint) for constraint in _broken(shape, made))
    return made


def _structure(shapes: Shapes, shape: Mapping[str, Any], value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(_problem(path, "Member must be of type structure"))
        return _INVALID
    made: dict[str, Any] = {}
    for member, target in shape["members"].items():
        below = f"{path}.{member}" if path else member
        given = value.get(member)
        if given is not None:
            made[member] = _build(shapes, target["shape"], given, below, problems)
        elif member in shape.get("required", ()):
            problems.append(_problem(below, "Member must not be null"))
    return made


def _list(shapes: Shapes, shape: Mapping[str, Any], value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, list):
        problems.append(_problem(path, "Member must be of type list"))
        return _INVALID
    problems.extend(_problem(path, constraint) for constraint in _sizes(shape, len(value)))
    if len(value) > shape.get("max", 1000):
        return _INVALID
    member = shape["member"]["shape"]
    return [_build(shapes, member, item, f"{path}.{index}.member", problems) for index, item in enumerate(value, 1)]


def _map(shapes: Shapes, shape: Mapping[str, Any], value: Any, path: str, problems: list[str]) -> Any:
    if not isinstance(value, dict):
        problems.append(_problem(path, "Member must be of type map"))
        return _INVALID
    problems.extend(_problem(path, constraint) for constraint in _sizes(shape, len(value)))
    if len(value) > shape.get("max", 1000):
        return _INVALID
    key, item = shape["key"]["shape"], shape["value"]["shape"]
    return {
        _build(shapes, key, name, path, problems): _build(shapes, item, text, path, problems)
        for name, text in value.items()
    }


def _scalar(kind: str, value: Any) -> Any:
    if kind == "string" and isinstance(value, str):
        return value
    if kind == "boolean" and isinstance(value, bool):
        return value
    if kind == "integer" and isinstance(value, int) and not isinstance(value, bool):
        return value
    if kind == "blob" and isinstance(value, str):
        try:
            return base64.b64decode(value.encode("ascii"), validate=True)
        except (ValueError, binascii.Error):
            return _INVALID
    return _INVALID


def _broken(shape: Mapping[str, Any], value: Any) -> Iterator[str]:
    if isinstance(value, bool):
        return
    if "enum" in shape:
        if value not in shape["enum"]:
            yield f"Member must satisfy enum value set: [{', '.join(shape['enum'])}]"
        return
    if isinstance(value, int):
        yield from _sizes(shape, value, "value")
        return
    yield from _sizes(shape, len(value))
    pattern = shape.get("pattern", "")
    fits = len(value) <= shape.get("max", 1 << 20)
    if pattern and _ARN_PATTERN not in pattern and fits and not _matcher(pattern).fullmatch(value):
        yield f"Member must satisfy regular expression pattern: {pattern}"


def _sizes(shape: Mapping[str, Any], size: int, what: str = "length") -> Iterator[str]:
    if size < shape.get("min", size):
        yield f"Member must have {what} greater than or equal to {shape['min']}"
    if size > shape.get("max", size):
        yield f"Member must have {what} less than or equal to {shape['max']}"


@lru_cache(maxsize=64)
def _matcher(pattern: str) -> re.Pattern[str]:
    return re.compile(pattern, re.ASCII)


def _problem(path: str, constraint: str) -> str:
    return f"Value at '{path}' failed to satisfy constraint: {constraint}"


# --- Values out ------------------------------------------------------------------------------------------------------


def rendered(shapes: Shapes, name: str, value: Any) -> Any:
    """A result (times in ms, blobs as bytes) as JSON has it. Members that the model does not know are a KeyError."""
    shape = shapes[name]
    kind = shape["type"]
    if kind == "structure":
        return {member: rendered(shapes, shape["members"][member]["shape"], item) for member, item in value.items()}
    if kind == "list":
        return [rendered(shapes, shape["member"]["shape"], item) for item in value]
    if kind == "timestamp":
        return iso_time(value // 1000)
    if kind == "blob":
        return base64.b64encode(value).decode("ascii")
    return value


# --- ErrorKind to the wire of IAM Roles Anywhere: code, status and the error's JSON


INTERNAL_CODE = "InternalServerException"


_EXCEPTIONS: Final[Mapping[ErrorKind, tuple[str, int]]] = {
    ErrorKind.UNKNOWN_OPERATION: ("UnknownOperationException", 404),
    ErrorKind.MISSING_ACTION: ("UnknownOperationException", 404),
    ErrorKind.UNSUPPORTED_OPERATION: ("UnknownOperationException", 400),
    ErrorKind.REQUEST_TOO_LARGE: ("RequestEntityTooLargeException", 413),
    ErrorKind.HEADERS_TOO_LARGE: ("RequestHeaderSectionTooLargeException", 431),
    ErrorKind.MISSING_CREDENTIALS: ("MissingAuthenticationTokenException", 403),
    ErrorKind.INCOMPLETE_SIGNATURE: ("IncompleteSignatureException", 403),
    ErrorKind.SIGNATURE_MISMATCH: ("InvalidSignatureException", 403),
    ErrorKind.EXPIRED_CREDENTIALS: ("ExpiredTokenException", 403),
    ErrorKind.EXPIRED_IDENTITY_TOKEN: ("ExpiredTokenException", 403),
    ErrorKind.NOT_FOUND: ("ResourceNotFoundException", 404),
    ErrorKind.LIMIT_EXCEEDED: ("TooManyTagsException", 400),
    ErrorKind.POLICY_EVALUATION: (INTERNAL_CODE, 500),
}


def wire_error(kind: ErrorKind) -> tuple[str, int]:
    """Code and HTTP status. A kind without an error of the service becomes a ValidationException, as AWS does."""
    return _EXCEPTIONS.get(kind) or _of_family(kind.family)


def _of_family(family: Family) -> tuple[str, int]:
    match family:
        case Family.REQUEST | Family.CONTENT | Family.ABSENT | Family.CONFLICT:
            return "ValidationException", 400
        case Family.CREDENTIALS:
            return "UnrecognizedClientException", 403
        case Family.DENIED | Family.PROOF | Family.UPSTREAM:
            return "AccessDeniedException", 403
        case Family.THROTTLED:
            return "ThrottlingException", 429
        case Family.UNAVAILABLE:
            return "ServiceUnavailableException", 503
        case _:
            assert_never(family)


def json_response(status: int, body: object, operation: str, code: str = "") -> Response:
    """A JSON response; `code` is the error code, which the protocol puts in a header."""
    headers = ((b"x-amzn-errortype", code.encode("ascii")),) if code else ()
    return Response(status, json.dumps(body).encode("ascii"), b"application/json", headers, operation, code)


class RolesAnywhereErrors:
    """`front.ErrorFormat`."""

    def refused(self, request: Request, refusal: RecordedRefusal) -> Response:  # noqa: ARG002  # the answer does not depend on it
        code, status = wire_error(refusal.error.kind)
        body = {"message": refusal.error.public}
        if refusal.encoded:
            body["encodedAuthorizationMessage"] = refusal.encoded
        return json_response(status, body, refusal.operation, code)

    def broken(self, request: Request) -> Response:  # noqa: ARG002  # it is constant
        return json_response(500, {"message": INTERNAL}, "", INTERNAL_CODE)


ERRORS: Final[ErrorFormat] = RolesAnywhereErrors()
