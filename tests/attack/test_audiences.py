"""Attacks on the audience and scope of tokens: more than the person, the client or the account allowed, in any form."""

from __future__ import annotations

import json
import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import jwt
import pytest
from tests.attack.installation import (
    ALPHA,
    BETA,
    EVERYTHING,
    ROOT,
    ROOT_OF_BETA,
    Answer,
    Installation,
    Key,
    document,
    trust,
)
from tests.browser import BASE
from tests.oauth import (
    ACCESS_TOKEN,
    AWS,
    ID_TOKEN,
    PRESIGNED,
    SESSION,
    exchange,
    given,
    key_of,
    post,
    presigned,
    refusal,
)
from tests.oauth_client import BEARER_TOKENS, api, register, trusting
from tests.sign_in import allowed, redeemed, signed_in, site_with_pages, target, user, web_client

from daypass.client import transport
from daypass.client.profiles import Profile
from daypass.client.verifier import InvalidToken, Verifier, VerifierSettings
from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import match_id

PAYROLL = "https://payroll.example"
OTHER = "https://other.example"
GET = "daypass:GetAccessToken"
SERVER = f"arn:aws:daypass::{ALPHA}:resource-server/{PAYROLL}"
MAY = document({"Action": GET, "Resource": SERVER}, {"Action": ["orders:*", "sts:*"], "Resource": "*"})
MAY_READ = document(
    {"Action": GET, "Resource": SERVER, "Condition": {"ForAllValues:StringEquals": {"daypass:Scope": "payroll.read"}}}
)
MAY_NOT = document({"Action": "orders:*", "Resource": "*"})
SCOPES = {"scopes": {"payroll.read": {}, "payroll.admin": {}}}


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("site")) as made:
        put(made, SCOPES)
        yield made


def put(site: Installation, settings: dict[str, Any], key: Key = ROOT) -> Answer:
    answer = api(site, "PUT", f"/resource-servers/{PAYROLL}", {"name": "payroll", "settings": settings}, key)
    site.run(site.runtime.env.directory.refresh())
    return answer


def session(site: Installation, name: str, policy: str = "", root: Key = ROOT, **more: str) -> tuple[Key, str]:
    """A session of a role with this policy: its AWS credentials, and its access token for this server."""
    arn, key = site.user(f"user-{name}", root, EVERYTHING)
    aws = site.assume(key, site.role(f"role-{name}", trust(arn), root, policy), name, **more).key
    return aws, str(given(exchange(site, presigned(site, aws), PRESIGNED))["access_token"])


def wanted(site: Installation, text: str, scope: str = "payroll.read", **more: str) -> Answer:
    return exchange(site, text, ACCESS_TOKEN, **{"audience": PAYROLL, "scope": scope, **more})


def claims_of(text: str) -> dict[str, Any]:
    return dict(jwt.decode(text, options={"verify_signature": False}))


def refused(site: Installation, answer: Answer, *codes: str) -> None:
    code = json.loads(answer.body)["error"]
    assert code in codes, answer.body
    refusal(site, answer, code, answer.status)


# --- Ceilings ----------------------------------------------------------------------------------------------------------


def test_a520_exchange_without_the_client_gets_no_more_than_the_person_consented_to(site: Installation) -> None:
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=EVERYTHING)
    client = web_client(site)
    text = given(redeemed(client, allowed(signed_in(site, name), target(client))["code"]))["access_token"]
    for asked in (
        {"audience": PAYROLL, "scope": "payroll.admin"},
        {"audience": OTHER},
        {"audience": BASE, "scope": "payroll.admin"},
        {"resource": PAYROLL, "scope": "payroll.read", "requested_token_type": AWS},
        {"audience": OTHER, "requested_token_type": ID_TOKEN},
    ):
        refused(site, exchange(site, text, ACCESS_TOKEN, **asked), *_BOUND)


_BOUND = ("invalid_target", "invalid_scope", "invalid_request")


