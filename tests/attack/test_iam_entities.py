"""Attacks on IAM's providers and passwords: secrets that must not stay, names that only look alike, guesses, foreign things."""

from __future__ import annotations

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, ROOT_OF_BETA, Installation
from tests.saml_idp import metadata, pem, rsa_key

from daypass.operations.iam import login_profiles

SECRETS = ("Correct-Horse-1", "Battery-Staple-2", "Wrong-Horse-3")


@pytest.fixture(autouse=True)
def cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(login_profiles, "_COST", (2, 8, 1))


def test_a100_passwords_and_private_keys_are_in_no_record_however_the_request_ends(site: Installation) -> None:
    good, other, wrong = SECRETS
    _, ann = site.user("ann", policy=EVERYTHING)
    _, bob = site.user("bob")
    key = pem(rsa_key()).decode()
    site.iam("CreateLoginProfile", UserName="ann", Password=good)
    site.iam("ChangePassword", ann, OldPassword=good, NewPassword=other)
    site.iam("CreateSAMLProvider", Name="corp", SAMLMetadataDocument=metadata(), AddPrivateKey=key)
    for who, action, params in (
        (ann, "ChangePassword", {"OldPassword": wrong, "NewPassword": good}),  # wrong
        (bob, "ChangePassword", {"OldPassword": good, "NewPassword": other}),  # denied
        (ROOT, "ChangePassword", {"OldPassword": good, "NewPassword": other}),  # not a user
        (ROOT, "CreateLoginProfile", {"UserName": "ann", "Password": good}),  # there already
        (ROOT, "CreateLoginProfile", {"UserName": "a b", "Password": good}),  # malformed
        (("AKIANOBODYNOBODYNOBO", "x" * 40), "UpdateLoginProfile", {"UserName": "ann", "Password": good}),  # unproven
        (ROOT, "CreateSAMLProvider", {"Name": "corp", "SAMLMetadataDocument": metadata(), "AddPrivateKey": key}),
        (ROOT, "UpdateSAMLProvider", {"SAMLProviderArn": "x", "AddPrivateKey": key}),
    ):
        answer = site.call(who, action, params, service="iam")
        assert 400 <= answer.status < 500
        assert site.records(answer.request_id)
        assert not any(secret.encode() in answer.body for secret in SECRETS)
    record = b"".join(site.record_bytes())
    line = key.splitlines()[1]
    assert b"ChangePassword" in record
    assert not [secret for secret in (*SECRETS, line) if secret.encode() in record]


def test_a71_old_password_is_guessed_a_few_times_and_locked_answers_read_the_same(site: Installation) -> None:
    good, other, wrong = SECRETS
    _, guessed = site.user("guessed", policy=EVERYTHING)
    site.iam("CreateLoginProfile", UserName="guessed", Password=good)
    guess = {"OldPassword": wrong, "NewPassword": other}
    answers = [site.call(guessed, "ChangePassword", guess, service="iam") for _ in range(login_profiles.MAX_FAILURES)]
    right = site.call(guessed, "ChangePassword", {"OldPassword": good, "NewPassword": other}, service="iam")
    told = {(answer.status, answer.code, answer.text("Message")) for answer in (*answers, right)}
    assert told == {(403, "AccessDenied", "The old password was incorrect.")}
    assert all(site.records(answer.request_id) for answer in (*answers, right))


def test_a44_provider_urls_that_only_look_alike_are_refused(site: Installation) -> None:
    site.iam("CreateOpenIDConnectProvider", Url="https://idp.example.com")
    for url in (
        "https://idp.example.com",
        "https://idp.eхample.com",
        "https://ıdp.example.com",
        "https://idp.example。com",
    ):
        answer = site.call(ROOT, "CreateOpenIDConnectProvider", {"Url": url}, service="iam")
        assert answer.status in (400, 409)
        assert answer.code in ("ValidationError", "EntityAlreadyExists")


def test_a30_metadata_with_a_document_type_is_refused_as_a_bad_request(site: Installation) -> None:
    bomb = '<!DOCTYPE x [<!ENTITY a "aaaaaaaaaa"><!ENTITY b "&a;&a;&a;&a;&a;&a;&a;&a;">]>'
    document = metadata().replace("?>", "?>" + bomb, 1).replace("https://idp.example.com/metadata", "&b;", 1)
    answer = site.call(ROOT, "CreateSAMLProvider", {"Name": "corp", "SAMLMetadataDocument": document}, service="iam")
    assert (answer.status, answer.code) == (400, "InvalidInput")
    assert site.records(answer.request_id)[0]["error"] == "invalid_input"


def test_a33_providers_of_another_account_cannot_be_seen_or_touched(site: Installation) -> None:
    site.iam("CreateOpenIDConnectProvider", Url="https://own.example.com")
    arn = f"arn:aws:iam::{ALPHA}:oidc-provider/own.example.com"
    messages = set()
    for target in (arn, arn.replace("own", "none")):
        for action in ("GetOpenIDConnectProvider", "DeleteOpenIDConnectProvider"):
            answer = site.call(ROOT_OF_BETA, action, {"OpenIDConnectProviderArn": target}, service="iam")
            assert (answer.status, answer.code) == (403, "AccessDenied")
            message = answer.text("Message").replace(answer.request_id, "ID")
            messages.add(message.replace(target, "ARN").replace(action, "ACTION"))
    assert len(messages) == 1
    assert site.iam("ListOpenIDConnectProviders", ROOT_OF_BETA).body.count(b"oidc-provider") == 0
    site.iam("GetOpenIDConnectProvider", OpenIDConnectProviderArn=arn)
