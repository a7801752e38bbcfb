"""JOSE: algorithms, keys, signatures, and vectors of the RFCs."""

from __future__ import annotations

import base64
import contextlib
import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from hypothesis import given
from hypothesis import strategies as st
from tests.issuer import b64, compact, make_key, number, public_jwk, raw_signature, rsa_key
from tests.vectors.place import jws_file

from daypass.crypto import jose
from daypass.domain.jws import JoseError, UnverifiedJws
from daypass.domain.provider_settings import ALGORITHMS

CLAIMS = {"iss": "https://idp.example.com", "sub": "somebody"}


def jwks(*keys: Mapping[str, Any]) -> bytes:
    return json.dumps({"keys": list(keys)}).encode()


def unverified(text: str) -> UnverifiedJws:
    """A token of any payload, taken apart by the letter of RFC 7515, 5.2."""
    header, payload, signature = text.split(".")
    read = json.loads(base64.urlsafe_b64decode(header + "=="))
    raw = base64.urlsafe_b64decode(signature + "==")
    return UnverifiedJws(read["alg"], read.get("kid", ""), "", {}, f"{header}.{payload}".encode(), raw, text)


# --- The examples of the RFCs ----------------------------------------------------------------------------------------

RFC_7515_A2 = (
    {
        "kty": "RSA",
        "n": "ofgWCuLjybRlzo0tZWJjNiuSfb4p4fAkd_wWJcyQoTbji9k0l8W26mPddxHmfHQp-Vaw-4qPCJrcS2mJPMEzP1Pt0Bm4d4QlL-yRT-SFd2lZ"
        "S-pCgNMsD1W_YpRPEwOWvG6b32690r2jZ47soMZo9wGzjb_7OMg0LOL-bSf63kpaSHSXndS5z5rexMdbBYUsLA9e-KXBdQOS-UTo7WTBEMa2R2Ca"
        "pHg665xsmtdVMTBQY4uDZlxvb3qCo5ZwKh9kG4LT6_I5IhlJH7aGhyxXFvUK-DWNmoudF8NAco9_h9iaGNj8q2ethFkMLs91kzk2PAcDTW9gb54h"
        "4FRWyuXpoQ",
        "e": "AQAB",
    },
    (
        "eyJhbGciOiJSUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "cC4hiUPoj9Eetdgtv3hF80EGrhuB__dzERat0XF9g2VtQgr9PJbu3XOiZj5RZmh7AAuHIm4Bh-0Qc_lF5YKt_O8W2Fp5jujGbds9uJdbF9CUAr7t1dnZ"
        "cAcQjbKBYNX4BAynRFdiuB--f_nZLgrnbyTyWzO75vRK5h6xBArLIARNPvkSjtQBMHlb1L07Qe7K0GarZRmB_eSN9383LcOLn6_dO--xi12jzDwusC-e"
        "OkHWEsqtFZESc6BfI7noOPqvhJ1phCnvWh6IeYI2w9QOYEUipUTI8np6LbgGY9Fs98rqVt5AXLIhWkWywlVmtVrBp0igcN_IoypGlUPQGe77Rw"
    ),
)
RFC_7515_A3 = (
    {
        "kty": "EC",
        "crv": "P-256",
        "x": "f83OJ3D2xF1Bg8vub9tLe1gHMzV76e8Tus9uPHvRVEU",
        "y": "x_FEzRu9m36HLN_tue659LNpXW6pCyStikYjKIWI5a0",
    },
    (
        "eyJhbGciOiJFUzI1NiJ9."
        "eyJpc3MiOiJqb2UiLA0KICJleHAiOjEzMDA4MTkzODAsDQogImh0dHA6Ly9leGFtcGxlLmNvbS9pc19yb290Ijp0cnVlfQ."
        "DtEhU3ljbEg8L38VWAfUAqOyKAM6-Xx-F4GawxaepmXFCgfTjDxw5djxLa8ISlSApmWQxfKTUJqPP3-Kg6NU1Q"
    ),
)
RFC_7515_A4 = (
    {
        "kty": "EC",
        "crv": "P-521",
        "x": "AekpBQ8ST8a8VcfVOTNl353vSrDCLLJXmPk06wTjxrrjcBpXp5EOnYG_NjFZ6OvLFV1jSfS9tsz4qUxcWceqwQGk",
        "y": "ADSmRA43Z1DSNx_RvcLI87cdL07l6jQyyBXMoxVg_l2Th-x3S1WDhjDly79ajL4Kkd0AZMaZmh9ubmf63e3kyMj2",
    },
    (
        "eyJhbGciOiJFUzUxMiJ9.UGF5bG9hZA."
        "AdwMgeerwtHoh-l192l60hp9wAHZFVJbLfD_UxMi70cwnZOYaRI1bKPWROc-mZZqwqT2SI-KGDKB34XO0aw_7XdtAG8GaSwFKdCAPZgoXD2YBJZCPEX3"
        "xKpRwcdOO8KpEHwJjyqOgzDO7iKvU8vcnwNrmxYbSW9ERBXukOXolLzeO_Jn"
    ),
)
RFC_8037_A4 = (
    {"kty": "OKP", "crv": "Ed25519", "x": "11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"},
    (
        "eyJhbGciOiJFZERTQSJ9.RXhhbXBsZSBvZiBFZDI1NTE5IHNpZ25pbmc."
        "hgyY0il_MGCjP0JzlnLWG1PPOt7-09PGcvMg3AIbQR6dWbhijcNR4ki4iylGjg5BhVsPt9g7sVvpAr_MuM0KAg"
    ),
)
EXAMPLES = [RFC_7515_A2, RFC_7515_A3, RFC_7515_A4, RFC_8037_A4]


