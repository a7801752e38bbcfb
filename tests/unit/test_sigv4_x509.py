"""Requests signed by a certificate's key: what is read, and what is refused before any key is looked at."""

from __future__ import annotations

import asyncio
import contextlib

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.x509 import Authority, body, sign

from daypass.domain.arn import Source
from daypass.federation.x509 import X509Verifier
from daypass.sigv4 import SigV4Error
from daypass.sigv4.verifying import UnverifiedX509, parse_x509

NOW = 1_800_000_000_000
ROOT = Authority.make()
HOST = ROOT.host(serial=12345)
BODY = body({"profile": "p", "role": "r", "anchor": "a"})
HEADERS = sign(HOST, BODY, NOW, chain=(ROOT,))


def check_signature(claimed: UnverifiedX509) -> None:
    verifier = X509Verifier()
    made = (claimed.algorithm, claimed.signature, claimed.message)
    asyncio.run(verifier.check_signature(Source("198.51.100.1"), HOST.der, claimed.serial, *made))


def parsed(headers: list[tuple[bytes, bytes]], raw: bytes = BODY, query: bytes = b"") -> UnverifiedX509:
    return parse_x509("POST", b"/sessions", query, headers, raw)


def test_parse_reads_what_the_key_signed() -> None:
    claimed = parsed(HEADERS)
    assert (claimed.algorithm, claimed.serial, claimed.claimed.region) == ("ECDSA", 12345, "eu-central-1")
    assert (claimed.claimed.service, claimed.claimed.signed_at) == ("rolesanywhere", NOW)
    assert (claimed.certificate, claimed.chain) == (HOST.base64, (ROOT.base64,))
    check_signature(claimed)
    assert HOST.base64 not in repr(claimed)


def test_parse_reads_parameters_of_the_query_string_as_signed() -> None:
    headers = sign(HOST, b"", NOW, query="profileArn=p&roleArn=a%2Fb")
    claimed = parsed(headers, b"", b"roleArn=a%2Fb&profileArn=p")
    check_signature(claimed)


@pytest.mark.parametrize("number", range(len(HEADERS)))
def test_parse_without_one_of_its_headers_is_refused(number: int) -> None:
    with pytest.raises(SigV4Error) as caught:
        parsed([header for place, header in enumerate(HEADERS) if place != number])
    kind = "missing_credentials" if HEADERS[number][0] == b"authorization" else "incomplete_signature"
    assert caught.value.kind in (kind, "signature_mismatch")


@pytest.mark.parametrize(
    "value",
    [
        b"",
        b"AWS4-X509-ECDSA-SHA256",
        b"AWS4-X509-ECDSA-SHA256 Credential=1/20270115/r/rolesanywhere/aws4_request, SignedHeaders=host, Signature=",
        b"AWS4-X509-ECDSA-SHA256 Credential=1/20270115/r/rolesanywhere/aws4_request, SignedHeaders=host, Signature=abc",
        b"AWS4-X509-ECDSA-SHA256 Credential=1/20270115/r/rolesanywhere/aws4_request, SignedHeaders=host, Signature=AB",
        b"AWS4-X509-ECDSA-SHA256 Credential=1, SignedHeaders=host;x-amz-date;x-amz-x509, Signature=ab",
        b"AWS4-X509-DSA-SHA256 Credential=1/20270115/r/rolesanywhere/aws4_request, SignedHeaders=host, Signature=ab",
        b"Bearer x",
    ],
)
def test_parse_of_an_authorization_that_is_none_is_refused(value: bytes) -> None:
    with pytest.raises(SigV4Error):
        parsed([(name, value if name == b"authorization" else text) for name, text in HEADERS])


@given(st.data())
def test_parse_of_anything_is_an_answer_or_a_refusal(data: st.DataObject) -> None:
    headers = list(HEADERS)
    for _ in range(data.draw(st.integers(1, 3))):
        place = data.draw(st.integers(0, len(headers) - 1))
        name, value = headers[place]
        at = data.draw(st.integers(0, len(value)))
        value = value[:at] + data.draw(st.binary(max_size=4)) + value[at + data.draw(st.integers(0, 4)) :]
        headers[place] = (name, value)
    with contextlib.suppress(SigV4Error):
        parsed(headers)
