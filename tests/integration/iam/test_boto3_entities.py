"""Instance profiles, identity providers, account and passwords, by a stock boto3 against the whole server."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.iam import tours
from tests.integration.iam.conftest import ALPHA, OTHER_ROOT, Service

from daypass.operations.iam import login_profiles


def _refused(call: Any, /, **params: Any) -> tuple[str, str, int]:
    with pytest.raises(ClientError) as caught:
        call(**params)
    response = caught.value.response
    return response["Error"]["Code"], response["Error"]["Message"], response["ResponseMetadata"]["HTTPStatusCode"]


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
        (
            invalid,
            "Invalid Open ID Connect Provider URL",
            iam.create_open_id_connect_provider,
            {"Url": "example.org"},
        ),
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
