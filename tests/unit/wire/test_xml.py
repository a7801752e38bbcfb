"""Answers as botocore's own parser reads them."""

from __future__ import annotations

import re
import sys
from datetime import UTC, datetime
from typing import Any
from xml.etree import ElementTree as ET

import botocore.session
import pytest
from botocore.parsers import create_parser
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.errors import ErrorKind, Family
from daypass.wire.aws import json as xml
from daypass.wire.aws import models
from daypass.wire.aws.errors import AwsErrors, error_xml
from daypass.wire.http import Request
from daypass.wire.service_models import aws_code

STS, IAM = models.load("sts"), models.load("iam")
SESSION = botocore.session.Session()
NOW = 1_795_600_800_000


def _read(service: str, action: str, body: bytes, status: int = 200) -> dict[str, Any]:
    shape = SESSION.get_service_model(service).operation_model(action).output_shape
    answer: dict[str, Any] = create_parser("query").parse({"body": body, "headers": {}, "status_code": status}, shape)
    return answer


def _render(model: models.ServiceModel, action: str, result: dict[str, Any]) -> bytes:
    operation = model.operation(action)
    assert operation is not None
    return operation.render(result, "request-1")


def test_render_assume_role_is_aws_document() -> None:
    body = _render(STS, "AssumeRole", {"Credentials": {"AccessKeyId": "A", "Expiration": NOW}, "PackedPolicySize": 6})
    assert body == (
        b'<AssumeRoleResponse xmlns="https://sts.amazonaws.com/doc/2011-06-15/"><AssumeRoleResult><Credentials>'
        b"<AccessKeyId>A</AccessKeyId><Expiration>2026-11-25T10:00:00Z</Expiration></Credentials>"
        b"<PackedPolicySize>6</PackedPolicySize></AssumeRoleResult>"
        b"<ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></AssumeRoleResponse>"
    )


def test_render_without_output_has_metadata_alone() -> None:
    assert _render(IAM, "DeleteUser", {}) == (
        b'<DeleteUserResponse xmlns="https://iam.amazonaws.com/doc/2010-05-08/">'
        b"<ResponseMetadata><RequestId>request-1</RequestId></ResponseMetadata></DeleteUserResponse>"
    )


