"""Attacks on signatures, over the whole application: rows A2 to A11."""

from __future__ import annotations

import hashlib
import hmac
import json
import statistics
import time
from collections.abc import Callable
from typing import Any
from urllib.parse import quote

import pytest
from tests.attack.installation import ADMIN, ALPHA, HOST, ROOT, Installation, form

from daypass import sigv4
from daypass.sigv4.canonical import presign

IDENTITY = form("GetCallerIdentity", {})
MISMATCH, INCOMPLETE = ("SignatureDoesNotMatch", 403), ("IncompleteSignature", 400)
UNPROVEN = "request.unauthenticated"
Refused = Callable[..., dict[str, Any]]


def presigned(site: Installation, expires: int = 900, *, now: int = 0, service: str = "sts") -> str:
    key = sigv4.SigningKey(*ROOT, "eu-central-1", service)
    query = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]
    return presign(key, "GET", HOST, "/", query, expires, now or site.now())


def get(site: Installation, query: str, **more: Any) -> Any:
    return site.send("GET", [(b"host", HOST.encode())], query=query.encode(), **more)


def without(headers: list[tuple[bytes, bytes]], signed: str) -> list[tuple[bytes, bytes]]:
    """The same headers, of which one is scope not to be under the signature."""
    return [(n, v.replace(f"{signed};".encode(), b"") if n == b"authorization" else v) for n, v in headers]


@pytest.mark.parametrize("name", ["host", "x-amz-date", "x-amz-meta"])
def test_a2_header_that_is_not_under_the_signature_is_refused(site: Installation, refused: Refused, name: str) -> None:
    headers = site.signed(ROOT, IDENTITY, extra={"x-amz-meta": "1", "x-zz": "2"})
    assert site.send(headers=headers, body=IDENTITY).status == 200
    refused(site.send(headers=without(headers, name), body=IDENTITY), *MISMATCH, UNPROVEN)


def test_a2_x_amz_header_added_on_the_way_is_refused(site: Installation, refused: Refused) -> None:
    headers = [*site.signed(ROOT, IDENTITY), (b"x-amz-target", b"Other")]
    refused(site.send(headers=headers, body=IDENTITY), *MISMATCH, UNPROVEN)


def test_a2_host_changed_on_the_way_is_refused(site: Installation, refused: Refused) -> None:
    headers = [(n, b"evil.test" if n == b"host" else v) for n, v in site.signed(ROOT, IDENTITY)]
    refused(site.send(headers=headers, body=IDENTITY), *MISMATCH, UNPROVEN)


def test_a4_two_mechanisms_are_refused(site: Installation, refused: Refused) -> None:
    query = presigned(site)
    both = [*site.signed(ROOT, b"", query=query)]
    refused(site.send("POST", both, query=query.encode()), *INCOMPLETE, UNPROVEN)
    assert get(site, query).status == 200


def test_a4_two_authorization_headers_are_refused(site: Installation, refused: Refused) -> None:
    headers = site.signed(ROOT, IDENTITY)
    second = next(v for n, v in site.signed(ADMIN, IDENTITY) if n == b"authorization")
    refused(site.send(headers=[*headers, (b"authorization", second)], body=IDENTITY), *INCOMPLETE, UNPROVEN)


@pytest.mark.parametrize("seconds", [-302, 302, -86_400, 86_400])
def test_a5_skew_over_five_minutes_is_refused_with_the_servers_time(
    site: Installation, refused: Refused, seconds: int
) -> None:
    answer = site.send(headers=site.signed(ROOT, IDENTITY, now=site.now() + seconds * 1000), body=IDENTITY)
    record = refused(answer, *MISMATCH, UNPROVEN)
    assert sigv4.format_time(site.now())[:11] in answer.text("Message")
    assert record["account"] == ALPHA


@pytest.mark.parametrize("seconds", [-298, 298])
def test_a5_skew_under_five_minutes_is_accepted(site: Installation, seconds: int) -> None:
    headers = site.signed(ROOT, IDENTITY, now=site.now() + seconds * 1000)
    assert site.send(headers=headers, body=IDENTITY).status == 200


def test_a5_scope_of_another_day_is_refused(site: Installation, refused: Refused) -> None:
    today = sigv4.format_time(site.now())[:8].encode()
    headers = [
        (n, v.replace(today + b"/", b"20200101/") if n == b"authorization" else v)
        for n, v in site.signed(ROOT, IDENTITY)
    ]
    refused(site.send(headers=headers, body=IDENTITY), *MISMATCH, UNPROVEN)


