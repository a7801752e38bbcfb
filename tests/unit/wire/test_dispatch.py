"""From a signed form to an operation and back, with every refusal on the record."""

from __future__ import annotations

from urllib.parse import quote

import pytest
from tests.unit.wire.fakes import CALLER, KEY, NOW, REQUEST_ID, World, form, signed

from daypass.domain.claims import PrincipalKind
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.sigv4.canonical import presign
from daypass.wire.aws import models
from daypass.wire.aws.dispatch import services_from
from daypass.wire.service_models import aws_code

IDENTITY = {"Action": "GetCallerIdentity", "Version": "2011-06-15"}
ASSUME = {
    "Action": "AssumeRole",
    "Version": "2011-06-15",
    "RoleArn": "arn:aws:iam::123456789012:role/demo",
    "RoleSessionName": "session",
}


async def test_call_signed_reaches_the_operation_and_is_answered() -> None:
    world = World()
    answer = await world.call(**IDENTITY)
    assert answer.status == 200
    assert b"<Account>123456789012</Account>" in answer.body
    assert answer.headers[b"x-amzn-requestid"] == REQUEST_ID.encode()
    assert answer.headers[b"content-type"] == b"text/xml"
    assert answer.headers[b"content-length"] == str(len(answer.body)).encode()
    name, call, params = world.calls[0]
    assert (name, call.caller, call.now, params) == ("GetCallerIdentity", CALLER, NOW, {})
    assert world.observed == [("sts:GetCallerIdentity", "")]
    assert world.refusals == []


async def test_call_facts_are_what_came_over_the_wire() -> None:
    world = World()
    body = form(**IDENTITY)
    trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
    more = {"user-agent": "Boto3/1 é", "referer": "https://x/", "traceparent": trace}
    await world.send(headers=signed(body, **more), body=body, scheme="https")
    facts = world.calls[0][1].facts
    assert facts.operation == "sts:GetCallerIdentity"
    assert (facts.region, facts.source_ip, facts.secure_transport) == ("us-east-1", "10.1.2.3", True)
    assert (facts.trace_id, facts.referer) == ("0af7651916cd43dd8448eb211c80319c", "https://x/")
    assert (facts.request_id, facts.received_at) == (REQUEST_ID, NOW)
    assert facts.user_agent.startswith("Boto3/1")


async def test_call_presigned_get_reaches_the_operation() -> None:
    world = World()
    query = presign(KEY, "GET", "h:1", "/", list(IDENTITY.items()), 60, NOW)
    answer = await world.send("GET", query=query.encode(), headers=[(b"host", b"h:1")])
    assert answer.status == 200
    assert world.calls[0][2] == {}


async def test_call_action_in_query_of_a_post_reaches_the_operation() -> None:
    world = World()
    query = form(**IDENTITY)
    answer = await world.send(query=query, headers=signed(b"", query=query.decode()))
    assert answer.status == 200


async def test_call_iam_reaches_iam() -> None:
    world = World(result={})
    key = KEY._replace(service="iam")
    answer = await world.call(key, Action="DeleteUser", Version="2010-05-08", UserName="ada")
    assert answer.status == 200
    assert b"https://iam.amazonaws.com/doc/2010-05-08/" in answer.body
    assert world.calls[0][1].facts.operation == "iam:DeleteUser"


@pytest.mark.parametrize(
    ("params", "kind", "code", "status"),
    [
        ({}, ErrorKind.MISSING_ACTION, "MissingAction", 400),
        ({"Version": "2011-06-15"}, ErrorKind.MISSING_ACTION, "MissingAction", 400),
        ({"Action": "Nope", "Version": "2011-06-15"}, ErrorKind.UNKNOWN_OPERATION, "InvalidAction", 400),
        ({"Action": "GetCallerIdentity"}, ErrorKind.UNKNOWN_OPERATION, "InvalidAction", 400),
        ({"Action": "GetCallerIdentity", "Version": "2010-05-08"}, ErrorKind.UNKNOWN_OPERATION, "InvalidAction", 400),
        ({"Action": "getcalleridentity", "Version": "2011-06-15"}, ErrorKind.UNKNOWN_OPERATION, "InvalidAction", 400),
        ({"Action": "GetCallerIdentity\n", "Version": "2011-06-15"}, ErrorKind.UNKNOWN_OPERATION, "InvalidAction", 400),
        (
            {"Action": "AssumeRoot", "Version": "2011-06-15"},
            ErrorKind.UNSUPPORTED_OPERATION,
            "UnsupportedOperation",
            400,
        ),
        ({**ASSUME, "RoleSessionName": "x\n"}, ErrorKind.VALIDATION, "ValidationError", 400),
        ({**ASSUME, "DurationSeconds": "x"}, ErrorKind.MALFORMED_REQUEST, "MalformedInput", 400),
    ],
)
async def test_call_refused_is_recorded_and_answered(
    params: dict[str, str], kind: ErrorKind, code: str, status: int
) -> None:
    world = World()
    answer = await world.call(**params)
    assert (answer.code, answer.status) == (code, status)
    assert [r.error.kind for r in world.refusals] == [kind]
    assert world.calls == []
    assert world.observed[0][1] == code


