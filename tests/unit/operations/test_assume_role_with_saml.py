"""AssumeRoleWithSAML over ports in memory: whom trust policies let in, what sessions get, what is answered."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from tests.heavy import PickledHeavyWork
from tests.saml_idp import AWS_ACS, ISSUER, Response, metadata, rsa_key
from tests.unit.operations.fakes import ALPHA, BETA, NOW, FederatedWorld, policy, trust

from daypass.domain.assertion import name_qualifier
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.federation.saml import SamlServiceProvider
from daypass.operations.assume.proofs import WITH_SAML
from daypass.wire.aws.sts import assume_role_with_saml

ALL = [WITH_SAML, "sts:TagSession", "sts:SetSourceIdentity"]
SESSION_POLICY = policy({"Effect": "Allow", "Action": "s3:*", "Resource": "*"})


class Federated(FederatedWorld):
    """A world with an identity provider that account ALPHA trusts."""

    def __post_init__(self) -> None:
        super().__post_init__()
        self.provider = SamlProvider("ASPRAAAAAAAAAAAAAAAAA", ALPHA, "idp", NOW, NOW * 2, metadata())
        self.directory.saml[ALPHA, "idp"] = self.provider
        self.env = replace(self.env, saml=SamlServiceProvider(self.sealer, PickledHeavyWork()))

    def trusting(self, name: str = "deploy", actions: Any = WITH_SAML, account: str = ALPHA, **condition: Any) -> str:
        more = {"Condition": condition} if condition else {}
        statement = trust({"Federated": self.provider.arn}, actions, **more)
        return self.role(name, account, trusts=[statement], max_session_seconds=7200).arn

    def response(self, role: str, **more: Any) -> Response:
        return Response(roles=[f"{role},{self.provider.arn}"], **{"now": self.clock.now(), **more})

    async def bring(self, role: str, params: Mapping[str, Any] | None = None, **more: Any) -> Mapping[str, Any]:
        return await self.ask(role, {"SAMLAssertion": self.response(role, **more).encoded(), **(params or {})})

    async def ask(self, role: str, params: Mapping[str, Any]) -> Mapping[str, Any]:
        asked = {"RoleArn": role, "PrincipalArn": self.provider.arn, **params}
        return await assume_role_with_saml(self.env, self.unsigned(WITH_SAML), asked)


@pytest.fixture
def world() -> Federated:
    return Federated()


async def test_assume_answers_as_the_service_model_has_it(world: Federated) -> None:
    role = world.trusting(actions=ALL)
    answer = await world.bring(role, attributes={"SourceIdentity": ["ann"]})
    assert {name: answer[name] for name in ("Subject", "SubjectType", "Issuer", "Audience", "SourceIdentity")} == {
        "Subject": "ann@example.com",
        "SubjectType": "persistent",
        "Issuer": ISSUER,
        "Audience": AWS_ACS,
        "SourceIdentity": "ann",
    }
    assert answer["NameQualifier"] == name_qualifier(ISSUER, ALPHA, "idp")
    assert answer["AssumedRoleUser"]["Arn"] == f"arn:aws:sts::{ALPHA}:assumed-role/deploy/ann"
    assert set(answer["Credentials"]) == {"AccessKeyId", "SecretAccessKey", "SessionToken", "Expiration"}


async def test_assume_session_remembers_who_vouched(world: Federated) -> None:
    await world.bring(world.trusting())
    session = world.session()
    assert session.auth_method == "saml"
    assert session.hops[0].principal_id == f"{world.provider.arn}:ann@example.com"
    (event,) = world.journal.events
    assert event.actor["federated"]["assertion"] == "_assertion-1"
    assert event.actor["federated"]["issuer"] == ISSUER


@pytest.mark.parametrize(
    "condition",
    [
        {"StringEquals": {"saml:aud": AWS_ACS}},
        {"StringEquals": {"SAML:Sub_Type": "persistent"}},
        {"StringEquals": {"saml:iss": ISSUER}},
        {"StringEquals": {"saml:doc": f"{ALPHA}/idp"}},
        {"StringEquals": {"saml:namequalifier": name_qualifier(ISSUER, ALPHA, "idp")}},
        {"ForAnyValue:StringEquals": {"saml:eduPersonAffiliation": ["staff"]}},
        {"StringEquals": {"saml:eduPersonOrgDN": "dc=example"}},
        {"StringEquals": {"aws:RequestTag/Team": "core"}},
        {"StringEquals": {"sts:RoleSessionName": "ann"}},
        {"StringEquals": {"sts:SourceIdentity": "ann"}},
        {"StringEquals": {"daypass:AuthMethod": "saml"}},
    ],
)
async def test_assume_trust_policy_sees_the_assertion(world: Federated, condition: dict[str, Any]) -> None:
    attributes = {
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.1": ["member", "staff"],
        "urn:oid:1.3.6.1.4.1.5923.1.1.1.3": ["dc=example"],
        "PrincipalTag:Team": ["core"],
        "SourceIdentity": ["ann"],
    }
    assert await world.bring(world.trusting("yes", ALL, **condition), attributes=attributes)
    other = {op: dict.fromkeys(keys, "something-else") for op, keys in condition.items()}
    world.journal.sessions.clear()
    error = await world.refusal(world.trusting("no", ALL, **other), attributes=attributes, assertion_id="_assertion-2")
    assert (error.kind, error.public) == (ErrorKind.ACCESS_DENIED, f"Not authorized to perform {WITH_SAML}")


async def test_assume_session_takes_tags_and_hands_on_the_transitive_ones(world: Federated) -> None:
    attributes = {"PrincipalTag:Team": ["core"], "PrincipalTag:Cost": ["7"], "TransitiveTagKeys": ["Team"]}
    await world.bring(world.trusting(actions=ALL), attributes=attributes)
    assert world.session().tags == (("Team", "core"), ("Cost", "7"))
    assert world.session().transitive_keys == ("Team",)


@pytest.mark.parametrize("attributes", [{"PrincipalTag:Team": ["core"]}, {"SourceIdentity": ["ann"]}])
async def test_assume_tags_and_source_identity_need_their_permissions(
    world: Federated, attributes: dict[str, list[str]]
) -> None:
    error = await world.refusal(world.trusting(), attributes=attributes)
    assert error.kind is ErrorKind.ACCESS_DENIED


@pytest.mark.parametrize(
    ("params", "attributes", "seconds"),
    [
        ({}, {}, 3600),
        ({}, {"SessionDuration": ["1800"]}, 1800),
        ({"DurationSeconds": 7200}, {"SessionDuration": ["1800"]}, 7200),
        ({"DurationSeconds": 900}, {}, 900),
    ],
)
async def test_assume_session_lasts_as_asked(
    world: Federated, params: dict[str, int], attributes: dict[str, list[str]], seconds: int
) -> None:
    await world.bring(world.trusting(), params, attributes=attributes)
    assert world.session().expires_at - world.session().issued_at == seconds * 1000


async def test_assume_session_ends_with_the_login(world: Federated) -> None:
    ends_at = (world.clock.now() // 1000 + 1200) * 1000
    await world.bring(world.trusting(), session_ends_at=ends_at)
    assert world.session().expires_at == ends_at


async def test_assume_longer_than_the_role_allows_is_refused(world: Federated) -> None:
    error = await world.refusal(world.trusting(), attributes={"SessionDuration": ["7201"]})
    assert error.kind is ErrorKind.VALIDATION


async def test_refusal_of_what_an_assertion_asks_for_is_told_to_the_record(world: Federated) -> None:
    error = await world.refusal(world.trusting(), attributes={"SessionDuration": ["x"]})
    assert error.kind is ErrorKind.INVALID_IDENTITY_TOKEN
    assert "SessionDuration" in error.private["reason"]


async def test_assume_session_policies_narrow(world: Federated) -> None:
    await world.bring(world.trusting(), {"Policy": SESSION_POLICY})
    assert world.session().policies == (SESSION_POLICY,)


async def test_assume_malformed_session_policy_is_refused(world: Federated) -> None:
    assert (await world.refusal(world.trusting(), {"Policy": "{"})).kind is ErrorKind.MALFORMED_POLICY


async def test_assume_refused_by_policy_does_not_use_the_assertion_up(world: Federated) -> None:
    denied = world.trusting("denied", StringEquals={"saml:sub": "bob"})
    allowed = world.trusting("allowed")
    pairs = [f"{role},{world.provider.arn}" for role in (denied, allowed)]
    text = Response(roles=pairs, now=world.clock.now()).encoded()
    with pytest.raises(DaypassError):
        await world.ask(denied, {"SAMLAssertion": text})
    assert await world.ask(allowed, {"SAMLAssertion": text})


async def test_assume_provider_made_a_moment_ago_is_found(world: Federated) -> None:
    role = world.trusting()
    del world.directory.saml[ALPHA, "idp"]
    world.directory.later.append(lambda: world.directory.saml.__setitem__((ALPHA, "idp"), world.provider))
    assert await world.bring(role)


async def test_assume_key_rotated_a_moment_ago_is_found(world: Federated) -> None:
    role = world.trusting()
    new = replace(world.provider, metadata=metadata([rsa_key("new")]))
    world.directory.later.append(lambda: world.directory.saml.__setitem__((ALPHA, "idp"), new))
    text = world.response(role).encoded(rsa_key("new"))
    assert await world.ask(role, {"SAMLAssertion": text})


async def test_assume_provider_of_another_account_is_denied(world: Federated) -> None:
    error = await world.refusal(world.trusting(account=BETA))
    assert error.kind is ErrorKind.ACCESS_DENIED


@pytest.mark.parametrize(
    "arn",
    [
        "idp",
        f"arn:aws:iam::{ALPHA}:oidc-provider/idp",
        f"arn:aws:iam::{ALPHA}:saml-provider/",
        f"arn:aws:iam::{ALPHA}:saml-provider/a/b",
        f"arn:aws:iam:eu:{ALPHA}:saml-provider/idp",
        f"arn:aws-cn:iam::{ALPHA}:saml-provider/idp",
        "arn:aws:iam::1:saml-provider/idp",
    ],
)
async def test_assume_what_is_no_provider_arn_is_a_validation_error(world: Federated, arn: str) -> None:
    error = await world.refusal(world.trusting(), {"PrincipalArn": arn})
    assert error.kind is ErrorKind.VALIDATION
