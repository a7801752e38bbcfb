"""SigV4 against botocore as an oracle, and every way in which a signature is refused."""

from __future__ import annotations

import hashlib
from calendar import timegm
from contextlib import suppress
from datetime import datetime
from itertools import permutations
from statistics import median
from time import perf_counter_ns
from urllib.parse import quote, urlsplit

import pytest
from botocore.auth import SigV4Auth, SigV4QueryAuth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from hypothesis import given
from hypothesis import strategies as st

from daypass import sigv4
from daypass.sigv4 import SigningKey, SigV4Error, UnverifiedSignature, canonical
from daypass.sigv4.canonical import presign
from daypass.sigv4.request import _epoch_ms

KEY, SECRET, TOKEN = "AKIAIOSFODNN7EXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY", "dG9rZW4="
BODY = b"Action=GetCallerIdentity&Version=2011-06-15"
HEADERS = {"host": "127.0.0.1:8700", "content-type": "application/x-www-form-urlencoded"}
NOW = timegm((2026, 11, 25, 10, 0, 0)) * 1000


def _wire(headers: dict[str, str]) -> list[tuple[bytes, bytes]]:
    return [(n.lower().encode("latin-1"), v.encode("utf-8")) for n, v in headers.items()]


def _signed(body: bytes = BODY, now: int = NOW, **more: str) -> dict[str, str]:
    return sigv4.sign(SigningKey(KEY, SECRET, "us-east-1", "sts"), "POST", "/", "", {**HEADERS, **more}, body, now)


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
    return presign(key, "GET", "h:1", "/", query, int(expires), now).encode()


names = st.text(
    st.characters(min_codepoint=33, max_codepoint=0x2FF, exclude_characters="&=#?/%+"), min_size=1, max_size=8
)
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


@pytest.mark.parametrize("name", [b"x-amz-foo", b"x-amz-", b"x-amz-date\nx-amz-foo"])
def test_a2_unsigned_marked_header_refused_whatever_its_name(name: bytes) -> None:
    assert "must be a 'SignedHeader'" in _refused([*_wire(_signed()), (name, b"x")]).message


def test_a2_signed_name_that_hides_an_unsigned_one_refused() -> None:
    query = _presigned().replace(b"SignedHeaders=host", b"SignedHeaders=a%0Ax-amz-foo;host")
    assert _refused([(b"host", b"h:1"), (b"x-amz-foo", b"x")], query, b"").kind == "signature_mismatch"


def test_a6_other_region_refused() -> None:
    assert "valid region" in _refused(_wire(_signed()), regions=frozenset({"eu-west-1"})).message
    assert _refused(_with(_signed(), "Authorization", "/us-east-1/", "/eu-west-1/")).message == sigv4.MISMATCH


def test_parse_nothing_signed_is_missing_credentials() -> None:
    assert _refused(_wire(HEADERS)).kind == "missing_credentials"