_PAGE = (b"accept", b"text/html,application/xhtml+xml;q=0.9,*/*;q=0.8")


async def test_browser_at_the_address_of_the_installation_is_taken_to_the_pages() -> None:
    world = World(home="/console/")
    answer = await world.send("GET", headers=[_PAGE])
    assert (answer.status, answer.headers[b"location"], answer.headers[b"cache-control"]) == (
        303,
        b"/console/",
        b"no-store",
    )
    assert world.refusals == []


@pytest.mark.parametrize(
    ("home", "method", "more", "query"),
    [
        ("", "GET", [_PAGE], b""),
        ("/console/", "GET", [], b""),
        ("/console/", "GET", [(b"accept", b"*/*")], b""),
        ("/console/", "GET", [(b"accept", b"text/html;q=0")], b""),
        ("/console/", "GET", [_PAGE, (b"authorization", b"AWS4-HMAC-SHA256 x")], b""),
        ("/console/", "GET", [_PAGE], b"Version=2011-06-15"),
        ("/console/", "POST", [_PAGE], b""),
    ],
)
async def test_request_without_an_action_that_is_no_browser_is_refused_as_by_aws(
    home: str, method: str, more: list[tuple[bytes, bytes]], query: bytes
) -> None:
    world = World(home=home)
    answer = await world.send(method, headers=more, query=query)
    assert (answer.status, answer.code) == (400, "MissingAction")
    assert [r.error.kind for r in world.refusals] == [ErrorKind.MISSING_ACTION]


async def test_call_unknown_action_in_aws_words() -> None:
    answer = await World().call(Action="Nope", Version="2011-06-15")
    assert answer.message == "Could not find operation Nope for version 2011-06-15"
    answer = await World().call(Action="Nope")
    assert answer.message == "Could not find operation Nope for version NO_VERSION_SPECIFIED"
    answer = await World().call(Action="", Version="")
    assert answer.message == "Could not find operation  for version "
    assert b'xmlns="http://webservices.amazon.com/AWSFault/2005-15-09"' in answer.body


async def test_call_unsigned_is_refused_and_recorded_before_validation() -> None:
    world = World()
    answer = await world.send(body=form(**{**ASSUME, "RoleSessionName": ""}))
    assert (answer.status, answer.code) == (403, "MissingAuthenticationToken")
    refusal = world.refusals[0]
    assert refusal.caller is None
    assert refusal.facts.operation == "sts:AssumeRole"
    assert refusal.detail["parameters"]["RoleSessionName"] == ""


@pytest.mark.parametrize(("service", "params"), [("iam", IDENTITY), ("sts", {"Action": "CreateUser", "Version": "2010-05-08", "UserName": "a"}), ("s3", IDENTITY)])  # fmt: skip
async def test_a6_scope_of_another_service_refused(service: str, params: dict[str, str]) -> None:
    world = World()
    answer = await world.call(KEY._replace(service=service), **params)
    assert (answer.status, answer.code) == (403, "SignatureDoesNotMatch")
    assert "Credential should be scoped to correct service" in answer.message
    assert world.calls == []


async def test_a7_expires_zero_is_a_400() -> None:
    query = presign(KEY, "GET", "h:1", "/", list(IDENTITY.items()), 0, NOW)
    answer = await World().send("GET", query=query.encode(), headers=[(b"host", b"h:1")])
    assert (answer.status, answer.code) == (400, "IncompleteSignature")


async def test_a11_presigned_identity_with_another_action_refused() -> None:
    world = World()
    query = presign(KEY, "GET", "h:1", "/", list(IDENTITY.items()), 60, NOW)
    for altered in (query.replace("GetCallerIdentity", "AssumeRole"), query + "&Action=AssumeRole"):
        answer = await world.send("GET", query=altered.encode(), headers=[(b"host", b"h:1")])
        assert answer.status in (400, 403)
    answer = await world.send("POST", query=query.encode(), headers=[(b"host", b"h:1")])
    assert answer.status == 403
    assert world.calls == []


async def test_call_denied_carries_the_encoded_message_and_a_reference_in_its_text() -> None:
    world = World(raises=DaypassError(ErrorKind.ACCESS_DENIED, "no <you>", explanation={"a": 1}), encoded="c2VhbGVk")
    answer = await world.call(**ASSUME)
    assert (answer.status, answer.code, answer.message) == (403, "AccessDenied", f"no <you> (request {REQUEST_ID})")
    assert b"<EncodedAuthorizationMessage>c2VhbGVk</EncodedAuthorizationMessage>" in answer.body
    refusal = world.refusals[0]
    assert refusal.caller == CALLER
    assert refusal.detail["parameters"]["RoleSessionName"] == "session"


