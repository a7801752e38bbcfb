"""Attacks on the step-up of an approval: another request, another decision, a second use, another person or browser."""

from __future__ import annotations

import hashlib
import itertools
import json
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyotp
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from tests.attack.installation import ALPHA, Installation, document
from tests.authenticator import Authenticator
from tests.browser import Browser
from tests.oauth_client import api
from tests.passkeys import registered
from tests.sign_in import signed_in, site_with_pages, user, with_device

from daypass.domain.claims import RequestFacts
from daypass.domain.errors import DaypassError
from daypass.domain.jws import from_base64url
from daypass.operations.access_requests.view import RequestView
from daypass.operations.access_requests.vote import Vote, vote, vote_digest
from daypass.operations.assume.mfa_code import MfaCode
from daypass.operations.sign_in import browser_session, step_up
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.step_up import MfaOptions, StepUpProof
from daypass.ports import Call

_numbers = itertools.count()
GATE = {"Condition": {"Bool": {"daypass:Approved": "true"}}}


@dataclass
class Approver:
    """A person in a browser who may approve."""

    site: Installation
    name: str
    browser: Browser

    @property
    def visit(self) -> tuple[Call, SignedIn]:
        cookie = next(iter(self.browser.cookies.values()))
        now = self.site.now()
        found = self.site.run(browser_session.read(self.site.runtime.env, cookie, now))
        assert found is not None
        facts = RequestFacts(f"step-up-{next(_numbers)}", now, "daypass:ApproveAccessRequest", "192.0.2.1", "test")
        return Call(found.caller, facts, now), found

    def ask(self, digest: str) -> MfaOptions:
        call, found = self.visit
        return self.site.run(step_up.ask(self.site.runtime.env, call, found, digest))

    def vote(self, request_id: str, sent: Vote) -> RequestView:
        call, _ = self.visit
        return self.site.run(vote(self.site.runtime.env, call, "", request_id, sent))

    def signed(self, key: Authenticator, digest: str) -> StepUpProof:
        asked = self.ask(digest)
        assert asked.passkey is not None
        return StepUpProof(self.visit[1].row.id, asked.passkey.ceremony, key.assertion(asked.passkey.options))


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("step-up")) as made:
        trust = document({"Principal": {"AWS": f"arn:aws:iam::{ALPHA}:root"}, "Action": "sts:AssumeRole", **GATE})
        made.role("prod", trust, policy=document({"Action": "orders:*", "Resource": "*"}))
        rule = {
            "roles": ["role/prod"],
            "requesters": {"principals": ["user/*"]},
            "stages": [{"approvers": {"principals": ["user/*"]}, "step_up": True}],
        }
        assert api(made, "PUT", "/approval-rules/prod", {"document": json.dumps(rule)}).status == 200
        yield made


def approver(site: Installation) -> Approver:
    name = user(site)
    may = document({"Action": ["daypass:*"], "Resource": "*"})
    site.iam("PutUserPolicy", UserName=name, PolicyName="p", PolicyDocument=may)
    return Approver(site, name, signed_in(site, name))


def requested(site: Installation) -> dict[str, Any]:
    _, key = site.user(f"requester-{next(_numbers)}", policy=document({"Action": "*", "Resource": "*"}))
    body = {"roles": [f"arn:aws:iam::{ALPHA}:role/prod"], "reason": "Incident 42: orders are not written"}
    answer = api(site, "POST", "/access-requests", body, key)
    assert answer.status == 201, answer.body
    made: dict[str, Any] = json.loads(answer.body)
    return made


def refused(person: Approver, request_id: str, sent: Vote) -> str:
    with pytest.raises(DaypassError) as caught:
        person.vote(request_id, sent)
    return json.dumps(dict(caught.value.private)) + str(caught.value.public)


