"""Forms to typed parameters: botocore writes them, and hostile ones are refused."""

from __future__ import annotations

import random
from collections.abc import Mapping
from contextlib import suppress
from typing import Any
from urllib.parse import quote, urlencode

import botocore.session
import pytest
from botocore.serialize import create_serializer
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.wire.aws import models
from daypass.wire.aws.query import MAX_PARAMETERS, parse_form

STS, IAM = models.load("sts"), models.load("iam")
SESSION = botocore.session.Session()


def _parse(action: str, body: bytes, model: models.ServiceModel = STS) -> dict[str, Any]:
    operation = model.operation(action)
    assert operation is not None
    return {name: _plain(value) for name, value in operation.parse(parse_form(b"", body)).items()}


def _plain(value: Any) -> Any:
    """Converts a cached, immutable list to a list."""
    return [dict(item) if isinstance(item, Mapping) else item for item in value] if isinstance(value, tuple) else value


def _refused(action: str, body: bytes, model: models.ServiceModel = STS) -> str:
    with pytest.raises(DaypassError) as refusal:
        _parse(action, body, model)
    assert refusal.value.kind is ErrorKind.MALFORMED_REQUEST
    return refusal.value.public


def _botocore_body(service: str, action: str, params: dict[str, Any]) -> bytes:
    model = SESSION.get_service_model(service)
    request = create_serializer("query", include_validation=False).serialize_to_request(
        params, model.operation_model(action)
    )
    return urlencode(request["body"]).encode()


# --- The form ------------------------------------------------------------------------------------------------------


def test_parse_form_reads_query_and_body_together() -> None:
    assert parse_form(b"Action=A%20b", b"x=1+2&y=%C3%BC&z=&w") == {
        "Action": "A b",
        "x": "1 2",
        "y": "ü",
        "z": "",
        "w": "",
    }


@given(st.dictionaries(st.text(min_size=1), st.text(), max_size=20))
def test_parse_form_of_any_encoded_form_is_that_form(form: dict[str, str]) -> None:
    assert parse_form(b"", urlencode(form).encode()) == form
    assert parse_form(urlencode(form, quote_via=quote).encode(), b"") == form


@given(st.text(alphabet="ab%3A2F+&=:/ü", max_size=40))
def test_parse_form_of_any_text_is_the_same_in_query_and_behind_another(text: str) -> None:
    """Parameters behind others are read pair by pair, lone ones perhaps all at once."""

    def read(query: bytes, body: bytes) -> dict[str, str] | str:
        try:
            return parse_form(query, body)
        except DaypassError as error:
            return error.public

    alone, behind = read(b"", text.encode()), read(b"Action=x", text.encode())
    assert behind == (alone if isinstance(alone, str) else {"Action": "x", **alone})


@pytest.mark.parametrize(
    ("query", "body"),
    [(b"", b"a=1&a=2"), (b"", b"a=%3A&a=1"), (b"", b"a=%2%3AF"), (b"", b"a=%%3A"), (b"", b"a=%3Ab&c=%"), (b"a=1", b"a=1"), (b"", b"a=1&%61=2"), (b"", b"a=%zz"), (b"", b"a=%"), (b"", b"a=%f"), (b"", b"a=%ff"),
     (b"", b"a=\xff"), (b"", b"%ff=a"), (b"", b"a=%ED%A0%80"), (b"", b"a=%C0%80")],
)  # fmt: skip
def test_parse_form_ambiguous_or_undecodable_refused(query: bytes, body: bytes) -> None:
    with pytest.raises(DaypassError) as refusal:
        parse_form(query, body)
    assert refusal.value.kind is ErrorKind.MALFORMED_REQUEST


def test_parse_form_over_the_number_of_parameters_refused() -> None:
    enough = "&".join(f"p{i}=1" for i in range(MAX_PARAMETERS)).encode()
    assert len(parse_form(b"", enough)) == MAX_PARAMETERS
    for query, body in ((b"", enough + b"&q=1"), (b"q=1", enough)):
        with pytest.raises(DaypassError, match="more than 1000"):
            parse_form(query, body)


# --- Types ---------------------------------------------------------------------------------------------------------


def test_parse_assume_role_gives_typed_parameters() -> None:
    body = (
        b"Action=AssumeRole&Version=2011-06-15&RoleArn=r&RoleSessionName=s&DurationSeconds=900&Unknown=1&Tags.member.2.Key=b"
        b"&Tags.member.2.Value=2&Tags.member.1.Key=a&Tags.member.1.Value=&TransitiveTagKeys.member.1=a&PolicyArns.member.1.arn=p"
    )
    assert _parse("AssumeRole", body) == {
        "RoleArn": "r",
        "RoleSessionName": "s",
        "DurationSeconds": 900,
        "Tags": [{"Key": "a", "Value": ""}, {"Key": "b", "Value": "2"}],
        "TransitiveTagKeys": ["a"],
        "PolicyArns": [{"arn": "p"}],
    }