@pytest.mark.parametrize("service", ["iam", "s3", "STS", "", "daypass", "sts\u00e9"])
def test_a6_scope_of_another_service_is_refused(site: Installation, refused: Refused, service: str) -> None:
    if service in ("", "sts\u00e9"):
        made = site.signed(ROOT, IDENTITY)
        headers = [(n, v.replace(b"/sts/", f"/{service}/".encode()) if n == b"authorization" else v) for n, v in made]
        answer = site.send(headers=headers, body=IDENTITY)
        assert answer.code in ("SignatureDoesNotMatch", "IncompleteSignature")
        refused(answer, answer.code, answer.status, UNPROVEN)
    else:
        refused(site.send(headers=site.signed(ROOT, IDENTITY, service), body=IDENTITY), *MISMATCH, UNPROVEN)


def test_a6_iam_call_signed_for_sts_is_refused(site: Installation, refused: Refused) -> None:
    body = form("ListUsers", {}, "iam")
    refused(site.send(headers=site.signed(ROOT, body, "sts"), body=body), *MISMATCH, UNPROVEN)


@pytest.mark.parametrize(
    "expires", ["0", "-1", "\uff19\uff10\uff10", "604801", "1e3", "", "9" * 30, "900\n", " 900", "+900"]
)
def test_a7_expires_out_of_bounds_is_a_400(site: Installation, refused: Refused, expires: str) -> None:
    query = presigned(site).replace("X-Amz-Expires=900", f"X-Amz-Expires={quote(expires, safe='')}")
    answer = get(site, query)
    if expires == "+900":  # a number; but not the one under the signature
        refused(answer, *MISMATCH, UNPROVEN)
    else:
        refused(answer, *INCOMPLETE, UNPROVEN)


def test_a8_body_changed_after_signing_is_refused(site: Installation, refused: Refused) -> None:
    headers = site.signed(ROOT, IDENTITY)
    other = form("GetAccessKeyInfo", {"AccessKeyId": ROOT[0]})
    refused(site.send(headers=headers, body=other), *MISMATCH, UNPROVEN)
    refused(site.send(headers=headers, body=IDENTITY + b"&a=b"), *MISMATCH, UNPROVEN)


