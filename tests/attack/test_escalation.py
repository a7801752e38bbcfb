"""Attacks by holders of a narrow administrative permission who want more (A200, A201, A202 and A204), and on IAM's
providers and passwords: secrets that must not stay, names that only look alike, guesses.
"""

from __future__ import annotations

import json
from typing import Any

import pytest
from tests.attack.installation import ALPHA, EVERYTHING, ROOT, ROOT_OF_BETA, Answer, Installation, Key, document, trust
from tests.attack.test_administration import api, denied
from tests.directory_service import PATCH, directory_of
from tests.saml_idp import metadata, pem, rsa_key

from daypass.operations.iam import login_profiles

SCIM = [
    f"iam:{name}"
    for name in (
        "CreateUser",
        "UpdateUser",
        "DeleteUser",
        "CreateGroup",
        "UpdateGroup",
        "DeleteGroup",
        "AddUserToGroup",
        "RemoveUserFromGroup",
    )
]
TOKENS = {"Action": ["daypass:CreateScimToken", *SCIM], "Resource": "*"}
ANY_ACTION = {"Action": "*", "Resource": "*"}
URL = "idp.a202.example"


def message(answer: Answer) -> str:
    return str(json.loads(answer.body)["error"]["message"])


@pytest.mark.parametrize(
    "more",
    [
        [],
        [{"Action": "iam:CreateAccessKey", "Resource": f"arn:aws:iam::{ALPHA}:user/other"}],
        [ANY_ACTION, {"Effect": "Deny", "Action": "*", "Resource": f"arn:aws:iam::{ALPHA}:user/Boss-*"}],
        [
            ANY_ACTION,
            {
                "Effect": "Deny",
                "Action": "iam:CreateAccessKey",
                "Resource": "*",
                "Condition": {"StringEquals": {"aws:ResourceTag/rank": "boss"}},
            },
        ],
    ],
)
def test_a200_scim_token_of_another_user_takes_the_permission_to_make_its_credentials(
    site: Installation, request: pytest.FixtureRequest, more: list[dict[str, Any]]
) -> None:
    number = request.node.callspec.indices["more"]
    site.user(boss := f"Boss-{number}")
    site.iam("TagUser", UserName=boss, **{"Tags.member.1.Key": "rank", "Tags.member.1.Value": "boss"})
    _, eve = site.user(f"a200-{number}", policy=document(TOKENS, *more))
    for named in (boss, boss.upper()):
        answer = api(site, eve, "POST", "/scim-tokens", body={"name": "mine", "user": named, "days": 3})
        denied(site, answer)
        assert "iam:CreateAccessKey" in message(answer)
    listed = json.loads(api(site, ROOT, "GET", "/scim-tokens").body)["scim_tokens"]
    assert "mine" not in {made["name"] for made in listed}


def test_a200_scim_token_of_nobody_is_refused_like_one_of_somebody(site: Installation) -> None:
    site.user("a200-somebody")
    _, eve = site.user("a200-eve", policy=document(TOKENS))
    asked = [{"name": "mine", "user": f"a200-{name}", "days": 3} for name in ("somebody", "nobody")]
    somebody, nobody = (message(api(site, eve, "POST", "/scim-tokens", body=body)) for body in asked)
    assert somebody.replace("somebody", "nobody") == nobody


@pytest.mark.parametrize("missing", SCIM)
def test_a200_scim_token_takes_each_permission_that_it_uses(site: Installation, missing: str) -> None:
    name = f"a200-{missing.partition(':')[2]}"
    allowed = {"Action": ["daypass:CreateScimToken", "iam:*"], "Resource": "*"}
    _, eve = site.user(name, policy=document(allowed, {"Effect": "Deny", "Action": missing, "Resource": "*"}))
    answer = api(site, eve, "POST", "/scim-tokens", body={"name": "mine", "user": name, "days": 3})
    denied(site, answer)
    assert missing in message(answer)


def test_a201_deleting_an_approval_rule_takes_the_permission_to_write_one(site: Installation) -> None:
    """The most specific rule applies, so without it a wider one does, which may need no approval."""
    _, eve = site.user("a201", policy=document({"Action": "daypass:*ApprovalRule", "Resource": "*"}))
    answer = api(site, eve, "DELETE", "/approval-rules/strict")
    denied(site, answer)
    assert "iam:UpdateAssumeRolePolicy" in message(answer)


@pytest.fixture(scope="module")
def tagged(site: Installation) -> Key:
    """A key of a user who may do everything, but nothing to what has the tag tier=prod: a user, a role and a provider."""
    tag = {"Tags.member.1.Key": "tier", "Tags.member.1.Value": "prod"}
    site.user("a202-user")
    site.iam("TagUser", UserName="a202-user", **tag)
    site.role("a202-role", trust(ALPHA))
    site.iam("TagRole", RoleName="a202-role", **tag)
    site.iam("CreateOpenIDConnectProvider", Url=f"https://{URL}", **{"ClientIDList.member.1": "x"}, **tag)
    by_tag = {"Effect": "Deny", "Action": "*", "Resource": "*"}
    policy = document(ANY_ACTION, {**by_tag, "Condition": {"StringEquals": {"aws:ResourceTag/tier": "prod"}}})
    return site.user("a202-eve", policy=policy)[1]


