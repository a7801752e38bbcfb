"""A host without a stored key, for real: its certificate is its proof. The CA is this machine's own, and thrown away.

Hosts are processes with a certificate, its key and the stock client of IAM Roles Anywhere, iam-rolesanywhere-session.
"""

from __future__ import annotations

import json
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from authority import Authority, Issued
from stage import as_workload, cli, client, document, new_key, note, refusal, say, server

ACCOUNT = "111122223333"
OPERATION = "rolesanywhere:CreateSession"
HOST = """
import json, os, pathlib, boto3, botocore.exceptions
from iam_rolesanywhere_session import IAMRolesAnywhereSession
from iam_rolesanywhere_session.exceptions import CredentialsRetrievalError
arns = json.loads(os.environ["HOST_ARNS"])
kept = pathlib.Path(os.environ["HOST_KEPT"])
def call(session):
    answer = {"who": session.client("sts").get_caller_identity()["Arn"]}
    answer["get-role press"] = session.client("iam").get_role(RoleName="press")["Role"]["RoleId"]
    try:
        session.client("iam").list_users()
    except botocore.exceptions.ClientError as error:
        answer["list-users"] = error.response["Error"]["Code"]
    return answer
try:
    if os.environ.get("HOST_USE_KEPT"):
        session = boto3.Session(**json.loads(kept.read_text()))
    else:
        session = IAMRolesAnywhereSession(
            endpoint=os.environ["AWS_ENDPOINT_URL"].removeprefix("https://"),
            region=os.environ["AWS_REGION"],
            verify=os.environ["AWS_CA_BUNDLE"],
            certificate=os.environ["HOST_CERTIFICATE"],
            private_key=os.environ["HOST_KEY"],
            **arns,
        ).get_session()
        key = session.get_credentials().get_frozen_credentials()
        names = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")
        kept.write_text(json.dumps(dict(zip(names, key))))
    print(json.dumps(call(session)))
except CredentialsRetrievalError as error:
    print(json.dumps({"refused": f"{error.status_code}: {error.message}"}))
except botocore.exceptions.ClientError as error:
    print(json.dumps({"refused": f"{error.response['Error']['Code']}: {error.response['Error']['Message']}"}))
"""


class Plant:
    """A plant's hosts, and what Daypass knows of them."""

    def __init__(self, url: str, scratch: Path, key: tuple[str, str], ca: Path) -> None:
        self.url, self.scratch, self.key, self.ca = url, scratch, key, ca
        self.authority = Authority("plant root")
        self.arns: dict[str, str] = {}

    def client(self, service: str) -> Any:
        return client(service, self.url, self.key, self.ca)

    def equip(self, name: str) -> Issued:
        """A host's key and certificate, from the plant's CA."""
        return self.authority.issue(self.scratch / name, {"O": "Acme", "OU": "Line 1", "CN": name})

    def host(self, held: Issued, *, kept: bool = False) -> dict[str, Any]:
        """One process on the host; with `kept`, with the session that it got before."""
        settings = {
            "AWS_ENDPOINT_URL": self.url,
            "AWS_CA_BUNDLE": str(self.ca),
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
            "HOST_CERTIFICATE": str(held.certificate),
            "HOST_KEY": str(held.key),
            "HOST_ARNS": json.dumps(self.arns),
            "HOST_KEPT": str(held.key.with_name("session.json")),
        }
        return as_workload(HOST, {**settings, "HOST_USE_KEPT": "1"} if kept else settings)

    def turned_away(self, held: Issued, *, kept: bool = False) -> None:
        answer = self.host(held, kept=kept)
        if "refused" not in answer:
            sys.exit(f"the host got somewhere: {answer}")
        note(f"refused: {answer['refused']}")

    def set_up(self) -> None:
        """The trust anchor, a role for one host of it, and the profile that lets certificates be exchanged for it."""
        anywhere, iam = self.client("rolesanywhere"), self.client("iam")
        source = {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": self.authority.pem}}
        anchor = anywhere.create_trust_anchor(name="plant", source=source, enabled=True)["trustAnchor"]
        condition = {
            "ArnEquals": {"aws:SourceArn": anchor["trustAnchorArn"]},
            "StringEquals": {"aws:PrincipalTag/x509Subject/CN": "press-1"},
        }
        trust = document(
            Principal={"Service": "rolesanywhere.amazonaws.com"},
            Action=["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"],
            Condition=condition,
        )
        role = iam.create_role(RoleName="press", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(
            RoleName="press", PolicyName="work", PolicyDocument=document(Action="iam:GetRole", Resource=role)
        )
        profile = anywhere.create_profile(name="hosts", roleArns=[role], enabled=True)["profile"]
        self.arns = {
            "trust_anchor_arn": anchor["trustAnchorArn"],
            "profile_arn": profile["profileArn"],
            "role_arn": role,
        }
        for what, arn in self.arns.items():
            note(f"{what:16} {arn}")
        note(f"{'condition':16} {json.dumps(condition['StringEquals'])}")

    def revoke(self, held: Issued) -> None:
        crl = self.authority.crl(held.serial)
        anchor = self.arns["trust_anchor_arn"]
        made = self.client("rolesanywhere").import_crl(name="plant", crlData=crl, trustAnchorArn=anchor, enabled=True)
        note(f"CRL {made['crl']['crlId']}: serial {held.serial:x}")


def main() -> None:
    started = time.perf_counter()
    key = new_key()
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        home = scratch / "home"
        servers = Authority("throwaway authority")
        held, ca = servers.issue(scratch / "server", {"CN": "127.0.0.1"}, "127.0.0.1"), scratch / "ca.pem"
        ca.write_text(servers.pem)
        options = ("--tls-cert", str(held.certificate), "--tls-key", str(held.key))
        with server(scratch / "data", {ACCOUNT: key}, *options, ca=ca) as url:
            show(Plant(url, scratch, key, ca), home)
    say(f"Done in {time.perf_counter() - started:.1f} s.")


def show(plant: Plant, home: Path) -> None:
    who = ("--access-key-id", plant.key[0], "--secret-stdin", "--ca-bundle", str(plant.ca))
    cli(home, "login", "--endpoint", plant.url, *who, stdin=plant.key[1], quiet=True)
    say("1. A trust anchor with the plant's CA, a role for its host press-1, and a profile that holds the role")
    plant.set_up()

    say("2. The host exchanges its certificate for a session, with the stock client; it does what the role may")
    press = plant.equip("press-1")
    for what, answer in plant.host(press).items():
        note(f"{what}: {answer}")

    say("3. Another host of the same CA is refused, and learns no more than that")
    plant.turned_away(plant.equip("lathe-7"))

    say("4. Why? The role's owner is told")
    cli(home, "explain", refusal(home, OPERATION)["request_id"])

    say("5. The certificate of press-1 is revoked: it gets no new session, and the one that it still has is cut off")
    plant.revoke(press)
    plant.turned_away(press)
    note(f"on record: {refusal(home, OPERATION)['detail']['private']['reason']}")
    cli(home, "revoke", "source-identity", "CN=press-1", "--reason", "stolen")
    plant.turned_away(press, kept=True)

    say("6. The record")
    cli(home, "audit", "search", "--operation", OPERATION)
    cli(home, "audit", "verify")


if __name__ == "__main__":
    main()
