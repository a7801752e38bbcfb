"""SigV4 against botocore as an oracle, and every way in which a signature is refused."""

from __future__ import annotations

from calendar import timegm
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from daypass import sigv4
from daypass.sigv4 import SigningKey, SigV4Error, UnverifiedSignature

KEY, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "dG9rZW4="
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
HEADERS = {"host": "127.0.0.1:8700", "content-type": "application/x-www-form-urlencoded"}
NOW = timegm((2026, 11, 25, 10, 0, 0)) * 1000


def _wire(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(n.lower().encode("latin-1"), v.encode("utf-8")) for n, v in headers.items()]


def _signed(body: bytes = BODY, now: int = NOW, service: str = "sts", **more: str) -> dict[str, str]:
    return sigv4.sign(SigningKey(KEY, SECRET, "us-east-1", service), "POST", "/", "", {**HEADERS, **more}, body, now)


def _verify(claimed: UnverifiedSignature, now: int = NOW, **more: object) -> None:
    arguments: dict[str, object] = {"skew_ms": 300_000, "services": ("sts",), **more}
    sigv4.verify(claimed, SECRET, now, **arguments)  # type: ignore[arg-type]


def _refused(headers: list[tuple[bytes, bytes]], query: bytes = b"", body: bytes = BODY, **more: object) -> SigV4Error:
    with pytest.raises(SigV4Error) as refusal:
        _verify(sigv4.parse_request("POST", b"/", query, headers, body), **more)  # type: ignore[arg-type]
    return refusal.value


def _with(headers: dict[str, str], name: str, old: str, new: str) -> list[tuple[bytes, bytes]]:
    return _wire({**headers, name: headers[name].replace(old, new)})


def _presigned(expires: str = "900", now: int = NOW) -> bytes:
    key = SigningKey(KEY, SECRET, "us-east-1", "sts", TOKEN)
    query = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15")]
    return sigv4.presign(key, "GET", "h:1", "/", query, int(expires), now).encode()


names = st.text(st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="&=#?/%+"), min_size=1, max_size=8)
values = st.text(st.characters(min_codepoint=32, max_codepoint=0x2FF), max_size=12)


@given(
    st.lists(st.tuples(names, values), max_size=4),
    st.lists(st.sampled_from(["a", "b c", "ü", "~x", "..", ".", ""]), max_size=4),
    st.binary(max_size=40),
    st.booleans(),
)
def test_parse_and_verify_signed_by_botocore_accepts(
    query: list[tuple[str, str]], path: list[str], body: bytes, with_token: bool
) -> None:
    url = "http://127.0.0.1:8700/" + "/".join(quote(p, safe="~") for p in path)
    if query:
        url += "?" + "&".join(f"{quote(n, safe='-_.~')}={quote(v, safe='-_.~')}" for n, v in query)
    request = AWSRequest(method="POST", url=url, data=body, headers={"X-Amz-Target": "a   b ", "Accept": "x"})
    SigV4Auth(Credentials(KEY, SECRET, TOKEN if with_token else None), "sts", "eu-west-1").add_auth(request)
    parts = urlsplit(url)
    headers = [(k.lower().encode(), v.encode()) for k, v in request.headers.items()]
    headers.append((b"host", b"127.0.0.1:8700"))
    claimed = sigv4.parse_request("POST", parts.path.encode(), parts.query.encode(), headers, body)
    assert claimed.security_token == (TOKEN if with_token else "")
    _verify(claimed, claimed.signed_at)


@given(st.lists(st.tuples(names, values), max_size=4), st.integers(1, 604_800))
def test_parse_and_verify_presigned_by_botocore_accepts(query: list[tuple[str, str]], expires: int) -> None:
    url = "http://127.0.0.1:8700/?Action=X" + "".join(f"&{quote(n, safe='')}={quote(v, safe='')}" for n, v in query)
    request = AWSRequest(method="GET", url=url)
    SigV4QueryAuth(Credentials(KEY, SECRET, TOKEN), "sts", "eu-west-1", expires=expires).add_auth(request)
    raw_query = urlsplit(request.url).query.encode()
    claimed = sigv4.parse_request("GET", b"/", raw_query, [(b"host", b"127.0.0.1:8700")], b"")
    assert (claimed.presigned, claimed.expires) == (True, expires)
    _verify(claimed, claimed.signed_at)


def test_verify_own_signature_accepts() -> None:
    _verify(sigv4.parse_request("POST", b"/", b"", _wire(_signed()), BODY))
    claimed = sigv4.parse_request("GET", b"/", _presigned(), [(b"host", b"h:1")], b"")
    assert claimed.security_token == TOKEN
    _verify(claimed, NOW + 900_000)