def test_render_lists_maps_booleans_as_botocore_reads_them() -> None:
    role = {
        "Path": "/", "RoleName": "r", "RoleId": "i", "Arn": "a", "CreateDate": NOW, "Tags": [{"Key": "k", "Value": ""}],
        "AssumeRolePolicyDocument": "%7B%7D", "MaxSessionDuration": 3600,
    }  # fmt: skip
    roles = _read("iam", "ListRoles", _render(IAM, "ListRoles", {"Roles": [role, role], "IsTruncated": False}))
    moment = datetime.fromtimestamp(NOW // 1000, UTC)
    assert [{**r, "CreateDate": r["CreateDate"].astimezone(UTC)} for r in roles["Roles"]] == [
        {**role, "CreateDate": moment}
    ] * 2
    assert roles["IsTruncated"] is False
    assert roles["ResponseMetadata"]["RequestId"] == "request-1"
    summary = {"SummaryMap": {"Users": 3, "Roles": 0}}
    assert (
        _read("iam", "GetAccountSummary", _render(IAM, "GetAccountSummary", summary))["SummaryMap"]
        == summary["SummaryMap"]
    )
    assert _read("iam", "ListUsers", _render(IAM, "ListUsers", {"Users": [], "IsTruncated": True}))["Users"] == []
    report = {"Content": b"\x00\xff", "GeneratedTime": None}
    assert _read("iam", "GetCredentialReport", _render(IAM, "GetCredentialReport", report))["Content"] == b"\x00\xff"


@given(st.text())
def test_escape_of_any_text_is_xml_and_keeps_what_xml_can_carry(text: str) -> None:
    document = ET.fromstring(f"<a>{xml.escape(text)}</a>".encode())
    assert (document.text or "") == re.sub("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]", "\ufffd", text)


def test_escape_injection_is_text() -> None:
    body = _render(STS, "GetCallerIdentity", {"Arn": "</Arn><Account>1</Account>", "UserId": ']]>&amp;"\r\n\x00\ud800'})
    answer = _read("sts", "GetCallerIdentity", body)
    assert answer["Arn"] == "</Arn><Account>1</Account>"
    assert answer["UserId"] == ']]>&amp;"\r\n\ufffd\ufffd'
    assert "Account" not in answer


@given(st.lists(st.text(alphabet="a<&>%s()\r\x00ü", max_size=6), min_size=3, max_size=3))
def test_render_texts_of_one_structure_are_escaped_each(texts: list[str]) -> None:
    names = ("AccessKeyId", "SecretAccessKey", "SessionToken")
    credentials = {"Expiration": NOW, **dict(zip(names, texts, strict=True))}
    body = _render(STS, "GetSessionToken", {"Credentials": credentials})
    found = next(ET.fromstring(body).iter("{https://sts.amazonaws.com/doc/2011-06-15/}Credentials"))
    expected = [("AccessKeyId", texts[0]), ("SecretAccessKey", texts[1]), ("SessionToken", texts[2])]
    expected.append(("Expiration", "2026-11-25T10:00:00Z"))  # the model's order
    assert [(e.tag.rpartition("}")[2], e.text or "") for e in found] == [
        (name, text.replace("\x00", "\ufffd")) for name, text in expected
    ]


def test_render_text_member_that_holds_no_text_raises() -> None:
    with pytest.raises(TypeError):
        _render(STS, "GetSessionToken", {"Credentials": {"AccessKeyId": 7}})


def test_render_member_that_the_model_does_not_have_raises() -> None:
    with pytest.raises(ValueError, match="Colour"):
        _render(STS, "GetCallerIdentity", {"Colour": "red"})
    with pytest.raises(TypeError):
        _render(IAM, "ListRoles", {"Roles": [], "IsTruncated": "no"})


@pytest.mark.parametrize(
    ("ms", "text"),
    [(0, "1970-01-01T00:00:00Z"), (NOW + 999, "2026-11-25T10:00:00Z"), (951_782_400_000, "2000-02-29T00:00:00Z")],
)
def test_render_time_is_iso_in_seconds(ms: int, text: str) -> None:
    body = _render(STS, "GetSessionToken", {"Credentials": {"Expiration": ms}})
    assert f"<Expiration>{text}</Expiration>".encode() in body


# --- Errors --------------------------------------------------------------------------------------------------------


def test_error_as_botocore_reads_it() -> None:
    body = error_xml(STS.namespace, "AccessDenied", 403, "User: <x> & y", "request-1", "ab+/=")
    answer = _read("sts", "AssumeRole", body, 403)
    assert answer["Error"] == {
        "Type": "Sender", "Code": "AccessDenied", "Message": "User: <x> & y", "EncodedAuthorizationMessage": "ab+/=",
    }  # fmt: skip
    assert answer["ResponseMetadata"]["RequestId"] == "request-1"
    assert b"Encoded" not in error_xml(STS.namespace, "AccessDenied", 403, "m", "r")


def test_error_without_words_has_no_message() -> None:
    answer = _read("iam", "GetCredentialReport", error_xml(IAM.namespace, "ReportNotPresent", 410, "", "r"), 410)
    assert answer["Error"] == {"Type": "Sender", "Code": "ReportNotPresent"}


def test_internal_failure_is_the_receivers_fault_and_constant() -> None:
    request = Request("POST", b"/", b"", [], b"", "", False, "r", NOW)
    broken = AwsErrors({}).broken(request)
    answer = _read("sts", "AssumeRole", broken.body, broken.status)
    assert (answer["Error"]["Type"], answer["Error"]["Code"]) == ("Receiver", "InternalFailure")


@pytest.mark.parametrize("kind", list(ErrorKind))
def test_wire_error_agrees_with_the_models(kind: ErrorKind) -> None:
    code, status = aws_code(kind)
    assert 400 <= status < 600
    if kind is ErrorKind.EXPIRED_CREDENTIALS:
        return  # the models' ExpiredTokenException is about identity tokens, not about the caller's own
    for model in (STS, IAM):
        for shape in model._shapes.values():
            if shape.get("error", {}).get("code") == code:
                assert status == shape["error"]["httpStatusCode"]


def test_wire_error_kinds_with_the_same_code_are_of_one_family() -> None:
    families: dict[str, set[Family]] = {}
    for kind in ErrorKind:
        families.setdefault(aws_code(kind)[0], set()).add(kind.family)
    assert [code for code, found in families.items() if len(found) > 1] == []


# --- Redaction -----------------------------------------------------------------------------------------------------


def test_a100_redact_hides_every_secret_member() -> None:
    operation = IAM.operation("ChangePassword")
    assert operation is not None
    assert operation.redact({"OldPassword": "a", "NewPassword": "b"}) == {"OldPassword": "***", "NewPassword": "***"}
    assume = STS.operation("AssumeRole")
    assert assume is not None
    shown = assume.redact({
        "RoleArn": "r", "TokenCode": "123456", "Tags": [{"Key": "k", "Value": "v"}],
        "ProvidedContexts": [{"ProviderArn": "p", "ContextAssertion": "secret"}],
    })  # fmt: skip
    assert shown == {
        "RoleArn": "r", "TokenCode": "***", "Tags": [{"Key": "k", "Value": "v"}],
        "ProvidedContexts": [{"ProviderArn": "p", "ContextAssertion": "***"}],
    }  # fmt: skip
    assert assume.redact_text("ProvidedContexts.member.1.ContextAssertion", "secret") == "***"
    assert assume.redact_text("RoleArn", "r") == "r"


def test_a100_every_sensitive_input_of_the_models_is_secret() -> None:
    found = 0
    for model in (STS, IAM):
        for shape in model._shapes.values():
            for member, target in shape.get("members", {}).items():
                if model._shapes[target["shape"]].get("sensitive"):
                    found += 1
                    assert member in model._secret_members
    assert found > 15


def test_a231_escape_of_long_texts_calls_no_function_for_each_character() -> None:
    calls = 0

    def count(_frame: object, event: str, _argument: object) -> None:
        nonlocal calls
        calls += event in ("call", "c_call")

    sys.setprofile(count)
    try:
        escaped = xml.escape("<&\x01" * 1_000)
    finally:
        sys.setprofile(None)
    assert escaped == "&lt;&amp;\ufffd" * 1_000
    assert calls < 50
