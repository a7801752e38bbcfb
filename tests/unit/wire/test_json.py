"""AWS's JSON form of the query protocol: who asks for it, and what it says beside the XML."""

from __future__ import annotations

import base64
import json
from datetime import datetime
from typing import Any

import botocore.session
import pytest
from botocore.parsers import create_parser
from tests.unit.wire.fakes import IDENTITY, KEY, NOW, REQUEST_ID, Answer, World, form, signed

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.sigv4.canonical import presign
from daypass.wire.aws import json as json_form
from daypass.wire.aws import models

SESSION = botocore.session.Session()
CALL = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}


async def _get(world: World, accept: str, **call: str) -> Answer:
    query = presign(KEY, "GET", "h:1", "/", list((call or CALL).items()), 60, NOW)
    return await world.send("GET", query=query.encode(), headers=[(b"host", b"h:1"), (b"accept", accept.encode())])


@pytest.mark.parametrize(
    ("accept", "wanted"),
    [
        (["application/json"], True),
        (["Application/JSON; charset=utf-8"], True),
        (["application/json, text/plain, */*"], True),
        (["text/xml;q=0.5, application/json"], True),
        (["text/xml;q=0.5", "application/json;q=0.6"], True),
        (["application/json;q=1.000"], True),
        ([], False),
        (["*/*"], False),
        (["application/*"], False),
        (["text/xml, application/json"], False),
        (["application/xml, application/json;q=0.9"], False),
        (["application/json;q=0"], False),
        (["application/json;q=2"], False),
        (["application/json;q=NaN"], False),
        (["application/json-seq"], False),
        (["application/jsonp, text/json, application/problem+json"], False),
        (["xapplication/json"], False),
        (["text/xml;v=application/json"], False),
    ],
)
def test_is_accepted_takes_the_exact_media_type_with_a_quality_above_that_of_xml(
    accept: list[str], wanted: bool
) -> None:
    headers = [(b"host", b"h"), *((b"accept", value.encode()) for value in accept)]
    assert json_form.is_accepted(headers) is wanted


async def test_call_presigned_with_accept_json_is_answered_in_json() -> None:
    answer = await _get(World(), "application/json")
    assert (answer.status, answer.headers[b"content-type"]) == (200, b"application/json")
    assert json.loads(answer.body) == {
        "GetCallerIdentityResponse": {
            "GetCallerIdentityResult": IDENTITY,
            "ResponseMetadata": {"RequestId": REQUEST_ID},
        }
    }


async def test_call_posted_with_accept_json_is_answered_in_json() -> None:
    body = form(**CALL)
    answer = await World().send(headers=signed(body, accept="application/json"), body=body)
    assert json.loads(answer.body)["GetCallerIdentityResponse"]["GetCallerIdentityResult"] == IDENTITY


async def test_call_without_output_in_json_has_metadata_alone() -> None:
    body = form(Action="DeleteUser", Version="2010-05-08", UserName="ada")
    headers = signed(body, KEY._replace(service="iam"), accept="application/json")
    answer = await World(result={}).send(headers=headers, body=body)
    assert json.loads(answer.body) == {"DeleteUserResponse": {"ResponseMetadata": {"RequestId": REQUEST_ID}}}


async def test_call_refused_with_accept_json_is_answered_in_json_and_recorded() -> None:
    world = World(raises=DaypassError(ErrorKind.ACCESS_DENIED, "No."), encoded="sealed")
    answer = await _get(world, "application/json")
    assert (answer.status, answer.headers[b"content-type"]) == (403, b"application/json")
    assert json.loads(answer.body) == {
        "Error": {
            "Code": "AccessDenied",
            "Message": f"No. (request {REQUEST_ID})",
            "Type": "Sender",
            "EncodedAuthorizationMessage": "sealed",
        },
        "RequestId": REQUEST_ID,
    }
    assert [refusal.error.kind for refusal in world.refusals] == [ErrorKind.ACCESS_DENIED]


async def test_call_unsigned_with_accept_json_is_refused_in_json() -> None:
    answer = await World().send(headers=[(b"accept", b"application/json")], body=form(**CALL))
    assert answer.status == 403
    error = json.loads(answer.body)["Error"]
    assert (error["Code"], error["Type"]) == ("MissingAuthenticationToken", "Sender")


async def test_call_that_fails_unexpectedly_with_accept_json_is_a_constant_json() -> None:
    answer = await _get(World(raises=RuntimeError("secret-canary")), "application/json")
    assert answer.status == 500
    assert json.loads(answer.body)["Error"]["Code"] == "InternalFailure"
    assert json.loads(answer.body)["Error"]["Type"] == "Receiver"
    assert b"canary" not in answer.body


async def test_call_in_json_holds_no_markup_that_an_xml_reader_could_take_for_an_answer() -> None:
    """A verifier that reads JSON as lenient XML took the subject of a token for the caller's identity (CVE-2020-16250)."""
    forged = "<GetCallerIdentityResponse><Arn>admin</Arn></GetCallerIdentityResponse>&"
    answer = await _get(World(result={**IDENTITY, "UserId": forged}), "application/json")
    assert not set(b"<>&") & set(answer.body)
    assert json.loads(answer.body)["GetCallerIdentityResponse"]["GetCallerIdentityResult"]["UserId"] == forged


def _sample(shapes: dict[str, Any], name: str, within: tuple[str, ...] = ()) -> Any:
    """A value of a shape with every member; a shape within itself is left out."""
    shape = shapes[name]
    match shape["type"]:
        case "structure":
            inner = (*within, name)
            members = {n: m["shape"] for n, m in shape["members"].items() if m["shape"] not in inner}
            return {n: _sample(shapes, target, inner) for n, target in members.items()}
        case "list":
            target = shape["member"]["shape"]
            return [] if target in within else [_sample(shapes, target, within)] * 2
        case "map":
            return {"key": _sample(shapes, shape["value"]["shape"], within)}
        case kind:
            return {"timestamp": NOW, "blob": b"\x00\xff", "boolean": True, "integer": 7, "long": 7}.get(kind, "té<xt")


def _same(value: Any) -> Any:
    """botocore's result for XML, in the form of JSON."""
    if isinstance(value, datetime):
        return int(value.timestamp())
    if isinstance(value, bytes):
        return base64.b64encode(value).decode()
    if isinstance(value, dict):
        return {key: _same(item) for key, item in value.items()}
    return [_same(item) for item in value] if isinstance(value, list) else value


@pytest.mark.parametrize("service", ["sts", "iam"])
def test_render_json_says_of_every_operation_what_its_xml_says(service: str) -> None:
    model, described = models.load(service), SESSION.get_service_model(service)
    shapes = SESSION.get_component("data_loader").load_service_model(service, "service-2")["shapes"]
    for name in model.names:
        operation, output = model.operation(name), described.operation_model(name).output_shape
        assert operation is not None
        result = _sample(shapes, output.name) if output is not None else {}
        response = json.loads(operation.render_json(result, "r"))[f"{name}Response"]
        xml = {"body": operation.render(result, "r"), "headers": {}, "status_code": 200}
        parsed = create_parser("query").parse(xml, output)
        assert response.pop("ResponseMetadata") == {"RequestId": "r"}
        assert response.get(f"{name}Result", {}) == _same({n: v for n, v in parsed.items() if n != "ResponseMetadata"})


def test_render_json_refuses_a_member_that_the_model_does_not_have() -> None:
    operation = models.load("sts").operation("GetCallerIdentity")
    assert operation is not None
    with pytest.raises(ValueError, match="no members"):
        operation.render_json({"Arn": "a", "Secret": "x"}, "r")
