"""The main job over the wire with an unmodified boto3: borrow a role, be bounded by it, chain, be cut off, be on record."""

from __future__ import annotations

import json
import secrets
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.e2e.conftest import OPERATOR, ROOT_KEYS, TENANT, Server, session_key


def _document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def _role(server: Server, account: str, principal: str, **condition: Any) -> str:
    """A fresh role in the account that `principal` may assume; its ARN."""
    name = f"role-{secrets.token_hex(4)}"
    iam = server.client("iam", ROOT_KEYS[account])
    trust = {"Principal": {"AWS": principal}, "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]}
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=_document(**trust, **condition))["Role"]["Arn"]
    allowed = _document(Action=["sts:*", "iam:Get*", "iam:List*"], Resource="*")
    iam.put_role_policy(RoleName=name, PolicyName="work", PolicyDocument=allowed)
    return arn


def _user(server: Server, account: str = OPERATOR) -> tuple[str, tuple[str, str]]:
    name = f"user-{secrets.token_hex(4)}"
    iam = server.client("iam", ROOT_KEYS[account])
    arn = iam.create_user(UserName=name)["User"]["Arn"]
    key = iam.create_access_key(UserName=name)["AccessKey"]
    return arn, (key["AccessKeyId"], key["SecretAccessKey"])


def _code(error: pytest.ExceptionInfo[ClientError]) -> str:
    return str(error.value.response["Error"]["Code"])


def test_get_caller_identity_root_shows_the_root_arn(server: Server) -> None:
    identity = server.client("sts", ROOT_KEYS[TENANT]).get_caller_identity()
    assert (identity["Arn"], identity["UserId"]) == (f"arn:aws:iam::{TENANT}:root", TENANT)


def test_assume_role_named_user_gets_a_working_session(server: Server) -> None:
    user, key = _user(server)
    role = _role(server, OPERATOR, user)
    answer = server.client("sts", key).assume_role(
        RoleArn=role, RoleSessionName="job", Tags=[{"Key": "a", "Value": "b"}]
    )
    assert answer["AssumedRoleUser"]["AssumedRoleId"].startswith("AROA")
    assert (
        answer["AssumedRoleUser"]["Arn"] == role.replace(":iam:", ":sts:").replace(":role/", ":assumed-role/") + "/job"
    )
    assert 0 < answer["PackedPolicySize"] <= 100
    borrowed = session_key(answer)
    assert borrowed[0].startswith("ASIA")
    assert server.client("sts", borrowed).get_caller_identity()["Arn"] == answer["AssumedRoleUser"]["Arn"]
    assert server.client("iam", borrowed).list_roles()["Roles"]


def test_assume_role_session_policy_only_narrows(server: Server) -> None:
    user, key = _user(server)
    role = _role(server, OPERATOR, user)
    policy = _document(Action=["iam:GetRole", "iam:DeleteRole"], Resource="*")
    borrowed = session_key(server.client("sts", key).assume_role(RoleArn=role, RoleSessionName="job", Policy=policy))
    iam = server.client("iam", borrowed)
    name = role.rsplit("/", 1)[1]
    assert iam.get_role(RoleName=name)
    with pytest.raises(ClientError) as by_session:
        iam.list_users()
    assert _code(by_session) == "AccessDenied"
    assert "no session policy allows the iam:ListUsers action" in str(by_session.value)
    with pytest.raises(ClientError) as by_identity:
        iam.delete_role(RoleName=name)
    assert "no identity-based policy allows the iam:DeleteRole action" in str(by_identity.value)


def test_assume_role_denied_message_decodes_to_the_explanation(server: Server) -> None:
    _, key = _user(server)
    with pytest.raises(ClientError) as denied:
        server.client("iam", key).list_users()
    encoded = denied.value.response["Error"]["EncodedAuthorizationMessage"]
    decoded = server.client("sts", ROOT_KEYS[OPERATOR]).decode_authorization_message(EncodedMessage=encoded)
    assert json.loads(decoded["DecodedMessage"])["allowed"] is False
    with pytest.raises(ClientError) as foreign:
        server.client("sts", ROOT_KEYS[TENANT]).decode_authorization_message(EncodedMessage=encoded)
    assert _code(foreign) in ("AccessDenied", "InvalidAuthorizationMessageException")


def test_assume_role_chain_across_accounts_dies_with_its_parent(server: Server) -> None:
    user, key = _user(server)
    first = _role(server, OPERATOR, user)
    second = _role(server, TENANT, first, Condition={"StringEquals": {"aws:PrincipalTag/team": "shop"}})
    parent = session_key(
        server.client("sts", key).assume_role(
            RoleArn=first, RoleSessionName="parent", Tags=[{"Key": "team", "Value": "shop"}], TransitiveTagKeys=["team"]
        )
    )
    child = session_key(server.client("sts", parent).assume_role(RoleArn=second, RoleSessionName="child"))
    assert server.client("sts", child).get_caller_identity()["Account"] == TENANT
    server.client("iam", ROOT_KEYS[OPERATOR]).delete_role_policy(RoleName=first.rsplit("/", 1)[1], PolicyName="work")
    server.client("iam", ROOT_KEYS[OPERATOR]).delete_role(RoleName=first.rsplit("/", 1)[1])
    with pytest.raises(ClientError):
        server.client("sts", parent).get_caller_identity()