@pytest.mark.parametrize(
    ("method", "path", "query", "body"),
    [
        ("PUT", "/roles/a202-role/settings", "", {"chained_max_seconds": 43_200}),
        ("GET", "/roles/a202-role/settings", "", None),
        ("POST", "/offboardings", "", {"user": "a202-user"}),
        ("PUT", f"/providers/oidc/{URL}/settings", "", {"settings": {"one_time": True}}),
        ("GET", f"/providers/oidc/{URL}/settings", "", None),
        ("GET", "/mfa-devices", "user=a202-user", None),
        ("POST", "/scim-tokens", "", {"name": "a202", "user": "a202-user", "days": 3}),
    ],
)
def test_a202_deny_by_the_tags_of_an_entity_covers_daypass_operations_too(
    site: Installation, tagged: Key, method: str, path: str, query: str, body: Any
) -> None:
    answer = api(site, tagged, method, path, query, body)
    denied(site, answer)
    assert "with an explicit deny" in message(answer)


def test_a202_deny_by_the_tags_of_a_role_covers_lifting_its_block(site: Installation, tagged: Key) -> None:
    body = {"subject": "role", "value": "a202-role", "block": True}
    made = json.loads(api(site, ROOT, "POST", "/revocations", body=body).body)
    answer = api(site, tagged, "POST", f"/revocations/{made['id']}/lift")
    denied(site, answer)
    assert "with an explicit deny" in message(answer)


def test_a247_directory_that_toggles_a_user_uses_up_no_revocations(site: Installation) -> None:
    directory = directory_of(site, "a247")
    person = directory.user("a247-person")
    for active in (False, True) * 5:
        operation = {"op": "replace", "path": "active", "value": active}
        directory.ok("PATCH", f"Users/{person['id']}", {"schemas": [PATCH], "Operations": [operation]})
        listed = json.loads(api(site, ROOT, "GET", "/revocations").body)["revocations"]
        (made,) = [each for each in listed if each["value"] == person["id"]]
        assert (made["block"], made["block_until"] is None) == (True, not active)
    directory.ok("DELETE", f"Users/{person['id']}")
    listed = json.loads(api(site, ROOT, "GET", "/revocations").body)["revocations"]
    (made,) = [each for each in listed if each["value"] == person["id"]]
    assert made["block_until"] is not None, "of a deleted user nothing is blocked for ever"


def test_a204_directory_does_not_lift_the_block_of_an_administrator(site: Installation) -> None:
    directory = directory_of(site, "a204")
    person = directory.user("a204-person")

    def active(value: bool) -> None:
        operation = {"op": "replace", "path": "active", "value": value}
        directory.ok("PATCH", f"Users/{person['id']}", {"schemas": [PATCH], "Operations": [operation]})

    active(False)
    ended = json.loads(api(site, ROOT, "POST", "/offboardings", body={"user": "a204-person", "reason": "theft"}).body)
    assert [made["value"] for made in ended["revocations"]] == [person["id"]]
    active(True)
    active(False)
    active(True)
    listed = json.loads(api(site, ROOT, "GET", "/revocations").body)["revocations"]
    blocks = [made for made in listed if made["value"] == person["id"] and made["block_until"] is None]
    assert [made["reason"] for made in blocks] == ["theft"]


@pytest.mark.parametrize("subject", ["principal", "access_key", "account"])
def test_a618_blocked_key_makes_no_other_credential_and_lifts_no_block(site: Installation, subject: str) -> None:
    name = f"leaked-{subject}"
    _, key = site.user(name, policy=document({"Action": ["iam:*", "daypass:*", "sts:*"], "Resource": "*"}))
    view = site.run(site.runtime.env.directory.access_key(key[0]))
    assert view is not None
    value = {"principal": view.key.owner_id, "access_key": key[0], "account": ALPHA}[subject]
    made = api(site, ROOT, "POST", "/revocations", body={"subject": subject, "value": value, "block": True})
    assert made.status == 201, made.body
    block = json.loads(made.body)["id"]
    scim = {"name": name, "user": name}
    refusals = [
        site.call(key, "CreateAccessKey", {"UserName": "admin"}, service="iam"),
        site.call(key, "CreateUser", {"UserName": f"{name}-2"}, service="iam"),
        site.call(key, "GetSessionToken"),
        api(site, key, "POST", "/scim-tokens", body=scim),
        api(site, key, "POST", f"/revocations/{block}/lift", body={}),
    ]
    assert [answer.status for answer in refusals] == [403] * 5, [answer.body for answer in refusals]
    proof = site.call(key, "GetCallerIdentity")
    assert (proof.status, proof.code) == (403, "InvalidClientTokenId")
    assert site.records(refusals[0].request_id)[0]["error"] == "access_denied"
    assert api(site, ROOT, "POST", f"/revocations/{block}/lift", body={}).status == 200, (
        "the root of the account can lift it"
    )
    assert api(site, key, "POST", "/scim-tokens", body=scim).status == 201


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
