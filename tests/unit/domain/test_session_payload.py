"""The bytes of a session."""

from __future__ import annotations

import random
import zlib

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from daypass.domain import payload
from daypass.domain.payload import MAX_PAYLOAD_BYTES, PayloadTooLarge, decode, encode
from daypass.domain.session import MAX_HOPS, FeedPosition, Hop, SessionClaims, SessionKind

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(0, 2**52)
SEEN = st.builds(FeedPosition, TEXT, NUMBER)
HOP = st.builds(Hop, TEXT, TEXT, TEXT, NUMBER, SEEN, TEXT, TEXT, st.just("") | TEXT, st.just("") | TEXT)


def consistent(made: SessionClaims, earlier: list[Hop], key_id: str) -> SessionClaims:
    facts = (made.session_id, made.account, made.principal_id, made.issued_at, made.seen, key_id, made.name)
    own = Hop(*facts, made.grant_id, made.client_id)
    return replace(made, hops=(*earlier, own))


TEXTS = st.lists(TEXT, max_size=4).map(tuple)
CLAIMS = st.builds(
    consistent,
    st.builds(
        SessionClaims,
        kind=st.sampled_from(SessionKind),
        session_id=TEXT,
        account=TEXT,
        principal_id=TEXT,
        arn=TEXT,
        name=TEXT,
        issued_at=NUMBER,
        expires_at=NUMBER,
        seen=SEEN,
        hops=st.just(()),
        tags=st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
        transitive_keys=TEXTS,
        source_identity=TEXT,
        mfa_at=NUMBER,
        policies=TEXTS,
        base_policy=st.booleans(),
        policy_hashes=TEXTS,
        user_id=TEXT,
        grant_id=TEXT,
        client_id=st.just("") | TEXT,
        binding=TEXT,
        status_index=st.integers(-1, 2**40),
        derivation_key=TEXT,
        auth_method=TEXT,
        description=TEXT,
        keys=st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
        first_issued_at=NUMBER,
    ),
    st.lists(HOP, max_size=3),
    TEXT,
)

SEEN_NOW = FeedPosition("db1", 7)
OWN = Hop("a" * 32, "1", "AROA", 1000, SEEN_NOW, "ASIAX", "s")
PLAIN = SessionClaims(SessionKind.ROLE, "a" * 32, "1", "AROA", "arn", "s", 1000, 2000, SEEN_NOW, (OWN,))


@given(CLAIMS)
def test_decode_of_encode_gives_the_claims_back(made: SessionClaims) -> None:
    assert decode(encode(made)) == made


def test_encode_of_a_plain_session_is_fixed_bytes_of_version_1() -> None:
    """The format outlives the process: whoever changes these bytes must change the version."""
    assert encode(PLAIN).hex() == GOLDEN
    assert decode(bytes.fromhex(GOLDEN)) == PLAIN


GOLDEN = (
    "01dc0020a4726f6c65d920" + "61" * 32 + "a131a441524f41a361726ea173cd03e8cd07d0a364623107a5415349415890a0a0909"
    "0a000c400c290a0a0a0a0ff90a000c0c0c0"
)


def test_decode_of_a_shorter_array_of_version_1_is_refused() -> None:
    values = msgspec.msgpack.Decoder().decode(encode(PLAIN)[1:])
    assert decode(b"\x01" + msgspec.msgpack.encode(values)) == PLAIN
    for other in (values[:-1], [*values, ""]):
        with pytest.raises(ValueError, match="not a payload"):
            decode(b"\x01" + msgspec.msgpack.encode(other))


@pytest.mark.parametrize(
    "own",
    [
        replace(OWN, session_id="b" * 32),
        replace(OWN, seen=FeedPosition("db1", 8)),
        replace(OWN, issued_at=1001),
        replace(OWN, account="2"),
        replace(OWN, principal_id="AROB"),
    ],
)
def test_encode_of_hops_that_do_not_end_with_the_session_is_refused(own: Hop) -> None:
    with pytest.raises(ValueError, match="end with the session"):
        encode(replace(PLAIN, hops=(own,)))


def test_encode_over_a_limit_is_refused_so_that_what_is_issued_always_opens() -> None:
    rng = random.Random(1)
    noise = "".join(rng.choices("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789+/", k=30_000))
    for large in (
        replace(PLAIN, hops=(OWN,) * (MAX_HOPS + 1)),
        replace(PLAIN, description="x" * MAX_PAYLOAD_BYTES),
        replace(PLAIN, policies=("x" * 70_000,)),
        replace(PLAIN, policies=(noise,)),
    ):
        with pytest.raises(PayloadTooLarge):
            encode(large)


def test_encode_of_a_usual_policy_is_much_smaller_than_its_text() -> None:
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"arn:aws:s3:::b/*"}]}'
    assert len(encode(replace(PLAIN, policies=(policy,)))) - len(encode(PLAIN)) < len(policy) * 0.6


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0",
        b"null",
        b"{}",
        b"[]",
        b"[1]",
        b"[1" + b",0" * 12 + b"]",
        b"\xff[1]",
        b"[" * 10_000,
        b"[1,NaN]",
        b"[1,1e400]",
        b" " * (MAX_PAYLOAD_BYTES + 1),
        "[1]".encode("utf-16"),
    ],
)
def test_decode_of_anything_odd_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def deflated(plain: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=payload._POLICY_WORDS)
    return deflater.compress(plain) + deflater.flush()


POLICIES = payload._Payload.__struct_fields__.index("policies")


@pytest.mark.parametrize(
    "tail",
    [
        deflated(b'["' + b"x" * 10_000_000 + b'"]'),
        deflated(b"[" * 60_000),
        deflated(b"[]"),
        deflated(b"{}"),
        deflated(b"[1]"),
        deflated(b"\xff"),
        deflated(b'["p"]') + b"more",
        deflated(b'["p"]')[:-1],
    ],
    ids=["bomb", "deep", "empty", "object", "number", "not utf-8", "trailing", "cut"],
)
def test_decode_of_damaged_policies_is_a_value_error(tail: bytes) -> None:
    values = msgspec.msgpack.Decoder().decode(encode(PLAIN)[1:])
    values[POLICIES] = tail
    with pytest.raises(ValueError):
        decode(b"\x01" + msgspec.msgpack.encode(values))


@given(st.binary(max_size=200), st.integers(0, 400))
def test_decode_of_random_bytes_never_raises_anything_else(noise: bytes, where: int) -> None:
    good = encode(replace(PLAIN, policies=("p",)))
    for data in (noise, good[:where] + noise + good[where + len(noise) :]):
        try:
            decode(data)
        except ValueError:
            continue


NUMBERS = [
    i for i, name in enumerate(payload._Payload.__struct_fields__) if name in ("issued_at", "position", "mfa_at")
]


@pytest.mark.parametrize("where", NUMBERS)
@pytest.mark.parametrize("odd", [-1, 2**53, True, 1.0, "1", None])
def test_decode_of_a_number_out_of_range_or_of_another_type_is_a_value_error(where: int, odd: object) -> None:
    values = msgspec.msgpack.Decoder().decode(encode(PLAIN)[1:])
    values[where] = odd
    with pytest.raises(ValueError, match="not a payload"):
        decode(b"\x01" + msgspec.msgpack.encode(values))
