"""Who an approver is, later and in other forms (rows A214 and A254), who is on call (A210), and approvers of identity
providers that are deleted or disabled (A304).
"""

from __future__ import annotations

import json
from collections.abc import Collection
from dataclasses import replace
from typing import Any, cast
from urllib.parse import urlencode

import pytest
from msgspec import structs
from tests.attack.tokens import trust_in
from tests.integration.api.access import APPROVE, Place, gated, place
from tests.integration.api.conftest import OPERATOR, ROOT, TENANT, Key, policy, server
from tests.issuer import Issuer

from daypass.domain.claims import Caller, PrincipalKind, RequestFacts
from daypass.domain.directory import OAuthClient, OidcProvider, Revocation, Role, SamlProvider, TrustAnchor
from daypass.domain.session import Hop, SessionClaims, SessionKind
from daypass.operations.access_requests import prepare
from daypass.operations.grants.persons import is_disabled, is_federated, person_of, why_gone
from daypass.operations.revocation import MAX_REVOCATIONS, RESERVED
from daypass.ports import Call, Reader, Tx

__all__ = ["place", "server"]
NOT_ELIGIBLE = "An approval does not count any more"


async def by_role(place: Place) -> None:
    """Lee votes with a session of a role of approvers."""
    await place.role("leading", gated().replace('"true"', '"false"'), APPROVE)
    await place.rule("prod", stages=[{"approvers": {"principals": ["role/leading"]}}])
    may = APPROVE.replace('"sts:AssumeRole"', '"sts:*"')
    await place.person("lisa", may)
    place.keys["lisa-role"] = await place.assume("lisa", "leading", SourceIdentity="Lisa-at-work")
    assert (await place.approve("lisa-role", await place.request()))["state"] == "approved"


@pytest.mark.parametrize("subject", ["role", "source_identity", "principal"])
async def test_a214_approval_does_not_count_when_its_role_or_source_identity_is_blocked(
    place: Place, subject: str
) -> None:
    await by_role(place)
    values = {
        "role": place.roles["leading"].arn,
        "source_identity": "Lisa-at-work",
        "principal": place.users["lisa"].arn,
    }
    await place.revoke(subject, values[subject], block=True)
    assert NOT_ELIGIBLE in await place.denied("ann")


async def test_a214_block_of_another_source_identity_changes_nothing(place: Place) -> None:
    await by_role(place)
    await place.revoke("source_identity", "Lisa", block=True)
    await place.assume("ann")


class Revocations:
    """A directory that has these revocations alone."""

    def __init__(self, *rows: Revocation) -> None:
        self.rows = rows

    def get(self, _kind: type[Any], **_equals: Any) -> None:
        return None

    def find(self, _kind: type[Any], *, order: str = "", limit: int = 1000, **equals: Any) -> list[Revocation]:
        found = [row for row in self.rows if all(getattr(row, name) == value for name, value in equals.items())]
        return sorted(found, key=lambda row: row.id)[:limit]

    def find_among(
        self, kind: type[Any], name: str, values: Collection[str], *, order: str, any_case: bool, **equals: Any
    ) -> list[Revocation]:
        assert any_case
        lower = {value.lower() for value in values}
        found = self.find(kind, order=order, limit=len(self.rows), **equals)
        return [row for row in found if getattr(row, name).lower() in lower]


def test_a214_block_of_a_source_identity_counts_among_as_many_revocations_as_the_quotas_allow() -> None:
    def row(number: int, value: str, *, block: bool = True) -> Revocation:
        return Revocation(
            f"{number:032x}", TENANT, "source_identity", value, 0, 0, block=block, reason="stolen", created_by=""
        )

    others = [row(number, f"other-{number}") for number in range(MAX_REVOCATIONS + RESERVED - 1)]

    def stopped(last: Revocation, issued_at: int = 0) -> bool:
        ids = [f"arn:aws:iam::{TENANT}:user/lisa"]
        tx = cast("Reader", Revocations(*others, last))
        return bool(why_gone(tx, ids, ["source-identity:lisa"], issued_at, 0))

    ended, blocked = (row(len(others), "Lisa", block=block) for block in (False, True))
    assert not stopped(ended)
    assert stopped(blocked)
    assert stopped(ended, issued_at=-1)