def test_vote_confirmed_by_a_passkey_is_on_the_record_with_a_signature_of_its_digest(site: Installation) -> None:
    person = approver(site)
    key = registered(site, person.browser)
    request = requested(site)
    sent = Vote(request["binding"], approve=True, reason="seen", seconds=600)
    digest = vote_digest(ALPHA, request["id"], sent)
    view = person.vote(request["id"], sent_with(sent, person.signed(key, digest)))
    assert view.request.state.value == "approved"
    records = [body for body in map(json.loads, site.record_bytes()) if body.get("detail", {}).get("digest") == digest]
    (accepted,) = records
    detail = accepted["detail"]
    signed = (
        from_base64url(detail["authenticator_data"]) + hashlib.sha256(from_base64url(detail["client_data"])).digest()
    )
    key.key.public_key().verify(from_base64url(detail["signature"]), signed, ec.ECDSA(hashes.SHA256()))
    parts = (b"daypass webauthn 1", b"step-up", digest.encode(), detail["nonce"].encode())
    challenge = hashlib.sha256(b"\0".join(parts)).digest()
    assert from_base64url(json.loads(from_base64url(detail["client_data"]))["challenge"]) == challenge


def sent_with(sent: Vote, proof: StepUpProof) -> Vote:
    return replace(sent, step_up=proof)


def test_a120_step_up_for_one_vote_is_refused_for_any_other(site: Installation) -> None:
    person = approver(site)
    key = registered(site, person.browser)
    request, other = requested(site), requested(site)
    sent = Vote(request["binding"], approve=True, seconds=600)
    digest = vote_digest(ALPHA, request["id"], sent)
    changes = [
        (other["id"], Vote(other["binding"], approve=True, seconds=600)),
        (request["id"], Vote(request["binding"], approve=True, seconds=3600)),
        (request["id"], Vote(request["binding"], approve=True)),
        (request["id"], Vote(request["binding"], approve=False, reason="no", seconds=600)),
        (request["id"], Vote(request["binding"], approve=True, seconds=600, reason="other")),
    ]
    for identity, changed in changes:
        proof = person.signed(key, digest)
        assert "ceremony" in refused(person, identity, sent_with(changed, proof))
    assert person.vote(request["id"], sent_with(sent, person.signed(key, digest))).request.state.value == "approved"


def test_a120_step_up_works_once_for_its_own_person_and_browser(site: Installation) -> None:
    person, other = approver(site), approver(site)
    key = registered(site, person.browser)
    others = registered(site, other.browser)
    request = requested(site)
    sent = Vote(request["binding"], approve=True)
    digest = vote_digest(ALPHA, request["id"], sent)
    proof = person.signed(key, digest)
    holder = other.visit[1].row.id
    assert "ceremony" in refused(other, request["id"], sent_with(sent, proof._replace(holder=holder)))
    asked = person.ask(digest)
    assert asked.passkey is not None
    foreign = StepUpProof(proof.holder, asked.passkey.ceremony, others.assertion(asked.passkey.options))
    assert "another user" in refused(person, request["id"], sent_with(sent, foreign))
    assert person.vote(request["id"], sent_with(sent, proof)).request.state.value == "approved"
    again = requested(site)
    assert "ceremony" in refused(person, again["id"], sent_with(Vote(again["binding"], approve=True), proof))
    assert "replay" in refused(person, request["id"], sent_with(sent, proof))


def test_a120_code_confirms_the_one_vote_that_its_page_showed(site: Installation) -> None:
    person = approver(site)
    totp = with_device(site, person.name)
    serial = f"arn:aws:iam::{ALPHA}:mfa/{person.name}"
    request, other = requested(site), requested(site)
    sent = Vote(request["binding"], approve=True)
    digest = vote_digest(ALPHA, request["id"], sent)
    asked = person.ask(digest)
    assert asked.devices == (serial,)
    holder = person.visit[1].row.id

    def proof() -> StepUpProof:
        site.wall.time += 30_000
        return StepUpProof(holder, code_prompt=asked.code_prompt, mfa=MfaCode(serial, code(site, totp)))

    wrong = sent_with(Vote(other["binding"], approve=True), proof())
    assert "step-up" in refused(person, other["id"], wrong)
    missing = StepUpProof(holder, code_prompt="", mfa=MfaCode(serial, code(site, totp)))
    assert "step-up" in refused(person, request["id"], sent_with(sent, missing))
    assert person.vote(request["id"], sent_with(sent, proof())).request.state.value == "approved"
    assert "replay" in refused(person, request["id"], sent_with(sent, proof()))


def code(site: Installation, totp: pyotp.TOTP) -> str:
    return str(totp.at(site.now() // 1000))


def test_vote_without_a_step_up_is_refused_by_a_stage_that_takes_one(site: Installation) -> None:
    person = approver(site)
    request = requested(site)
    assert "confirm it with a passkey" in refused(person, request["id"], Vote(request["binding"], approve=True))