def test_assume_role_chained_over_an_hour_refused(server: Server) -> None:
    user, key = _user(server)
    first = _role(server, OPERATOR, user)
    second = _role(server, OPERATOR, first)
    parent = session_key(server.client("sts", key).assume_role(RoleArn=first, RoleSessionName="parent"))
    with pytest.raises(ClientError) as refused:
        server.client("sts", parent).assume_role(RoleArn=second, RoleSessionName="child", DurationSeconds=3601)
    assert _code(refused) == "ValidationError"


def test_assume_role_by_root_refused(server: Server) -> None:
    user, _ = _user(server)
    role = _role(server, OPERATOR, user)
    with pytest.raises(ClientError, match="Roles may not be assumed by root accounts"):
        server.client("sts", ROOT_KEYS[OPERATOR]).assume_role(RoleArn=role, RoleSessionName="job")


def test_assume_role_absent_or_foreign_role_same_answer(server: Server) -> None:
    _, key = _user(server)
    hidden = _role(server, TENANT, f"arn:aws:iam::{TENANT}:root")
    messages = []
    for role in (hidden, f"arn:aws:iam::{TENANT}:role/absent-role0"):
        with pytest.raises(ClientError) as refused:
            server.client("sts", key).assume_role(RoleArn=role, RoleSessionName="job")
        assert _code(refused) == "AccessDenied"
        response = refused.value.response
        message = response["Error"]["Message"].replace(response["ResponseMetadata"]["RequestId"], "ID")
        messages.append(message.replace(role, "ROLE"))
    assert messages[0] == messages[1]


def test_accounts_are_isolated(server: Server) -> None:
    user, _ = _user(server)
    with pytest.raises(ClientError) as absent:
        server.client("iam", ROOT_KEYS[TENANT]).get_user(UserName=user.rsplit("/", 1)[1])
    assert _code(absent) == "NoSuchEntity"


@pytest.mark.parametrize("region", ["us-east-1", "mars-north-7"])
def test_get_caller_identity_any_region_accepted(server: Server, region: str) -> None:
    assert server.client("sts", region_name=region).get_caller_identity()["Account"] == OPERATOR


def test_get_session_token_and_federation_token(server: Server) -> None:
    sts = server.client("sts")
    session = server.client("sts", session_key(sts.get_session_token()))
    assert session.get_caller_identity()["Arn"].endswith(":user/admin")
    policy = _document(Action="iam:List*", Resource="*")
    federated = sts.get_federation_token(Name="bob", Policy=policy)
    assert federated["FederatedUser"]["Arn"] == f"arn:aws:sts::{OPERATOR}:federated-user/bob"
    identity = server.client("sts", session_key(federated)).get_caller_identity()
    assert identity["Arn"] == federated["FederatedUser"]["Arn"]


def test_get_scoped_credentials_narrows_and_keeps_the_identity(server: Server) -> None:
    user, key = _user(server)
    role = _role(server, OPERATOR, user)
    borrowed = session_key(server.client("sts", key).assume_role(RoleArn=role, RoleSessionName="job"))
    policy = _document(Action=["iam:GetRole"], Resource="*")
    scoped = server.client("sts", borrowed).get_scoped_credentials(Policy=policy)
    assert scoped["ScopedPoliciesCount"] == 1
    iam = server.client("iam", session_key(scoped))
    assert iam.get_role(RoleName=role.rsplit("/", 1)[1])
    with pytest.raises(ClientError, match="no session policy"):
        iam.list_users()
    assert server.client("iam", borrowed).list_users()


def test_assume_role_by_a_renamed_user_still_trusted_and_a_namesake_not(server: Server) -> None:
    user, key = _user(server)
    role = _role(server, OPERATOR, user)
    name = user.rsplit("/", 1)[1]
    iam = server.client("iam", ROOT_KEYS[OPERATOR])
    iam.update_user(UserName=name, NewUserName=f"{name}-new")
    assert server.client("sts", key).assume_role(RoleArn=role, RoleSessionName="job")
    iam.create_user(UserName=name)
    other = iam.create_access_key(UserName=name)["AccessKey"]
    with pytest.raises(ClientError) as refused:
        server.client("sts", (other["AccessKeyId"], other["SecretAccessKey"])).assume_role(
            RoleArn=role, RoleSessionName="job"
        )
    assert _code(refused) == "AccessDenied"