def test_a520_ceilings_hold_in_the_aws_form_and_in_every_session_made_from_it(site: Installation) -> None:
    client = register(site, fapi_exceptions=BEARER_TOKENS, roles=["*"], audiences=[BASE, PAYROLL])
    role = site.role("of-ceilings", trusting(client), policy=EVERYTHING)
    further = site.role("after-ceilings", trust(role), policy=EVERYTHING)
    aws = key_of(given(client.token(role=role, requested_token_type=AWS)))
    chained = site.assume(aws, further).key
    scoped = site.call(aws, "GetScopedCredentials", {"DurationSeconds": "900"}).key
    for key in (aws, chained, scoped):
        for asked in ({"audience": PAYROLL, "scope": "payroll.read"}, {"audience": OTHER}):
            refused(site, exchange(site, presigned(site, key), PRESIGNED, **asked), "invalid_target")
        own = claims_of(given(exchange(site, presigned(site, key), PRESIGNED))["access_token"])
        assert own["client_id"] == client.id


def test_a520_token_for_one_audience_gives_none_for_another(site: Installation) -> None:
    _, text = session(site, "narrowing", MAY)
    narrow = given(wanted(site, text, audience=BASE, scope="payroll.read"))["access_token"]
    refused(site, wanted(site, narrow), "invalid_target")
    refused(site, wanted(site, narrow, audience=BASE, scope="payroll.admin"), "invalid_scope")


# --- The permission ----------------------------------------------------------------------------------------------------


def test_a521_registered_audience_needs_a_permission_for_each_scope(site: Installation) -> None:
    _, nobody = session(site, "nobody", MAY_NOT)
    _, reader = session(site, "reader", MAY_READ)
    refused(site, wanted(site, nobody), "invalid_request")
    refused(site, wanted(site, reader, "payroll.admin"), "invalid_request")
    response = given(wanted(site, reader))
    assert response["scope"] == "payroll.read"
    answer = wanted(site, nobody)
    assert site.records(answer.request_id)[0]["type"] == "request.denied"
    assert b"GetAccessToken" in answer.body


def test_a521_session_policies_boundaries_and_guardrails_limit_tokens(site: Installation) -> None:
    _, scoped = session(site, "scoped", MAY, Policy=document({"Action": "orders:*", "Resource": "*"}))
    _, bounded = session(site, "bounded", MAY)
    refused(site, wanted(site, scoped), "invalid_request")
    boundary = site.iam("CreatePolicy", PolicyName="bound", PolicyDocument=MAY_NOT).text("Arn")
    given(wanted(site, bounded))
    site.iam("PutRolePermissionsBoundary", RoleName="role-bounded", PermissionsBoundary=boundary)
    refused(site, wanted(site, bounded), "invalid_request")
    site.iam("DeleteRolePermissionsBoundary", RoleName="role-bounded")
    no_tokens = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": GET, "Resource": "*"}})
    allow_all = {"Effect": "Allow", "Action": "*", "Resource": "*"}
    whole = json.loads(no_tokens)
    whole["Statement"] = [whole["Statement"], allow_all]
    assert api(site, "PUT", f"/accounts/{ALPHA}/guardrails/no-tokens", {"document": json.dumps(whole)}).status < 300
    refused(site, wanted(site, bounded), "invalid_request")
    assert api(site, "DELETE", f"/accounts/{ALPHA}/guardrails/no-tokens").status < 300
    given(wanted(site, bounded))


