"""The bytes of a session."""

from __future__ import annotations

import json
import random
import zlib
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from daypass.domain import payload
from daypass.domain.payload import MAX_PAYLOAD_BYTES, PayloadTooLarge, decode, encode
from daypass.domain.session import MAX_HOPS, Hop, Seen, SessionClaims, SessionKind

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)
NUMBER = st.integers(0, 2**52)
SEEN = st.builds(Seen, TEXT, NUMBER)
HOP = st.builds(Hop, TEXT, TEXT, TEXT, NUMBER, SEEN, TEXT, TEXT)


def consistent(made: SessionClaims, earlier: list[Hop], key_id: str) -> SessionClaims:
    own = Hop(made.session_id, made.account, made.principal_id, made.issued_at, made.seen, key_id, made.name)
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
        binding=TEXT,
        status_index=st.integers(-1, 2**40),
        derivation_key=TEXT,
        auth_method=TEXT,
        description=TEXT,
        keys=st.lists(st.tuples(TEXT, TEXT), max_size=4).map(tuple),
    ),
    st.lists(HOP, max_size=3),
    TEXT,
)

SEEN_NOW = Seen("db1", 7)
OWN = Hop("a" * 32, "1", "AROA", 1000, SEEN_NOW, "ASIAX", "s")
PLAIN = SessionClaims(SessionKind.ROLE, "a" * 32, "1", "AROA", "arn", "s", 1000, 2000, SEEN_NOW, (OWN,))


@given(CLAIMS)
def test_decode_of_encode_gives_the_claims_back(made: SessionClaims) -> None:
    assert decode(encode(made)) == made


def test_encode_of_a_plain_session_is_fixed_bytes() -> None:
    """The format outlives the process: whoever changes these bytes must change the version."""
    assert encode(PLAIN) == (
        b'[1,"role","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","1","AROA","arn","s",1000,2000,["db1"],0,7,["ASIAX"]]'
    )


def test_decode_of_a_payload_of_version_1_with_policies_still_works() -> None:
    data = (
        b'[1,"role","aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa","1","AROA","arn","s",1000,2000,["db1"],0,7,["ASIAX"],"","",[],[],"",0,1]\0'
        + bytes.fromhex(GOLDEN_POLICIES)
    )
    policy = '{"Version":"2012-10-17","Statement":[{"Effect":"Allow","Action":"s3:GetObject","Resource":"*"}]}'
    assert decode(data) == replace(PLAIN, policies=(policy,), base_policy=True)


GOLDEN_POLICIES = "03ba3306e6d01825ab1824a7c628e9c4201c1b03726d0cd46cb04ab0e9604510f3c182c88e06cbc1ac04cb6ac5406c0500"


@pytest.mark.parametrize(
    "own",
    [
        OWN._replace(session_id="b" * 32),
        OWN._replace(seen=Seen("db1", 8)),
        OWN._replace(issued_at=1001),
        OWN._replace(account="2"),
        OWN._replace(principal_id="AROB"),
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


def array(**at: object) -> bytes:
    values = json.loads(encode(replace(PLAIN, status_index=3, keys=(("k", "v"),))))
    for position, value in at.items():
        values[int(position[1:])] = value
    return json.dumps(values).encode()


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
        array(_0=2),
        array(_0=True),
        array(_1="king"),
        array(_2=5),
        array(_7=True),
        array(_7=1.0),
        array(_7=2**53),
        array(_7=-2),
        array(_9=[]),
        array(_9=[1]),
        array(_10=1),
        array(_10=-1),
        array(_12=[]),
        array(_12=[["", "1", "x", 0, 0, 0, "k", "n"]]),
        array(_12=["ASIAX", "ASIAY"]),
        array(_12=[["", "1", "x", 0, 9, 0, "k", "n"], "ASIAX"]),
        array(_12=[["", "1", "x", 0, 0, 0, "k"], "ASIAX"]),
        array(_12=[["", "1", "x", "0", 0, 0, "k", "n"], "ASIAX"]),
        array(_12=["ASIAX"] * (MAX_HOPS + 1)),
        array(_15=["odd"]),
        array(_15=["a", 1]),
        array(_19=2),
        array(_21=[None]),
        array(_26=["odd"]),
        array(_26=["a", 1]),
        array() + b"\0",
        array() + b"\0junk",
    ],
)
def test_decode_of_anything_odd_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError):
        decode(data)


def deflated(plain: bytes) -> bytes:
    deflater = zlib.compressobj(9, zlib.DEFLATED, -15, zdict=payload._POLICY_WORDS)
    return deflater.compress(plain) + deflater.flush()


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
    with pytest.raises(ValueError):
        decode(encode(PLAIN) + b"\0" + tail)


@given(st.binary(max_size=200), st.integers(0, 400))
def test_decode_of_random_bytes_never_raises_anything_else(noise: bytes, where: int) -> None:
    good = encode(replace(PLAIN, policies=("p",)))
    for data in (noise, good[:where] + noise + good[where + len(noise) :]):
        try:
            decode(data)
        except ValueError:
            continue


# --- What is put together by hand ------------------------------------------------------------------------------------


def plain(c: SessionClaims) -> str:
    """The array of a payload from a plain JSON encoder."""
    known = list(dict.fromkeys([c.seen.incarnation, *(hop.seen.incarnation for hop in c.hops[:-1])]))
    hops: list[object] = [
        [
            h.session_id,
            h.account,
            h.principal_id,
            h.issued_at,
            known.index(h.seen[0]),
            h.seen[1],
            h.access_key_id,
            h.name,
        ]
        for h in c.hops[:-1]
    ]
    values: list[object] = [
        *(c.kind.value, c.session_id, c.account, c.principal_id, c.arn, c.name, c.issued_at, c.expires_at),
        *(known, 0, c.seen.position, [*hops, c.hops[-1].access_key_id]),
    ]
    optional: list[tuple[object, object]] = [
        *((c.derivation_key, ""), (c.auth_method, ""), ([part for tag in c.tags for part in tag], [])),
        *((list(c.transitive_keys), []), (c.source_identity, ""), (c.mfa_at, 0), (int(c.base_policy), 0)),
        *((c.user_id, ""), (list(c.policy_hashes), []), (c.description, ""), (c.grant_id, ""), (c.binding, "")),
        *((c.status_index, -1), ([part for key in c.keys for part in key], [])),
    ]
    while optional and optional[-1][0] == optional[-1][1]:
        optional.pop()
    return json.dumps([1, *values, *(value for value, _ in optional)], separators=(",", ":"), ensure_ascii=False)


@given(CLAIMS, st.booleans(), st.booleans())
def test_encode_is_what_a_plain_encoder_writes(claims: SessionClaims, usual: bool, anonymous: bool) -> None:
    if usual:  # nothing optional but who proved what how
        bare = {
            name: getattr(claims, name) for name in ("kind", "session_id", "account", "principal_id", "arn", "name")
        }
        times = {name: getattr(claims, name) for name in ("issued_at", "expires_at", "seen", "hops")}
        claims = SessionClaims(**bare, **times, derivation_key="k", auth_method="" if anonymous else "sigv4")
    assert encode(claims).partition(b"\0")[0].decode() == plain(claims)
    assert decode(encode(claims)) == claims