@pytest.mark.parametrize(("key", "text"), EXAMPLES)
def test_verify_example_of_an_rfc_is_genuine_and_any_changed_bit_is_not(key: dict[str, str], text: str) -> None:
    token = unverified(text)
    jose.verify(token, jwks(key), ALGORITHMS)
    changed = bytes([token.signature[0] ^ 1]) + token.signature[1:]
    others = (
        UnverifiedJws(token.alg, "", "", {}, token.signing_input, changed, ""),
        UnverifiedJws(token.alg, "", "", {}, token.signing_input + b"A", token.signature, ""),
        UnverifiedJws(token.alg, "", "", {}, token.signing_input, token.signature + b"\0", ""),
        UnverifiedJws(token.alg, "", "", {}, token.signing_input, token.signature[:-1], ""),
    )
    for other in others:
        with pytest.raises(JoseError, match="signature"):
            jose.verify(other, jwks(key), ALGORITHMS)


def test_verify_while_the_library_cannot_be_loaded_is_no_wrong_signature(monkeypatch: pytest.MonkeyPatch) -> None:
    """Otherwise an error of the server would be answered as a token that its issuer did not sign."""

    def broken() -> None:
        raise ImportError("joserfc")

    key, text = RFC_7515_A3
    monkeypatch.setattr(jose, "_models", broken)
    with pytest.raises(ImportError):
        jose.verify(unverified(text), jwks(key), ALGORITHMS)


def test_read_example_whose_payload_is_an_object_gives_its_claims() -> None:
    token = jose.read(RFC_7515_A2[1])
    assert token.unverified_claims == {"iss": "joe", "exp": 1300819380, "http://example.com/is_root": True}
    assert (token.alg, token.kid, token.typ) == ("RS256", "", "")


# --- Every algorithm -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_verify_own_key_of_each_algorithm_is_genuine_and_another_is_not(alg: str) -> None:
    key, other = make_key(alg, 1), make_key(alg, 2)
    token = jose.read(compact({"alg": alg, "kid": "k"}, CLAIMS, key, alg))
    jose.verify(token, jwks(public_jwk(key, kid="k")), (alg,))
    with pytest.raises(JoseError, match="signature"):
        jose.verify(token, jwks(public_jwk(other, kid="k")), (alg,))


@pytest.mark.parametrize("alg", ALGORITHMS)
def test_verify_algorithm_that_the_provider_does_not_allow_is_refused(alg: str) -> None:
    key = make_key(alg, 1)
    token = jose.read(compact({"alg": alg}, CLAIMS, key, alg))
    with pytest.raises(JoseError, match="not among"):
        jose.verify(token, jwks(public_jwk(key)), [name for name in ALGORITHMS if name != alg])


@pytest.mark.parametrize("claimed", ALGORITHMS)
@pytest.mark.parametrize("real", ["RS256", "ES256", "EdDSA"])
def test_verify_key_of_one_kind_never_serves_for_an_algorithm_of_another(claimed: str, real: str) -> None:
    key = make_key(real, 1)
    header = {"alg": claimed, "kid": "k"}
    signed = f"{b64(json.dumps(header).encode())}.{b64(b'{}')}"
    token = jose.read(f"{signed}.{b64(raw_signature(key, real, signed.encode()))}")
    genuine = claimed == real or {claimed, real} == {"EdDSA", "Ed25519"}
    try:
        jose.verify(token, jwks(public_jwk(key, kid="k")), ALGORITHMS)
    except JoseError:
        assert not genuine
    else:
        assert genuine