async def link(place: Place, *names: str) -> None:
    for name in names:
        user = replace(place.users[name], tags=(("daypass:person", "Ann@example.com"),))
        await place.change(lambda tx, user=user: tx.replace(user))


async def test_a214_approver_who_turns_out_to_be_the_requester_does_not_count_when_it_is_decided(place: Place) -> None:
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    request = await place.request()
    await place.approve("lee", request)
    await link(place, "ann", "lee")
    assert (await place.approve("lou", request))["missing"] == {"prod/approval": 1}
    status, _, message = await place.refused(
        "lee", f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    )
    assert (status, "own access request" in message) == (403, True)


async def test_a214_two_approvers_who_turn_out_to_be_one_person_count_once(place: Place) -> None:
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    request = await place.request("eve")
    await place.approve("lee", request)
    await link(place, "lee", "lou")
    assert (await place.approve("lou", request))["missing"] == {"prod/approval": 1}
    await place.denied("eve")


async def test_a214_who_requests_for_another_does_not_see_the_requests_of_that_person(place: Place) -> None:
    await place.rule("prod", on_behalf=True)
    await place.request("eve", reason="A matter of eve alone")
    request = await place.request(beneficiary=place.users["eve"].arn)
    path = f"/access-requests/{request['id']}/examination"
    seen = await place.ask("ann", path, method="GET")
    assert (seen["history"], seen["added"]) == ([], None)
    for name in ("eve", "lee"):
        assert "A matter of eve alone" in json.dumps(await place.ask(name, path, method="GET"))


SUBJECT = f"arn:aws:iam::{TENANT}:oidc-provider/idp.example.com:lena"


@pytest.mark.parametrize(("further", "known"), [(0, True), (1, False)])
async def test_a210_source_identity_that_a_further_session_of_a_chain_chose_puts_nobody_on_call(
    place: Place, further: int, known: bool
) -> None:
    """The provider gave the first session none; its holder names somebody on call when it assumes another role."""
    seen = place.server.runtime.env.directory.seen()
    role = place.roles["prod"]
    hop = Hop("", TENANT, SUBJECT, place.now, seen, "", "lena")
    own = structs.replace(hop, session_id="0" * 32, principal_id=role.id)
    hops = (hop, own, *(own,) * further)
    session = SessionClaims(
        *(SessionKind.ROLE, "0" * 32, TENANT, role.id, role.arn, "lena", place.now, place.now + 1000, seen, hops),
        source_identity="ann@example.com",
    )
    caller = Caller(
        *(PrincipalKind.ROLE_SESSION, TENANT, session.arn, role.arn, "", role.id, "lena", "ASIA", seen, hops), session
    )
    call = Call(caller, RequestFacts("", 0, "daypass:CreateAccessRequest", "", ""), place.now)
    called = await place.server.runtime.directory.read(
        lambda tx: prepare._called(tx, call, person_of(tx, caller)), account=""
    )
    assert ("ann@example.com" in called) is known


async def lift(place: Place) -> None:
    listed = await place.operator("GET", "/revocations")
    for each in listed.json["revocations"]:
        answer = await place.server.api(ROOT, "POST", f"/revocations/{each['id']}/lift", body={"reason": "new key"})
        assert answer.status == 200, answer.body


