"""AssumeRoleWithWebIdentity over ports in memory: whom trust policies let in, what sessions get, what is answered."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import pytest
from tests.environment import environment
from tests.issuer import Issuer
from tests.unit.operations.fakes import ALPHA, BETA, NOW, Credentials, FederatedWorld, assume_role, policy, trust

from daypass.domain.context import request_context
from daypass.domain.directory import OidcProvider
from daypass.domain.errors import ErrorKind
from daypass.federation.oidc import OidcVerifier
from daypass.operations.assume.proofs import WITH_WEB_IDENTITY
from daypass.ports import KeySet
from daypass.wire.aws.sts import assume_role_with_web_identity

TAGS = "https://aws.amazon.com/tags"
SOURCE_IDENTITY = "https://aws.amazon.com/source_identity"
ALL = [WITH_WEB_IDENTITY, "sts:TagSession", "sts:SetSourceIdentity"]


class Published:
    def __init__(self, issuer: Issuer) -> None:
        self._issuer = issuer

    async def keys(self, provider: OidcProvider, kid: str, now: int) -> KeySet:
        del provider, kid, now
        return KeySet(json.dumps(self._issuer.jwks()).encode(), "")


class Federated(FederatedWorld):
    """A world with an issuer that account ALPHA trusts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.issuer = Issuer(alg="ES256")
        self.arn = self.provide().arn
        self.env = environment(
            self.clock,
            self.ids,
            self.directory,
            self.journal,
            self.sealer,
            self.limits,
            tokens=OidcVerifier(Published(self.issuer)),
        )

    def provide(
        self, account: str = ALPHA, client_ids: tuple[str, ...] = ("daypass",), **settings: Any
    ) -> OidcProvider:
        made = OidcProvider(account, self.issuer.url, NOW, client_ids, settings=json.dumps(settings))
        self.directory.oidc[account, made.url] = made
        return made

    def trusting(self, name: str = "deploy", actions: Any = WITH_WEB_IDENTITY, **condition: Any) -> str:
        more = {"Condition": condition} if condition else {}
        return self.role(name, trusts=[trust({"Federated": self.arn}, actions, **more)]).arn

    async def bring(self, role: str, params: Mapping[str, Any] | None = None, **claims: Any) -> Mapping[str, Any]:
        token = self.issuer.token(self.clock.now(), **claims)
        asked = {"RoleArn": role, "RoleSessionName": "job", "WebIdentityToken": token, **(params or {})}
        return await assume_role_with_web_identity(self.env, self.unsigned(WITH_WEB_IDENTITY), asked)


@pytest.fixture
def world() -> Federated:
    return Federated()


async def test_answer_has_every_element_that_aws_has(world: Federated) -> None:
    role = world.trusting(actions=ALL)
    answer = await world.bring(role, **{SOURCE_IDENTITY: "ann"})
    role_id = next(iter(world.directory.roles))
    assert answer["SubjectFromWebIdentityToken"] == "repo:org/name:ref:refs/heads/main"
    assert (answer["Audience"], answer["Provider"], answer["SourceIdentity"]) == ("daypass", world.arn, "ann")
    assert answer["AssumedRoleUser"] == {
        "AssumedRoleId": f"{role_id}:job",
        "Arn": f"arn:aws:sts::{ALPHA}:assumed-role/deploy/job",
    }
    assert answer["PackedPolicySize"] is None  # without policies and tags AWS leaves it out
    assert answer["Credentials"]["AccessKeyId"].startswith("ASIA")


async def test_session_stems_from_the_providers_user(world: Federated) -> None:
    await world.bring(world.trusting(), sub="ann")
    session = world.session()
    first, own = session.hops
    assert (first.account, first.principal_id, first.access_key_id) == (ALPHA, f"{world.arn}:ann", "")
    assert (own.session_id, session.auth_method) == (session.session_id, "oidc")
    event = world.journal.events[-1]
    assert event.actor["federated"]["subject"] == "ann"
    assert event.decision is not None


