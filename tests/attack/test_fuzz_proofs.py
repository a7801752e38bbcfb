"""Honest signatures over dishonest content: answered in form, on the record, never failing.

A provider may sign more than it should: its users choose their names, and it may be an attacker's own.
`DAYPASS_FUZZ=20` makes twenty times as many requests.
"""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from typing import Any

import pytest
from tests.attack.installation import ALPHA, Answer, Installation, document, form, installed
from tests.attack.junk import HOSTILE
from tests.attack.tokens import FORM, bring, provider, trust_in
from tests.issuer import Issuer
from tests.saml_idp import Response, metadata

pytestmark = pytest.mark.slow

ROUNDS = 120 * int(os.environ.get("DAYPASS_FUZZ", "1"))
SEED = int(os.environ.get("DAYPASS_FUZZ_SEED", "2026"))
TAGS = "https://aws.amazon.com/tags"
CLAIMS = (
    *(
        "sub",
        "aud",
        "azp",
        "exp",
        "iat",
        "nbf",
        "jti",
        "amr",
        "typ",
        "events",
        "oaud",
        "group",
        "a",
        "a/b",
        "~1",
        "aws:SourceIp",
    ),
    *(TAGS, "https://aws.amazon.com/source_identity", f"{TAGS}/principal_tags/x", f"{TAGS}/transitive_tag_keys"),
)
ODD: tuple[Any, ...] = (None, True, -1, 0, 2**53, 10**30, 1.5, 1e30, [], {}, [[]], [{}], [None], ["v"], ["x"] * 300)
SIGNED = (
    "SessionDuration",
    "SourceIdentity",
    "TransitiveTagKeys",
    "RoleSessionName",
    "PrincipalTag:a",
    "urn:oid:2.5.4.3",
)
PROVIDER = f"arn:aws:iam::{ALPHA}:saml-provider/idp"


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    data = tmp_path_factory.mktemp("proofs")
    with installed(data, server={"data": str(data), "public_url": "https://daypass.example.com"}) as made:
        made.iam("CreateSAMLProvider", Name="idp", SAMLMetadataDocument=metadata())
        yield made


def value(rng: random.Random, depth: int = 0) -> Any:
    """Anything that JSON can hold."""
    kind = rng.random()
    if kind < 0.5:
        return rng.choice(HOSTILE)
    if kind < 0.8 or depth > 2:
        return rng.choice(ODD)
    if kind < 0.9:
        return [value(rng, depth + 1) for _ in range(rng.randrange(4))]
    return {rng.choice(HOSTILE): value(rng, depth + 1) for _ in range(rng.randrange(4))}


def in_form(site: Installation, answer: Answer) -> None:
    """Served or refused in the protocol's form, and on the record."""
    assert answer.status in (200, 400, 403), answer.body
    assert answer.xml is not None
    assert answer.status == 200 or answer.code
    assert site.records(answer.request_id)


def test_any_claims_under_a_good_signature_are_taken_or_refused_in_form(site: Installation) -> None:
    rng, issuer = random.Random(SEED), Issuer("idp.example.com", alg="ES256")
    settings = {"tag_claims": {"group": "group", "a/b": "ab"}, "source_identity_claim": "a"}
    role = site.role("claims", trust_in(provider(site, issuer, **settings).arn))
    statuses = set()
    for _ in range(ROUNDS):
        claims = {rng.choice((*CLAIMS, *HOSTILE[:40])): value(rng) for _ in range(rng.randrange(1, 4))}
        if rng.random() < 0.3:
            tags = {rng.choice((*HOSTILE, "team")): rng.choice((["v"], "v", value(rng)))}
            claims[TAGS] = {"principal_tags": tags, "transitive_tag_keys": rng.choice((["team"], [], value(rng)))}
        answer = bring(site, role, issuer.token(site.now(), **{"sub": "ann", **claims}))
        in_form(site, answer)
        statuses.add(answer.status)
    assert statuses >= {200, 400}


def test_any_attributes_under_a_good_signature_are_taken_or_refused_in_form(site: Installation) -> None:
    rng = random.Random(SEED)
    actions = ["sts:AssumeRoleWithSAML", "sts:TagSession", "sts:SetSourceIdentity"]
    role = site.role("attributes", document({"Principal": {"Federated": PROVIDER}, "Action": actions}))
    texts = [text for text in HOSTILE if all(c in "\t\n\r" or " " <= c < "\ud800" for c in text)]  # what XML can hold
    statuses = set()
    for number in range(ROUNDS):
        names = (*SIGNED, f"PrincipalTag:{rng.choice(texts)[:200]}".replace('"', ""))
        attributes = {rng.choice(names): rng.sample(texts, rng.randrange(3)) for _ in range(rng.randrange(3))}
        odd: dict[str, Any] = {}
        if rng.random() < 0.3:
            odd = {rng.choice(("subject", "session_name")): rng.choice(texts)[:2000]}
        made = {"roles": [f"{role},{PROVIDER}", rng.choice(texts)], "assertion_id": f"_f{number}", **odd}
        assertion = Response(**made, attributes=attributes, now=site.now())
        asked = {"RoleArn": role, "PrincipalArn": PROVIDER, "SAMLAssertion": assertion.encoded()}
        answer = site.send("POST", FORM, form("AssumeRoleWithSAML", asked))
        in_form(site, answer)
        statuses.add(answer.status)
    assert statuses >= {200, 400}
