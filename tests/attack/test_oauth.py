"""Attacks on the token endpoint: refused in OAuth's form, on the record, and nothing leaked or widened."""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from tests.attack.installation import (
    ADMIN,
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT_OF_BETA,
    Answer,
    Installation,
    document,
    trust,
)
from tests.attack.junk import HOSTILE
from tests.attack.tokens import bring, provider, trust_in
from tests.issuer import Issuer, b64, compact
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    BEARER,
    EXCHANGE,
    FORM,
    ID_TOKEN,
    ISSUER,
    JWT,
    PRESIGNED,
    SAML2,
    SESSION,
    authorization_server,
    bearer,
    details,
    exchange,
    key_of,
    post,
    presigned,
    refusal,
    signed_post,
    token,
    verified,
)
from tests.oauth import given as served

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import decode

LISTED = ("invalid_request", "invalid_client", "invalid_grant", "invalid_target", "invalid_scope")
CODES = {*LISTED, "invalid_token", "unsupported_grant_type", "invalid_authorization_details", "temporarily_unavailable"}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    generous = {"failures_per_second": 1_000_000, "failures_burst": 1_000_000}
    with authorization_server(tmp_path_factory.mktemp("site"), rates=generous) as made:
        yield made


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer("idp.example.com", alg="ES256")


@pytest.fixture(scope="module")
def role(site: Installation, issuer: Issuer) -> str:
    made = provider(site, issuer)
    return site.role("deploy", trust_in(made.arn, StringEquals={"idp.example.com:aud": "daypass"}), policy=EVERYTHING)


@pytest.fixture
def own(site: Installation, issuer: Issuer, role: str) -> str:
    """An access token of a session of the role."""
    answer = exchange(site, issuer.token(site.now(), sub="ann"), ID_TOKEN, role=role)
    return str(served(answer)["access_token"])


# --- Forged and foreign tokens ---------------------------------------------------------------------------------------


def test_a64_forged_access_token_is_refused(site: Installation, own: str) -> None:
    head, _body, signature = own.split(".")
    header, claims = jwt.get_unverified_header(own), jwt.decode(own, options={"verify_signature": False})
    stranger = Issuer(ISSUER.removeprefix("https://"), alg="ES256")
    _, alg, key = stranger.keys[-1]
    changed = [
        {"sub": "AROAROOTROOTROOTROOT0:root"},
        {"act": {"sub": "nobody"}},
        {"act": None},
        {"exp": claims["exp"] + 3600},
        {SESSION: {**claims[SESSION], "role_arn": f"arn:aws:iam::{BETA}:role/admin"}},
        {SESSION: {**claims[SESSION], "sealed": claims[SESSION]["sealed"][:-4] + "AAAA"}},
    ]
    for members in changed:
        forged = {**claims, **members}
        for text in (
            f"{head}.{b64(json.dumps(forged).encode())}.{signature}",
            compact(header, forged, key, alg),
            f"{b64(json.dumps({**header, 'alg': 'none'}).encode())}.{b64(json.dumps(forged).encode())}.",
        ):
            for more in ({}, {"requested_token_type": AWS}):
                answer = exchange(site, text, ACCESS_TOKEN, **more)
                record = refusal(site, answer, "invalid_request")
                assert record["type"] == "request.unauthenticated"


def test_a64_token_of_another_accounts_provider_gets_no_role_of_this_account(site: Installation, role: str) -> None:
    theirs = Issuer("idp.beta.example.com", alg="ES256")
    made = provider(site, theirs, BETA)
    their_role = site.role("theirs", trust_in(made.arn, StringEquals={f"{theirs.url}:aud": "daypass"}), ROOT_OF_BETA)
    good = theirs.token(site.now(), sub="ann")
    served(exchange(site, good, ID_TOKEN, role=their_role))
    refusal(site, exchange(site, good, ID_TOKEN, role=role), "invalid_request")
    answer = exchange(site, good, ID_TOKEN, role=their_role, actor_token=good, actor_token_type=JWT)
    assert "act" in verified(site, served(answer)["access_token"])
    refusal(site, exchange(site, good, ID_TOKEN, role=role, actor_token=good, actor_token_type=JWT), "invalid_request")