@pytest.mark.parametrize(
    "claimed", ["UNSIGNED-PAYLOAD", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD", hashlib.sha256(b"").hexdigest()]
)
def test_a8_claimed_body_hash_is_never_believed(site: Installation, refused: Refused, claimed: str) -> None:
    """Signed as one who believes the header signs it: with the claim in place of the body's hash."""
    refused(site.send(headers=signed_by_hand(site, claimed), body=IDENTITY), *MISMATCH, UNPROVEN)
    true = hashlib.sha256(IDENTITY).hexdigest()
    assert site.send(headers=signed_by_hand(site, true), body=IDENTITY).status == 200


def signed_by_hand(site: Installation, body_hash: str) -> list[tuple[bytes, bytes]]:
    stamp = sigv4.format_time(site.now())
    fields = {"host": HOST, "x-amz-content-sha256": body_hash, "x-amz-date": stamp}
    names = ";".join(fields)
    request = "\n".join(["POST", "/", "", *(f"{n}:{v}" for n, v in fields.items()), "", names, body_hash])
    scope = [stamp[:8], "eu-central-1", "sts", "aws4_request"]
    to_sign = "\n".join(["AWS4-HMAC-SHA256", stamp, "/".join(scope), hashlib.sha256(request.encode()).hexdigest()])
    key = f"AWS4{ROOT[1]}".encode()
    for part in [*scope, to_sign]:
        key = hmac.digest(key, part.encode(), "sha256")
    credential = "/".join([ROOT[0], *scope])
    fields["authorization"] = f"AWS4-HMAC-SHA256 Credential={credential}, SignedHeaders={names}, Signature={key.hex()}"
    return [(n.encode(), v.encode()) for n, v in fields.items()]


@pytest.mark.parametrize(
    "authorization",
    [
        "AWS AKIAROOTOFALPHA00000:c2lnbmF0dXJl",
        "AWS4-HMAC-SHA1 Credential=a/20260101/r/sts/aws4_request, SignedHeaders=host, Signature=0",
        "AWS3-HTTPS AWSAccessKeyId=a, Signature=b",
        "AWS4-ECDSA-P256-SHA256 Credential=a/20260101/sts/aws4_request, SignedHeaders=host, Signature=0",
        "Basic cm9vdDphbHBoYQ==",
        "",
    ],
)
def test_a9_other_algorithms_are_refused(site: Installation, refused: Refused, authorization: str) -> None:
    headers = [(b"host", HOST.encode()), (b"authorization", authorization.encode())]
    record = refused(site.send(headers=headers, body=IDENTITY), *INCOMPLETE, UNPROVEN)
    assert "cm9vdDphbHBoYQ" not in str(record)


def test_a9_signature_version_2_is_refused(site: Installation, refused: Refused) -> None:
    body = IDENTITY + b"&AWSAccessKeyId=AKIAROOTOFALPHA00000&SignatureVersion=2&SignatureMethod=HmacSHA1&Signature=x"
    refused(site.send(headers=[(b"host", HOST.encode())], body=body), *INCOMPLETE, UNPROVEN)


def test_a10_unknown_key_and_wrong_secret_take_about_as_long(site: Installation) -> None:
    """Near misses and far misses, interleaved over the whole application: their medians lie together."""
    right = site.signed(ROOT, IDENTITY)
    authorization = dict(right)[b"authorization"].decode()
    signature = authorization.rpartition("=")[2]
    near = signature[:-1] + ("0" if signature[-1] != "0" else "1")
    far = ("0" if signature[0] != "0" else "1") + signature[1:]
    spent: dict[str, list[float]] = {near: [], far: []}
    bodies = set()
    for _ in range(150):
        for wrong, times in spent.items():
            headers = [*right[:-1], (b"authorization", authorization.replace(signature, wrong).encode())]
            begun = time.thread_time()
            answer = site.send(headers=headers, body=IDENTITY)
            times.append(time.thread_time() - begun)
            bodies.add(answer.body.replace(answer.request_id.encode(), b"ID"))
    assert len(bodies) == 1
    one, other = (statistics.median(times) for times in spent.values())
    assert abs(one - other) < 0.2 * max(one, other)


def test_a11_presigned_identity_proves_its_signer_and_nothing_else(site: Installation, refused: Refused) -> None:
    query = presigned(site)
    answer = get(site, query)
    assert answer.text("Arn") == f"arn:aws:iam::{ALPHA}:root"
    for altered in (
        query.replace("GetCallerIdentity", "GetSessionToken"),
        query + "&Action=GetSessionToken",
        query + "&Arn=arn:aws:iam::111122223333:user/admin",
        query.replace(ROOT[0], ADMIN[0]),
        query.replace("eu-central-1", "us-east-1"),
        query.replace("X-Amz-Expires=900", "X-Amz-Expires=604800"),
    ):
        assert altered != query
        answer = get(site, altered)
        record = refused(answer, answer.code, answer.status)
        assert answer.code in ("SignatureDoesNotMatch", "MalformedInput")
        assert record["type"] in (UNPROVEN, "request.malformed")


def test_a11_headers_and_body_cannot_change_who_a_presigned_identity_is(site: Installation, refused: Refused) -> None:
    """CVE-2020-16250: the answer is made from the verified key, never from what the request brings along."""
    query = presigned(site).encode()
    host = (b"host", HOST.encode())
    answer = site.send("GET", [host, (b"accept", b"application/json"), (b"x-forwarded-host", b"evil")], query=query)
    assert answer.headers["content-type"] == "application/json"
    result = json.loads(answer.body)["GetCallerIdentityResponse"]["GetCallerIdentityResult"]
    assert result["Arn"] == f"arn:aws:iam::{ALPHA}:root"
    refused(site.send("GET", [(b"host", b"evil.test")], query=query), *MISMATCH, UNPROVEN)
    refused(site.send("GET", [host], b"Action=GetSessionToken", query=query), "MalformedInput", 400)
    refused(site.send("POST", [host], query=query), *MISMATCH, UNPROVEN)


@pytest.mark.parametrize(("expires", "age"), [(604_800, 901_000), (900, 901_000), (60, 61_000)])
def test_a11_presigned_identity_dies_at_its_end_and_in_fifteen_minutes(
    site: Installation, refused: Refused, expires: int, age: int
) -> None:
    assert get(site, presigned(site, expires, now=site.now() - age + 2_000)).status == 200
    refused(get(site, presigned(site, expires, now=site.now() - age)), *MISMATCH, UNPROVEN)