@pytest.mark.parametrize(
    ("condition", "claims"),
    [
        ({"StringEquals": {"idp.example.com:sub": "ann"}}, {"sub": "ann"}),
        ({"StringEquals": {"IDP.EXAMPLE.COM:Sub": "ann"}}, {"sub": "ann"}),
        ({"StringLike": {"idp.example.com:sub": "repo:org/*"}}, {"sub": "repo:org/x"}),
        ({"StringEquals": {"idp.example.com:aud": "daypass"}}, {}),
        (
            {"StringEquals": {"idp.example.com:kubernetes.io/namespace": "shop"}},
            {"kubernetes.io": {"namespace": "shop"}},
        ),
        ({"ForAnyValue:StringEquals": {"idp.example.com:groups": ["ops"]}}, {"groups": ["dev", "ops"]}),
        ({"ForAnyValue:StringLike": {"idp.example.com:amr": "mf*"}}, {"amr": ["pwd", "mfa"]}),
        ({"NumericGreaterThan": {"idp.example.com:level": "2"}}, {"level": 3}),
        ({"Bool": {"idp.example.com:email_verified": "true"}}, {"email_verified": True}),
        ({"Null": {"idp.example.com:missing": "true"}}, {"missing": None}),
        ({"StringEquals": {"sts:RoleSessionName": "${idp.example.com:actor}"}}, {"actor": "job"}),
        ({"StringEquals": {"daypass:AuthMethod": "oidc"}}, {}),
    ],
)
async def test_trust_policy_decides_over_any_claim(
    world: Federated, condition: dict[str, Any], claims: dict[str, Any]
) -> None:
    role = world.trusting(**condition)
    assert (await world.bring(role, **claims))["Credentials"]


@pytest.mark.parametrize(
    ("condition", "claims"),
    [
        ({"StringEquals": {"idp.example.com:sub": "ann"}}, {"sub": "Ann"}),
        ({"StringEquals": {"idp.example.com/:sub": "ann"}}, {"sub": "ann"}),
        ({"StringEquals": {"idp.example.com:kubernetes.io/namespace": "shop"}}, {"kubernetes.io/namespace": "shop"}),
        ({"ForAllValues:StringEquals": {"idp.example.com:groups": ["ops"]}}, {"groups": ["dev", "ops"]}),
        ({"NumericGreaterThan": {"idp.example.com:level": "2"}}, {"level": "many"}),
        ({"Bool": {"idp.example.com:email_verified": "true"}}, {"email_verified": "yes"}),
        ({"StringEquals": {"aws:PrincipalAccount": ALPHA}}, {"aws:PrincipalAccount": ALPHA}),
        ({"StringEquals": {"sts:ExternalId": "x"}}, {"sts:ExternalId": "x"}),
    ],
)
async def test_trust_policy_that_does_not_match_is_denied_in_constant_words(
    world: Federated, condition: dict[str, Any], claims: dict[str, Any]
) -> None:
    error = await world.refusal(world.trusting(**condition), **claims)
    assert (error.kind, error.public) == (ErrorKind.ACCESS_DENIED, f"Not authorized to perform {WITH_WEB_IDENTITY}")
    absent = await world.refusal(f"arn:aws:iam::{ALPHA}:role/none", **claims)
    assert (absent.kind, absent.public) == (error.kind, error.public)


