"""Values of OAuth: bindings, PKCE, keys and redirect URIs of clients, delegation, and settings of resource servers."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from daypass.domain.jws import MAX_DEPTH, Party, actors, may_act
from daypass.domain.oauth.client import key_source, parse_client
from daypass.domain.oauth.resource_server import (
    JKT,
    MAX_POLICY,
    MAX_TEXT,
    X5T,
    Binding,
    ScopeSettings,
    binding_of,
    parse_resource_server,
    policy_of,
)
from daypass.domain.oauth.urls import (
    fits,
    has_usable_authority,
    is_challenge,
    is_registered,
    redirect_uri_fault,
    web_origins,
)
from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, PrincipalFacts

VERIFIER = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"  # RFC 7636, appendix B
CHALLENGE = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
PUBLIC = {"kty": "EC", "crv": "P-256", "x": "AA", "y": "AA"}


@pytest.mark.parametrize(
    ("claims", "expected"),
    [
        ({}, None),
        ({"cnf": "text"}, None),
        ({"cnf": {"kid": "1"}}, None),
        ({"cnf": {JKT: "a"}}, Binding(JKT, "a")),
        ({"cnf": {X5T: "b"}}, Binding(X5T, "b")),
        ({"cnf": {X5T: "b", JKT: "a"}}, Binding(JKT, "a")),
    ],
)
def test_binding_of_names_the_key_of_a_bound_token(claims: dict[str, Any], expected: Binding | None) -> None:
    assert binding_of(claims) == expected
    if expected is not None:
        assert binding_of({"cnf": expected.claim}) == expected


def test_fits_verifier_of_the_standards_example() -> None:
    assert is_challenge(CHALLENGE)
    assert fits(VERIFIER, CHALLENGE)
    assert not fits(VERIFIER[:-1] + "l", CHALLENGE)
    assert not fits("é" * 43, CHALLENGE)


@pytest.mark.parametrize("text", ["", CHALLENGE[:-1], CHALLENGE + "A", CHALLENGE[:-1] + "=", CHALLENGE[:-1] + "\n"])
def test_is_challenge_of_another_form_is_false(text: str) -> None:
    assert not is_challenge(text)


@pytest.mark.parametrize(
    ("jwks", "message"),
    [
        ({"keys": [{**PUBLIC, "d": "AA"}]}, "private or symmetric"),
        ({"keys": [PUBLIC, {"kty": "oct", "k": "AA"}]}, "private or symmetric"),
        ({"keys": []}, "at least one key"),
        ({"keys": PUBLIC}, "at least one key"),
        ({"keys": [1]}, "at least one key"),
        ({"keys": [{**PUBLIC, "x": 1.5}]}, "a number"),
    ],
)
def test_parse_client_keys_that_are_not_public_keys_are_refused(jwks: Any, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_client(json.dumps({"jwks": jwks}))
    assert parse_client(json.dumps({"jwks": {"keys": [PUBLIC]}})).jwks == {"keys": [PUBLIC]}


def text_of_keys(number: int, size: int) -> str:
    return json.dumps({"jwks": {"keys": [{**PUBLIC, "kid": f"{number}-{place}-{'k' * 500}"} for place in range(size)]}})


def text_of_scopes(number: int, size: int) -> str:
    return json.dumps({"scopes": {f"s{place}": {"description": f"{number} {'d' * 500}"} for place in range(size)}})


@pytest.mark.parametrize(
    ("parse", "text"),
    [
        (parse_client, text_of_keys),
        (partial(key_source, "111122223333", "DPCL"), text_of_keys),
        (parse_resource_server, text_of_scopes),
    ],
)
def test_a320_few_of_the_large_settings_that_an_account_changes_again_and_again_are_kept(
    parse: Callable[[str], object], text: Callable[[int, int], str]
) -> None:
    small, large = parse(text(0, 1)), parse(text(0, 20))
    assert parse(text(0, 20)) is large
    for number in range(1, 70):
        parse(text(number, 20))
    assert parse(text(0, 20)) is not large
    assert parse(text(0, 20)) == large
    assert parse(text(0, 1)) is small
    assert key_source("111122223333", "DPCM", text_of_keys(0, 1)) != key_source(
        "111122223333", "DPCL", text_of_keys(0, 1)
    )


# --- Redirect URIs are compared as text; only the port of a loopback address may differ (attack A66)


REGISTERED = ("https://a.example/cb", "http://127.0.0.1/cb", "http://[::1]:8400/cb")


@pytest.mark.parametrize(
    "uri",
    [*REGISTERED, "http://127.0.0.1:51234/cb", "http://[::1]:1/cb", "http://127.0.0.1:65535/cb", "http://[::1]/cb"],
)
def test_is_registered_accepts_the_same_uri_and_any_loopback_port(uri: str) -> None:
    assert is_registered(uri, REGISTERED)


@pytest.mark.parametrize(
    "uri",
    [
        "https://a.example/cb/",
        "https://a.example/cb?x=1",
        "https://a.example/cb/../evil",
        "https://a.example:443/cb",
        "https://A.example/cb",
        "https://a.example.evil/cb",
        "https://a.example@evil/cb",
        "https://evil/https://a.example/cb",
        "https://a.example\\.evil/cb",
        "https://a.example/cb#",
        "https://a.example/cb\n",
        "https://a.example/c%62",
        "http://a.example/cb",
        "http://127.0.0.1:51234/other",
        "http://127.0.0.1:51234@evil/cb",
        "http://127.0.0.1.evil/cb",
        "http://localhost/cb",
        "http://127.0.0.1:999999/cb",
        "http://127.0.0.1:99999/cb",
        "http://127.0.0.1:65536/cb",
        "http://127.0.0.1:0/cb",
        "http://127.0.0.1:007/cb",
        "http://127.0.0.1:/cb",
        "http://127.0.0.1:+80/cb",
        "http://127.1/cb",
        "http://127.0.0.2/cb",
        "http://0177.0.0.1/cb",
        "http://2130706433/cb",
        "http://127.0.0.1./cb",
        "http://[0:0:0:0:0:0:0:1]/cb",
        "http://[::ffff:127.0.0.1]/cb",
        "http://user@127.0.0.1/cb",
        "HTTP://127.0.0.1/cb",
        "https://127.0.0.1/cb",
        "",
        "https://a.example/" + "x" * 3000,
    ],
)
def test_a66_is_registered_refuses_everything_else(uri: str) -> None:
    assert not is_registered(uri, REGISTERED)


def test_private_use_scheme_is_for_native_clients_alone() -> None:
    assert redirect_uri_fault("com.example.app:/cb", native=True) == ""
    assert redirect_uri_fault("com.example.app:/cb", native=False)
    for uri in ("app:/cb", "com.example.app://host/cb", "javascript:x"):
        assert redirect_uri_fault(uri, native=True)


def test_web_origins_are_written_as_browsers_do() -> None:
    uris = ("https://A.example:443/cb?x=/", "https://a.example/2", "http://127.0.0.1:5173/", "http://[::1]:80/cb")
    assert web_origins((*uris, "com.example.app:/cb")) == {"https://a.example", "http://127.0.0.1:5173", "http://[::1]"}


@pytest.mark.parametrize("port", [0, 65536, 99999, "007", "080", ""])
@pytest.mark.parametrize("host", ["http://127.0.0.1", "http://[::1]", "https://a.example"])
def test_uri_with_a_port_that_cannot_exist_is_not_usable(host: str, port: object) -> None:
    assert has_usable_authority(f"{host}:1/cb")
    assert has_usable_authority(f"{host}:65535")
    assert not has_usable_authority(f"{host}:{port}/cb")


@pytest.mark.parametrize("host", ["-a.example", "a..example", ".a.example", "a-.example", "a.example.", "a" * 64])
def test_uri_with_a_host_that_cannot_exist_is_not_usable(host: str) -> None:
    assert has_usable_authority("https://xn--bcher-kva.example/cb")
    assert has_usable_authority("com.example.app:/cb")
    assert not has_usable_authority(f"https://{host}/cb")


def test_client_with_an_odd_port_is_refused() -> None:
    members = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"]}
    with pytest.raises(ValueError, match="redirect_uris: 'http"):
        parse_client(json.dumps({**members, "redirect_uris": ["http://127.0.0.1:0/cb"]}))


def test_loopback_uri_stored_with_an_odd_port_admits_usable_ports_alone() -> None:
    assert is_registered("http://127.0.0.1:51234/cb", ["http://127.0.0.1:0/cb"])
    assert not is_registered("http://127.0.0.1:99999/cb", ["http://127.0.0.1:0/cb"])


# --- The settings of a resource server: their limits, and the session policy of its scopes


@pytest.mark.parametrize("seconds", [0, 60, 43_200])
def test_parse_resource_server_token_seconds_within_limits(seconds: int) -> None:
    assert parse_resource_server(json.dumps({"token_seconds": seconds})).token_seconds == seconds


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"token_seconds": 59}, "token_seconds"),
        ({"token_seconds": 43_201}, "token_seconds"),
        ({"token_seconds": -1}, "token_seconds"),
        ({"scopes": {f"s{n}": {} for n in range(101)}}, "at most 100"),
        ({"scopes": {"a b": {}}}, "without spaces"),
        ({"default_scopes": ["read"]}, "unknown scope 'read'"),
        ({"unknown": 1}, "not valid"),
    ],
)
def test_parse_resource_server_outside_its_limits_is_refused(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_resource_server(json.dumps(settings))


def test_parse_resource_server_of_the_longest_text_is_read_and_one_character_more_is_refused() -> None:
    longest = "{}".ljust(MAX_TEXT)
    assert parse_resource_server(longest).scopes == {}
    with pytest.raises(ValueError, match="too long"):
        parse_resource_server(longest + " ")


def test_policy_of_a_fraction_in_a_condition_is_text() -> None:
    settings = '{"scopes":{"a":{"policy":{"Statement":{"Condition":{"NumericLessThan":{"shop:total":1.50}}}}}}}'
    (statement,) = json.loads(policy_of(parse_resource_server(settings).scopes.values()))["Statement"]
    assert statement["Condition"] == {"NumericLessThan": {"shop:total": "1.50"}}


def test_policy_of_joins_the_statements_without_their_sids_up_to_the_limit() -> None:
    read = {"Statement": {"Sid": "S", "Effect": "Allow", "Action": "orders:Read", "Resource": "*"}}
    write = {"Statement": [{"Effect": "Allow", "Action": "orders:Write", "Resource": "*"}]}
    scopes = [ScopeSettings(policy=each) for each in (read, write, None)]
    statements = json.loads(policy_of(scopes))["Statement"]
    assert [(s["Action"], "Sid" in s) for s in statements] == [("orders:Read", False), ("orders:Write", False)]
    assert policy_of([ScopeSettings()]) == ""
    rest = MAX_POLICY - len(policy_of([ScopeSettings(policy={"Statement": [{"Action": ""}]})]))
    assert len(policy_of([ScopeSettings(policy={"Statement": [{"Action": "x" * rest}]})])) == MAX_POLICY
    with pytest.raises(ValueError, match="more than"):
        policy_of([ScopeSettings(policy={"Statement": [{"Action": "x" * (rest + 1)}]})])


def allows(policy: str, text: str) -> bool:
    """Whether the policy allows an action on the resource `text`, with the same text in the context."""
    user = PrincipalFacts("User", ACCOUNT, ((f"arn:aws:iam::{ACCOUNT}:user/ann", "AIDAANN"),))
    context = {"aws:username": "ann", "aws:requesttag/of": text}
    layers = Layers(same_account=True, identity=(NamedPolicy("p", parse(policy, PolicyKind.SESSION)),))
    return evaluate(AccessQuery(user, "s3:GetObject", text, context), layers).allowed


ACCOUNT = "111122223333"
TEXTS = (
    *(
        "arn:aws:s3:::b/${aws:username}/*",
        "arn:aws:s3:::b/$${aws:username}",
        "arn:aws:s3:::b/${*}/x?z",
        "arn:aws:s3:::b/$",
    ),
    *("arn:aws:s3:::b/${", "arn:aws:s3:::b/${$}", "arn:aws:s3:::b/${aws:username, 'x'}", "arn:aws:s3:::b/}{$*"),
)


@pytest.mark.parametrize("version", ["2008-10-17", None])
@pytest.mark.parametrize("text", TEXTS)
def test_policy_of_an_older_version_keeps_the_meaning_of_dollar_signs(version: str | None, text: str) -> None:
    """`${...}` is plain text in a policy of 2008-10-17, which is also the default; scopes are merged into one of 2012-10-17."""
    condition = {"StringLike": {"aws:RequestTag/of": text}}
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": text, "Condition": condition}
    own = {"Statement": statement, **({"Version": version} if version else {})}
    merged = policy_of([ScopeSettings(policy=own), ScopeSettings(policy={"Version": "2012-10-17", "Statement": []})])
    assert json.loads(merged)["Version"] == "2012-10-17"
    for asked in (text, text.replace("${aws:username}", "ann"), text.replace("*", "xyz"), text.replace("?", "y")):
        assert allows(json.dumps(own), asked) is allows(merged, asked), asked
    assert allows(merged, text)


def test_policy_of_the_newer_version_keeps_its_variables() -> None:
    statement = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": "arn:aws:s3:::b/${aws:username}"}
    merged = policy_of([ScopeSettings(policy={"Version": "2012-10-17", "Statement": statement})])
    assert json.loads(merged)["Statement"] == [statement]


# --- Delegation in tokens is read in one way, or not at all


ISSUER = "https://idp.example.com"


def nested(depth: int) -> dict[str, Any]:
    return {"sub": f"p{depth}", **({"act": nested(depth - 1)} if depth > 1 else {})}


def test_actors_are_the_newest_first_with_their_issuers() -> None:
    act = {"sub": "b", "act": {"sub": "a", "iss": "https://other.example"}}
    assert actors({"act": act}, ISSUER) == (Party(ISSUER, "b"), Party("https://other.example", "a"))
    assert actors({"act": nested(MAX_DEPTH)}, ISSUER)[-1] == Party(ISSUER, "p1")


@pytest.mark.parametrize("claims", [{}, {"act": None, "may_act": None}])
def test_token_without_delegation_has_none(claims: dict[str, Any]) -> None:
    assert actors(claims, ISSUER) == ()
    assert may_act(claims, ISSUER) is None


def test_may_act_names_one_party() -> None:
    assert may_act({"may_act": {"sub": "svc"}}, ISSUER) == Party(ISSUER, "svc")
    assert may_act({"may_act": {"sub": "svc", "iss": "https://x"}}, ISSUER) == Party("https://x", "svc")


@pytest.mark.parametrize(
    "value",
    [
        *("svc", [], 5, True, {}, {"sub": ""}, {"sub": 5}, {"iss": "x"}),
        *({"sub": "a", "iss": ""}, {"sub": "a", "iss": None}, {"sub": "a", "client_id": "b"}, {"sub": "a", "act": "b"}),
        *({"sub": "a\n"}, {"sub": "a" * 256}),
    ],
)
def test_what_could_be_read_in_two_ways_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"its (?:may_)?act claim"):
        actors({"act": value}, ISSUER)
    with pytest.raises(ValueError, match="its may_act claim"):
        may_act({"may_act": value}, ISSUER)


def test_may_act_with_a_chain_and_a_chain_that_is_too_deep_are_refused() -> None:
    with pytest.raises(ValueError, match="not understood"):
        may_act({"may_act": {"sub": "a", "act": {"sub": "b"}}}, ISSUER)
    with pytest.raises(ValueError, match="nested more than"):
        actors({"act": nested(MAX_DEPTH + 1)}, ISSUER)