@pytest.mark.parametrize("verb", ["approve", "deny"])
async def test_a254_vote_of_a_blocked_approver_is_refused_and_does_not_count_after_the_block(
    place: Place, verb: str
) -> None:
    """Lee's key works until it is deleted: whoever stole it would leave a vote for the time after the block."""
    await place.rule("prod", stages=[{"approvers": {"principals": ["group/leads"]}, "threshold": 2}])
    request = await place.request()
    await place.revoke("principal", place.users["lee"].arn, block=True)
    body = {"binding": request["binding"], **({"reason": "not today"} if verb == "deny" else {})}
    status, code, _ = await place.refused("lee", f"/access-requests/{request['id']}/{verb}", body)
    assert (status, code) == (403, "AccessDenied")
    [refusal] = [event for event in await place.events("request.denied") if "AccessRequest" in event["operation"]]
    assert refusal["actor"]["principal_id"] == place.users["lee"].id
    await lift(place)
    after = await place.approve("lou", request)
    assert (after["state"], len(after["votes"])) == ("pending", 1)


async def test_a254_vote_of_a_disabled_approver_by_a_session_is_refused(place: Place) -> None:
    place.keys["session"] = await place.server.session_token(place.keys["lee"])
    await place.disable("lee")
    request = await place.request()
    path = f"/access-requests/{request['id']}/approve"
    assert (await place.refused("session", path, {"binding": request["binding"]}))[0] == 403


async def test_assume_role_with_a_void_grant_and_another_uses_the_other(place: Place) -> None:
    """The first grant is void because the role has changed; nothing has ended it yet."""
    await place.granted()
    await place.change(lambda tx: tx.replace(replace(place.roles["prod"], max_session_seconds=7200)))
    await place.granted()
    await place.assume("ann")
    listed = await place.ask("ann", "/grants", method="GET")
    assert sorted(each["end_reason"] for each in listed["grants"]) == ["", "policy_changed"]


# --- Requests for somebody else (row A273), and approvers who are blocked after their vote (A274)