def test_verify_public_key_as_a_secret_is_no_key() -> None:
    public = public_jwk(rsa_key(), kid="k")
    signed = f"{b64(json.dumps({'alg': 'HS256', 'kid': 'k'}).encode())}.{b64(b'{}')}"
    for name in ("HS256", "none", "None", "NONE", "nOnE", "hs256", "ES256K", "RSA1_5", "dir", ""):
        header = b64(json.dumps({"alg": name, "kid": "k"}).encode())
        with pytest.raises(JoseError, match="never accepted"):
            jose.read(f"{header}.{b64(b'{}')}.{b64(b'x')}")
    token = UnverifiedJws("HS256", "k", "", {}, signed.encode(), b"x" * 32, "")
    with pytest.raises(JoseError):
        jose.verify(token, jwks(public, {"kty": "oct", "k": b64(b"secret"), "kid": "k"}), (*ALGORITHMS, "HS256"))


def test_verify_ecdsa_signature_in_der_or_of_zeros_is_refused() -> None:
    key = make_key("ES256")
    signed = f"{b64(json.dumps({'alg': 'ES256'}).encode())}.{b64(b'{}')}"
    der = key.sign(signed.encode(), ec.ECDSA(jose_hash()))
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    for raw in (der, bytes(64), order.to_bytes(32, "big") * 2, b"\xff" * 64, (1).to_bytes(32, "big") * 2):
        token = jose.read(f"{signed}.{b64(raw)}")
        with pytest.raises(JoseError, match="signature"):
            jose.verify(token, jwks(public_jwk(key)), ALGORITHMS)


def jose_hash() -> Any:
    from cryptography.hazmat.primitives import hashes

    return hashes.SHA256()


# --- Form ------------------------------------------------------------------------------------------------------------

GOOD = compact({"alg": "ES256", "kid": "k"}, CLAIMS, make_key("ES256"), "ES256")
HEADER, PAYLOAD, SIGNATURE = GOOD.split(".")


@pytest.mark.parametrize(
    "text",
    [
        "",
        ".",
        "..",
        "a.b.c",
        f"{HEADER}.{PAYLOAD}",
        f"{HEADER}.{PAYLOAD}.",
        f".{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}..{SIGNATURE}",
        f"{GOOD}.",
        f"{GOOD}.x",
        f"{GOOD}..",
        f" {GOOD}",
        f"{GOOD}\n",
        f"{GOOD}=",
        f"{HEADER}=.{PAYLOAD}.{SIGNATURE}",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE[:-2]}+/",
        f"{HEADER}.{PAYLOAD}.{SIGNATURE}\u0661",
        json.dumps({"payload": PAYLOAD, "protected": HEADER, "signature": SIGNATURE}),
        json.dumps({"payload": PAYLOAD, "signatures": [{"protected": HEADER, "signature": SIGNATURE}]}),
        "A" * 20_001,
        "." * 19_999,
    ],
)
def test_read_anything_but_a_compact_token_is_refused(text: str) -> None:
    with pytest.raises(JoseError):
        jose.read(text)


@given(st.text("ABQYZabgkwyz0189-_+/=. \n\u00e9\ud800", max_size=9))
def test_read_signature_is_taken_in_the_one_spelling_of_rfc_7515(text: str) -> None:
    canonical = r"(?:[\w-]{4})*(?:[\w-][AQgw]|[\w-]{2}[AEIMQUYcgkosw048])?"
    header, payload, _ = compact({"alg": "ES256"}, CLAIMS, make_key("ES256"), "ES256").split(".")
    taken = contextlib.nullcontext() if text and re.fullmatch(canonical, text, re.ASCII) else pytest.raises(JoseError)
    with taken:
        jose.read(f"{header}.{payload}.{text}")


@pytest.mark.parametrize(
    "header",
    [
        '{"alg":"ES256","alg":"ES256"}',
        '{"alg":"ES256","kid":"a","kid":"b"}',
        '{"alg":["ES256"]}',
        '{"alg":null}',
        "{}",
        "[]",
        '"ES256"',
        '{"alg":"ES256","kid":7}',
        '{"alg":"ES256","kid":""}',
        '{"alg":"ES256","typ":["JWT"]}',
        '{"alg":"ES256","crit":["exp"]}',
        '{"alg":"ES256","crit":[]}',
        '{"alg":"ES256","b64":false}',
        '{"alg":"ES256","zip":"DEF"}',
        '{"alg":"ES256","enc":"A256GCM"}',
        '{"alg":"ES256","cty":"JWT"}',
        '{"alg":"ES256","p2c":1000000000}',
        '{"alg":"ES256","jwk":{}}',
        '{"alg":"ES256","jku":"https://evil.example"}',
        '{"alg":"ES256","x5u":"https://evil.example"}',
        '{"alg":"ES256","x5c":[]}',
        '{"alg":"ES256"} x',
        '\ufeff{"alg":"ES256"}',
    ],
)
def test_read_header_that_says_more_than_a_key_is_refused(header: str) -> None:
    with pytest.raises(JoseError):
        jose.read(f"{b64(header.encode())}.{PAYLOAD}.{SIGNATURE}")