async def test_principal_must_be_the_provider(world: Federated) -> None:
    for principal in (f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com/x", "idp.example.com"):
        name = f"r{len(world.directory.roles)}"
        world.role(name, trusts=[trust({"Federated": principal}, WITH_WEB_IDENTITY)])
    for name in ("r0", "r1"):
        assert (await world.refusal(f"arn:aws:iam::{ALPHA}:role/{name}")).kind is ErrorKind.ACCESS_DENIED
    for number, action in enumerate(("sts:AssumeRole", "sts:AssumeRoleWithSAML")):
        assert (await world.refusal(world.trusting(f"other{number}", action))).kind is ErrorKind.ACCESS_DENIED


async def test_refusal_of_a_token_is_told_to_the_record_in_full(world: Federated) -> None:
    for claims in ({"aud": "x"}, {SOURCE_IDENTITY: "a b"}, {"exp": 1}):
        error = await world.refusal(world.trusting(f"r-{next(iter(claims))[-3:]}"), **claims)
        assert error.private["reason"] == error.public
        assert error.private["account"] == ALPHA


async def test_provider_of_another_account_does_not_vouch_for_this_one(world: Federated) -> None:
    role = world.role("theirs", BETA, trusts=[trust({"Federated": world.arn}, WITH_WEB_IDENTITY)]).arn
    error = await world.refusal(role)
    assert error.kind is ErrorKind.INVALID_IDENTITY_TOKEN
    assert error.private["account"] == BETA
    world.provide(BETA)
    assert (await world.refusal(role)).kind is ErrorKind.ACCESS_DENIED


async def test_tags_and_source_identity_take_their_own_permissions(world: Federated) -> None:
    tagged = {TAGS: {"principal_tags": {"Team": ["red"]}, "transitive_tag_keys": ["Team"]}}
    named = {SOURCE_IDENTITY: "ann"}
    bare = world.trusting("bare")
    for claims in (tagged, named):
        assert (await world.refusal(bare, **claims)).kind is ErrorKind.ACCESS_DENIED
    await world.bring(world.trusting("full", ALL), **tagged, **named)
    session = world.session()
    assert (session.tags, session.transitive_keys, session.source_identity) == ((("Team", "red"),), ("Team",), "ann")


async def test_tags_of_the_token_are_keys_of_the_request(world: Federated) -> None:
    tagged = {TAGS: {"principal_tags": {"Team": ["red"]}}}
    role = world.trusting("red", ALL, StringEquals={"aws:RequestTag/Team": "red"})
    assert await world.bring(role, **tagged)
    world.journal.sessions.clear()
    assert (await world.refusal(role)).kind is ErrorKind.ACCESS_DENIED


async def test_session_policies_and_duration_narrow(world: Federated) -> None:
    text = policy({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})
    await world.bring(world.trusting(), {"Policy": text, "DurationSeconds": 900})
    session = world.session()
    assert session.policies == (text,)
    assert session.expires_at - session.issued_at == 900_000
    world.journal.sessions.clear()
    assert (await world.refusal(world.trusting(), {"DurationSeconds": 43_200})).kind is ErrorKind.VALIDATION
    assert (await world.refusal(world.trusting(), {"Policy": "{"})).kind is ErrorKind.MALFORMED_POLICY


async def test_provider_or_client_id_that_another_process_has_just_added_is_seen(world: Federated) -> None:
    role = world.trusting()
    world.directory.oidc.clear()
    world.directory.later.append(lambda: world.provide(client_ids=("other",)) and None)
    error = await world.refusal(role)
    assert "audience 'daypass'" in error.public
    world.directory.later.append(lambda: world.provide() and None)
    assert await world.bring(role)


async def test_one_time_token_gets_one_session(world: Federated) -> None:
    world.provide(one_time=True)
    role = world.trusting()
    await world.bring(role, jti="7")
    world.journal.sessions.clear()
    error = await world.refusal(role, jti="7")
    assert (error.kind, error.private["reason"]) == (ErrorKind.INVALID_IDENTITY_TOKEN, "replay")
    assert await world.bring(role, jti="8")


async def test_one_time_token_fails_closed_without_the_database(world: Federated) -> None:
    world.provide(one_time=True)
    role = world.trusting()
    world.journal.broken = True
    assert (await world.refusal(role, jti="7")).kind is ErrorKind.UNAVAILABLE


async def test_policies_see_who_the_session_is_for_and_those_of_sessions_made_from_it_do_not(world: Federated) -> None:
    answer = await world.bring(world.trusting(), sub="ann", amr=["pwd", "mfa"], email="ann@example.com")
    borrowed = Credentials.of(answer)
    caller = await world.caller(borrowed)
    context = request_context(caller, world.facts("iam:GetUser"), world.clock.now())
    assert context["aws:federatedprovider"] == world.arn
    assert (context["idp.example.com:sub"], context["idp.example.com:aud"]) == ("ann", "daypass")
    assert context["idp.example.com:amr"] == ("pwd", "mfa")
    assert "idp.example.com:email" not in context  # as AWS has it: for the trust policy alone
    role = world.directory.roles[caller.principal_id].role
    own = {"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "*"}
    condition = {"StringEquals": {"idp.example.com:sub": "ann"}}
    second = world.role("next", trusts=[trust(role.arn, Condition=condition)], policies=[policy(own)])
    answer = await world.call(assume_role, borrowed, {"RoleArn": second.arn, "RoleSessionName": "next"})
    context = request_context(await world.caller(Credentials.of(answer)), world.facts("x"), world.clock.now())
    assert not [key for key in context if key.startswith(("idp.example.com", "aws:federated"))]


@pytest.mark.parametrize("subject", ["principal", "role", "account"])
async def test_blocked_subject_gets_no_session(world: Federated, subject: str) -> None:
    role = world.trusting()
    role_id = next(iter(world.directory.roles))
    value = {"principal": f"{world.arn}:ann", "role": role_id, "account": ALPHA}[subject]
    world.revoke(subject, value, block=True)
    assert (await world.refusal(role, sub="ann")).kind is ErrorKind.ACCESS_DENIED


async def test_provider_id_is_answered_as_an_unknown_provider(world: Federated) -> None:
    error = await world.refusal(world.trusting(), {"ProviderId": "graph.facebook.com"})
    assert error.public.startswith("No OpenIDConnect provider found in your account for graph.facebook.com")
