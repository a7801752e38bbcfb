"""Results and errors of the query protocol: XML, and JSON where a request asks for it.

The request is the same. AWS does not document this form; clients such as aws-iam-authenticator rely on it. An answer has the
shape of the XML: `{"GetCallerIdentityResponse": {"GetCallerIdentityResult": {…}, "ResponseMetadata": {…}}}`. Lists are arrays,
maps are objects, times are seconds since the epoch, blobs are base64.

Unlike AWS, characters that could be markup are escaped. So a caller who controls a value of the response (such as the
subject of a token) cannot embed a response that a lenient XML reader would accept.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, TypeAlias

from daypass.domain.jws import iso_time
from daypass.wire.http import accepted

MEDIA_TYPE = b"application/json"
_XML_TYPES = (b"text/xml", b"application/xml")
_MARKUP = (("<", "\\u003c"), (">", "\\u003e"), ("&", "\\u0026"))


def is_accepted(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether the Accept headers ask for JSON: they name `application/json`, and no type of XML with the same or a
    higher quality.

    Wildcards do not count, because every HTTP client sends them. Source: RFC 9110, section 12.5.1.
    """
    qualities = accepted(headers)
    if not qualities:
        return False
    best = qualities.get(MEDIA_TYPE, 0.0)
    return best > max(qualities.get(media_type, 0.0) for media_type in _XML_TYPES)


def result(shapes: Shapes, operation: Mapping[str, Any], answer: Mapping[str, Any], request_id: str) -> bytes:
    """An operation's whole answer. `answer` is by the model's member names; raises ValueError for any other."""
    name, output = operation["name"], operation.get("output")
    response: dict[str, Any] = {}
    if output is not None:
        response[output.get("resultWrapper", f"{name}Result")] = _plain(shapes, output["shape"], answer)
    response["ResponseMetadata"] = {"RequestId": request_id}
    return _encoded({f"{name}Response": response})


def error(code: str, status: int, message: str, request_id: str, encoded: str = "") -> bytes:
    """An error. `encoded` is the encoded authorization message, if there is one."""
    error = {"Code": code, "Message": message, "Type": "Sender" if status < 500 else "Receiver"}
    if encoded:
        error["EncodedAuthorizationMessage"] = encoded
    return _encoded({"Error": error, "RequestId": request_id})


def _encoded(document: Mapping[str, Any]) -> bytes:
    text = json.dumps(document, separators=(",", ":"))
    for special, escaped in _MARKUP:  # `str.translate` takes twenty times as long for a large answer
        text = text.replace(special, escaped)
    return text.encode("ascii")


def _plain(shapes: Shapes, name: str, value: Any) -> Any:
    """A value of a shape as JSON has it. Members that are None are left out."""
    shape = shapes[name]
    match shape["type"]:
        case "structure":
            members = shape["members"]
            if unknown := set(value) - set(members):
                raise ValueError(f"the model has no members {sorted(unknown)}")
            return {n: _plain(shapes, members[n]["shape"], value[n]) for n in sorted(value) if value[n] is not None}
        case "list":
            return [_plain(shapes, shape["member"]["shape"], item) for item in value]
        case "map":
            return {key: _plain(shapes, shape["value"]["shape"], item) for key, item in value.items()}
        case "timestamp":
            return value // 1000
        case "blob":
            return base64.b64encode(value).decode("ascii")
        case _:
            return value


# --- The DecodedMessage of DecodeAuthorizationMessage, from the explanation of a decision


def decoded_message(explanation: Mapping[str, Any]) -> str:
    """The JSON text that AWS documents, with the whole explanation beside its members."""
    return json.dumps(_members(explanation), separators=(",", ":"), ensure_ascii=True)


def _members(explanation: Mapping[str, Any]) -> dict[str, Any]:
    """The members that AWS's decoded message has, and beside them the whole explanation.

    Condition keys are those that the relevant statements evaluated, with the values of the request.
    """
    statements = [found for layer in explanation.get("layers", ()) for found in layer["statements"]]
    looked_at = {
        condition["key"]: condition["found"]
        for statement in statements
        for condition in statement["conditions"]
        if condition["found"] is not None
    }
    return {
        "allowed": bool(explanation.get("allowed")),
        "explicitDeny": bool(explanation.get("explicit")),
        "matchedStatements": _items(
            {"statementId": found["sid"], "effect": found["effect"].upper(), "policy": found["policy"]}
            for found in explanation.get("determining", ())
        ),
        "failures": _items(()),
        "context": {
            "principal": {"arn": explanation.get("principal", "")},
            "action": explanation.get("action", ""),
            "resource": explanation.get("resource", ""),
            "conditions": _items(
                {"key": key, "values": _items({"value": value} for value in _values(found))}
                for key, found in sorted(looked_at.items())
            ),
        },
        "explanation": explanation,
    }


def _items(values: Iterable[Any]) -> dict[str, list[Any]]:
    return {"items": list(values)}


