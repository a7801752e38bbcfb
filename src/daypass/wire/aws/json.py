"""Results and errors in AWS's JSON form of the query protocol, and when a request asks for it. XML is the default.

The request is the same. AWS does not document this form; clients such as aws-iam-authenticator rely on it. An answer has the
shape of the XML: `{"GetCallerIdentityResponse": {"GetCallerIdentityResult": {…}, "ResponseMetadata": {…}}}`. Lists are arrays,
maps are objects, times are seconds since the epoch, blobs are base64.

Unlike AWS, characters that could be markup are escaped. So a caller who controls a value of the response (such as the
subject of a token) cannot embed a response that a lenient XML reader would accept.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Mapping
from typing import Any

from daypass.wire.aws.xml import Shapes
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