@pytest.mark.parametrize("kind", list(ErrorKind))
async def test_call_every_kind_of_error_has_its_code_and_status(kind: ErrorKind) -> None:
    world = World(raises=DaypassError(kind, "public", private={"hidden": "canary"}))
    answer = await world.call(**IDENTITY)
    assert (answer.code, answer.status) == aws_code(kind)
    assert b"canary" not in answer.body
    assert answer.headers[b"x-amzn-requestid"] == REQUEST_ID.encode()


async def test_call_that_cannot_be_recorded_is_unavailable() -> None:
    world = World(record_raises=DaypassError(ErrorKind.UNAVAILABLE, "journal"))
    answer = await world.call(Action="Nope")
    assert (answer.status, answer.code) == (503, "ServiceUnavailable")
    world = World(record_raises=RuntimeError("canary"))
    answer = await world.call(Action="Nope")
    assert (answer.status, answer.code) == (500, "InternalFailure")
    assert b"canary" not in answer.body


async def test_call_unexpected_failure_is_a_constant_500() -> None:
    world = World(raises=RuntimeError("canary"))
    answer = await world.call(**IDENTITY)
    assert (answer.status, answer.code) == (500, "InternalFailure")
    assert b"canary" not in answer.body
    assert REQUEST_ID.encode() in answer.body
    assert world.logged
    world = World(result={"NoSuchMember": "canary"})
    answer = await world.call(**IDENTITY)
    assert (answer.status, answer.code) == (500, "InternalFailure")


async def test_call_anonymous_operation_needs_no_signature() -> None:
    world = World(result={})
    params = {"RoleArn": ASSUME["RoleArn"], "RoleSessionName": "session", "WebIdentityToken": "eyJ0"}
    answer = await world.send(body=form(Action="AssumeRoleWithWebIdentity", Version="2011-06-15", **params))
    assert answer.status == 200
    assert world.calls[0][1].caller.kind is PrincipalKind.ANONYMOUS
    assert world.calls[0][1].caller.account == ""


async def test_a100_secrets_never_get_to_the_record() -> None:
    key = KEY._replace(service="iam")
    for params in ({"Password": "canary-1"}, {"Password": "canary-1", "UserName": "x\n"}):
        world = World(raises=DaypassError(ErrorKind.ACCESS_DENIED, "no"))
        await world.call(key, Action="CreateLoginProfile", Version="2010-05-08", **params)
        body = form(Action="CreateLoginProfile", Version="2010-05-08", **params)
        await world.send(body=body)
        await world.send(body=form(Action="Nope", Version="2010-05-08", **params))
        await world.send(headers=signed(body, key), body=body + b"&Password=2")
        assert len(world.refusals) == 4
        assert "canary" not in repr([r.detail for r in world.refusals])


async def test_a100_unreadable_request_is_recorded_by_its_names() -> None:
    world = World()
    await world.send("GET", query=b"Action=Nope&Secret=canary&Version=x")
    assert world.refusals[0].detail == {
        "method": "GET", "path": "/", "action": "Nope", "version": "x", "names": ["Action", "Secret", "Version"],
    }  # fmt: skip


@pytest.mark.parametrize("method", ["PUT", "DELETE", "OPTIONS", "PATCH", "HEAD", "TRACE", "get"])
async def test_other_methods_are_not_allowed(method: str) -> None:
    world = World()
    answer = await world.send(method)
    assert answer.status == 405
    assert answer.headers[b"allow"] == b"GET, POST"
    assert len(world.refusals) == 1
    assert (answer.body == b"") is (method == "HEAD")


async def test_region_that_is_no_name_stays_out_of_the_facts() -> None:
    world = World()
    answer = await world.call(KEY._replace(region="<x>"), **IDENTITY)
    assert answer.status == 403
    assert world.refusals[0].facts.region == ""


def test_services_from_unknown_operation_raises() -> None:
    async def handler(*_: object) -> dict[str, object]:
        return {}

    with pytest.raises(ValueError, match="Nope"):
        services_from(models.load, {"sts": {"Nope": handler}})


async def test_call_parameters_in_utf8_reach_the_operation() -> None:
    world = World(result={})
    tags = {"Tags_member_1_Key": "équipe", "Tags_member_1_Value": "a b"}
    body = form(**{**ASSUME, **tags})
    assert (await world.send(headers=signed(body), body=body)).status == 200
    raw = "&".join(f"{n.replace('_', '.')}={quote(v, safe='é')}" for n, v in {**ASSUME, **tags}.items()).encode()
    assert (await world.send(headers=signed(raw), body=raw)).status == 200
    assert [list(params["Tags"]) for _, _, params in world.calls] == [[{"Key": "équipe", "Value": "a b"}]] * 2
