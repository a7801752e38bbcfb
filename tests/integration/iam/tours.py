"""Rounds through parts of IAM, as tools make them: everything is made, shown, changed and deleted by a stock client."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pyotp
import pytest
from botocore.exceptions import ClientError
from tests.integration.iam.conftest import ALPHA
from tests.saml_idp import metadata, pem, rsa_key

MACHINE_TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"Service": "ec2.amazonaws.com"}, "Action": "sts:AssumeRole"}],
}
PASSWORD, NEXT_PASSWORD = "Correct-Horse-1", "Battery-Staple-2"


def instance_profiles(iam: Any) -> None:
    iam.create_role(RoleName="machine", AssumeRolePolicyDocument=json.dumps(MACHINE_TRUST))
    made = iam.create_instance_profile(InstanceProfileName="web", Path="/p/", Tags=[{"Key": "k", "Value": "v"}])
    assert made["InstanceProfile"]["Arn"] == f"arn:aws:iam::{ALPHA}:instance-profile/p/web"
    named = {"InstanceProfileName": "web"}
    iam.add_role_to_instance_profile(**named, RoleName="machine")
    shown = iam.get_instance_profile(**named)["InstanceProfile"]
    assert shown["Roles"][0]["AssumeRolePolicyDocument"] == MACHINE_TRUST
    assert iam.list_instance_profiles(PathPrefix="/p/")["InstanceProfiles"][0]["Roles"] == shown["Roles"]
    assert iam.list_instance_profiles_for_role(RoleName="machine")["InstanceProfiles"][0]["Path"] == "/p/"
    iam.tag_instance_profile(**named, Tags=[{"Key": "l", "Value": ""}])
    iam.untag_instance_profile(**named, TagKeys=["k"])
    assert iam.list_instance_profile_tags(**named)["Tags"] == [{"Key": "l", "Value": ""}]
    iam.remove_role_from_instance_profile(**named, RoleName="machine")
    iam.delete_instance_profile(**named)
    iam.delete_role(RoleName="machine")


def oidc_providers(iam: Any) -> None:
    arn = iam.create_open_id_connect_provider(Url="https://idp.example.com:8443/a", ClientIDList=["b"])
    named = {"OpenIDConnectProviderArn": arn["OpenIDConnectProviderArn"]}
    assert named["OpenIDConnectProviderArn"] == f"arn:aws:iam::{ALPHA}:oidc-provider/idp.example.com:8443/a"
    iam.add_client_id_to_open_id_connect_provider(**named, ClientID="c")
    iam.remove_client_id_from_open_id_connect_provider(**named, ClientID="b")
    iam.update_open_id_connect_provider_thumbprint(**named, ThumbprintList=["a" * 40])
    iam.tag_open_id_connect_provider(**named, Tags=[{"Key": "k", "Value": "v"}, {"Key": "l", "Value": "w"}])
    iam.untag_open_id_connect_provider(**named, TagKeys=["k"])
    assert iam.list_open_id_connect_provider_tags(**named)["Tags"] == [{"Key": "l", "Value": "w"}]
    shown = iam.get_open_id_connect_provider(**named)
    assert (shown["Url"], shown["ClientIDList"], shown["ThumbprintList"]) == (
        "idp.example.com:8443/a",
        ["c"],
        ["a" * 40],
    )
    assert iam.list_open_id_connect_providers()["OpenIDConnectProviderList"] == [
        {"Arn": named["OpenIDConnectProviderArn"]}
    ]
    iam.delete_open_id_connect_provider(**named)


def saml_providers(iam: Any) -> None:
    document = metadata()
    arn = iam.create_saml_provider(Name="corp", SAMLMetadataDocument=document, Tags=[{"Key": "k", "Value": "v"}])
    named = {"SAMLProviderArn": arn["SAMLProviderArn"]}
    iam.update_saml_provider(**named, AddPrivateKey=pem(rsa_key()).decode(), AssertionEncryptionMode="Required")
    shown = iam.get_saml_provider(**named)
    assert (shown["SAMLMetadataDocument"], shown["AssertionEncryptionMode"]) == (document, "Required")
    assert shown["ValidUntil"].year > shown["CreateDate"].year + 90
    (key,) = shown["PrivateKeyList"]
    iam.update_saml_provider(**named, RemovePrivateKey=key["KeyId"], AssertionEncryptionMode="Allowed")
    iam.tag_saml_provider(**named, Tags=[{"Key": "l", "Value": ""}])
    iam.untag_saml_provider(**named, TagKeys=["k"])
    assert iam.list_saml_provider_tags(**named)["Tags"] == [{"Key": "l", "Value": ""}]
    assert iam.list_saml_providers()["SAMLProviderList"][0]["Arn"] == f"arn:aws:iam::{ALPHA}:saml-provider/corp"
    iam.delete_saml_provider(**named)


def account(iam: Any) -> None:
    iam.create_account_alias(AccountAlias="example-corp")
    assert iam.list_account_aliases()["AccountAliases"] == ["example-corp"]
    iam.delete_account_alias(AccountAlias="example-corp")
    iam.update_account_password_policy(MinimumPasswordLength=10, MaxPasswordAge=90, HardExpiry=False)
    assert iam.get_account_password_policy()["PasswordPolicy"] == {
        "MinimumPasswordLength": 10,
        "RequireSymbols": False,
        "RequireNumbers": False,
        "RequireUppercaseCharacters": False,
        "RequireLowercaseCharacters": False,
        "AllowUsersToChangePassword": False,
        "ExpirePasswords": True,
        "MaxPasswordAge": 90,
        "HardExpiry": False,
    }
    iam.delete_account_password_policy()


def passwords(iam: Any, client_of: Callable[[str, str], Any]) -> None:
    """`client_of` makes a client for a key id and its secret."""
    iam.create_user(UserName="pat")
    made = iam.create_login_profile(UserName="pat", Password=PASSWORD, PasswordResetRequired=True)["LoginProfile"]
    assert (made["UserName"], made["PasswordResetRequired"]) == ("pat", True)
    own = {"Effect": "Allow", "Action": "iam:ChangePassword", "Resource": "arn:aws:iam::*:user/${aws:username}"}
    iam.put_user_policy(
        UserName="pat", PolicyName="own", PolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": own})
    )
    key = iam.create_access_key(UserName="pat")["AccessKey"]
    pat = client_of(key["AccessKeyId"], key["SecretAccessKey"])
    pat.change_password(OldPassword=PASSWORD, NewPassword=NEXT_PASSWORD)
    assert iam.get_login_profile(UserName="pat")["LoginProfile"]["PasswordResetRequired"] is False
    iam.update_login_profile(UserName="pat", MaxSigninSessionDuration=3600)
    assert iam.get_login_profile(UserName="pat")["LoginProfile"]["MaxSigninSessionDuration"] == 3600
    iam.delete_login_profile(UserName="pat")
    iam.delete_access_key(UserName="pat", AccessKeyId=key["AccessKeyId"])
    iam.delete_user_policy(UserName="pat", PolicyName="own")
    iam.delete_user(UserName="pat")


def mfa(iam: Any, sts_for: Callable[..., Any]) -> None:
    """Tests MFA of the user ann. `sts_for` makes a client of a key."""
    made = iam.create_virtual_mfa_device(VirtualMFADeviceName="phone", Tags=[{"Key": "k", "Value": "v"}])
    device = made["VirtualMFADevice"]
    assert device["QRCodePNG"].startswith(b"\x89PNG")
    app, now = pyotp.TOTP(device["Base32StringSeed"].decode()), time.time()
    serial, user = {"SerialNumber": device["SerialNumber"]}, {"UserName": "ann"}
    assert serial["SerialNumber"] == f"arn:aws:iam::{ALPHA}:mfa/phone"
    iam.tag_mfa_device(**serial, Tags=[{"Key": "l", "Value": ""}])
    iam.untag_mfa_device(**serial, TagKeys=["k"])
    assert iam.list_mfa_device_tags(**serial)["Tags"] == [{"Key": "l", "Value": ""}]
    codes = [app.at(now + 30 * step) for step in range(-3, 1)]
    iam.enable_mfa_device(**user, **serial, AuthenticationCode1=codes[0], AuthenticationCode2=codes[1])
    iam.resync_mfa_device(**user, **serial, AuthenticationCode1=codes[2], AuthenticationCode2=codes[3])
    key = iam.create_access_key(**user)["AccessKey"]
    sts, shown_code = sts_for(key["AccessKeyId"], key["SecretAccessKey"]), {**serial, "TokenCode": app.now()}
    assert sts.get_session_token(**shown_code)["Credentials"]["SessionToken"]
    with pytest.raises(ClientError, match="invalid MFA one time pass code"):
        sts.get_session_token(**shown_code)
    iam.delete_access_key(**user, AccessKeyId=key["AccessKeyId"])
    [listed] = iam.list_mfa_devices(**user)["MFADevices"]
    assert listed == {**user, **serial, "EnableDate": listed["EnableDate"]}
    assert iam.get_mfa_device(**serial)["UserName"] == "ann"
    [shown] = iam.list_virtual_mfa_devices(AssignmentStatus="Assigned")["VirtualMFADevices"]
    assert shown["User"]["UserName"] == "ann"
    assert iam.get_account_summary()["SummaryMap"]["MFADevicesInUse"] == 1
    iam.deactivate_mfa_device(**user, **serial)
    iam.delete_virtual_mfa_device(**serial)


def reports(iam: Any, key_id: str) -> None:
    """Tests reports about the user ann, whose key was never used, and the role r."""
    last = iam.get_access_key_last_used(AccessKeyId=key_id)
    assert (last["UserName"], last["AccessKeyLastUsed"]) == ("ann", {"ServiceName": "N/A", "Region": "N/A"})
    assert iam.generate_credential_report()["State"] == "STARTED"
    assert iam.generate_credential_report()["State"] == "COMPLETE"
    report = iam.get_credential_report()
    assert report["ReportFormat"] == "text/csv"
    assert [row.split(",")[0] for row in report["Content"].decode().splitlines()] == ["user", "<root_account>", "ann"]
    arn = iam.get_role(RoleName="r")["Role"]["Arn"]
    iam.attach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")
    granting = iam.list_policies_granting_service_access(Arn=arn, ServiceNamespaces=["iam", "s3"])
    named = [
        [policy["PolicyName"] for policy in entry["Policies"]] for entry in granting["PoliciesGrantingServiceAccess"]
    ]
    assert named == [["IAMReadOnlyAccess"], []]
    job = {"JobId": iam.generate_service_last_accessed_details(Arn=arn, Granularity="ACTION_LEVEL")["JobId"]}
    details = iam.get_service_last_accessed_details(**job)
    assert (details["JobStatus"], details["JobType"]) == ("COMPLETED", "ACTION_LEVEL")
    assert details["ServicesLastAccessed"][0]["TotalAuthenticatedEntities"] == 0
    entities = iam.get_service_last_accessed_details_with_entities(**job, ServiceNamespace="iam")
    assert [entity["EntityInfo"]["Name"] for entity in entities["EntityDetailsList"]] == ["r"]
    iam.detach_role_policy(RoleName="r", PolicyArn="arn:aws:iam::aws:policy/IAMReadOnlyAccess")


def outbound(iam: Any) -> None:
    issuer = iam.enable_outbound_web_identity_federation()["IssuerIdentifier"]
    shown = iam.get_outbound_web_identity_federation_info()
    assert (shown["IssuerIdentifier"], shown["JwtVendingEnabled"]) == (issuer, True)
    iam.disable_outbound_web_identity_federation()