def _values(found: str | list[str]) -> list[str]:
    return [found] if isinstance(found, str) else found


# --- Results as the query protocol's XML: one closure for each shape, compiled once


Shapes: TypeAlias = Mapping[str, Mapping[str, Any]]
Render: TypeAlias = Callable[[Any, list[str]], str]  # of a value; the list collects the unescaped texts

_NO_XML = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\ud800-\udfff\ufffe\uffff]")
_PLAIN = bytes(set(range(0x20, 0x7F)) - set(b'&<>"'))
_MOST_PLANS = 64  # cached combinations of members of one shape
_ENTITIES = {"&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "\r": "&#xD;"}
"""The first one first. Carriage returns would come back as line feeds."""


def escape(text: str) -> str:
    """Text for element content. What XML 1.0 cannot carry becomes U+FFFD. A call for each character to escape would take
    40 ms for the descriptions of 250 roles (attack A231).
    """
    if _is_plain(text):
        return text
    for special, entity in _ENTITIES.items():
        text = text.replace(special, entity)
    return _NO_XML.sub("\ufffd", text)


def _is_plain(text: str) -> bool:
    """Whether nothing needs escaping: deleting all plain characters leaves nothing. Searching for other characters
    costs ten times as much.
    """
    return text.isascii() and not text.encode("ascii").translate(None, _PLAIN)


def _boolean(value: Any, _: list[str]) -> str:
    if value is True:
        return "true"
    if value is False:
        return "false"
    raise TypeError(f"a boolean member holds {type(value).__name__}")


def _integer(value: Any, _: list[str]) -> str:
    return str(int(value))


def _without_escape(text: str, texts: list[str]) -> str:
    texts.append(text)
    return text


def _escaped(text: str, _: list[str]) -> str:
    return escape(text)


_SCALARS: dict[str, Render] = {
    "integer": _integer,
    "long": _integer,
    "boolean": _boolean,
    "timestamp": lambda value, _: iso_time(value // 1000),
    "blob": lambda value, _: base64.b64encode(value).decode("ascii"),
}


class _Compiler:
    """Makes the serializers of shapes: value to element content.

    Structures are mappings by member name; members that are absent or None are left out. Times are milliseconds.
    They raise for a member that the model does not have, because that is a bug here, never a caller's fault.
    """

    def __init__(self, shapes: Shapes, text: Render) -> None:
        self._shapes = shapes
        self._text = text
        self._done: dict[str, Render] = {}

    def compile(self, name: str) -> Render:
        """The serializer of this shape."""
        shape = self._shapes[name]
        kind = shape["type"]
        if kind == "string":
            return self._text
        if kind in _SCALARS:
            return _SCALARS[kind]
        done = self._done
        if name not in done:
            done[name] = lambda value, texts: done[name](value, texts)  # noqa: PLW0108  # bound late, for shapes that contain themselves
            make = {"structure": self._structure, "list": self._list, "map": self._map}[kind]
            done[name] = make(shape)
        return done[name]

    def _structure(self, shape: Mapping[str, Any]) -> Render:
        plan = [(n, f"<{n}>", self.compile(m["shape"]), f"</{n}>") for n, m in shape["members"].items()]
        names = frozenset(shape["members"])
        # By the members that are present: there are few combinations.
        plans: dict[tuple[str, ...], list[tuple[str, str, Render, str]]] = {}

        def render(value: Mapping[str, Any], texts: list[str]) -> str:
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
                if item is None:
                    continue
                if inner is _without_escape:  # most members; a call for each would cost as much as the rest
                    texts.append(item)
                    parts += (start, item, end)
                else:
                    parts += (start, inner(item, texts), end)
            return "".join(parts)

        return render

    def _list(self, shape: Mapping[str, Any]) -> Render:
        inner = self.compile(shape["member"]["shape"])
        return lambda value, texts: "".join([f"<member>{inner(item, texts)}</member>" for item in value])

    def _map(self, shape: Mapping[str, Any]) -> Render:
        text, inner = self._text, self.compile(shape["value"]["shape"])
        return lambda value, texts: "".join(
            [
                f"<entry><key>{text(key, texts)}</key><value>{inner(item, texts)}</value></entry>"
                for key, item in value.items()
            ]
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
    shape = output["shape"]
    wrapper = output.get("resultWrapper", f"{name}Result")
    start += f"<{wrapper}>"
    middle = f"</{wrapper}><ResponseMetadata><RequestId>"
    usual, careful = (_Compiler(shapes, text).compile(shape) for text in (_without_escape, _escaped))

    def render(result: Mapping[str, Any], request_id: str) -> bytes:
        texts = [request_id]
        document = f"{start}{usual(result, texts)}{middle}{request_id}{end}"
        if not _is_plain("".join(texts)):
            document = f"{start}{careful(result, [])}{middle}{escape(request_id)}{end}"
        return document.encode()

    return render
