"""Results as the query protocol's XML: one closure for each shape, compiled once. It never emits what XML 1.0 forbids.

Source: Smithy 2.0, "AWS query protocol", response serialization.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from typing import Any, TypeAlias

Shapes: TypeAlias = Mapping[str, Mapping[str, Any]]
Render: TypeAlias = Callable[[Any], str]

# Carriage returns would come back as line feeds, and the rest of the last group is not XML at all.
_SPECIAL = re.compile('[&<>"\r\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]')
_PLAIN = bytes(set(range(0x20, 0x7F)) - set(b'&<>"'))
_MOST_PLANS = 64  # sorts of results of one shape that are remembered
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}


def _entity(match: re.Match[str]) -> str:
    return _ENTITIES.get(match[0], "\ufffd")


def escape(text: str) -> str:
    """Text for element content. What XML 1.0 cannot carry becomes U+FFFD."""
    if text.isascii() and not text.encode("ascii").translate(None, _PLAIN):
        return text  # deleting what is plain leaves nothing: a search for what is not costs ten times as much
    return _SPECIAL.sub(_entity, text)


def format_timestamp(ms: int) -> str:
    """Milliseconds since the epoch as ISO-8601 in seconds, UTC: what AWS's query services answer."""
    return _iso(ms // 1000)


@lru_cache(maxsize=1024)
def _iso(seconds: int) -> str:
    year, month, day, hour, minute, second = time.gmtime(seconds)[:6]
    return f"{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}Z"


def _boolean(value: Any) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise TypeError(f"a boolean member holds {type(value).__name__}")


def _blob(value: bytes) -> str:
    return base64.b64encode(value).decode("ascii")


_SCALARS: dict[str, Render] = {
    "string": escape,
    "integer": lambda value: str(int(value)),
    "long": lambda value: str(int(value)),
    "boolean": _boolean,
    "timestamp": format_timestamp,
    "blob": _blob,
}


def compile_shape(shapes: Shapes, name: str) -> Render:
    """The serializer of a shape: value to element content.

    Structures are mappings by member name; members that are absent or None are left out. Times are milliseconds.
    It raises on a member that the model does not have: that is a mistake here, never a caller's.
    """
    return _compile(shapes, name, {})


def _compile(shapes: Shapes, name: str, done: dict[str, Render]) -> Render:
    """`done` ties the knot of shapes that contain themselves."""
    if name in done:
        return done[name]
    shape = shapes[name]
    kind = shape["type"]
    if kind in _SCALARS:
        return _SCALARS[kind]
    done[name] = lambda value: done[name](value)  # noqa: PLW0108  # bound late
    make = {"structure": _structure, "list": _list, "map": _map}[kind]
    done[name] = make(shapes, shape, done)
    return done[name]


def _structure(shapes: Shapes, shape: Mapping[str, Any], done: dict[str, Render]) -> Render:
    plan = [(n, f"<{n}>", _compile(shapes, m["shape"], done), f"</{n}>") for n, m in shape["members"].items()]
    names = frozenset(shape["members"])
    plans: dict[
        tuple[str, ...], list[tuple[str, str, Render, str]]
    ] = {}  # by the members that are there: few sorts are

    def render(value: Mapping[str, Any]) -> str:
        present = tuple(value)
        chosen = plans.get(present)
        if chosen is None:
            if not names.issuperset(value):
                raise ValueError(f"the model has no members {sorted(set(value) - names)}")
            chosen = [step for step in plan if step[0] in value]
            if len(plans) < _MOST_PLANS:
                plans[present] = chosen
        parts: list[str] = []
        for name, start, inner, end in chosen:
            item = value[name]
            if item is not None:
                parts += (start, inner(item), end)
        return "".join(parts)

    return render


def _list(shapes: Shapes, shape: Mapping[str, Any], done: dict[str, Render]) -> Render:
    inner = _compile(shapes, shape["member"]["shape"], done)
    return lambda value: "".join([f"<member>{inner(item)}</member>" for item in value])


def _map(shapes: Shapes, shape: Mapping[str, Any], done: dict[str, Render]) -> Render:
    inner = _compile(shapes, shape["value"]["shape"], done)
    return lambda value: "".join(
        [f"<entry><key>{escape(key)}</key><value>{inner(item)}</value></entry>" for key, item in value.items()]
    )


def compile_result(
    shapes: Shapes, namespace: str, operation: Mapping[str, Any]
) -> Callable[[Mapping[str, Any], str], bytes]:
    """The serializer of an operation's whole answer: result and request id to the document's bytes."""
    name = operation["name"]
    start, end = f'<{name}Response xmlns="{namespace}">', f"</RequestId></ResponseMetadata></{name}Response>"
    output = operation.get("output")
    if output is None:
        return lambda _, request_id: f"{start}<ResponseMetadata><RequestId>{escape(request_id)}{end}".encode()
    inner = compile_shape(shapes, output["shape"])
    wrapper = output.get("resultWrapper", f"{name}Result")
    start += f"<{wrapper}>"
    middle = f"</{wrapper}><ResponseMetadata><RequestId>"
    return lambda result, request_id: f"{start}{inner(result)}{middle}{escape(request_id)}{end}".encode()
