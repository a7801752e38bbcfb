"""The main job, for real: an unmodified boto3 borrows a role, is stopped where policy says so, and the record shows it.

It starts a server of its own on a free port with its data in a temporary directory, and leaves nothing behind.
"""

from __future__ import annotations

import json
import tempfile
import time
from pathlib import Path

from stage import cli, client, document, new_key, note, refused, say, server, session_key

SHOP, WAREHOUSE = "111122223333", "444455556666"


def set_up(url: str, keys: dict[str, tuple[str, str]]) -> tuple[str, str]:
    """A user, a role in the shop's account, and one in the warehouse's that trusts the first."""
    shop, warehouse = (client("iam", url, keys[a]) for a in (SHOP, WAREHOUSE))
    shop.create_user(UserName="ana")
    ana = shop.create_access_key(UserName="ana")["AccessKey"]
    role = shop.create_role(
        RoleName="deployer",
        AssumeRolePolicyDocument=document(
            Principal={"AWS": f"arn:aws:iam::{SHOP}:user/ana"}, Action=["sts:AssumeRole", "sts:TagSession"]
        ),
    )["Role"]
    shop.put_role_policy(
        RoleName="deployer",
        PolicyName="work",
        PolicyDocument=document(Action=["iam:Get*", "iam:List*", "sts:AssumeRole", "sts:TagSession"], Resource="*"),
    )
    warehouse.create_role(
        RoleName="stock-reader",
        AssumeRolePolicyDocument=document(
            Principal={"AWS": role["Arn"]},
            Action=["sts:AssumeRole", "sts:TagSession"],
            Condition={"StringEquals": {"aws:PrincipalTag/team": "shop"}},
        ),
    )
    note(f"{role['Arn']} ({role['RoleId']}) trusts user ana")
    note(f"arn:aws:iam::{WAREHOUSE}:role/stock-reader trusts deployer, if its session is tagged team=shop")
    return ana["AccessKeyId"], ana["SecretAccessKey"]


def main() -> None:
    started = time.perf_counter()
    keys = {SHOP: new_key(), WAREHOUSE: new_key()}
    with tempfile.TemporaryDirectory() as scratch, server(Path(scratch) / "data", keys) as url:
        home = Path(scratch) / "home"
        say(f"1. A server at {url}, two accounts; boto3, unmodified, creates a user and two roles")
        ana = set_up(url, keys)

        say("2. ana assumes deployer with a session policy and tags")
        narrow = document(Action=["iam:GetRole", "sts:AssumeRole", "sts:TagSession"], Resource="*")
        answer = client("sts", url, ana).assume_role(
            RoleArn=f"arn:aws:iam::{SHOP}:role/deployer",
            RoleSessionName="ana-release-42",
            Policy=narrow,
            Tags=[{"Key": "team", "Value": "shop"}],
            TransitiveTagKeys=["team"],
        )
        deployer = session_key(answer)
        note(f"{answer['AssumedRoleUser']['Arn']} until {answer['Credentials']['Expiration']:%H:%M:%S} UTC")

        say("3. An allowed call passes, a forbidden one is refused, and says why")
        iam = client("iam", url, deployer)
        note(f"iam:GetRole  → {iam.get_role(RoleName='deployer')['Role']['Arn']}")
        denied = refused(iam.list_users, "AccessDenied")
        note(f"iam:ListUsers → {denied.response['Error']['Message']}")
        cli(home, "login", "--endpoint", url, "--access-key-id", keys[SHOP][0], "--secret-stdin", stdin=keys[SHOP][1])
        cli(home, "explain", denied.response["Error"]["EncodedAuthorizationMessage"])

        say("4. A second hop, into the other account; the tag travels along")
        answer = client("sts", url, deployer).assume_role(
            RoleArn=f"arn:aws:iam::{WAREHOUSE}:role/stock-reader", RoleSessionName="stock-count"
        )
        reader = client("sts", url, session_key(answer))
        note(reader.get_caller_identity()["Arn"])

        say("5. The first session is revoked: it dies, and the session made from it dies with it")
        found = json.loads(cli(home, "sessions", "ls", "--output", "json", quiet=True))
        parent = next(s["session_id"] for s in found if s["name"] == "ana-release-42")
        cli(home, "revoke", "session", parent, "--reason", "demo")
        for who, key in (("deployer", client("sts", url, deployer)), ("stock-reader", reader)):
            error = refused(key.get_caller_identity, "ExpiredToken").response["Error"]
            note(f"{who}: {error['Code']}: {error['Message']}")

        say("6. The record: every step, in order, and it verifies")
        cli(home, "audit", "tail", "--limit", "14")
        cli(home, "audit", "verify")
    say(f"Done in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