async def test_a273_request_for_somebody_else_is_judged_by_the_risk_and_schedule_of_that_person(place: Place) -> None:
    """Ann is known and on call; eve is neither. A condition with IfExists holds when its key is missing."""

    async def on_call(kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        del kind, source, now, owner
        return frozenset({"ann"})

    place.server.runtime.env.schedules.on_call = on_call  # type: ignore[method-assign]
    condition = {"BoolIfExists": {"daypass:OnCall": "true"}, "NumericLessThanIfExists": {"daypass:RiskScore": "101"}}
    automatic = [{"name": "on call", "condition": condition}]
    await place.rule("prod", on_behalf=True, on_call={"calendar": "ops.ics"}, automatic=automatic)
    for requester, beneficiary, state in (("ann", "eve", "pending"), ("eve", "ann", "approved")):
        request = await place.request(requester, beneficiary=place.users[beneficiary].arn)
        accepted = await place.ask(beneficiary, f"/access-requests/{request['id']}/accept")
        assert accepted["state"] == state
    await place.denied("eve")
    await place.assume("ann")


async def test_a274_approval_of_an_approver_who_was_blocked_before_the_first_use_does_not_count(place: Place) -> None:
    request = await place.granted()
    body = {
        "subject": "principal",
        "value": place.users["lee"].arn,
        "account": TENANT,
        "block": True,
        "reason": "the key was stolen",
    }
    assert (await place.server.api(ROOT, "POST", "/revocations", body=body)).status == 201
    await place.denied("ann")
    [ended] = await place.events("access.ended")
    assert (ended["detail"]["request"], ended["detail"]["reason"]) == (request["id"], "ineligible")


async def test_a274_block_by_another_account_ends_nothing(place: Place) -> None:
    await place.granted()
    body = {"subject": "principal", "value": place.users["lee"].id, "account": OPERATOR, "block": True, "force": True}
    answer = await place.server.api(ROOT, "POST", "/revocations", body=body)
    assert answer.status in (201, 403, 404), answer.body
    await place.assume("ann")


ISSUER = "idp.example.com"
PROVIDER = f"arn:aws:iam::{TENANT}:oidc-provider/{ISSUER}"


async def signed_in(place: Place, role: Role, issuer: Issuer, subject: str) -> Key:
    """A session of the role for a subject of the provider."""
    token = issuer.token(place.now, sub=subject)
    asked = {"RoleArn": role.arn, "RoleSessionName": "shift", "WebIdentityToken": token}
    body = urlencode({"Action": "AssumeRoleWithWebIdentity", "Version": "2011-06-15", **asked}).encode()
    answer = await place.server.send("POST", "/", headers={"Host": "daypass.test"}, body=body)
    assert answer.status == 200, answer.body
    text = answer.body.decode()
    parts = (text.partition(f"<{each}>")[2].partition("<")[0] for each in ("AccessKeyId", "SecretAccessKey"))
    return Key(*parts, text.partition("<SessionToken>")[2].partition("<")[0])


async def approved(place: Place) -> tuple[OidcProvider, Role]:
    """A request that lena of the provider has approved, with a session of the role of approvers."""
    issuer = Issuer(ISSUER, "ES256", "sts.amazonaws.com")
    settings = json.dumps({"static_jwks": json.dumps(issuer.jwks())})
    provider = OidcProvider(TENANT, ISSUER, place.now, ("sts.amazonaws.com",), settings=settings)
    await place.server.write(provider)
    trust = trust_in(PROVIDER, StringLike={f"{ISSUER}:sub": "le*"}, StringEquals={f"{ISSUER}:aud": "sts.amazonaws.com"})
    leading = await place.role("leading", trust, policy("daypass:*"))
    await place.rule("prod", stages=[{"approvers": {"principals": ["role/leading"]}}])
    place.keys["lena"] = await signed_in(place, leading, issuer, "lena")
    assert (await place.approve("lena", await place.request()))["state"] == "approved"
    return provider, leading


@pytest.mark.parametrize("lost", ["provider", "another", ""])
async def test_a304_vote_of_a_federated_approver_ends_with_its_provider(place: Place, lost: str) -> None:
    provider, _ = await approved(place)

    def change(tx: Tx) -> None:
        if lost == "provider":
            tx.delete(provider)
        elif lost == "another":  # a provider that others use
            tx.insert(replace(provider, url=f"{ISSUER}/le"))

    await place.change(change)
    if lost in ("", "another"):
        await place.assume("ann")
        return
    assert NOT_ELIGIBLE in await place.denied("ann")
    [ended] = await place.events("access.ended")
    assert ended["detail"]["reason"] == "ineligible"


async def test_a304_federated_approver_without_its_provider_does_not_vote(place: Place) -> None:
    provider, _ = await approved(place)
    request = await place.request("eve")
    await place.change(lambda tx: tx.delete(provider))
    path, body = f"/access-requests/{request['id']}/approve", {"binding": request["binding"]}
    assert (await place.refused("lena", path, body))[:2] == (403, "AccessDenied")


def parties(place: Place) -> dict[str, Any]:
    now = place.now
    return {
        "saml": SamlProvider("ASPR" + "A" * 17, TENANT, "corp", now, now + 1_000_000, "<md/>"),
        "x509": TrustAnchor("0190-anchor", TENANT, "us-east-1", "ca", now, now, "pem", enabled=True),
        "client": OAuthClient("DPCL" + "A" * 17, TENANT, "app", now, now),
    }


@pytest.mark.parametrize("kind", ["saml", "x509", "client"])
async def test_a304_parties_of_every_kind_end_when_they_are_deleted_or_disabled(place: Place, kind: str) -> None:
    party = parties(place)[kind]
    principal = f"{party.arn}:lena: of accounts"
    await place.server.write(party)

    async def gone() -> bool:
        return await place.server.runtime.directory.read(lambda tx: is_disabled(tx, [principal]), account="")

    assert is_federated(principal)
    assert not await gone()
    if kind != "saml":
        await place.change(lambda tx: tx.replace(replace(party, enabled=False)))
        assert await gone()
        await place.change(lambda tx: tx.replace(party))
    await place.change(lambda tx: tx.delete(party))
    assert await gone()


@pytest.mark.parametrize(
    "text", ["AIDAX", f"arn:aws:iam::{TENANT}:group/leads", f"arn:aws:iam::{TENANT}:role/x", TENANT]
)
def test_a304_other_principals_have_no_provider(text: str) -> None:
    assert not is_federated(text)
