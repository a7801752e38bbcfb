"""boto3's rolesanywhere client, unmodified, over the whole server: every operation of the service model, on both databases."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.awsrequest import AWSPreparedRequest
from botocore.exceptions import ClientError
from tests.x509 import Authority, Holder, body, sign

from daypass.audit.stored import event_bytes
from daypass.domain.events import decode
from daypass.stores.records import audit_records

ALPHA = "111111111111"
OTHER_ROOT = ("AKIAROOTOFTHEOTHER00", "othr-secret-othr-secret-othr-secret-othr")
AT = datetime.now(UTC).replace(microsecond=0)
PLANT = Authority.make(at=AT)
HOST = PLANT.host("O=Acme/CN=host-1", at=AT, serial=0xBEEF)
TRUST = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Principal": {"Service": "rolesanywhere.amazonaws.com"},
        "Action": ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
    },
}


@pytest.fixture
def client(service: Any) -> Any:
    return service.client("rolesanywhere")


def bundle(*holders: Holder) -> dict[str, Any]:
    pem = "".join(holder.pem for holder in holders)
    return {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": pem}}


def refused(call: Any, code: str, **arguments: Any) -> str:
    with pytest.raises(ClientError) as caught:
        call(**arguments)
    assert caught.value.response["Error"]["Code"] == code
    return str(caught.value.response["Error"]["Message"])


def test_every_operation_by_boto3(service: Any, client: Any) -> None:
    role = service.client("iam").create_role(RoleName="host", AssumeRolePolicyDocument=json.dumps(TRUST))["Role"]["Arn"]
    anchor = _anchor(client)
    profile = _profile(client, role)
    _crl(client, anchor)
    _tags(client, anchor["trustAnchorArn"])
    _session(service, client, {"anchor": anchor["trustAnchorArn"], "profile": profile["profileArn"], "role": role})
    client.delete_profile(profileId=profile["profileId"])
    client.delete_trust_anchor(trustAnchorId=anchor["trustAnchorId"])
    assert client.list_trust_anchors()["trustAnchors"] == client.list_profiles()["profiles"] == []
    events = service.runtime.database.read(lambda conn: event_bytes(conn, conn.execute(audit_records.select()).all()))
    seen = {decode(event).get("operation", "") for event in events.values()}
    described = {f"rolesanywhere:{name}" for name in client.meta.service_model.operation_names}
    assert described <= seen


def _anchor(client: Any) -> Any:
    made = client.create_trust_anchor(
        name="plant", source=bundle(PLANT), enabled=True, tags=[{"key": "team", "value": "ops"}]
    )["trustAnchor"]
    own = made["trustAnchorId"]
    assert made["trustAnchorArn"] == f"arn:aws:rolesanywhere:eu-central-1:{ALPHA}:trust-anchor/{own}"
    assert made["source"] == bundle(PLANT)
    assert (made["name"], made["enabled"]) == ("plant", True)
    assert abs(made["createdAt"] - datetime.now(UTC)).total_seconds() < 60
    assert {setting["threshold"] for setting in made["notificationSettings"]} == {45}
    assert client.get_trust_anchor(trustAnchorId=own)["trustAnchor"] == made
    assert client.get_trust_anchor(trustAnchorId=made["trustAnchorArn"])["trustAnchor"] == made
    assert client.disable_trust_anchor(trustAnchorId=own)["trustAnchor"]["enabled"] is False
    assert client.enable_trust_anchor(trustAnchorId=own)["trustAnchor"]["enabled"] is True
    second = Authority.make("CN=second", at=AT)
    changed = client.update_trust_anchor(trustAnchorId=own, name="both", source=bundle(PLANT, second))["trustAnchor"]
    assert (changed["name"], changed["source"]) == ("both", bundle(PLANT, second))
    setting = {"event": "CA_CERTIFICATE_EXPIRY", "enabled": False, "threshold": 30, "channel": "ALL"}
    put = client.put_notification_settings(trustAnchorId=own, notificationSettings=[setting])["trustAnchor"]
    assert {**setting, "configuredBy": ALPHA} in put["notificationSettings"]
    key = {"event": "CA_CERTIFICATE_EXPIRY"}
    reset = client.reset_notification_settings(trustAnchorId=own, notificationSettingKeys=[key])["trustAnchor"]
    assert all(setting["enabled"] for setting in reset["notificationSettings"])
    return made


def _profile(client: Any, role: str) -> Any:
    policy = json.dumps({"Version": "2012-10-17", "Statement": {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}})
    made = client.create_profile(name="hosts", roleArns=[role], enabled=True, sessionPolicy=policy)["profile"]
    own = made["profileId"]
    assert (made["durationSeconds"], made["acceptRoleSessionName"], made["sessionPolicy"]) == (3600, False, policy)
    assert made["createdBy"] == f"arn:aws:iam::{ALPHA}:root"
    rules = {m["certificateField"]: [r["specifier"] for r in m["mappingRules"]] for m in made["attributeMappings"]}
    assert rules == {"x509Issuer": ["*"], "x509SAN": ["DNS", "URI", "Name/*"], "x509Subject": ["*"]}
    assert client.get_profile(profileId=own)["profile"] == made
    assert client.disable_profile(profileId=own)["profile"]["enabled"] is False
    assert client.enable_profile(profileId=made["profileArn"])["profile"]["enabled"] is True
    changed = client.update_profile(profileId=own, durationSeconds=1800, acceptRoleSessionName=True)["profile"]
    assert (changed["durationSeconds"], changed["acceptRoleSessionName"], changed["roleArns"]) == (1800, True, [role])
    gone = client.delete_attribute_mapping(profileId=own, certificateField="x509SAN", specifiers=["DNS", "URI"])
    assert {"certificateField": "x509SAN", "mappingRules": [{"specifier": "Name/*"}]} in gone["profile"][
        "attributeMappings"
    ]
    client.delete_attribute_mapping(profileId=own, certificateField="x509Issuer")
    put = client.put_attribute_mapping(profileId=own, certificateField="x509Issuer", mappingRules=[{"specifier": "CN"}])
    assert {"certificateField": "x509Issuer", "mappingRules": [{"specifier": "CN"}]} in put["profile"][
        "attributeMappings"
    ]
    refused(
        client.put_attribute_mapping,
        "ValidationException",
        profileId=own,
        certificateField="x509Subject",
        mappingRules=[{"specifier": "DNS"}],
    )
    return made


def _crl(client: Any, anchor: Any) -> None:
    data = PLANT.crl(7, at=AT)
    made = client.import_crl(name="revoked", crlData=data, trustAnchorArn=anchor["trustAnchorArn"], enabled=True)["crl"]
    own = made["crlId"]
    assert (made["crlData"], made["trustAnchorArn"], made["enabled"]) == (data, anchor["trustAnchorArn"], True)
    assert client.get_crl(crlId=own)["crl"] == made
    assert client.disable_crl(crlId=own)["crl"]["enabled"] is False
    assert client.enable_crl(crlId=made["crlArn"])["crl"]["enabled"] is True
    newer = PLANT.crl(7, 8, at=AT)
    assert client.update_crl(crlId=own, crlData=newer, name="newer")["crl"]["crlData"] == newer
    foreign = Authority.make(at=AT).crl(at=AT)
    refused(client.update_crl, "ValidationException", crlId=own, crlData=foreign)
    refused(
        client.import_crl, "ValidationException", name="x", crlData=foreign, trustAnchorArn=anchor["trustAnchorArn"]
    )
    assert [crl["crlId"] for crl in client.list_crls()["crls"]] == [own]
    assert client.delete_crl(crlId=own)["crl"]["name"] == "newer"
    refused(client.get_crl, "ResourceNotFoundException", crlId=own)


def _tags(client: Any, arn: str) -> None:
    twins = [{"key": "team", "value": "a"}, {"key": "team", "value": "b"}]
    said = refused(client.tag_resource, "ValidationException", resourceArn=arn, tags=twins)
    assert said == "Duplicate tag keys found.", "keys are case-sensitive here"
    client.tag_resource(resourceArn=arn, tags=[{"key": "env", "value": "prod"}, {"key": "team", "value": "pki"}])
    tags = {tag["key"]: tag["value"] for tag in client.list_tags_for_resource(resourceArn=arn)["tags"]}
    assert tags == {"team": "pki", "env": "prod"}
    client.untag_resource(resourceArn=arn, tagKeys=["env", "none"])
    assert client.list_tags_for_resource(resourceArn=arn)["tags"] == [{"key": "team", "value": "pki"}]
    many = [{"key": f"k{n}", "value": "v"} for n in range(60)]
    refused(client.tag_resource, "TooManyTagsException", resourceArn=arn, tags=many)


def _session(service: Any, client: Any, arns: dict[str, str]) -> None:
    raw = body(arns, roleSessionName="by-hand", durationSeconds=900, instanceProperties={"rack": "7"})
    headers = {name.decode(): value.decode() for name, value in sign(HOST, raw, service.runtime.clock.now())}
    del headers["host"]  # it is put there when the request is sent
    request = AWSPreparedRequest("POST", "http://daypass.test/sessions", headers, raw, stream_output=False)
    status, _, answer = service.run(service._call(request))
    assert status == 201, answer
    made = json.loads(answer)
    assert made["credentialSet"][0]["assumedRoleUser"]["arn"].endswith("assumed-role/host/by-hand")
    (shown,) = client.list_subjects()["subjects"]
    assert (shown["subjectArn"], shown["x509Subject"]) == (made["subjectArn"], "CN=host-1,O=Acme")
    whole = client.get_subject(subjectId=shown["subjectId"])["subject"]
    (credential,) = whole["credentials"]
    assert (credential["serialNumber"], credential["failed"]) == (str(0xBEEF), False)
    assert credential["x509CertificateData"] == HOST.pem
    assert whole["instanceProperties"][0]["properties"] == {"rack": "7"}


def test_lists_are_paged_in_the_order_of_making(client: Any) -> None:
    made = [client.create_trust_anchor(name=f"a{n}", source=bundle(PLANT))["trustAnchor"]["name"] for n in range(5)]
    pages = list(client.get_paginator("list_trust_anchors").paginate(pageSize=2))
    first = client.list_trust_anchors(pageSize=2)
    assert [anchor["name"] for page in pages for anchor in page["trustAnchors"]] == made
    rest = client.list_trust_anchors(pageSize=10, nextToken=first["nextToken"])
    assert [a["name"] for a in (*first["trustAnchors"], *rest["trustAnchors"])] == made
    assert "nextToken" not in rest
    refused(client.list_trust_anchors, "ValidationException", nextToken="bm9uZQ==")
    refused(client.list_profiles, "ValidationException", nextToken=first["nextToken"])
    refused(client.list_trust_anchors, "ValidationException", pageSize=0)


def test_what_is_not_served_is_refused_and_never_ignored(service: Any, client: Any) -> None:
    acm = {"sourceType": "AWS_ACM_PCA", "sourceData": {"acmPcaArn": "arn:aws:acm-pca:eu-central-1:1:x"}}
    create = client.create_trust_anchor
    assert "AWS_ACM_PCA is not supported" in refused(create, "ValidationException", name="x", source=acm)
    refused(create, "ValidationException", name="x", source=bundle(HOST))
    refused(create, "ValidationException", name="x", source=bundle(PLANT), aliasName="y")
    refused(create, "ValidationException", name="x", source=bundle(PLANT), crlDpRevocationEnabled=True)
    foreign = "arn:aws:iam::222222222222:role/x"
    refused(client.create_profile, "AccessDeniedException", name="x", roleArns=[foreign])
    refused(client.create_profile, "ValidationException", name="x", roleArns=[], sessionPolicy="{}")
    tip = {"status": "ENABLED", "subjectType": "user", "subjectSource": "x509Subject/CN"}
    refused(client.create_profile, "ValidationException", name="x", roleArns=[], tipConfiguration=tip)
    other = service.client("rolesanywhere", OTHER_ROOT)
    own = create(name="x", source=bundle(PLANT))["trustAnchor"]["trustAnchorId"]
    refused(other.get_trust_anchor, "ResourceNotFoundException", trustAnchorId=own)
    refused(other.delete_trust_anchor, "ResourceNotFoundException", trustAnchorId=own)
    assert other.list_trust_anchors()["trustAnchors"] == []


def test_policies_see_the_tags_of_resources_and_requests(service: Any, client: Any) -> None:
    iam = service.client("iam")
    iam.create_user(UserName="ops")
    allowed = [
        {"Action": "rolesanywhere:*", "Condition": {"StringEquals": {"aws:ResourceTag/team": "ops"}}},
        {"Action": "rolesanywhere:CreateTrustAnchor", "Condition": {"StringEquals": {"aws:RequestTag/team": "ops"}}},
    ]
    statements = [{"Effect": "Allow", "Resource": "*", **statement} for statement in allowed]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements})
    iam.put_user_policy(UserName="ops", PolicyName="p", PolicyDocument=document)
    key = iam.create_access_key(UserName="ops")["AccessKey"]
    ops = service.client("rolesanywhere", (key["AccessKeyId"], key["SecretAccessKey"]))
    tags = [{"key": "team", "value": "ops"}]
    theirs = client.create_trust_anchor(name="theirs", source=bundle(PLANT))["trustAnchor"]
    own = ops.create_trust_anchor(name="own", source=bundle(PLANT), tags=tags)["trustAnchor"]
    told = refused(ops.create_trust_anchor, "AccessDeniedException", name="x", source=bundle(PLANT))
    assert "rolesanywhere:CreateTrustAnchor" in told
    ops.enable_trust_anchor(trustAnchorId=own["trustAnchorId"])
    ops.list_tags_for_resource(resourceArn=own["trustAnchorArn"])
    told = refused(ops.enable_trust_anchor, "AccessDeniedException", trustAnchorId=theirs["trustAnchorId"])
    assert theirs["trustAnchorArn"] in told
    refused(ops.tag_resource, "AccessDeniedException", resourceArn=theirs["trustAnchorArn"], tags=tags)