def test_a64_deep_or_ambiguous_act_claim_is_refused(site: Installation, issuer: Issuer, role: str) -> None:
    deep: dict[str, Any] = {"sub": "p0"}
    for level in range(1, 5):
        deep = {"sub": f"p{level}", "act": deep}
    bad = [deep, "x", [], 5, {"sub": 5}, {"sub": ""}, {"iss": "x"}, {"sub": "a", "role": "admin"}, {"sub": "a\n"}]
    for act in bad:
        for claim in ("act", "may_act"):
            text = issuer.token(site.now(), sub="ann", **{claim: act})
            refusal(site, exchange(site, text, ID_TOKEN, role=role), "invalid_request")


@pytest.mark.parametrize("header", [{"typ": "logout+jwt"}, {"typ": "dpop+jwt"}, {"typ": "secevent+jwt"}])
def test_a25_token_that_was_made_for_something_else_is_no_subject_token(
    site: Installation, issuer: Issuer, role: str, header: dict[str, str]
) -> None:
    text = issuer.token(site.now(), sub="ann", header=header)
    for kind in (ID_TOKEN, JWT, ACCESS_TOKEN):
        refusal(site, exchange(site, text, kind, role=role), "invalid_request")
    refusal(site, token(site, {"grant_type": BEARER, "assertion": text, "role": role}), "invalid_grant")


def test_a25_id_token_does_not_authenticate_as_an_access_token_of_ours(site: Installation, own: str) -> None:
    """A token that names this server as its issuer, signed by another key."""
    claims = jwt.decode(own, options={"verify_signature": False})
    stranger = Issuer(ISSUER.removeprefix("https://"), alg="ES256")
    for typ in ("JWT", "at+jwt"):
        text = stranger.token(site.now(), header={"typ": typ}, **{**claims, "nbf": None})
        for kind in (ID_TOKEN, JWT, ACCESS_TOKEN):
            refusal(site, exchange(site, text, kind), "invalid_request")


# --- Delegation is never lost ----------------------------------------------------------------------------------------


def test_a118_token_with_act_keeps_it_through_every_exchange(site: Installation, issuer: Issuer, role: str) -> None:
    act = {"sub": "service-b", "act": {"sub": "service-a", "iss": "https://other.example"}}
    text = issuer.token(site.now(), sub="ann", act=act)
    arn = f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com"
    subject = {"sub": f"{arn}:ann"}
    expected = {"sub": f"{arn}:service-b", "act": {"sub": f"{arn}:https://other.example#service-a", "act": subject}}
    first = served(exchange(site, text, ID_TOKEN, role=role))["access_token"]
    assert verified(site, first)["act"] == expected
    aws = served(exchange(site, first, ACCESS_TOKEN, requested_token_type=AWS))
    back = served(exchange(site, presigned(site, key_of(aws)), PRESIGNED))["access_token"]
    assert verified(site, back)["act"] == expected
    narrowed = exchange(site, back, JWT, authorization_details=details(duration_seconds=900))
    assert verified(site, served(narrowed)["access_token"])["act"] == expected
    over_sts = bring(site, role, text)
    converted = served(exchange(site, presigned(site, over_sts.key), PRESIGNED))["access_token"]
    assert verified(site, converted)["act"] == expected
    assertion = served(token(site, {"grant_type": BEARER, "assertion": text, "role": role}))["access_token"]
    assert verified(site, assertion)["act"] == expected


def test_a118_token_with_may_act_is_worth_nothing_without_that_actor(
    site: Installation, issuer: Issuer, role: str
) -> None:
    text = issuer.token(site.now(), sub="ann", may_act={"sub": "service-a"})
    right, wrong = (issuer.token(site.now(), sub=sub) for sub in ("service-a", "service-b"))
    answer = exchange(site, text, ID_TOKEN, role=role)
    record = refusal(site, answer, "invalid_request")
    assert record["detail"]["private"]["reason"] == "may_act"
    refusal(site, exchange(site, text, ID_TOKEN, role=role, actor_token=wrong, actor_token_type=JWT), "invalid_request")
    refusal(site, token(site, {"grant_type": BEARER, "assertion": text, "role": role}), "invalid_grant")
    assert bring(site, role, text).code == "InvalidIdentityToken"  # the AWS wire has no actors
    answer = exchange(site, text, ID_TOKEN, role=role, actor_token=right, actor_token_type=JWT)
    assert verified(site, served(answer)["access_token"])["act"]["sub"].endswith(":service-a")
    refusal(site, exchange(site, right, ID_TOKEN, role=role, actor_token=text, actor_token_type=JWT), "invalid_request")