def test_a521_refresh_after_the_permission_was_taken_away_is_refused(site: Installation) -> None:
    name = user(site)
    site.iam("PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=MAY)
    grants = ["authorization_code", "refresh_token"]
    client = web_client(site, grant_types=grants, audiences=[PAYROLL], scopes=["payroll.read", "payroll.admin"])
    address = target(client, scope="openid payroll.read", resource=PAYROLL)
    response = given(redeemed(client, allowed(signed_in(site, name), address)["code"]))
    assert claims_of(response["access_token"])["aud"] == PAYROLL

    def again(text: str) -> Answer:
        return client.token(grant="refresh_token", dpop=None, client_id=client.id, refresh_token=text)

    second = given(again(response["refresh_token"]))
    site.iam("DeleteUserPolicy", UserName=name, PolicyName="p")
    refused(site, again(second["refresh_token"]), "invalid_grant")


# --- Other accounts ----------------------------------------------------------------------------------------------------


def test_a522_principal_of_another_account_needs_both_policies(site: Installation) -> None:
    _, stranger = session(site, "stranger", MAY, ROOT_OF_BETA)
    _, nobody = session(site, "stranger-without", MAY_NOT, ROOT_OF_BETA)
    for scope in ("payroll.read", "payroll.admin"):
        refused(site, wanted(site, stranger, scope), "invalid_request")
    answer = wanted(site, stranger)
    assert ALPHA not in json.loads(answer.body)["error_description"]
    statement = {"Effect": "Allow", "Principal": {"AWS": BETA}, "Action": GET, "Resource": "*"}
    put(site, {**SCOPES, "policy": {"Version": "2012-10-17", "Statement": [statement]}})
    refused(site, wanted(site, nobody), "invalid_request")
    claims = claims_of(given(wanted(site, stranger))["access_token"])
    assert (claims[SESSION]["account"], claims[SESSION]["resource_servers"]) == (BETA, [SERVER])
    put(site, SCOPES)
    refused(site, wanted(site, stranger), "invalid_request")


def test_a522_audience_of_another_account_cannot_be_registered_too(site: Installation) -> None:
    answer = put(site, {}, ROOT_OF_BETA)
    assert (answer.status, json.loads(answer.body)["error"]["code"]) == (409, "EntityAlreadyExists")
    assert ALPHA.encode() not in answer.body


@pytest.mark.parametrize("policy", ["nonsense", {"Version": "2012-10-17", "Statement": [{"Effect": "Allow"}]}])
def test_put_resource_server_with_a_policy_that_is_not_one_is_refused(site: Installation, policy: Any) -> None:
    assert put(site, {**SCOPES, "policy": policy}).status == 400


# --- Three answers about one token -------------------------------------------------------------------------------------


@dataclass
class Judges:
    """A resource server that verifies offline, one that introspects, and one that asks for a decision (AuthZEN)."""

    site: Installation
    key: Key
    accounts: tuple[str, ...] = ()
    verifier: Verifier = field(init=False)

    def __post_init__(self) -> None:
        profile = Profile(BASE, self.key[0], self.key[1], "", "eu-central-1")
        settings = VerifierSettings(BASE, PAYROLL, profile, self.accounts)
        self.verifier = Verifier(
            settings, clock=lambda: self.site.wall.time / 1000, monotonic=lambda: 0.0, transport=self.answer
        )

    def answer(self, request: transport.ClientRequest, _: float) -> transport.ClientResponse:
        found = self.site.send(request.method, path=request.target.encode())
        return transport.ClientResponse(found.status, found.headers, found.body)

    def follow(self) -> None:
        """Applies what the stream would have sent by now."""
        env = self.site.runtime.env
        made = self.site.run(env.directory.read(lambda tx: tx.find(Revocation), account=ALPHA))
        known, now = self.verifier.revocations, self.site.now()
        for each in made:
            sent = {"id": each.id, "match": match_id(each), "position": each.position}
            known.apply("revocation", {**sent, "issued_before": each.issued_before, "created_at": each.created_at}, 0.0)
        beat = {"epoch": env.directory.seen().epoch, "position": 0, "at": now, "complete_until": now}
        known.connected()
        known.apply("heartbeat", {**beat, "accounts": [ALPHA]}, 0.0)

    def offline(self, text: str) -> bool:
        try:
            self.verifier.verify(text)
        except InvalidToken:
            return False
        return True

    def introspected(self, text: str) -> bool:
        body = urlencode({"token": text}).encode()
        extra = {"content-type": "application/x-www-form-urlencoded"}
        headers = self.site.signed(self.key, body, "daypass", path="/oauth2/introspect", extra=extra)
        answer = json.loads(self.site.send("POST", headers, body, path=b"/oauth2/introspect").body)
        audience = answer.get("aud", [])
        return answer["active"] is True and PAYROLL in ([audience] if isinstance(audience, str) else audience)

    def decided(self, text: str) -> bool:
        subject = {"type": "access_token", "id": text, "properties": {"audience": PAYROLL}}
        question = {"subject": subject, "action": {"name": "Read"}, "resource": {"type": "orders", "id": "1"}}
        data = json.dumps(question).encode()
        extra = {"content-type": "application/json"}
        headers = self.site.signed(self.key, data, "daypass", path="/access/v1/evaluation", extra=extra)
        answer = self.site.send("POST", headers, data, path=b"/access/v1/evaluation")
        assert answer.status == 200, answer.body
        return bool(json.loads(answer.body)["decision"])


def test_a523_offline_verification_introspection_and_decisions_agree_on_every_token(site: Installation) -> None:
    ask = document({"Action": ["daypass:IntrospectToken", "daypass:EvaluateAccess"], "Resource": "*"})
    judges = Judges(site, site.user("judge", policy=ask)[1])
    statement = {"Effect": "Allow", "Principal": {"AWS": BETA}, "Action": GET, "Resource": "*"}
    put(site, {**SCOPES, "policy": {"Version": "2012-10-17", "Statement": [statement]}})
    chosen = random.Random(25)
    sources = {
        (root, number): session(site, f"source-{root[0]}-{number}", MAY, root)
        for root in (ROOT, ROOT_OF_BETA)
        for number in range(4)
    }
    answers: dict[bool, int] = {True: 0, False: 0}
    texts: list[str] = []
    for number in range(60):
        root = chosen.choice((ROOT, ROOT, ROOT_OF_BETA))
        source = chosen.randrange(4)
        asked = chosen.choice(
            [
                {"audience": PAYROLL, "scope": "payroll.read"},
                {"audience": PAYROLL, "scope": "payroll.read payroll.admin"},
                {"audience": OTHER},
                {},
            ]
        )
        text = given(exchange(site, sources[root, source][1], ACCESS_TOKEN, **asked))["access_token"]
        if chosen.random() < 0.1:
            place = chosen.randrange(len(text))
            text = text[:place] + chosen.choice("Ab9_-.") + text[place + 1 :]
        texts.append(text)
        if chosen.random() < 0.08 and source:
            session_id = claims_of(sources[ROOT, source][1])[SESSION]["id"]
            made = api(site, "POST", "/revocations", {"subject": "session", "value": session_id, "reason": "test"})
            assert made.status == 201, made.body
            sources[ROOT, source] = session(site, f"again-{number}", MAY)
        judges.follow()
        for each in chosen.sample(texts, min(3, len(texts))):
            found = {judge(each) for judge in (judges.offline, judges.introspected, judges.decided)}
            assert len(found) == 1, claims_of(each)
            answers[found.pop()] += 1
    put(site, SCOPES)
    assert min(answers.values()) > 20, answers


def test_a523_client_of_the_resource_server_introspects_only_tokens_that_were_issued_for_it(site: Installation) -> None:
    client = register(site, fapi_exceptions=BEARER_TOKENS)
    statement = {"Effect": "Allow", "Principal": {"AWS": BETA}, "Action": GET, "Resource": "*"}
    policy = {"Version": "2012-10-17", "Statement": [statement]}
    put(site, {**SCOPES, "policy": policy, "introspection_clients": [client.id]})

    def active(text: str) -> bool:
        answer = post(site, "/oauth2/introspect", {"token": text, **client.credentials(aud=BASE)})
        return bool(given(answer)["active"])

    _, own = session(site, "introspected", MAY)
    _, stranger = session(site, "introspected-stranger", MAY, ROOT_OF_BETA)
    assert [active(given(wanted(site, text))["access_token"]) for text in (own, stranger)] == [True, True]
    assert not active(own)
    assert not active(given(exchange(site, own, ACCESS_TOKEN, audience=OTHER))["access_token"])
    put(site, SCOPES)
