"""The service model of IAM Roles Anywhere: the method and path of each operation, and the location of its parameters.

The description is read once, at first use.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from functools import cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.sigv4.canonical import query_pairs
from daypass.wire.content import json_object_of
from daypass.wire.rolesanywhere.schemas import Shapes, from_text, rendered, typed
from daypass.wire.service_models import description_of

VERSION: Final = "2018-05-10"
_MAX_QUERY: Final = 100  # names in a query string


@dataclass(frozen=True, slots=True)
class Operation:
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
            name: Operation(
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

    def find(self, method: str, segments: tuple[str, ...]) -> Operation:
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