@pytest.mark.parametrize(
    "payload",
    [
        b"[]",
        b"null",
        b'"text"',
        b"",
        b"foo",
        b'{"sub":"a","sub":"b"}',
        b'{"a":{"b":1,"b":1}}',
        b'{"exp":NaN}',
        b'{"exp":Infinity}',
        b'{"exp":-Infinity}',
        b'{"exp":1e999999999}',
        b'{"exp":' + b"9" * 5000 + b"}",
        b'{"sub":"\\ud800"}',
        b'{"sub":["\\udfff"]}',
        b'{"sub":"\xff"}',
        b'{"a":' * 40 + b"1" + b"}" * 40,
        b'{"a":' + b"[" * 7000 + b"]" * 7000 + b"}",
    ],
)
def test_read_payload_that_two_parsers_might_read_differently_is_refused(payload: bytes) -> None:
    with pytest.raises(JoseError):
        jose.read(f"{HEADER}.{b64(payload)}.{SIGNATURE}")


@given(st.text(alphabet='ABCabc019_-.={}" \n\u0661', max_size=200) | st.text(max_size=60))
def test_read_any_text_is_taken_apart_or_refused(text: str) -> None:
    for candidate in (
        text,
        f"{HEADER}.{PAYLOAD}.{text}",
        f"{HEADER}.{text}.{SIGNATURE}",
        f"{text}.{PAYLOAD}.{SIGNATURE}",
    ):
        with contextlib.suppress(JoseError):
            assert jose.read(candidate).text == candidate


def es256(kid: str = "", **more: Any) -> dict[str, Any]:
    return public_jwk(make_key("ES256"), **({"kid": kid} if kid else {}), **more)


@pytest.mark.parametrize(
    "weak",
    [
        public_jwk(rsa_key(1024), kid="k"),
        public_jwk(rsa_key(exponent=3), kid="k"),
        {**public_jwk(rsa_key(), kid="k"), "e": number(1)},
        {**public_jwk(rsa_key(), kid="k"), "e": number(65_538)},
        {**public_jwk(rsa_key(), kid="k"), "e": number((1 << 32) + 1)},
        {**public_jwk(rsa_key(), kid="k"), "n": number((1 << 16_384) - 1)},
        {**public_jwk(rsa_key(), kid="k"), "n": public_jwk(rsa_key())["n"] + "="},
        {**public_jwk(rsa_key(), kid="k"), "d": "AQAB"},
        {**public_jwk(rsa_key(), kid="k"), "use": "enc"},
        {**public_jwk(rsa_key(), kid="k"), "key_ops": ["encrypt"]},
        {**public_jwk(rsa_key(), kid="k"), "key_ops": "verify"},
        {**public_jwk(rsa_key(), kid="k"), "alg": "RSA-OAEP"},
        {**public_jwk(rsa_key(), kid="k"), "alg": "ES256"},
        {**es256("k"), "crv": "secp256k1"},
        {**es256("k"), "crv": "P-384"},
        {**es256("k"), "x": es256()["x"]},
        {**es256("k"), "x": None},
        {"kty": "OKP", "crv": "X25519", "x": b64(bytes(32)), "kid": "k"},
        {"kty": "OKP", "crv": "Ed25519", "x": b64(bytes(31)), "kid": "k"},
        {"kty": "oct", "k": b64(bytes(32)), "kid": "k"},
        {"kty": ["RSA"], "kid": "k"},
        {},
    ],
)
def test_load_keys_key_that_is_weak_malformed_or_for_something_else_is_passed_over(weak: dict[str, Any]) -> None:
    keys = jose.load_keys(jwks(weak, es256("good")))
    assert keys.find("good", "ES256").key is not None
    assert keys.find("", "ES256").kid == "good"
    for alg in set(ALGORITHMS) - {"ES256"}:
        with pytest.raises(JoseError, match="no key"):
            keys.find("", alg)
    with pytest.raises(JoseError, match="no key"):
        keys.find("k", "ES256")


