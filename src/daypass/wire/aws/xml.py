"""Results as the query protocol's XML: one closure for each shape, compiled once. It never emits what XML 1.0 forbids.

Source: Smithy 2.0, "AWS query protocol", response serialization.
"""

from __future__ import annotations

import base64
import re
import time
from collections.abc import Callable, Mapping
from functools import lru_cache
from operator import call
from typing import Any, NamedTuple, TypeAlias

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
    return text if _is_plain(text) else _SPECIAL.sub(_entity, text)


def _is_plain(text: str) -> bool:
    """Nothing is to be escaped: deleting what is plain leaves nothing. To search for what is not costs ten times as much."""
    return text.isascii() and not text.encode("ascii").translate(None, _PLAIN)


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


class _Plan(NamedTuple):
    """How to render a structure that has certain members, in the model's order."""

    template: str
    names: tuple[str, ...]
    renders: tuple[Render, ...]
    plain: tuple[Render, ...]  # the same where no text needs to be escaped
    texts: tuple[str, ...]  # those of the names


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
    members: dict[str, Render] = {name: _compile(shapes, m["shape"], done) for name, m in shape["members"].items()}
    plans: dict[tuple[str, ...], _Plan] = {}  # by the members that are there: few sorts are

    def render(value: Mapping[str, Any]) -> str:
        if None in value.values():
            value = {name: item for name, item in value.items() if item is not None}
        present = tuple(value)
        plan = plans.get(present)
        if plan is None:
            plan = _plan(members, present)
            if len(plans) < _MOST_PLANS:
                plans[present] = plan
        at = value.__getitem__
        renders = plan.plain if _is_plain("".join(map(at, plan.texts))) else plan.renders  # all texts at once
        return plan.template % tuple(map(call, renders, map(at, plan.names)))

    return render


def _plan(members: Mapping[str, Render], present: tuple[str, ...]) -> _Plan:
    if not members.keys() >= set(present):
        raise ValueError(f"the model has no members {sorted(set(present) - members.keys())}")
    names = tuple([name for name in members if name in present])
    renders = tuple([members[name] for name in names])
    return _Plan(
        "".join([f"<{name}>%s</{name}>" for name in names]),
        names,
        renders,
        tuple([str if render is escape else render for render in renders]),
        tuple([name for name in names if members[name] is escape]),
    )


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
