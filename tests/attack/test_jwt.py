"""Attacks with tokens of other issuers: refused over the whole application, on the record, and nothing leaked."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.attack.installation import ALPHA, BETA, ROOT, Answer, Installation, SetClock, document, installed
from tests.attack.tokens import bring, provider, trust_in, web_identity
from tests.issuer import Issuer, b64, compact, public_jwk, raw_signature

from daypass.domain.directory import ReplayEntry
from daypass.federation.sources import Getter

Refused = Callable[..., dict[str, Any]]
INVALID = ("InvalidIdentityToken", 400, "request.unauthenticated")


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer("idp.example.com", alg="ES256")


@pytest.fixture(scope="module")
def role(site: Installation, issuer: Issuer) -> str:
    made = provider(site, issuer)
    return site.role("deploy", trust_in(made.arn, StringEquals={"idp.example.com:sub": "ann"}))


@pytest.fixture
def attempt(site: Installation, issuer: Issuer, role: str) -> Iterator[Callable[..., Answer]]:
    """Brings a token of the honest issuer, changed as asked, or any text; looks at the end that the honest one still works."""

    def with_token(text: str | None = None, *, header: dict[str, Any] | None = None, **claims: Any) -> Answer:
        asked = {"sub": "ann", **claims}
        return bring(site, role, issuer.token(site.now(), header=header, **asked) if text is None else text)

    yield with_token
    assert with_token().status == 200


def claimed(site: Installation, issuer: Issuer, **members: str) -> str:
    """A signed token whose claims are written as given: JSON texts by name, "" for none."""
    claims = {name: json.dumps(value) for name, value in issuer.claims(site.now(), sub="ann").items()} | members
    payload = ",".join(f"{json.dumps(name)}:{text}" for name, text in claims.items() if text)
    kid, alg, key = issuer.keys[-1]
    return compact({"alg": alg, "kid": kid}, f"{{{payload}}}", key, alg)


# --- The header ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("member", ["jwk", "jku", "x5u", "x5c"])
def test_a14_key_brought_in_the_header_is_refused_with_zero_fetches(
    site: Installation, attempt: Any, refused: Refused, member: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fetches: list[object] = []

    async def get(_self: Getter, source: object) -> Any:
        fetches.append(source)
        raise AssertionError(source)

    monkeypatch.setattr(Getter, "get", get)
    forger = Issuer(alg="ES256")
    _, alg, key = forger.keys[-1]
    brought = {
        "jwk": public_jwk(key, kid="evil"),
        "jku": "http://127.0.0.1:9/jwks",
        "x5u": "http://127.0.0.1:9/chain.pem",
        "x5c": ["MIIB"],
    }
    text = forger.token(site.now(), header={member: brought[member], "kid": "evil"}, sub="ann")
    refused(attempt(text), *INVALID)
    refused(attempt(header={member: brought[member]}), *INVALID)
    assert (fetches, alg) == ([], "ES256")


@pytest.mark.parametrize("crit", [["b64"], ["exp"], ["x-unknown"], [], "exp", None, {"a": 1}])
def test_a15_critical_extensions_are_refused(attempt: Any, refused: Refused, crit: Any) -> None:
    kept = {"crit": crit, "x-unknown": 1, "exp": 1}
    if crit is None:
        kept = {"b64": False}
    refused(attempt(header=kept), *INVALID)


@pytest.mark.parametrize("alg", ["none", "None", "HS256", "HS512", "ES256K", "RS1", ""])
def test_algorithm_confusion_is_refused(
    site: Installation, issuer: Issuer, attempt: Any, refused: Refused, alg: str
) -> None:
    import hmac

    jwk = issuer.jwks()["keys"][-1]
    signed = ".".join(
        b64(json.dumps(part).encode())
        for part in ({"alg": alg, "kid": jwk["kid"]}, issuer.claims(site.now(), sub="ann"))
    )
    for secret in (json.dumps(jwk).encode(), jwk["x"].encode(), b""):
        refused(attempt(f"{signed}.{b64(hmac.digest(secret, signed.encode(), 'sha256'))}"), *INVALID)
    refused(attempt(f"{signed}."), *INVALID)


def test_a26_encrypted_and_nested_tokens_are_refused_without_work(attempt: Any, refused: Refused) -> None:
    began = time.process_time()
    header = {"alg": "PBES2-HS256+A128KW", "enc": "A128GCM", "p2c": 10**9, "p2s": b64(bytes(16)), "zip": "DEF"}
    start = b64(json.dumps(header).encode())
    refused(attempt(f"{start}.{b64(bytes(24))}.{b64(bytes(12))}.{'A' * 16_000}.{b64(bytes(16))}"), *INVALID)
    refused(attempt(header={"cty": "JWT"}), *INVALID)
    refused(attempt(header={"zip": "DEF"}), *INVALID)
    assert time.process_time() - began < 5  # a thousand million iterations take minutes


# --- The claims ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "audience",
    [
        "",
        '"other"',
        '"daypas"',
        '"daypass2"',
        '"Daypass"',
        '["daypass","other"]',
        "[]",
        "null",
        "true",
        '[["daypass"]]',
        '"daypass "',
        '"daypass,app"',
        '["other"]',
        "7",
        '{"daypass": 1}',
        json.dumps(["daypass"] * 51),
    ],
)
def test_a16_audience_absent_extra_or_alike_is_refused(
    site: Installation, issuer: Issuer, attempt: Any, refused: Refused, audience: str
) -> None:
    record = refused(attempt(claimed(site, issuer, aud=audience)), *INVALID)
    assert record["account"] == ALPHA


@pytest.mark.parametrize("value", ["", "NaN", "Infinity", "-Infinity", "true", "null", '"1900000000"', "1e400", "[]"])
def test_a18_end_that_is_missing_or_no_number_is_refused(
    site: Installation, issuer: Issuer, attempt: Any, refused: Refused, value: str
) -> None:
    refused(attempt(claimed(site, issuer, exp=value)), *INVALID)


def test_a18_token_that_has_ended_is_answered_as_expired_with_both_clocks(
    site: Installation, attempt: Any, refused: Refused
) -> None:
    answer = attempt(exp=site.now() // 1000 - 600)
    refused(answer, "ExpiredTokenException", 400, "request.unauthenticated")
    assert "60 seconds of leeway" in answer.text("Message")


@pytest.mark.parametrize(
    "issuer_text",
    [
        "https://idp.example.com/",
        "https://IDP.example.com",
        "https://idp.example.com:443",
        "http://idp.example.com",
        "idp.example.com",
        " https://idp.example.com",
        "https://idp.example.com\n",
        "https://idp.example.com\x00",
        "https://idp.example.com%2f",
        "https://evil.example/https://idp.example.com",
        "https://idp.example.com.evil.example",
    ],
)
def test_a23_issuer_that_differs_by_anything_is_refused(attempt: Any, refused: Refused, issuer_text: str) -> None:
    refused(attempt(iss=issuer_text), *INVALID)


def test_a24_other_spellings_of_the_same_token_are_refused(
    site: Installation, issuer: Issuer, attempt: Any, refused: Refused
) -> None:
    header, payload, signature = issuer.token(site.now(), sub="ann").split(".")
    alphabet = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    spare = alphabet[alphabet.index(signature[-1]) + 1]
    others = [
        f"{header}.{payload}.{signature[:-1]}{spare}",
        f"{header}.{payload}.{signature}==",
        f"{header}=.{payload}.{signature}",
        f"{header}.{payload}.{signature} ",
        f"{header}.{payload[:9]}\n{payload[9:]}.{signature}",
        f"{header}.{payload}.{signature[:40]}!{signature[40:]}",
        f"{header}.{payload}.{signature.replace('-', '+').replace('_', '/')}=",
    ]
    for other in others:
        assert attempt(other).code in ("InvalidIdentityToken", "ValidationError")
    refused(attempt(others[0]), *INVALID)


@pytest.mark.parametrize(
    "change",
    [
        *({"header": {"typ": typ}} for typ in ("at+jwt", "application/at+jwt", "logout+jwt", "dpop+jwt", "JWT ", "x")),
        {"header": {"typ": "secevent+jwt"}},
        {"events": {"http://schemas.openid.net/event/backchannel-logout": {}}},
        *({"typ": typ} for typ in ("Refresh", "Logout", "Bearer")),
        {"token_use": "access"},
    ],
)
def test_a25_token_made_for_something_else_is_refused(attempt: Any, refused: Refused, change: dict[str, Any]) -> None:
    refused(attempt(**change), *INVALID)


@pytest.mark.parametrize(
    "claims",
    [
        {"Sub": "ann", "sub": "eve"},
        {"sub": "ann\x00"},
        {"sub": "\ud800"},
        {"sub": ["ann"]},
        {"deep": json.loads("[" * 60 + "]" * 60)},
        {"many": {f"c{n}": n for n in range(500)}},
        {"https://aws.amazon.com/tags": {"principal_tags": {"aws:PrincipalTag": ["x"]}}},
        {"https://aws.amazon.com/source_identity": "a\nb"},
    ],
)
def test_claims_that_could_mean_two_things_are_refused(attempt: Any, refused: Refused, claims: dict[str, Any]) -> None:
    refused(attempt(**claims), *INVALID)


def test_duplicate_claims_are_refused_whichever_comes_last(
    site: Installation, issuer: Issuer, attempt: Any, refused: Refused
) -> None:
    kid, alg, key = issuer.keys[-1]
    honest = json.dumps(issuer.claims(site.now(), sub="ann"))
    for payload in (honest[:-1] + ',"sub":"eve"}', '{"sub":"eve",' + honest[1:]):
        refused(attempt(compact({"alg": alg, "kid": kid}, payload, key, alg)), *INVALID)


def test_claims_cannot_pose_as_keys_of_the_request_or_of_another_provider(
    site: Installation, issuer: Issuer, attempt: Any
) -> None:
    other = Issuer("idp.example.com:8443/tenant", alg="ES256")
    both = [provider(site, one).arn for one in (issuer, other)]
    actions = {"Action": "sts:AssumeRoleWithWebIdentity", "Principal": {"Federated": both}}
    theirs = {"StringEquals": {"idp.example.com:8443/tenant:sub": "admin"}}
    role = site.role("shared", document({**actions, "Condition": theirs}))
    posing = {"8443": {"tenant:sub": "admin"}, "8443/tenant:sub": "admin"}
    assert bring(site, role, issuer.token(site.now(), **posing)).code == "AccessDenied"
    assert bring(site, role, other.token(site.now(), sub="admin")).status == 200
    near = site.role("near", document({**actions, "Condition": {"IpAddress": {"aws:SourceIp": "10.0.0.0/8"}}}))
    assert bring(site, near, issuer.token(site.now(), **{"aws:SourceIp": "10.0.0.1"})).code == "AccessDenied"
    assert attempt().status == 200


def test_a16_claim_cannot_pose_as_the_original_audience(site: Installation, issuer: Issuer, attempt: Any) -> None:
    arn = provider(site, issuer).arn
    role = site.role("original", trust_in(arn, StringEquals={f"{issuer.url}:oaud": issuer.audience}))
    for name in ("oaud", "OAUD"):
        assert bring(site, role, issuer.token(site.now(), **{name: issuer.audience})).code == "AccessDenied"
    assert bring(site, role, issuer.token(site.now(), azp=issuer.audience, oaud="else")).status == 200


# --- Who may have what -----------------------------------------------------------------------------------------------


def test_refusals_tell_an_anonymous_caller_nothing_of_accounts_and_roles(
    site: Installation, issuer: Issuer, role: str
) -> None:
    provider(site, Issuer("other.example.com", alg="ES256"), BETA)
    forged = Issuer(issuer.url, alg="ES256").token(site.now(), sub="ann")
    honest = issuer.token(site.now(), sub="eve")
    roles = [
        role,
        f"arn:aws:iam::{ALPHA}:role/none",
        f"arn:aws:iam::{BETA}:role/none",
        "arn:aws:iam::999999999999:role/x",
    ]

    def told(answer: Answer) -> tuple[int, str, str, int]:
        message = answer.text("Message").replace(answer.request_id, "ID")
        return answer.status, answer.code, message, len(answer.text("EncodedAuthorizationMessage"))

    assert len({told(bring(site, arn, forged)) for arn in roles}) == 1
    assert len({told(bring(site, arn, honest)) for arn in roles[:2]}) == 1


def test_a33_role_of_another_account_than_the_providers_is_denied(
    site: Installation, issuer: Issuer, refused: Refused
) -> None:
    mine = provider(site, issuer)
    theirs = site.role(
        "foreign", trust_in(mine.arn), ("AKIAROOTOFBETA000000", "beta-root-secret-canary-beta-root-secret")
    )
    refused(bring(site, theirs, issuer.token(site.now())), *INVALID)
    provider(site, issuer, BETA)
    refused(bring(site, theirs, issuer.token(site.now())), "AccessDenied", 403, "request.denied")


def test_refused_token_is_on_record_with_whom_it_names(site: Installation, issuer: Issuer) -> None:
    made = provider(site, issuer)
    role = site.role("picky", trust_in(made.arn, StringEquals={f"{issuer.url}:sub": "ann"}))
    answer = bring(site, role, issuer.token(site.now(), sub="mallory"))
    [event] = site.records(answer.request_id)
    assert (event["type"], event["actor"]["principal_id"]) == ("request.denied", f"{made.arn}:mallory")
    assert event["actor"]["federated"]["subject"] == "mallory"


def test_provider_id_names_nobody(site: Installation, issuer: Issuer, role: str, refused: Refused) -> None:
    token = issuer.token(site.now(), sub="ann")
    for name in ("graph.facebook.com", "www.amazon.com", "idp.example.com"):
        refused(bring(site, role, token, ProviderId=name), *INVALID)


def test_token_is_neither_answered_nor_recorded_nor_logged(site: Installation, issuer: Issuer, role: str) -> None:
    tokens = [issuer.token(site.now(), sub=sub) for sub in ("ann", "eve")] + ["made.up.0123456789-canary"]
    answers = [bring(site, role, token) for token in tokens]
    assert [answer.status for answer in answers] == [200, 403, 400]
    kept = b"".join(site.record_bytes()) + site.log.getvalue().encode()
    for token, answer in zip(tokens, answers, strict=True):
        for part in (token, token.rpartition(".")[2]):
            assert part.encode() not in kept
            assert part.encode() not in answer.body


def test_session_is_recorded_with_its_issuer_subject_and_token_id(
    site: Installation, issuer: Issuer, role: str
) -> None:
    answer = bring(site, role, issuer.token(site.now(), sub="ann", jti="j-17"))
    record = site.records(answer.request_id)[0]
    assert record["type"] == "session.issued"
    assert record["actor"]["federated"]["jti"] == "j-17"
    assert record["actor"]["principal_id"] == f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com:ann"


def test_bearer_who_is_cut_off_loses_every_session_and_gets_no_other(
    site: Installation, issuer: Issuer, role: str, refused: Refused
) -> None:
    made = site.role("many", trust_in(provider(site, issuer).arn))
    sessions = {sub: bring(site, made, issuer.token(site.now(), sub=sub)).key for sub in ("cut", "spared")}
    principal = f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com:cut"
    body = json.dumps({"subject": "principal", "value": principal, "block": True}).encode()
    path = "/api/v1/revocations"
    signed = site.signed(ROOT, body, "daypass", path=path, extra={"content-type": "application/json"})
    assert site.send("POST", signed, body, path=path.encode()).status == 201
    assert site.call(sessions["cut"], "GetCallerIdentity").code == "ExpiredToken"
    assert site.call(sessions["spared"], "GetCallerIdentity").status == 200
    refused(bring(site, made, issuer.token(site.now(), sub="cut")), "AccessDenied", 403, "request.denied")
    assert bring(site, role, issuer.token(site.now(), sub="ann")).status == 200


# --- Once ------------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def once(site: Installation) -> tuple[Issuer, str]:
    """An issuer each of whose tokens may be used once, and a role for it."""
    made = Issuer("once.example.com", alg="ES256")
    arn = provider(site, made, one_time=True).arn
    return made, site.role("once", trust_in(arn))


def test_a19_token_used_twice_is_refused_the_second_time(
    site: Installation, once: tuple[Issuer, str], refused: Refused
) -> None:
    issuer, role = once
    token = issuer.token(site.now(), jti="twice")
    assert bring(site, role, token).status == 200
    record = refused(bring(site, role, token), *INVALID)
    assert record["account"] == ALPHA
    assert record["detail"]["private"]["reason"] == "replay"
    same = issuer.token(site.now(), jti="twice", exp=site.now() // 1000 + 3600)  # the id counts, not the text
    refused(bring(site, role, same), *INVALID)
    refused(bring(site, role, f"{token}\n"), *INVALID)  # nor does a line end make another token of it
    assert bring(site, role, issuer.token(site.now(), jti="another")).status == 200


def test_token_may_end_in_what_ends_a_file_and_has_no_space_elsewhere(
    site: Installation, once: tuple[Issuer, str]
) -> None:
    issuer, role = once
    for number, end in enumerate(("\n", "\r\n", "\n\n")):
        assert bring(site, role, issuer.token(site.now(), jti=f"end-{number}") + end).status == 200
    token = issuer.token(site.now(), jti="spaces")
    for altered in (
        f"\n{token}",
        token.replace(".", ".\n", 1),
        f"{token}\v",
        f"{token} \n",
        f"{token}\n\0",
        f"{token}\n.",
    ):
        assert bring(site, role, altered).status == 400
    assert bring(site, role, token).status == 200


def test_a19_token_that_was_denied_is_not_used_up(site: Installation, once: tuple[Issuer, str]) -> None:
    issuer, role = once
    token = issuer.token(site.now(), jti="denied-first")
    assert bring(site, f"{role}x", token).code == "AccessDenied"
    assert bring(site, role, token).status == 200


def test_a19_token_without_an_id_is_refused(site: Installation, once: tuple[Issuer, str], refused: Refused) -> None:
    issuer, role = once
    refused(bring(site, role, issuer.token(site.now())), *INVALID)


def test_a19_hundred_at_once_get_one_session(site: Installation, once: tuple[Issuer, str]) -> None:
    issuer, role = once
    body = web_identity(role, issuer.token(site.now(), jti="hundred"))

    async def all_at_once() -> list[Answer]:
        headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"daypass.test")]
        return await asyncio.gather(*(site.ask("POST", headers, body) for _ in range(100)))

    answers = site.run(all_at_once())
    assert sorted(answer.status for answer in answers) == [200] + [400] * 99
    assert {answer.code for answer in answers if answer.status == 400} == {"InvalidIdentityToken"}


def test_a19_token_is_still_used_up_after_restarts_and_when_the_list_is_cleared(tmp_path: Path) -> None:
    wall, issuer = SetClock(), Issuer("once.example.com", alg="ES256")
    with installed(tmp_path, wall) as site:
        role = site.role("once", trust_in(provider(site, issuer, one_time=True).arn))
        token = issuer.token(site.now(), jti="before", exp=site.now() // 1000 + 40_000)
        assert bring(site, role, token).status == 200
    wall.time += 39_000_000
    with installed(tmp_path, wall) as site:
        assert bring(site, role, token).code == "InvalidIdentityToken"
        wall.time += 200_000_000  # long after: new ones push the old one out of the list
        left = 0
        for used in range(1, 257):  # one in sixteen looks for expired ones
            assert bring(site, role, issuer.token(site.now(), jti=f"later-{used}")).status == 200
            left = site.run(
                site.runtime.directory.read(lambda reader: reader.count(ReplayEntry, purpose="jwt"), account=ALPHA)
            )
            if left == used:
                break
        assert left == used
        assert bring(site, role, token).code == "ExpiredTokenException"


def test_signature_of_another_message_is_refused(
    site: Installation, issuer: Issuer, attempt: Any, refused: Refused
) -> None:
    first = issuer.token(site.now(), sub="eve").split(".")
    second = issuer.token(site.now(), sub="ann").split(".")
    refused(attempt(".".join((first[0], second[1], first[2]))), *INVALID)
    _, alg, key = issuer.keys[-1]
    lone = raw_signature(key, alg, second[1].encode())
    refused(attempt(f"{second[0]}.{second[1]}.{b64(lone)}"), *INVALID)