def test_a114_load_keys_imports_only_the_key_that_a_token_names(monkeypatch: pytest.MonkeyPatch) -> None:
    imported: list[Any] = []

    def counting(material: Mapping[str, Any]) -> Any:
        imported.append(material)
        return import_key(material)

    import_key = jose._import
    monkeypatch.setattr(jose, "_import", counting)
    key = rsa_key()
    keys = jose.load_keys(jwks(*(public_jwk(key, kid=f"a114-{n}") for n in range(jose.MAX_KEYS))))
    assert imported == []
    for _ in range(3):
        assert keys.find("a114-7", "RS256").key is not None
    assert len(imported) == 1
    with pytest.raises(JoseError, match="several keys"):
        keys.find("", "RS256")
    assert len(imported) == 1


@pytest.mark.parametrize(
    "text",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys":{}}',
        b'{"keys":["key"]}',
        b'{"keys":[],"keys":[]}',
        b'{"keys":[]}' + b" " * jose.MAX_JWKS,
        jwks(*[{}] * (jose.MAX_KEYS + 1)),
        jwks(es256("twin"), es256("twin")),
    ],
)
def test_a21_load_keys_set_that_is_no_set_too_large_or_has_twins_is_refused(text: bytes) -> None:
    with pytest.raises(JoseError):
        jose.load_keys(text)


def test_find_kid_is_matched_exactly() -> None:
    keys = jose.load_keys(jwks(es256("Key"), es256("key")))
    assert keys.find("key", "ES256").kid == "key"
    for other in ("KEY", "ke", "key ", "key\n", "../key"):
        with pytest.raises(JoseError, match="no key"):
            keys.find(other, "ES256")


def test_find_token_without_kid_needs_a_single_fitting_key() -> None:
    lone = jose.load_keys(jwks(es256("a"), public_jwk(rsa_key(), kid="b")))
    assert lone.find("", "ES256").kid == "a"
    several = jose.load_keys(jwks(es256("a"), es256("c")))
    with pytest.raises(JoseError, match="several keys"):
        several.find("", "ES256")


def test_find_key_without_kid_serves_only_when_it_alone_fits() -> None:
    assert jose.load_keys(jwks(es256(), es256("named"))).find("other", "ES256").kid == ""
    with pytest.raises(JoseError, match="several keys"):
        jose.load_keys(jwks(es256(), es256())).find("other", "ES256")


def test_find_key_bound_to_one_algorithm_serves_no_other() -> None:
    keys = jose.load_keys(jwks(public_jwk(rsa_key(), kid="k", alg="RS256")))
    assert keys.find("k", "RS256")
    for alg in ("RS512", "PS256"):
        with pytest.raises(JoseError):
            keys.find("k", alg)


def test_prepare_loads_every_algorithm() -> None:
    jose.prepare()
    assert isinstance(rsa_key(), rsa.RSAPrivateKey)
    assert set(jose._models()) == set(ALGORITHMS)


# --- Replays Project Wycheproof's vectors of signed tokens: where the algorithm can be allowed, the verdicts agree


needs_vectors = pytest.mark.skipif(not jws_file().exists(), reason="the vectors are not here: docs/how-to/develop.md")

# Vectors that hold good only if a key serves for another algorithm than the one that it is marked with.
_OTHERWISE_MARKED = {"Figure20", "Figure27"}


def vectors() -> Iterator[Any]:
    if not jws_file().exists():
        return
    for group in json.loads(jws_file().read_text())["testGroups"]:
        key = group.get("public") or group["private"]
        keys = json.dumps(key if "keys" in key else {"keys": [key]}).encode()
        for test in group["tests"]:
            yield pytest.param(keys, test, id=f"{test['tcId']}-{test['comment'][:40]}")


@needs_vectors
@pytest.mark.parametrize(("keys", "test"), [*vectors()])
def test_vectors_of_signed_tokens_agree(keys: bytes, test: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    real = jose._object

    def any_payload(part: str, what: str) -> dict[str, Any]:  # theirs are not JSON
        return real(part, what) if what == "header" else {"read": jose._decode(part, what)}

    monkeypatch.setattr(jose, "_object", any_payload)
    try:
        jose.verify(jose.read(test["jws"]), keys, ALGORITHMS)
    except JoseError:
        symmetric = b'"oct"' in keys
        assert test["result"] == "invalid" or symmetric or test["comment"] in _OTHERWISE_MARKED
    else:
        assert test["result"] == "valid"