@pytest.mark.parametrize(
    "value",
    ["", "Credential=a", "Credential=a/b/c/d/e, SignedHeaders=host", "Credential=,Signature=,SignedHeaders=", "x=y"],
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


@given(
    st.lists(st.tuples(st.sampled_from([b"authorization", b"x-amz-date", b"host", b"date"]), st.binary(max_size=60))),
    st.binary(max_size=80),
)
def test_parse_any_bytes_never_fails_otherwise(headers: list[tuple[bytes, bytes]], query: bytes) -> None:
    with suppress(SigV4Error):
        _verify(sigv4.parse_request("POST", b"/", query, headers, b""))


def test_repr_of_a_signing_key_hides_the_secret() -> None:
    assert SECRET not in repr(SigningKey(KEY, SECRET, "r", "sts", TOKEN))
    claimed = sigv4.parse_request("GET", b"/", _presigned(), [(b"host", b"h:1")], b"")
    assert TOKEN not in repr(claimed)


@pytest.mark.parametrize("header", ["authorization", "x-amz-date", "x-amz-security-token", "x-amz-content-sha256"])
def test_parse_repeated_header_is_incomplete(header: str) -> None:
    digest = hashlib.sha256(BODY).hexdigest()
    signed = sigv4.sign(
        SigningKey(KEY, SECRET, "us-east-1", "sts", TOKEN),
        "POST",
        "/",
        "",
        {"x-amz-content-sha256": digest, **HEADERS},
        BODY,
        NOW,
    )
    wire = _wire(signed)
    _verify(sigv4.parse_request("POST", b"/", b"", wire, BODY))
    again = next(pair for pair in wire if pair[0] == header.encode())
    assert _refused([*wire, again]).kind == "incomplete_signature"


@pytest.mark.parametrize("name", ["X-Amz-Date", "X-Amz-Credential", "X-Amz-Security-Token", "X-Amz-Signature"])
def test_parse_repeated_query_parameter_is_incomplete(name: str) -> None:
    query = _presigned()
    again = next(part for part in query.split(b"&") if part.startswith(name.encode()))
    assert _refused([(b"host", b"h:1")], query + b"&" + again, b"").kind == "incomplete_signature"


def test_a4_session_token_in_both_places_refused() -> None:
    assert _refused(_wire(_signed()), b"X-Amz-Security-Token=x").kind == "incomplete_signature"
    headers = [(b"host", b"h:1"), (b"x-amz-security-token", TOKEN.encode())]
    assert _refused(headers, _presigned(), b"").kind == "incomplete_signature"


def test_parse_other_scheme_is_not_echoed() -> None:
    refusal = _refused(_wire({**HEADERS, "authorization": "hunter2-is-my-token"}))
    assert refusal.kind == "incomplete_signature"
    assert "hunter2" not in refusal.message


def test_a11_presigned_dies_after_fifteen_minutes_whatever_it_asks_for() -> None:
    claimed = sigv4.parse_request("GET", b"/", _presigned("604800"), [(b"host", b"h:1")], b"")
    _verify(claimed, NOW + 900_000)
    with pytest.raises(SigV4Error, match=r"Signature expired: 20261125T100000Z is now earlier than .*15 min"):
        _verify(claimed, NOW + 901_000)


def test_parse_presigned_without_expires_gets_fifteen_minutes() -> None:
    request = AWSRequest(method="GET", url="http://h:1/?Action=X")
    signer = SigV4QueryAuth(Credentials(KEY, SECRET), "sts", "eu-west-1")
    signer._expires = None
    signer.add_auth(request)
    query = urlsplit(request.url).query
    claimed = sigv4.parse_request(
        "GET", b"/", query.replace("X-Amz-Expires=None", "").encode(), [(b"host", b"h:1")], b""
    )
    assert (claimed.presigned, claimed.expires) == (True, 900)


@pytest.mark.parametrize(
    ("signed", "sent", "accepted"),
    [
        ("a=b%20c", "a=b+c", True),  # a form reads both as a space
        ("a=b%2Bc", "a=b+c", False),  # and these two not alike
        ("a=%2f", "a=%2F", True),
        ("b=2&a=1", "a=1&b=2", True),
        ("a=2&a=1", "a=1&a=2", True),
        ("a=", "a", True),
        ("a=1&&b=2", "a=1&b=2", True),
        ("A=1", "a=1", False),
        ("a=%C3%BC", "a=u%CC%88", False),
    ],
)
def test_verify_query_written_otherwise_is_the_same_only_if_it_means_the_same(
    signed: str, sent: str, accepted: bool
) -> None:
    headers = sigv4.sign(SigningKey(KEY, SECRET, "us-east-1", "sts"), "POST", "/", signed, HEADERS, BODY, NOW)
    claimed = sigv4.parse_request("POST", b"/", sent.encode(), _wire(headers), BODY)
    if accepted:
        _verify(claimed)
    else:
        with pytest.raises(SigV4Error):
            _verify(claimed)


@pytest.mark.parametrize("date", ["Wed, 25 Nov 2026 10:00:00 GMT", "20261125T100000Z"])
def test_verify_date_header_instead_of_x_amz_date_accepts(date: str) -> None:
    signed = _signed()
    kept = {k: v for k, v in signed.items() if k not in ("x-amz-date", "Authorization")}
    request = AWSRequest(method="POST", url="http://127.0.0.1:8700/", data=BODY, headers={**kept, "Date": date})
    signer = SigV4Auth(Credentials(KEY, SECRET), "sts", "us-east-1")
    request.context["timestamp"] = "20261125T100000Z"
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    signer._inject_signature_to_request(request, signer.signature(to_sign, request))
    headers = [(k.lower().encode(), v.encode()) for k, v in request.headers.items()]
    _verify(sigv4.parse_request("POST", b"/", b"", headers, BODY))


@pytest.mark.parametrize(
    "date", ["20260229T000000Z", "20260431T000000Z", "20261125T240000Z", "19690101T000000Z", "20261125T100000Z\n"]
)
def test_parse_time_that_does_not_exist_is_incomplete(date: str) -> None:
    with pytest.raises(SigV4Error) as refusal:
        _epoch_ms(date)
    assert refusal.value.kind == "incomplete_signature"


@given(st.datetimes(datetime(1970, 1, 1), datetime(9999, 12, 31)))  # noqa: DTZ001  # naive, as strategies want it
def test_epoch_of_any_date_is_the_calendars(moment: datetime) -> None:
    assert (
        _epoch_ms(moment.strftime("%Y").zfill(4) + moment.strftime("%m%dT%H%M%SZ")) == timegm(moment.timetuple()) * 1000
    )


@pytest.mark.parametrize(
    "names", ["host;content-type;x-amz-date", "content-type;host;host;x-amz-date", "Host;content-type;x-amz-date"]
)
def test_parse_signed_headers_not_in_order_refused(names: str) -> None:
    signed = _signed()
    given_names = signed["Authorization"].split("SignedHeaders=")[1].split(",")[0]
    assert _refused(_with(signed, "Authorization", given_names, names)).kind in (
        "signature_mismatch",
        "incomplete_signature",
    )


@pytest.mark.parametrize("made", ["%s", " %s ", "\t%s"])
def test_parse_and_verify_blanks_around_values_accepted(made: str) -> None:
    signed = _signed(**{"x-amz-content-sha256": hashlib.sha256(BODY).hexdigest(), "x-amz-security-token": TOKEN})
    claimed = sigv4.parse_request("POST", b"/", b"", _wire({n: made % v for n, v in signed.items()}), BODY)
    _verify(claimed)
    assert claimed.security_token == TOKEN


def test_parse_authorization_in_another_order_says_the_same() -> None:
    signed = _signed()
    start, _, rest = signed["Authorization"].partition(" ")
    wanted = sigv4.parse_request("POST", b"/", b"", _wire(signed), BODY)
    for parts in permutations(rest.split(", ")):
        for glue in (",", ", ", "  ,  "):
            headers = _wire({**signed, "Authorization": f"{start} {glue.join(parts)}"})
            assert sigv4.parse_request("POST", b"/", b"", headers, BODY) == wanted


@pytest.mark.parametrize("signature", ["A", "é", "0" * 64, "%s, ", "%s,Signature=%s", "x/%s", "%s=", "+%s"])
def test_verify_signature_of_any_form_but_the_right_one_refused(signature: str) -> None:
    signed = _signed()
    right = signed["Authorization"].split("Signature=")[1]
    headers = _with(signed, "Authorization", right, signature.replace("%s", right))
    assert _refused(headers).kind in ("signature_mismatch", "incomplete_signature")


def test_verify_region_that_is_no_name_refused() -> None:
    signed = sigv4.sign(SigningKey(KEY, SECRET, "", "sts"), "POST", "/", "", HEADERS, BODY, NOW)
    assert "valid region" in _refused(_wire(signed)).message


def test_signing_keys_are_kept_without_their_secret_and_bounded() -> None:
    for number in range(canonical._KEYS_KEPT + 10):
        canonical._signing_key(f"secret-{number}", "20261125", "us-east-1", "sts")
    assert len(canonical._signing_keys) <= canonical._KEYS_KEPT
    assert b"secret-4100" not in b"".join(canonical._signing_keys)
    assert canonical._signing_key("ab", "c", "d", "e") != canonical._signing_key("a", "bc", "d", "e")


def test_signature_with_known_keys_is_the_same_and_they_are_few() -> None:
    known: dict[tuple[str, str, str], canonical.Mac] = {}
    for number in range(2 * canonical._SCOPES_KEPT + 1):  # whoever names a key chooses the scope
        scope = ("20261125", f"region-{number}", "sts")
        wanted = canonical.signature("secret", b"request", "20261125T000000Z", scope)
        for _ in range(2):
            assert canonical.signature("secret", b"request", "20261125T000000Z", scope, known) == wanted
        assert scope in known
        assert len(known) <= canonical._SCOPES_KEPT


def test_a10_near_miss_takes_as_long_as_far_miss() -> None:
    signed = _signed()
    right = signed["Authorization"].split("Signature=")[1]
    near, far = right[:-1] + ("0" if right[-1] != "0" else "1"), ("0" if right[0] != "0" else "1") + right[1:]
    claims = [
        sigv4.parse_request("POST", b"/", b"", _with(signed, "Authorization", right, s), BODY) for s in (near, far)
    ]

    def medians(samples: int = 5000) -> list[float]:
        taken: list[list[int]] = [[], []]
        for turn in range(2 * samples):
            before = perf_counter_ns()
            with suppress(SigV4Error):
                _verify(claims[turn % 2])
            taken[turn % 2].append(perf_counter_ns() - before)
        return [median(each) for each in taken]

    # A leak of one byte a comparison would show every time; noise of a shared machine does not.
    assert any(abs(a - b) < 0.02 * max(a, b) for a, b in (medians() for _ in range(4)))
