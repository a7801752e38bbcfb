"""A stock boto3 against the whole server: every operation of the table is called at least once."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.iam import tours
from tests.integration.iam.conftest import ALPHA, BETA, OTHER_ROOT, ROOT, Service

from daypass.operations.iam import login_profiles
from daypass.operations.iam.service import OPERATIONS

ALLOW_LIST = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "iam:List*", "Resource": "*"}]}
TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": ALPHA}, "Action": "sts:AssumeRole"}],
}
READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"


def _refused(call: Any, /, **params: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    response = caught.value.response
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


@pytest.fixture
def called(service: Service) -> Any:
    """A client that notes what was called."""
    client = service.client("iam")
    client.called = set()
    return _noting(client, client.called)


def _noting(client: Any, names: set[str]) -> Any:
    client.meta.events.register("before-call.iam", lambda model, **_: names.add(model.name))
    return client


def test_every_operation_answers_a_stock_client(called: Any, service: Service, monkeypatch: pytest.MonkeyPatch) -> None:
    iam = called
    monkeypatch.setattr(login_profiles, "_COST", (2, 8, 1))
    document = json.dumps(ALLOW_LIST)
    user_id = iam.create_user(UserName="ann", Path="/p/", Tags=[{"Key": "t", "Value": "é ü"}])["User"]["UserId"]
    assert iam.get_user(UserName="ann")["User"]["Tags"] == [{"Key": "t", "Value": "é ü"}]
    assert iam.list_users(PathPrefix="/p/")["Users"][0]["UserId"] == user_id
    iam.create_group(GroupName="g")
    iam.add_user_to_group(GroupName="g", UserName="ann")
    assert iam.get_group(GroupName="g")["Users"][0]["UserName"] == "ann"
    assert iam.list_groups()["Groups"][0]["GroupName"] == "g"
    assert iam.list_groups_for_user(UserName="ann")["Groups"][0]["GroupName"] == "g"
    iam.update_group(GroupName="g", NewGroupName="h")
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    assert iam.list_access_keys(UserName="ann")["AccessKeyMetadata"][0]["AccessKeyId"] == key["AccessKeyId"]
    iam.update_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"], Status="Inactive")
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]
    assert role["AssumeRolePolicyDocument"] == TRUST
    assert iam.get_role(RoleName="r")["Role"]["RoleLastUsed"] == {}
    assert iam.list_roles()["Roles"][0]["AssumeRolePolicyDocument"] == TRUST
    iam.update_role(RoleName="r", MaxSessionDuration=7200)
    assert iam.update_role_description(RoleName="r", Description="d")["Role"]["Description"] == "d"
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(TRUST))
    policy = iam.create_policy(PolicyName="p", PolicyDocument=document)["Policy"]["Arn"]
    assert iam.get_policy(PolicyArn=policy)["Policy"]["Tags"] == []
    assert iam.list_policies(Scope="Local")["Policies"][0]["Arn"] == policy
    iam.create_policy_version(PolicyArn=policy, PolicyDocument=document)
    iam.set_default_policy_version(PolicyArn=policy, VersionId="v2")
    version = iam.get_policy_version(PolicyArn=policy, VersionId="v2")["PolicyVersion"]
    assert (version["Document"], version["IsDefaultVersion"]) == (ALLOW_LIST, True)
    assert [v["VersionId"] for v in iam.list_policy_versions(PolicyArn=policy)["Versions"]] == ["v2", "v1"]
    iam.delete_policy_version(PolicyArn=policy, VersionId="v1")
    for word, name in (("user", "ann"), ("group", "h"), ("role", "r")):
        owner = {f"{word.title()}Name": name}
        _own_and_disown(iam, word, owner, policy, document)
    for word, name in (("user", "ann"), ("role", "r")):
        owner = {f"{word.title()}Name": name}
        getattr(iam, f"put_{word}_permissions_boundary")(**owner, PermissionsBoundary=policy)
        shown = getattr(iam, f"get_{word}")(**owner)[word.title()]
        assert shown["PermissionsBoundary"]["PermissionsBoundaryArn"] == policy
        getattr(iam, f"delete_{word}_permissions_boundary")(**owner)
    for word, owner in (("user", {"UserName": "ann"}), ("role", {"RoleName": "r"}), ("policy", {"PolicyArn": policy})):
        getattr(iam, f"tag_{word}")(**owner, Tags=[{"Key": "k", "Value": ""}])
        assert {"Key": "k", "Value": ""} in getattr(iam, f"list_{word}_tags")(**owner)["Tags"]
        getattr(iam, f"untag_{word}")(**owner, TagKeys=["k"])
    assert iam.get_account_summary()["SummaryMap"]["Users"] == 1
    details = iam.get_account_authorization_details()
    assert details["RoleDetailList"][0]["AssumeRolePolicyDocument"] == TRUST
    assert details["Policies"][0]["PolicyVersionList"][0]["Document"] == ALLOW_LIST
    _simulate(iam, document)
    tours.instance_profiles(iam)
    tours.oidc_providers(iam)
    tours.saml_providers(iam)
    tours.account(iam)
    tours.mfa(iam, lambda *key: service.client("sts", key))
    tours.reports(iam, key["AccessKeyId"])
    tours.outbound(iam)
    tours.passwords(iam, lambda *key: _noting(service.client("iam", key), iam.called))
    assert iam.list_ssh_public_keys(UserName="ann")["SSHPublicKeys"] == []
    assert iam.list_signing_certificates(UserName="ann")["Certificates"] == []
    assert iam.list_service_specific_credentials(UserName="ann")["ServiceSpecificCredentials"] == []
    assert iam.list_server_certificates()["ServerCertificateMetadataList"] == []
    linked = iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")["Role"]
    task = iam.delete_service_linked_role(RoleName=linked["RoleName"])["DeletionTaskId"]
    assert iam.get_service_linked_role_deletion_status(DeletionTaskId=task)["Status"] == "SUCCEEDED"
    iam.delete_policy(PolicyArn=policy)
    iam.delete_role(RoleName="r")
    iam.delete_access_key(UserName="ann", AccessKeyId=key["AccessKeyId"])
    iam.remove_user_from_group(GroupName="h", UserName="ann")
    iam.delete_group(GroupName="h")
    iam.update_user(UserName="ann", NewUserName="anna")
    iam.delete_user(UserName="anna")
    assert iam.list_users()["Users"] == []
    assert set(OPERATIONS) <= called.called


def _simulate(iam: Any, document: str) -> None:
    arn, asked = f"arn:aws:iam::{ALPHA}:user/p/ann", {"ActionNames": ["iam:ListUsers", "iam:GetUser"], "MaxItems": 1}
    pages = list(iam.get_paginator("simulate_custom_policy").paginate(PolicyInputList=[document], **asked))
    found = [result for page in pages for result in page["EvaluationResults"]]
    assert [(r["EvalActionName"], r["EvalDecision"]) for r in found] == [
        ("iam:ListUsers", "allowed"),
        ("iam:GetUser", "implicitDeny"),
    ]
    entry = {"ContextKeyName": "k:team", "ContextKeyValues": ["red"], "ContextKeyType": "stringList"}
    [result] = iam.simulate_principal_policy(
        PolicySourceArn=arn, PolicyInputList=[document], ResourceArns=[arn], ContextEntries=[entry], **asked
    )["EvaluationResults"]
    assert result["ResourceSpecificResults"][0]["EvalResourceDecision"] == "allowed"
    assert result["EvalDecisionDetails"] == {}
    keys = {"aws:username": "ann"}
    conditional = json.dumps(
        {**ALLOW_LIST, "Statement": [{**ALLOW_LIST["Statement"][0], "Condition": {"StringLike": keys}}]}
    )
    assert iam.get_context_keys_for_custom_policy(PolicyInputList=[conditional])["ContextKeyNames"] == ["aws:username"]
    named = iam.get_context_keys_for_principal_policy(PolicySourceArn=arn, PolicyInputList=[conditional])
    assert named["ContextKeyNames"] == ["aws:username"]
    assert _refused(iam.simulate_principal_policy, PolicySourceArn=arn + "x", ActionNames=["x:y"]) == (
        "NoSuchEntity",
        "Unable to retrieve specified IAM entity.",
        404,
    )


def _own_and_disown(iam: Any, word: str, owner: dict[str, str], policy: str, document: str) -> None:
    def call(name: str, **params: Any) -> Any:
        return getattr(iam, name)(**owner, **params)

    call(f"put_{word}_policy", PolicyName="in", PolicyDocument=document)
    assert call(f"get_{word}_policy", PolicyName="in")["PolicyDocument"] == ALLOW_LIST
    assert call(f"list_{word}_policies")["PolicyNames"] == ["in"]
    call(f"delete_{word}_policy", PolicyName="in")
    call(f"attach_{word}_policy", PolicyArn=policy)
    attached = call(f"list_attached_{word}_policies")["AttachedPolicies"]
    assert attached == [{"PolicyName": "p", "PolicyArn": policy}]
    users = iam.list_entities_for_policy(PolicyArn=policy)[f"Policy{word.title()}s"]
    assert [next(iter(user.values())) for user in users] == list(owner.values())
    call(f"detach_{word}_policy", PolicyArn=policy)


def test_paginators_collect_everything(iam: Any) -> None:
    for number in range(7):
        iam.create_role(RoleName=f"r{number}", AssumeRolePolicyDocument=json.dumps(TRUST))
    pages = list(iam.get_paginator("list_roles").paginate(PaginationConfig={"PageSize": 3}))
    assert [len(page["Roles"]) for page in pages] == [3, 3, 1]
    names = [role["RoleName"] for page in pages for role in page["Roles"]]
    assert names == [f"r{number}" for number in range(7)]


def test_refusals_are_worded_as_awss_were_recorded(iam: Any) -> None:
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    assert _refused(iam.get_role, RoleName="a/b") == (
        "ValidationError",
        "The specified value for roleName is invalid. It must contain only alphanumeric characters and/or the following: +=,.@_-",
        400,
    )
    assert _refused(iam.tag_role, RoleName="r", Tags=[{"Key": "no!", "Value": ""}]) == (
        "ValidationError",
        (
            "1 validation error detected: Value at 'tags.1.member.key' failed to satisfy constraint: "
            r"Member must satisfy regular expression pattern: [\p{L}\p{Z}\p{N}_.:/=+\-@]+"
        ),
        400,
    )
    assert _refused(iam.delete_policy, PolicyArn=READ_ONLY) == (
        "AccessDenied",
        "Cannot delete policies outside your own account.",
        403,
    )
    with pytest.raises(ClientError) as caught:
        iam.get_credential_report()
    assert caught.value.response["Error"] == {"Type": "Sender", "Code": "ReportNotPresent"}


def test_errors_have_awss_codes_statuses_and_messages(iam: Any) -> None:
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.attach_role_policy(RoleName="r", PolicyArn=READ_ONLY)
    trust = json.dumps(TRUST).replace(ALPHA, "arn:aws:iam::111111111111:user/none")
    assert _refused(iam.get_role, RoleName="x") == ("NoSuchEntity", "The role with name x cannot be found.", 404)
    assert _refused(iam.create_role, RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST)) == (
        "EntityAlreadyExists",
        "Role with name r already exists.",
        409,
    )
    assert _refused(iam.delete_role, RoleName="r") == (
        "DeleteConflict",
        "Cannot delete entity, must detach all policies first.",
        409,
    )
    assert _refused(iam.create_role, RoleName="y", AssumeRolePolicyDocument=trust) == (
        "MalformedPolicyDocument",
        'Invalid principal in policy: "AWS":"arn:aws:iam::111111111111:user/none"',
        400,
    )
    iam.create_user(UserName="u")
    for _ in range(2):
        iam.create_access_key(UserName="u")
    assert _refused(iam.create_access_key, UserName="u") == (
        "LimitExceeded",
        "Cannot exceed quota for AccessKeysPerUser: 2",
        409,
    )
    assert _refused(iam.list_roles, Marker="nonsense")[:2] == ("ValidationError", "Invalid Marker.")


def test_new_user_works_with_its_key_and_only_as_far_as_allowed(service: Service, iam: Any) -> None:
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=json.dumps(ALLOW_LIST))
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    ann = service.client("iam", (made["AccessKeyId"], made["SecretAccessKey"]))
    assert [user["UserName"] for user in ann.list_users()["Users"]] == ["ann"]
    code, message, status = _refused(ann.create_user, UserName="bob")
    assert (code, status) == ("AccessDenied", 403)
    assert message.startswith(
        f"User: arn:aws:iam::{ALPHA}:user/ann is not authorized to perform: iam:CreateUser on resource: "
        f"arn:aws:iam::{ALPHA}:user/bob because no identity-based policy allows the iam:CreateUser action"
    )
    iam.delete_user_policy(UserName="ann", PolicyName="p")
    assert _refused(ann.list_users)[0] == "AccessDenied"
    iam.update_access_key(UserName="ann", AccessKeyId=made["AccessKeyId"], Status="Inactive")
    assert _refused(ann.list_users)[0] == "InvalidClientTokenId"


def test_accounts_are_strangers_to_one_another(service: Service, iam: Any) -> None:
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    arn = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(ALLOW_LIST))["Policy"]["Arn"]
    other = service.client("iam", OTHER_ROOT)
    assert other.list_roles()["Roles"] == []
    assert other.list_policies(Scope="Local")["Policies"] == []
    assert _refused(other.get_role, RoleName="r")[0] == "NoSuchEntity"
    for name in ("p", "none"):
        assert _refused(other.get_policy, PolicyArn=arn.replace("/p", f"/{name}"))[0] == "AccessDenied"
    other.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    assert other.get_role(RoleName="r")["Role"]["Arn"] == f"arn:aws:iam::{BETA}:role/r"


def test_role_made_here_can_be_assumed_until_its_trust_changes(service: Service, iam: Any) -> None:
    iam.create_user(UserName="ann")
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    sts = service.client("sts", (made["AccessKeyId"], made["SecretAccessKey"]))
    trust = json.dumps(TRUST).replace(f'"{ALPHA}"', f'"arn:aws:iam::{ALPHA}:user/ann"')
    role = iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust)["Role"]
    iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    given = sts.assume_role(RoleArn=role["Arn"], RoleSessionName="shift")["Credentials"]
    session = service.client("iam", (given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]))
    assert session.get_role(RoleName="r")["Role"]["RoleId"] == role["RoleId"]
    assert _refused(session.get_user)[:2] == (
        "ValidationError",
        "Must specify userName when calling with non-User credentials",
    )
    assert _refused(session.delete_role, RoleName="r")[0] == "AccessDenied"
    iam.update_assume_role_policy(RoleName="r", PolicyDocument=json.dumps(TRUST))
    assert _refused(sts.assume_role, RoleArn=role["Arn"], RoleSessionName="shift")[0] == "AccessDenied"


def test_root_without_a_name_means_itself_and_can_rotate_its_key(service: Service, iam: Any) -> None:
    user = iam.get_user()["User"]
    assert (user["UserId"], user["Arn"]) == (ALPHA, f"arn:aws:iam::{ALPHA}:root")
    made = iam.create_access_key()["AccessKey"]
    again = service.client("iam", (made["AccessKeyId"], made["SecretAccessKey"]))
    assert len(again.list_access_keys()["AccessKeyMetadata"]) == 2
    again.delete_access_key(AccessKeyId=ROOT[0])
    assert _refused(iam.list_users)[0] == "InvalidClientTokenId"
    assert again.get_account_summary()["SummaryMap"]["AccountAccessKeysPresent"] == 1


def test_entity_errors_have_awss_codes_statuses_and_messages(
    iam: Any, service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(login_profiles, "_COST", (2, 8, 1))
    oidc, saml = (f"arn:aws:iam::{ALPHA}:{kind}-provider/none.example.com" for kind in ("oidc", "saml"))
    iam.create_open_id_connect_provider(Url="https://idp.example.com")
    iam.create_instance_profile(InstanceProfileName="web")
    iam.create_account_alias(AccountAlias="example-corp")
    iam.create_user(UserName="ann")
    other = service.client("iam", OTHER_ROOT)
    not_found, exists, invalid = ("NoSuchEntity", 404), ("EntityAlreadyExists", 409), ("ValidationError", 400)
    for (code, status), message, call, params in (
        (
            not_found,
            f"OpenIDConnect Provider not found for arn {oidc}",
            iam.get_open_id_connect_provider,
            {"OpenIDConnectProviderArn": oidc},
        ),
        (
            not_found,
            f"OpenId connect Provider {oidc} cannot be found.",
            iam.delete_open_id_connect_provider,
            {"OpenIDConnectProviderArn": oidc},
        ),
        (not_found, f"Manifest not found for arn {saml}", iam.get_saml_provider, {"SAMLProviderArn": saml}),
        (
            exists,
            "Provider with url https://idp.example.com already exists.",
            iam.create_open_id_connect_provider,
            {"Url": "https://idp.example.com"},
        ),
        (invalid, "Invalid Open ID Connect Provider URL", iam.create_open_id_connect_provider, {"Url": "example.org"}),
        (exists, "Instance Profile WEB already exists.", iam.create_instance_profile, {"InstanceProfileName": "WEB"}),
        (
            exists,
            "The account alias example-corp already exists.",
            other.create_account_alias,
            {"AccountAlias": "example-corp"},
        ),
        (
            not_found,
            f"The Password Policy with domain name {ALPHA} cannot be found.",
            iam.get_account_password_policy,
            {},
        ),
        (not_found, "Login Profile for User ann cannot be found.", iam.get_login_profile, {"UserName": "ann"}),
        (
            ("PasswordPolicyViolation", 400),
            "Password does not conform to the account password policy.",
            iam.create_login_profile,
            {"UserName": "ann", "Password": "short"},
        ),
        (
            ("InvalidUserType", 400),
            "The request was rejected because the type of user for the transaction was incorrect.",
            iam.change_password,
            {"OldPassword": "a", "NewPassword": "b"},
        ),
    ):
        assert _refused(call, **params) == (code, message, status)
    code, message, status = _refused(iam.create_saml_provider, Name="corp", SAMLMetadataDocument="a" * 1024)
    assert (code, status) == ("InvalidInput", 400)
    assert message.startswith("Could not parse metadata")
    code, message, status = _refused(iam.create_account_alias, AccountAlias="Not-An-Alias")
    assert (code, status) == invalid
    assert "'accountAlias' failed to satisfy constraint: Member must satisfy regular expression pattern" in message


def test_instance_profiles_and_roles_under_a_path_are_paged(iam: Any) -> None:
    trust = json.dumps(tours.MACHINE_TRUST)
    for number in range(5):
        path = "/odd/" if number % 2 else "/even/"
        iam.create_instance_profile(InstanceProfileName=f"p{number}", Path=path)
        iam.create_role(RoleName=f"r{number}", Path=path, AssumeRolePolicyDocument=trust)
    for call, members, name in (
        ("list_instance_profiles", "InstanceProfiles", "InstanceProfileName"),
        ("list_roles", "Roles", "RoleName"),
    ):
        pages = list(iam.get_paginator(call).paginate(PathPrefix="/even/", PaginationConfig={"PageSize": 2}))
        assert [[one[name][1:] for one in page[members]] for page in pages] == [["0", "2"], ["4"]]
        assert getattr(iam, call)(PathPrefix="/none/")[members] == []
