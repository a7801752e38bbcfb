"""Last use of keys, roles and services, as a stock client sees them after real calls."""

from __future__ import annotations

import csv
import io
import json
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from botocore.exceptions import ClientError
from tests.integration.iam.conftest import ALPHA, Service

TRUST = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Principal": {"AWS": ALPHA}, "Action": "sts:AssumeRole"}],
}
ALLOW = {
    "Version": "2012-10-17",
    "Statement": [{"Effect": "Allow", "Action": ["sts:*", "iam:ListUsers"], "Resource": "*"}],
}


@pytest.fixture
def ann(iam: Any) -> tuple[str, str]:
    """A user who may list users and assume the role `r`, which may do the same."""
    iam.create_user(UserName="ann")
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=json.dumps(ALLOW))
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(TRUST))
    iam.put_role_policy(RoleName="r", PolicyName="p", PolicyDocument=json.dumps(ALLOW))
    key = iam.create_access_key(UserName="ann")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def session(service: Service, key: tuple[str, str]) -> tuple[str, str, str]:
    sts = service.client("sts", key)
    given = sts.assume_role(RoleArn=f"arn:aws:iam::{ALPHA}:role/r", RoleSessionName="job")["Credentials"]
    return given["AccessKeyId"], given["SecretAccessKey"], given["SessionToken"]


def just_now(when: datetime) -> bool:
    return timedelta(0) <= datetime.now(UTC) - when < timedelta(minutes=1)


def test_use_of_key_role_and_services_shows_in_every_report(service: Service, iam: Any, ann: tuple[str, str]) -> None:
    of_role = service.client("iam", session(service, ann))
    assert "LastUsedDate" not in iam.get_role(RoleName="r")["Role"]["RoleLastUsed"]
    of_role.list_users()
    with pytest.raises(ClientError):  # attempts count as well
        of_role.list_groups()
    used = iam.get_access_key_last_used(AccessKeyId=ann[0])["AccessKeyLastUsed"]
    assert (used["ServiceName"], used["Region"]) == ("sts", "eu-central-1")
    assert just_now(used["LastUsedDate"])  # by the key itself: what its session does does not use it
    role = iam.get_role(RoleName="r")["Role"]
    assert role["RoleLastUsed"]["Region"] == "eu-central-1"
    assert just_now(role["RoleLastUsed"]["LastUsedDate"])
    iam.generate_credential_report()
    rows = list(csv.DictReader(io.StringIO(iam.get_credential_report()["Content"].decode())))
    assert [row["access_key_1_last_used_service"] for row in rows] == ["iam", "sts"]
    job = iam.generate_service_last_accessed_details(Arn=role["Arn"], Granularity="ACTION_LEVEL")["JobId"]
    services = iam.get_service_last_accessed_details(JobId=job)["ServicesLastAccessed"]
    assert [(s["ServiceNamespace"], s["TotalAuthenticatedEntities"]) for s in services] == [("iam", 1), ("sts", 0)]
    actions = {a["ActionName"]: a for a in services[0]["TrackedActionsLastAccessed"] if "LastAccessedTime" in a}
    assert set(actions) == {"ListUsers", "ListGroups"}
    assert actions["ListUsers"]["LastAccessedEntity"] == role["Arn"]
