"""Whatever comes in, the answer is in the protocol's form and never a 500."""

from __future__ import annotations

import random
from xml.etree import ElementTree as ET

from hypothesis import given
from hypothesis import strategies as st
from tests.unit.wire.fakes import KEY, NOW, Answer, World, form, signed

HEADER_NAMES = st.sampled_from([
    b"authorization", b"x-amz-date", b"host", b"date", b"x-amz-security-token", b"x-amz-content-sha256", b"user-agent",
    b"content-length", b"content-type", b"traceparent", b"x-forwarded-for", b"referer", b"transfer-encoding",
])  # fmt: skip
HEADER_VALUES = st.binary(max_size=60) | st.sampled_from([
    b"AWS4-HMAC-SHA256 Credential=AKIA/20261125/us-east-1/sts/aws4_request, SignedHeaders=host;x-amz-date, Signature=00",
    b"AWS4-HMAC-SHA256 Credential=,SignedHeaders=,Signature=", b"AWS4-HMAC-SHA256", b"20261125T100000Z", b"\xff", b"127.0.0.1",
    b"AWS4-ECDSA-P256-SHA256 Credential=a/b/c/d", b"AWS a:b", b"Bearer x", b"UNSIGNED-PAYLOAD",
])  # fmt: skip
PARTS = st.sampled_from([
    b"Action=AssumeRole", b"Action=CreateUser", b"Version=2011-06-15", b"Version=2010-05-08", b"RoleArn=", b"Tags.member.1.Key=a",
    b"X-Amz-Signature=00", b"X-Amz-Algorithm=AWS4-HMAC-SHA256", b"X-Amz-Credential=a/b/c/d/e", b"X-Amz-Expires=-1", b"%", b"%00",
    b"X-Amz-Date=20261125T100000Z", b"X-Amz-SignedHeaders=host", b"Tags=1", b"=", b"DurationSeconds=x", b"\xff",
])  # fmt: skip
FORMS = st.lists(PARTS | st.binary(max_size=12), max_size=8).map(b"&".join)


def _in_form(world: World, answer: Answer) -> None:
    assert 400 <= answer.status < 500, answer
    error = ET.fromstring(answer.body)
    assert error.tag.endswith("}ErrorResponse")
    assert [child.tag.rpartition("}")[2] for child in error] == ["Error", "RequestId"]
    assert answer.code
    assert len(world.refusals) == 1
    assert world.logged == []


@given(
    st.sampled_from(["GET", "POST", "PUT"]), FORMS, FORMS, st.lists(st.tuples(HEADER_NAMES, HEADER_VALUES), max_size=6)
)
async def test_any_unproven_request_is_refused_in_form(
    method: str, query: bytes, body: bytes, headers: list[tuple[bytes, bytes]]
) -> None:
    world = World()
    _in_form(world, await world.send(method, query=query, headers=headers, body=body))


@given(st.dictionaries(st.sampled_from([
    "RoleArn", "RoleSessionName", "Policy", "DurationSeconds", "ExternalId", "Tags.member.1.Key", "Tags.member.1.Value",
    "Tags.member.2.Key", "Tags", "TransitiveTagKeys.member.1", "PolicyArns.member.1.arn", "PolicyArns.member", "TokenCode",
]), st.text(max_size=30)))  # fmt: skip
async def test_any_signed_parameters_are_served_or_refused_in_form(params: dict[str, str]) -> None:
    world = World(result={})
    body = form(Action="AssumeRole", Version="2011-06-15", **params)
    answer = await world.send(headers=signed(body), body=body)
    if answer.status == 200:
        assert len(world.calls) == 1
    else:
        _in_form(world, answer)


async def test_random_bytes_are_refused_in_form() -> None:
    rng = random.Random(20261125)
    good = form(Action="AssumeRole", Version="2011-06-15", RoleArn="a" * 20, RoleSessionName="ab")
    for _ in range(1500):
        body = bytearray(good)
        headers = signed(good, KEY, now=NOW)
        for _ in range(rng.randrange(1, 4)):  # a few bytes of the body and of one header
            body[rng.randrange(len(body))] = rng.randrange(256)
            which = rng.randrange(len(headers))
            name, value = headers[which]
            cut = rng.randrange(len(value) + 1)
            headers[which] = (name, value[:cut] + rng.randbytes(rng.randrange(3)) + value[cut + 1 :])
        world = World()
        answer = await world.send(headers=headers, body=bytes(body))
        if bytes(body) != good:
            _in_form(world, answer)
        else:
            assert answer.status < 500