@pytest.mark.parametrize("header", ["host", "x-amz-date", "x-amz-meta"])
def test_a2_header_not_under_the_signature_refused(header: str) -> None:
    signed = _signed(**{"x-amz-meta": "1"})
    names = signed["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    fewer = ";".join(n for n in names.split(";") if n != header)
    assert _refused(_with(signed, "Authorization", names, fewer)).kind == "signature_mismatch"


def test_a2_header_added_on_the_way_refused() -> None:
    assert _refused([*_wire(_signed()), (b"x-amz-security-token", b"x")]).kind == "signature_mismatch"
    assert _refused([*_wire(_signed()), (b"host", b"evil")]).kind == "signature_mismatch"


def test_a4_two_mechanisms_refused() -> None:
    assert _refused(_wire(_signed()), _presigned()).kind == "incomplete_signature"
    assert _refused([*_wire(_signed()), (b"authorization", b"AWS4-HMAC-SHA256 x")]).kind == "incomplete_signature"


@pytest.mark.parametrize(("offset", "word"), [(301_000, "Signature expired"), (-301_000, "Signature not yet current")])
def test_a5_skew_over_five_minutes_refused_with_server_time(offset: int, word: str) -> None:
    refusal = _refused(_wire(_signed()), now=NOW + offset)
    assert refusal.kind == "signature_mismatch"
    assert word in refusal.message
    assert sigv4.format_time(NOW + offset) in refusal.message


@pytest.mark.parametrize("offset", [299_000, -299_000])
def test_a5_skew_under_five_minutes_accepted(offset: int) -> None:
    _verify(sigv4.parse_request("POST", b"/", b"", _wire(_signed()), BODY), NOW + offset)


def test_a5_scope_date_unlike_request_date_refused() -> None:
    refusal = _refused(_with(_signed(), "Authorization", "/20261125/", "/20261126/"))
    assert refusal.kind == "signature_mismatch"
    assert "Date in Credential scope" in refusal.message


def test_a6_other_service_or_region_refused() -> None:
    assert "correct service: 'sts'" in _refused(_wire(_signed(service="s3"))).message
    assert "valid region" in _refused(_wire(_signed()), regions=frozenset({"eu-west-1"})).message
    assert _refused(_with(_signed(), "Authorization", "/us-east-1/", "/eu-west-1/")).message == sigv4.MISMATCH


@pytest.mark.parametrize("expires", ["0", "-1", "９００", "604801", "", "1e3", "9" * 99])
def test_a7_expires_out_of_bounds_refused(expires: str) -> None:
    query = _presigned().replace(b"X-Amz-Expires=900", b"X-Amz-Expires=" + quote(expires).encode())
    assert _refused([(b"host", b"h:1")], query, b"").kind == "incomplete_signature"


def test_a7_presigned_after_its_end_refused() -> None:
    claimed = sigv4.parse_request("GET", b"/", _presigned(), [(b"host", b"h:1")], b"")
    with pytest.raises(SigV4Error, match="Signature expired"):
        _verify(claimed, NOW + 901_000)


def test_a8_changed_body_refused() -> None:
    assert _refused(_wire(_signed()), body=BODY + b"&x=1").kind == "signature_mismatch"


def test_a8_unsigned_payload_refused() -> None:
    headers = {**_signed(), "x-amz-content-sha256": "UNSIGNED-PAYLOAD"}
    assert _refused(_wire(headers)).kind == "signature_mismatch"


@pytest.mark.parametrize(
    "value",
    ["AWS AKIAIOSFODNN7EXAMPLE:frJIUN8DYpKDtOLCwo//yllqDzg=", "AWS4-HMAC-SHA1 Credential=x", "AWS4-ECDSA-P256-SHA256 x"],
)
def test_a9_other_algorithm_refused(value: str) -> None:
    assert _refused(_wire({**HEADERS, "authorization": value})).kind == "incomplete_signature"


def test_a9_signature_version_2_in_query_refused() -> None:
    assert _refused([(b"host", b"h")], b"AWSAccessKeyId=x&Signature=y&SignatureVersion=2").kind == "incomplete_signature"


def test_a11_altered_presigned_identity_refused() -> None:
    query = _presigned()
    for altered in (query.replace(b"GetCallerIdentity", b"GetSessionToken"), query + b"&Extra=1"):
        assert _refused([(b"host", b"h:1")], altered, b"").kind == "signature_mismatch"
    assert _refused([(b"host", b"evil:1")], query, b"").kind == "signature_mismatch"


def test_parse_nothing_signed_is_missing_credentials() -> None:
    assert _refused(_wire(HEADERS)).kind == "missing_credentials"


@pytest.mark.parametrize(
    "value", ["", "Credential=a", "Credential=a/b/c/d/e, SignedHeaders=host", "Credential=,Signature=,SignedHeaders=", "x=y"]
)
def test_parse_unreadable_authorization_is_incomplete(value: str) -> None:
    headers = {**HEADERS, "x-amz-date": "20261125T100000Z", "authorization": f"AWS4-HMAC-SHA256 {value}"}
    assert _refused(_wire(headers)).kind == "incomplete_signature"


@pytest.mark.parametrize("date", ["20261125T100000", "20261325T100000Z", "２０261125T100000Z", "x"])
def test_parse_bad_date_is_incomplete(date: str) -> None:
    headers = [(n, v) for n, v in _wire(_signed()) if n != b"x-amz-date"]
    assert _refused([*headers, (b"x-amz-date", date.encode())]).kind == "incomplete_signature"


@pytest.mark.parametrize("signature", ["é" * 64, "A" * 64, "0" * 63, "0" * 64, ""])
def test_a10_any_wrong_signature_is_the_same_refusal(signature: str) -> None:
    signed = _signed()
    right = signed["Authorization"].split("Signature=")[1]
    refusal = _refused(_with(signed, "Authorization", right, signature or "-"))
    assert (refusal.kind, refusal.message) == ("signature_mismatch", sigv4.MISMATCH)


@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-amz-date", b"host", b"date"]), st.binary(max_size=60))), st.binary(max_size=80))
def test_parse_any_bytes_never_fails_otherwise(headers: list[tuple[bytes, bytes]], query: bytes) -> None:
    try:
        _verify(sigv4.parse_request("POST", b"/", query, headers, b""))
    except SigV4Error:
        pass


def test_repr_of_a_signing_key_hides_the_secret() -> None:
    assert SECRET not in repr(SigningKey(KEY, SECRET, "r", "sts", TOKEN))
