"""Approvers of identity providers that are deleted or disabled: row A304."""

from __future__ import annotations

import json
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import pytest
from tests.attack.test_approvals import events, place
from tests.attack.test_approvers import NOT_ELIGIBLE
from tests.attack.tokens import trust_in
from tests.integration.api.access import Place
from tests.integration.api.conftest import TENANT, Key, policy, server
from tests.issuer import Issuer

from daypass.domain.directory import OAuthClient, OidcProvider, Role, SamlProvider, TrustAnchor
from daypass.operations.grants.persons import is_disabled, is_federated
from daypass.ports import Tx

__all__ = ["place", "server"]
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
    [ended] = await events(place, "access.ended")
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
