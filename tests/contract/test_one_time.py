"""One-time proofs over two servers on one database: of all who bring one, one gets a session, now and after a restart."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pyotp
import pytest
from tests.attack.installation import ALPHA, EVERYTHING, Answer, Installation, SetClock, document, form, installed
from tests.attack.tokens import provider, trust_in, web_identity
from tests.issuer import Issuer
from tests.saml_idp import AWS_ACS, Response, metadata

from daypass.server.application import build
from daypass.server.runtime import Runtime

Headers = list[tuple[bytes, bytes]]
Bring = Callable[[], tuple[Headers, bytes]]
"""Makes a request that brings the one proof: its headers and body."""

FORM: Headers = [(b"content-type", b"application/x-www-form-urlencoded"), (b"host", b"daypass.test")]


def token(site: Installation) -> Bring:
    issuer = Issuer(alg="ES256")
    role = site.role("once", trust_in(provider(site, issuer, one_time=True).arn))
    body = web_identity(role, issuer.token(site.now(), jti="7", exp=site.now() // 1000 + 3600))
    return lambda: (FORM, body)


def assertion(site: Installation) -> Bring:
    idp = f"arn:aws:iam::{ALPHA}:saml-provider/idp"
    site.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=metadata())
    condition = {"StringEquals": {"saml:aud": AWS_ACS}}
    trust = {"Principal": {"Federated": idp}, "Action": "sts:AssumeRoleWithSAML", "Condition": condition}
    role = site.role("federated", document(trust))
    response = Response(roles=[f"{role},{idp}"], subject="ann", now=site.now(), assertion_id="_a1", response_id="_r1")
    asked = {"RoleArn": role, "PrincipalArn": idp, "SAMLAssertion": response.encoded()}
    body = form("AssumeRoleWithSAML", asked)
    return lambda: (FORM, body)


def code(site: Installation) -> Bring:
    _, key = site.user("ann", policy=EVERYTHING)
    made = site.iam("CreateVirtualMFADevice", VirtualMFADeviceName="ann")
    app = pyotp.TOTP(base64.b64decode(made.text("Base32StringSeed")).decode())
    now, serial = site.now() // 1000, made.text("SerialNumber")
    codes = {"AuthenticationCode1": app.at(now - 60), "AuthenticationCode2": app.at(now - 30)}
    site.iam("EnableMFADevice", UserName="ann", SerialNumber=serial, **codes)
    body = form("GetSessionToken", {"SerialNumber": serial, "TokenCode": app.at(now)})
    return lambda: (site.signed(key, body), body)


@pytest.mark.parametrize(
    ("proof", "refusal"),
    [(token, (400, "InvalidIdentityToken")), (assertion, (400, "InvalidIdentityToken")), (code, (403, "AccessDenied"))],
)
def test_a19_a32_a82_hundred_redemptions_over_two_servers_get_one_session_and_none_after_a_restart(
    url: str, tmp_path: Path, proof: Callable[[Installation], Bring], refusal: tuple[int, str]
) -> None:
    wall = SetClock()
    settings = {"database": {"url": url}}
    with installed(tmp_path, wall, **settings) as site:
        bring = proof(site)
        second = Runtime(site.runtime.settings)
        site.run(second.start())
        try:
            other = replace(site, runtime=second, application=build(second))

            async def all_at_once() -> list[Answer]:
                return await asyncio.gather(*((site, other)[n % 2].ask("POST", *bring()) for n in range(100)))

            answers = site.run(all_at_once())
        finally:
            site.run(second.stop())
    told = sorted((answer.status, answer.code) for answer in answers)
    assert told == [(200, ""), *[refusal] * 99]
    with installed(tmp_path, wall, **settings) as site:
        again = site.send("POST", *bring())
        assert (again.status, again.code) == refusal