@pytest.mark.parametrize(
    ("service", "action", "params"),
    [
        ("sts", "AssumeRole", {"RoleArn": "r" * 20, "RoleSessionName": "ab", "Tags": [], "Policy": "ä&=+% "}),
        ("sts", "GetCallerIdentity", {}),
        ("iam", "CreateRole", {"RoleName": "r", "AssumeRolePolicyDocument": "{}", "Tags": [{"Key": "k", "Value": "v"}] * 50}),
        ("iam", "UpdateAccountPasswordPolicy", {"RequireSymbols": True, "HardExpiry": False, "MaxPasswordAge": 90}),
        ("iam", "SimulateCustomPolicy", {
            "PolicyInputList": ["{}"],
            "ActionNames": ["a:b", "c:d"],
            "ContextEntries": [{"ContextKeyName": "aws:x", "ContextKeyValues": ["1", "2"], "ContextKeyType": "numericList"}],
        }),
    ],
)  # fmt: skip
def test_parse_what_botocore_writes_gives_it_back(service: str, action: str, params: dict[str, Any]) -> None:
    assert _parse(action, _botocore_body(service, action, params), models.load(service)) == params


@given(
    st.lists(st.fixed_dictionaries({"Key": st.text(), "Value": st.text()}), max_size=12),
    st.lists(st.text(), max_size=12),
    st.integers(-(2**31), 2**31 - 1),
)
def test_parse_any_botocore_request_gives_it_back(tags: list[dict[str, str]], keys: list[str], seconds: int) -> None:
    params = {
        "RoleArn": "a",
        "RoleSessionName": "b",
        "Tags": tags,
        "TransitiveTagKeys": keys,
        "DurationSeconds": seconds,
    }
    assert _parse("AssumeRole", _botocore_body("sts", "AssumeRole", params)) == params


@pytest.mark.parametrize(
    "text",
    ["", "x", "1.0", "1e3", "９００", "0x10", "1_000", " 1", "1\n", "9" * 30, "2147483648", "-2147483649", "true"],
)
def test_parse_what_is_no_integer_refused(text: str) -> None:
    assert "DurationSeconds" in _refused("AssumeRole", b"DurationSeconds=" + quote(text).encode())


@pytest.mark.parametrize(
    "body",
    [
        b"Tags=x",
        b"Tags.member=x",
        b"Tags.member.0.Key=x",
        b"Tags.member.01.Key=x",
        b"Tags.member.-1.Key=x",
        b"Tags.member.x.Key=x",
        b"Tags.member.%EF%BC%91.Key=x",
        b"Tags.member.99999.Key=x",
        b"Tags.member.1=x",
        b"Tags=&Tags.member.1.Key=x",
        b"Tags.member.1.Key=x&Tags.member.1.Key.y=z",
        b"Tags.member.1.Key.y=z",
        b"Tags.member.1.Key.y=z&Tags.member.1.Key=x",
        b"TransitiveTagKeys.member.1.x=y",
        b"Tags." + b"a." * 30 + b"b=1",
    ],
)
def test_parse_list_that_is_no_list_refused(body: bytes) -> None:
    _refused("AssumeRole", body)


def test_parse_names_of_no_member_ignored() -> None:
    assert _parse("AssumeRole", b"Nope.member.1=x&RoleArn.member.1=x&tags.member.1.Key=x&X-Amz-Date=1") == {}
    assert _parse("AssumeRole", b"Tags.entry.1.Key=x&Tags.member.1.Colour=x") == {"Tags": [{}]}


@pytest.mark.parametrize(("text", "value"), [("true", True), ("True", True), ("false", False)])
def test_parse_boolean_gives_it(text: str, value: bool) -> None:
    assert _parse("UpdateAccountPasswordPolicy", f"HardExpiry={text}".encode(), IAM) == {"HardExpiry": value}


@pytest.mark.parametrize("text", ["", "1", "yes", "truе", "true\n"])
def test_parse_what_is_no_boolean_refused(text: str) -> None:
    _refused("UpdateAccountPasswordPolicy", b"HardExpiry=" + quote(text).encode(), IAM)


def test_every_operation_of_the_models_compiles() -> None:
    for model in (STS, IAM):
        for name in model.names:
            operation = model.operation(name)
            assert operation is not None
            assert operation.parse({}) == {}


# --- Fuzz ----------------------------------------------------------------------------------------------------------

_PIECES = [b"Tags", b".", b"member", b"1", b"2", b"Key", b"Value", b"=", b"&", b"%41", b"%ff", b"+", b"RoleArn", b"\x00",
           b"PolicyArns", b"arn", b"DurationSeconds", b"entry", b"\xc3\xbc", b"9" * 20]  # fmt: skip


def test_parse_random_forms_never_fails_otherwise() -> None:
    rng = random.Random(20261125)
    operations = [op for name in sorted(STS.names) if (op := STS.operation(name)) is not None]
    for _ in range(4000):
        body = b"".join(rng.choices(_PIECES, k=rng.randrange(30)))
        with suppress(DaypassError):
            form = parse_form(body[:5] if rng.random() < 0.1 else b"", body)
            operation = rng.choice(operations)
            params = operation.parse(form)
            if not operation.check(params):
                assert "validation error" in operation.explain(params)


@given(st.binary(max_size=200), st.binary(max_size=200))
def test_parse_any_bytes_never_fails_otherwise(query: bytes, body: bytes) -> None:
    with suppress(DaypassError):
        _parse("AssumeRole", b"&".join((query, body)))
