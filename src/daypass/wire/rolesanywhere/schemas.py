"""JSON to typed parameters and back, by the shapes of the service model. It accepts only what the model defines.

Unknown members are ignored, as AWS does; nulls count as absent. Every problem names its member and constraint in AWS's
words; values are not repeated.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from functools import lru_cache
from typing import Any, Final, TypeAlias

from daypass.domain.encoding import iso_time
from daypass.domain.errors import DaypassError, ErrorKind

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