def test_a118_revoking_an_actor_ends_what_was_delegated_to_it(site: Installation, issuer: Issuer, role: str) -> None:
    actor = served(exchange(site, issuer.token(site.now(), sub="svc"), ID_TOKEN, role=role))["access_token"]
    answer = exchange(
        site, issuer.token(site.now(), sub="ann"), ID_TOKEN, role=role, actor_token=actor, actor_token_type=ACCESS_TOKEN
    )
    delegated = served(answer)["access_token"]
    aws = served(exchange(site, delegated, ACCESS_TOKEN, requested_token_type=AWS))
    assert site.call(key_of(aws), "GetCallerIdentity").status == 200
    revoke(site, verified(site, actor)[SESSION]["id"])
    assert site.call(key_of(aws), "GetCallerIdentity").code == "ExpiredToken"
    refusal(site, exchange(site, delegated, ACCESS_TOKEN), "invalid_request")


def revoke(site: Installation, session_id: str) -> None:
    body = json.dumps({"subject": "session", "value": session_id}).encode()
    extra = {"content-type": "application/json"}
    headers = site.signed(ADMIN, body, "daypass", path="/api/v1/revocations", extra=extra)
    answer = site.send("POST", headers, body, path=b"/api/v1/revocations")
    assert answer.status == 201, answer.body


# --- Nothing is learnt by asking -------------------------------------------------------------------------------------


