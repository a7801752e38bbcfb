"""The steps of declarative provisioning tools, by a stock boto3: create, read back, read again without a difference, change in
place, and delete with everything that an entity holds, where "it is gone" is an answer to go on from.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.iam.conftest import ALPHA

READ_ONLY = "arn:aws:iam::aws:policy/ReadOnlyAccess"
DOCUMENT = {
    "Version": "2012-10-17",
    "Statement": [{"Sid": "", "Effect": "Allow", "Action": ["s3:Get*"], "Resource": "arn:aws:s3:::b/a b+c~/é*"}],
}


def _trusting(*arns: str) -> dict[str, Any]:
    statement = {"Effect": "Allow", "Principal": {"AWS": list(arns)}, "Action": "sts:AssumeRole"}
    return {"Version": "2012-10-17", "Statement": [statement]}


def _gone(call: Callable[..., Any], **params: Any) -> None:
    with pytest.raises(ClientError) as caught:
        call(**params)
    assert caught.value.response["Error"]["Code"] == "NoSuchEntity"


def _role(iam: Any, name: str) -> dict[str, Any]:
    """All of a role that a tool compares with what it has written."""
    own = {"RoleName": name}
    inline = iam.list_role_policies(**own)["PolicyNames"]
    return {
        "role": {key: value for key, value in iam.get_role(**own)["Role"].items() if key != "RoleLastUsed"},
        "inline": {name: iam.get_role_policy(**own, PolicyName=name)["PolicyDocument"] for name in inline},
        "attached": [policy["PolicyArn"] for policy in iam.list_attached_role_policies(**own)["AttachedPolicies"]],
        "profiles": [p["InstanceProfileName"] for p in iam.list_instance_profiles_for_role(**own)["InstanceProfiles"]],
    }


def test_role_is_read_back_as_written_changed_in_place_and_deleted_piece_by_piece(iam: Any) -> None:
    own = {"RoleName": "deploy"}
    user = iam.create_user(UserName="ann")["User"]
    trust = _trusting(user["Arn"], f"arn:aws:iam::{ALPHA}:root")
    tags = [{"Key": "Env", "Value": "a b:/=+@"}, {"Key": "empty", "Value": ""}]
    written = {"Path": "/team/", "Description": "d", "MaxSessionDuration": 7200, "Tags": tags}
    iam.create_role(**own, AssumeRolePolicyDocument=json.dumps(trust), PermissionsBoundary=READ_ONLY, **written)
    iam.put_role_policy(**own, PolicyName="i", PolicyDocument=json.dumps(DOCUMENT))
    iam.attach_role_policy(**own, PolicyArn=READ_ONLY)
    iam.create_instance_profile(InstanceProfileName="deploy")
    iam.add_role_to_instance_profile(InstanceProfileName="deploy", **own)
    found = _role(iam, "deploy")
    assert found == _role(iam, "deploy")
    assert {key: found["role"][key] for key in written} == written
    assert found["role"]["AssumeRolePolicyDocument"] == trust
    assert found["role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == READ_ONLY
    assert (found["inline"], found["attached"], found["profiles"]) == ({"i": DOCUMENT}, [READ_ONLY], ["deploy"])

    iam.update_role_description(**own, Description="")
    iam.delete_role_permissions_boundary(**own)
    iam.untag_role(**own, TagKeys=["Env", "empty"])
    iam.delete_user(UserName="ann")
    iam.create_user(UserName="ann")
    changed = _role(iam, "deploy")["role"]
    assert (changed.get("Description", ""), changed.get("Tags", [])) == ("", [])
    assert "PermissionsBoundary" not in changed
    principals = changed["AssumeRolePolicyDocument"]["Statement"][0]["Principal"]["AWS"]
    assert principals == [user["UserId"], f"arn:aws:iam::{ALPHA}:root"], "somebody else now, and to be written anew"
    iam.update_assume_role_policy(**own, PolicyDocument=json.dumps(trust))
    assert _role(iam, "deploy")["role"]["AssumeRolePolicyDocument"] == trust

    for _ in range(2):
        for profile in _role(iam, "deploy")["profiles"]:
            iam.remove_role_from_instance_profile(InstanceProfileName=profile, **own)
        for arn in _role(iam, "deploy")["attached"]:
            iam.detach_role_policy(**own, PolicyArn=arn)
        for name in _role(iam, "deploy")["inline"]:
            iam.delete_role_policy(**own, PolicyName=name)
    _gone(iam.detach_role_policy, **own, PolicyArn=READ_ONLY)
    _gone(iam.delete_role_policy, **own, PolicyName="i")
    _gone(iam.remove_role_from_instance_profile, InstanceProfileName="deploy", **own)
    iam.delete_role(**own)
    _gone(iam.delete_role, **own)
    _gone(iam.get_role, **own)


def test_user_is_deleted_with_everything_that_tools_look_for(iam: Any) -> None:
    own = {"UserName": "ann"}
    iam.create_user(**own)
    iam.create_group(GroupName="g")
    iam.add_user_to_group(GroupName="g", **own)
    iam.create_access_key(**own)
    iam.put_user_policy(**own, PolicyName="p", PolicyDocument=json.dumps(DOCUMENT))
    iam.attach_user_policy(**own, PolicyArn=READ_ONLY)
    for group in iam.list_groups_for_user(**own)["Groups"]:
        iam.remove_user_from_group(GroupName=group["GroupName"], **own)
    for key in iam.list_access_keys(**own)["AccessKeyMetadata"]:
        iam.delete_access_key(**own, AccessKeyId=key["AccessKeyId"])
    assert iam.list_ssh_public_keys(**own)["SSHPublicKeys"] == []
    assert iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"] == []
    assert iam.list_mfa_devices(**own)["MFADevices"] == []
    _gone(iam.delete_login_profile, **own)
    assert iam.list_signing_certificates(**own)["Certificates"] == []
    assert iam.list_service_specific_credentials(**own)["ServiceSpecificCredentials"] == []
    for name in iam.list_user_policies(**own)["PolicyNames"]:
        iam.delete_user_policy(**own, PolicyName=name)
    for policy in iam.list_attached_user_policies(**own)["AttachedPolicies"]:
        iam.detach_user_policy(**own, PolicyArn=policy["PolicyArn"])
    iam.delete_user(**own)
    for read in (iam.get_user, iam.list_access_keys, iam.list_groups_for_user, iam.list_user_tags):
        _gone(read, **own)


def test_policy_is_changed_by_versions_of_which_the_oldest_make_room(iam: Any) -> None:
    arn = iam.create_policy(PolicyName="p", PolicyDocument=json.dumps(DOCUMENT))["Policy"]["Arn"]
    for _ in range(6):
        versions = iam.list_policy_versions(PolicyArn=arn)["Versions"]
        if len(versions) == 5:
            oldest = [v["VersionId"] for v in versions if not v["IsDefaultVersion"]][-1]
            iam.delete_policy_version(PolicyArn=arn, VersionId=oldest)
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=json.dumps(DOCUMENT), SetAsDefault=True)
    default = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    assert default == "v7"
    assert iam.get_policy_version(PolicyArn=arn, VersionId=default)["PolicyVersion"]["Document"] == DOCUMENT
    for version in iam.list_policy_versions(PolicyArn=arn)["Versions"]:
        if not version["IsDefaultVersion"]:
            iam.delete_policy_version(PolicyArn=arn, VersionId=version["VersionId"])
    iam.delete_policy(PolicyArn=arn)
    for call in (iam.get_policy, iam.delete_policy, iam.list_policy_versions):
        _gone(call, PolicyArn=arn)