def test_a71_refusals_read_the_same_whatever_does_not_exist(site: Installation, issuer: Issuer, role: str) -> None:
    site.role("closed", trust_in(f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com", StringEquals={"x:y": "z"}))
    text = issuer.token(site.now(), sub="ann")
    shown = set()
    for name in ("closed", "absent"):
        answer = exchange(site, text, ID_TOKEN, role=role.replace("deploy", name))
        refusal(site, answer, "invalid_request")
        content = json.loads(answer.body)
        shown.add((content["error"], content["error_description"], len(content["encoded_authorization_message"])))
    assert len(shown) == 1
    stranger = Issuer("idp.example.com", alg="ES256")
    for account in (ALPHA, BETA, "999999999999"):
        answer = exchange(site, stranger.token(site.now()), ID_TOKEN, role=f"arn:aws:iam::{account}:role/deploy")
        refusal(site, answer, "invalid_request")
        content = json.loads(answer.body)
        shown.add((content["error"], content["error_description"], 0))
    assert len(shown) == 2


def test_a71_tokens_of_ours_that_are_not_valid_are_refused_alike(site: Installation, issuer: Issuer, role: str) -> None:
    """Forged, revoked, or of a role that is gone: the answer does not say which."""
    gone = site.role("gone", trust_in(f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com"))
    text = issuer.token(site.now(), sub="ann")
    of_gone = served(exchange(site, text, ID_TOKEN, role=gone))["access_token"]
    site.iam("DeleteRole", RoleName="gone")
    revoked = served(exchange(site, text, ID_TOKEN, role=role))["access_token"]
    revoke(site, verified(site, revoked)[SESSION]["id"])
    forged = revoked[:-8] + "AAAAAAAA"
    foreign = presigned(site, ("AKIANOBODYNOBODY0000", "x" * 40))
    messages = set()
    for subject, kind in ((of_gone, ACCESS_TOKEN), (revoked, JWT), (forged, ACCESS_TOKEN), (foreign, PRESIGNED)):
        answer = exchange(site, subject, kind, role=role)
        refusal(site, answer, "invalid_request")
        messages.add(json.loads(answer.body)["error_description"])
    assert len(messages) == 1


def test_a71_source_that_guesses_is_throttled(tmp_path: Any) -> None:
    slow = {"failures_per_second": 1, "failures_burst": 5}
    with authorization_server(tmp_path / "site", rates=slow) as site:
        statuses = [exchange(site, "x.y.z", JWT, role=f"arn:aws:iam::{ALPHA}:role/x").status for _ in range(12)]
        assert statuses[0] == 400
        assert statuses[-1] == 429
        assert served_by(site).status == 429


def served_by(site: Installation) -> Any:
    answer = exchange(site, "x.y.z", JWT)
    assert json.loads(answer.body)["error"] == "temporarily_unavailable"
    assert answer.headers["retry-after"] == "1"
    return answer


def test_a69_tokens_of_another_account_are_inactive_and_cannot_be_revoked(
    site: Installation, issuer: Issuer, role: str, own: str
) -> None:
    """Whatever the other account's policies say; the answer is that of a token which does not exist."""
    theirs = Issuer("idp.gamma.example.com", alg="ES256")
    trusted = trust_in(provider(site, theirs, BETA).arn, StringEquals={f"{theirs.url}:aud": "daypass"})
    their_role = site.role("spies", trusted, ROOT_OF_BETA, EVERYTHING)
    by_token = served(exchange(site, theirs.token(site.now(), sub="bob"), ID_TOKEN, role=their_role))["access_token"]
    named = document({"Action": "daypass:*", "Resource": "arn:aws:daypass:*:*:*"}, {"Action": "*", "Resource": "*"})
    _, by_key = site.user("spy", ROOT_OF_BETA, named)
    unknown = signed_post(site, by_key, "/oauth2/introspect", {"token": "x.y.z"})
    for answer in (
        signed_post(site, by_key, "/oauth2/introspect", {"token": own}),
        signed_post(site, ROOT_OF_BETA, "/oauth2/introspect", {"token": own}),
        post(site, "/oauth2/introspect", {"token": own}, bearer(by_token)),
    ):
        assert (answer.status, answer.body) == (200, unknown.body)
        record = site.records(answer.request_id)[0]
        assert (record["type"], record["error"]) == ("request.denied", "access_denied")
    for key in (by_key, ROOT_OF_BETA):
        refusal(site, signed_post(site, key, "/oauth2/revoke", {"token": own}), "unauthorized_client")
    refusal(site, post(site, "/oauth2/revoke", {"token": own}, bearer(by_token)), "unauthorized_client")
    assert served(post(site, "/oauth2/introspect", {"token": own}, bearer(own)))["active"] is True


def test_a69_later_revocation_that_reaches_less_far_gives_no_token_back(
    site: Installation, issuer: Issuer, role: str
) -> None:
    text = issuer.token(site.now(), sub="eve")
    first = served(exchange(site, text, ID_TOKEN, role=role))["access_token"]
    second = served(exchange(site, text, ID_TOKEN, role=role))["access_token"]
    sessions = [verified(site, made)[SESSION]["id"] for made in (first, second)]
    revoke(site, sessions[0])
    revoke(site, sessions[1])
    for made in (first, second):
        found = served(signed_post(site, ADMIN, "/oauth2/introspect", {"token": made}))
        assert found == {"active": False}
    third = served(exchange(site, text, ID_TOKEN, role=role))["access_token"]
    assert served(signed_post(site, ADMIN, "/oauth2/introspect", {"token": third}))["active"] is True


# --- Presigned requests ----------------------------------------------------------------------------------------------


def described(answer: Answer) -> str:
    return str(json.loads(answer.body)["error_description"])


def test_a11_presigned_request_that_is_not_for_an_exchange_here_is_refused(site: Installation, role: str) -> None:
    arn, key = site.user("pat", policy=EVERYTHING)
    target = site.role("pats", trust(arn))
    served(exchange(site, presigned(site, key), PRESIGNED, role=target))
    url = presigned(site, key)
    bad = [
        presigned(site, key, **{"X-Daypass-Audience": ""}),  # as other services use them to log in
        presigned(site, key, **{"X-Daypass-Audience": "https://other.example"}),
        presigned(site, key, Action="GetAccessKeyInfo"),
        presigned(site, key, Extra="1"),
        url.replace("daypass.test", "evil.test"),
        url.replace("https://", "http://"),
        url.replace("https://daypass.test", "https://daypass.test@evil.test"),
        url.replace("daypass.test/?", "daypass.test/saml/?"),
        url + "&Action=GetCallerIdentity",
        url + "#x",
        url[:-1] + ("0" if url[-1] != "0" else "1"),
        url.replace("Expires=300", "Expires=600"),
        f"{ISSUER}/?Action=GetCallerIdentity&Version=2011-06-15&X-Daypass-Audience={ISSUER}",
        "https://[",
        "x" * 9000,
    ]
    for text in bad:
        refusal(site, exchange(site, text, PRESIGNED, role=target), "invalid_request")
    assert f"X-Daypass-Audience={ISSUER}" in described(exchange(site, bad[0], PRESIGNED, role=target))
    assert f"its address must begin with {ISSUER}/" in described(exchange(site, bad[4], PRESIGNED, role=target))
    assert described(exchange(site, bad[10], PRESIGNED, role=target)) == "The token is invalid, expired or revoked."
    site.wall.time += 301_000
    refusal(site, exchange(site, url, PRESIGNED, role=target), "invalid_request")


# --- The form --------------------------------------------------------------------------------------------------------


def test_token_request_whose_parameters_are_ambiguous_is_refused(site: Installation, role: str) -> None:
    pairs = [("grant_type", EXCHANGE), ("role", role)]
    for twice in ("grant_type", "role", "scope", "subject_token", "actor_token", "anything"):
        answer = token(site, [*pairs, (twice, "x"), (twice, "y")])
        refusal(site, answer, "invalid_request")
        assert "twice" in json.loads(answer.body)["error_description"]
    body = urlencode(pairs).encode()
    path = b"/oauth2/token"
    refusal(site, site.send("POST", FORM, body, path=path, query=b"grant_type=x"), "invalid_request")
    refusal(site, site.send("POST", [], body, path=path), "invalid_request")
    refusal(site, site.send("POST", [*FORM, *FORM], body, path=path), "invalid_request")
    json_type = [(b"content-type", b"application/json")]
    refusal(site, site.send("POST", json_type, b'{"grant_type":"x"}', path=path), "invalid_request")
    for raw in (b"a", b"a=%ff", b"\xff=1", b"&".join(b"a%d=1" % n for n in range(80)), b"a=1;b=2&c", b""):
        refusal(site, site.send("POST", FORM, raw, path=path), "invalid_request")
    assert site.send("GET", path=path).status == 405


def test_a62_no_token_of_a_request_is_on_the_record_or_in_an_answer(
    site: Installation, issuer: Issuer, role: str, own: str
) -> None:
    aws = served(exchange(site, own, ACCESS_TOKEN, requested_token_type=AWS))
    secrets = [own, issuer.token(site.now(), sub="ann"), presigned(site, key_of(aws)), aws["secret_access_key"]]
    for text, kind in ((secrets[0], ACCESS_TOKEN), (secrets[1], ID_TOKEN), (secrets[2], PRESIGNED)):
        answer = exchange(site, text, kind, role=f"{role}x", actor_token=own, actor_token_type=JWT)
        assert answer.status == 400
    everything = b"".join(site.record_bytes()) + site.log.getvalue().encode()
    for text in secrets:
        assert text.rpartition(".")[2].rpartition("=")[2].encode() not in everything
        assert text.encode() not in everything


NAMES = [
    *("grant_type", "subject_token", "subject_token_type", "actor_token", "actor_token_type", "requested_token_type"),
    *("resource", "audience", "scope", "role", "authorization_details", "assertion", "client_id", "client_secret"),
]


def test_token_endpoint_answers_whatever_is_sent(site: Installation, issuer: Issuer, role: str, own: str) -> None:
    """No 500, always OAuth's form, always on the record."""
    aws = served(exchange(site, own, ACCESS_TOKEN, requested_token_type=AWS))
    id_token, url = issuer.token(site.now(), sub="ann"), presigned(site, key_of(aws))
    usual = [EXCHANGE, BEARER, ACCESS_TOKEN, ID_TOKEN, JWT, SAML2, PRESIGNED, AWS, id_token, own, url, role, ISSUER]
    usual += [details(role=role), details(policy=EVERYTHING), details(tags={"a": "b"}), "read", "read write"]
    rng = random.Random(2026)
    good = {"grant_type": EXCHANGE, "subject_token": own, "subject_token_type": ACCESS_TOKEN}
    statuses, asked = set(), set()
    for _ in range(400):
        pairs = dict(good)
        for name in rng.sample(NAMES, rng.randint(0, 4)):
            pairs[name] = rng.choice([*usual, *usual, rng.choice(HOSTILE)])
        body = urlencode(pairs, errors="surrogatepass").encode()
        if rng.random() < 0.1:
            body = body.replace(b"%", b"%%", 1) + rng.choice([b"&", b"=", b"&&a", b"\x00", b"&=&="])
        answer = site.send("POST", FORM, body, path=b"/oauth2/token")
        check(answer)
        statuses.add(answer.status)
        asked.add(answer.request_id)
    assert statuses >= {200, 400, 401}
    assert asked <= {decode(body).get("request_id") for body in site.record_bytes()}


def check(answer: Answer) -> None:
    assert answer.status in (200, 400, 401, 413), answer.body
    content = json.loads(answer.body)
    assert answer.headers["cache-control"] == "no-store"
    if answer.status != 200:
        assert content["error"] in CODES, answer.body


# --- Ways around -----------------------------------------------------------------------------------------------------


def test_a131_own_token_cannot_come_back_as_that_of_a_provider(site: Installation, issuer: Issuer, role: str) -> None:
    """Federated with itself, a session would begin a new chain: without an end, and out of reach of revocations."""
    jwks = site.send("GET", path=b"/.well-known/jwks.json").body.decode()
    ours = Issuer(ISSUER.removeprefix("https://"), alg="ES256", audience=ISSUER)
    made = provider(site, ours, static_jwks=jwks, token_types=["at+jwt"])
    renewed = site.role("renewed", trust_in(made.arn, StringEquals={"daypass.test:aud": ISSUER}))
    own = served(exchange(site, issuer.token(site.now(), sub="ann"), ID_TOKEN, role=role))["access_token"]
    assert bring(site, renewed, own).code == "InvalidIdentityToken"
    for kind in (ID_TOKEN, JWT, ACCESS_TOKEN):
        refusal(site, exchange(site, own, kind, role=renewed), "invalid_request")
    refusal(site, token(site, {"grant_type": BEARER, "assertion": own, "role": renewed}), "invalid_grant")
    actor = {"actor_token": own, "actor_token_type": ID_TOKEN}
    refusal(site, exchange(site, issuer.token(site.now(), sub="ann"), ID_TOKEN, role=role, **actor), "invalid_request")


def test_a132_audience_and_scope_of_a_session_survive_role_chaining_on_the_aws_wire(
    site: Installation, issuer: Issuer, role: str
) -> None:
    limited = {"StringEquals": {"daypass:Audience": "https://b.example"}}
    statement = {"Principal": {"AWS": role}, "Action": "sts:AssumeRole", "Condition": limited}
    far = site.role("far", document(statement))
    text = issuer.token(site.now(), sub="ann")
    asked = {"role": role, "scope": "read", "requested_token_type": AWS}
    free = served(exchange(site, text, ID_TOKEN, **asked))
    assert site.assume(key_of(free), far).code == "AccessDenied"
    bound = served(exchange(site, text, ID_TOKEN, audience="https://b.example", **asked))
    chained = site.assume(key_of(bound), far)
    assert chained.status == 200, chained.body
    good = served(exchange(site, presigned(site, chained.key), PRESIGNED))
    assert (verified(site, good["access_token"], "https://b.example")["aud"], good["scope"]) == (
        "https://b.example",
        "read",
    )
    elsewhere = exchange(site, presigned(site, chained.key), PRESIGNED, audience="https://c.example")
    refusal(site, elsewhere, "invalid_target")
    refusal(site, exchange(site, presigned(site, chained.key), PRESIGNED, scope="write"), "invalid_scope")
    narrowed = site.call(chained.key, "GetScopedCredentials", {"DurationSeconds": "900"})
    elsewhere = exchange(site, presigned(site, narrowed.key), PRESIGNED, audience="https://c.example")
    refusal(site, elsewhere, "invalid_target")


def test_session_that_does_not_fit_in_its_aws_form_gets_no_access_token(
    site: Installation, issuer: Issuer, role: str
) -> None:
    """Otherwise one form would hold what the other cannot, and a token could become too long for this very server."""
    rng = random.Random(1)
    tags = {"".join(rng.choices("abcdefghij", k=100)): ["".join(rng.choices("klmnopqrst", k=250))] for _ in range(40)}
    text = issuer.token(site.now(), sub="ann", **{"https://aws.amazon.com/tags": {"principal_tags": tags}})
    record = refusal(site, exchange(site, text, ID_TOKEN, role=role), "invalid_request")
    assert record["error"] == "packed_policy_too_large"


def test_exchange_while_the_record_cannot_be_written_gives_nothing_out(
    site: Installation, issuer: Issuer, role: str, own: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(*_: Any, **__: Any) -> Any:
        raise DaypassError(ErrorKind.UNAVAILABLE, "The record cannot be written.")

    journal = type(site.runtime.env.journal)
    monkeypatch.setattr(journal, "commit", away)
    monkeypatch.setattr(journal, "write", away)
    for answer in (
        exchange(site, issuer.token(site.now(), sub="ann"), ID_TOKEN, role=role),
        exchange(site, own, ACCESS_TOKEN, requested_token_type=AWS),
        exchange(site, "x.y.z", JWT, role=role),
        post(site, "/oauth2/introspect", {"token": own}, (b"authorization", f"Bearer {own}".encode())),
        post(site, "/oauth2/revoke", {"token": own}, (b"authorization", f"Bearer {own}".encode())),
    ):
        assert answer.status == 503, answer.body
        assert set(json.loads(answer.body)) == {"error", "error_description", "request_id"}
        assert answer.headers["retry-after"] == "1"


def test_a55_recreated_role_is_not_the_audience_that_its_name_says(
    site: Installation, issuer: Issuer, role: str
) -> None:
    trusted = trust_in(f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com")
    arn = site.role("again", trusted)
    text = issuer.token(site.now(), sub="ann")
    meant = served(exchange(site, text, ID_TOKEN, role=role, audience=arn))["access_token"]

    def asked() -> tuple[Any, Any]:
        service = served(exchange(site, issuer.token(site.now(), sub="svc"), ID_TOKEN, role=arn))["access_token"]
        actor = {"actor_token": service, "actor_token_type": ACCESS_TOKEN}
        return exchange(site, meant, ACCESS_TOKEN, **actor), post(
            site, "/oauth2/introspect", {"token": meant}, bearer(service)
        )

    exchanged, seen = asked()
    assert (exchanged.status, served(seen)["active"]) == (200, True)
    site.iam("DeleteRole", RoleName="again")
    assert site.role("again", trusted) == arn
    exchanged, seen = asked()
    refusal(site, exchanged, "invalid_request")
    assert served(seen) == {"active": False}


def test_a19_one_time_token_is_exchanged_once_however_many_ask(site: Installation) -> None:
    once = Issuer("once.example.com", alg="ES256")
    made = provider(site, once, one_time=True)
    role = site.role("once", trust_in(made.arn, StringEquals={"once.example.com:aud": "daypass"}))
    text = once.token(site.now(), sub="ann", jti="only-one")
    pairs = {"grant_type": EXCHANGE, "subject_token": text, "subject_token_type": ID_TOKEN, "role": role}
    body = urlencode(pairs).encode()

    async def race() -> list[Any]:
        return await asyncio.gather(*(site.ask("POST", FORM, body, path=b"/oauth2/token") for _ in range(12)))

    answers = site.run(race())
    assert sorted(answer.status for answer in answers) == [200] + [400] * 11
    assertion = {"grant_type": BEARER, "assertion": text, "role": role}
    refusal(site, token(site, assertion), "invalid_grant")
    assert bring(site, role, text).code == "InvalidIdentityToken"
    actor = {"actor_token": once.token(site.now(), sub="svc", jti="another"), "actor_token_type": JWT}
    fresh = once.token(site.now(), sub="ann", jti="third")
    refusal(site, exchange(site, fresh, ID_TOKEN, role=role, **actor), "invalid_request")
