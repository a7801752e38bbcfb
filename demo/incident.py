"""An incident, for real: nobody has standing access; an engineer requests it, a lead approves with a passkey, the engineer acts, access ends.

The engineer's command waits for the approval, which the lead gives in headless Chromium with a virtual authenticator. A security officer cuts a second session off. The record tells it all.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from approver import Approver, approver, new_password
from stage import DAYPASS, SHOWN, cli, client, document, new_key, note, refused, say, server, session_key

ACCOUNT = "111122223333"
RULE: dict[str, Any] = {
    "roles": ["role/prod-orders"],
    "requesters": {"principals": ["group/on-call"]},
    "stages": [{"approvers": {"principals": ["group/leads"]}, "step_up": True}],
    "reason": {"patterns": ["incident *"]},
    "ticket": {"patterns": ["INC-*"]},
    "max_seconds": 3600,
}
ACT = """
import boto3
me = boto3.client("sts").get_caller_identity()["Arn"]
boto3.client("iam").tag_role(RoleName="orders-service", Tags=[{"Key": "incident", "Value": "INC-42"}])
print("the fix is applied by", me)
"""


def person(iam: Any, url: str, home: Path, name: str, group: str, *actions: str) -> Any:
    """A user with a key, in a group, whose profile is on this machine."""
    iam.create_group(GroupName=group)
    iam.create_user(UserName=name)
    iam.add_user_to_group(GroupName=group, UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="work", PolicyDocument=document(Action=list(actions), Resource="*"))
    key = iam.create_access_key(UserName=name)["AccessKey"]
    pair = key["AccessKeyId"], key["SecretAccessKey"]
    cli(
        home / name, "login", "--endpoint", url, "--access-key-id", pair[0], "--secret-stdin", stdin=pair[1], quiet=True
    )
    return pair


def set_up(url: str, home: Path, root: tuple[str, str]) -> tuple[Any, str]:
    """A role that takes an approval, a rule, an engineer and a lead. The engineer's key, and the lead's password."""
    cli(
        home / "root",
        "login",
        "--endpoint",
        url,
        "--access-key-id",
        root[0],
        "--secret-stdin",
        stdin=root[1],
        quiet=True,
    )
    iam = client("iam", url, root)
    trust = document(
        Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
        Action="sts:AssumeRole",
        Condition={"Bool": {"daypass:Approved": "true"}},
    )
    iam.create_role(RoleName="prod-orders", AssumeRolePolicyDocument=trust)
    iam.create_role(RoleName="orders-service", AssumeRolePolicyDocument=trust)  # what Ann repairs
    iam.put_role_policy(
        RoleName="prod-orders",
        PolicyName="fix",
        PolicyDocument=document(Action=["iam:TagRole", "orders:*"], Resource="*"),
    )
    ann = person(iam, url, home, "ann", "on-call", "daypass:CreateAccessRequest", "sts:AssumeRole")
    person(iam, url, home, "lee", "leads", "daypass:ApproveAccessRequest")
    rules = home / "rules"
    rules.mkdir()
    (rules / "prod-orders.json").write_text(json.dumps(RULE, indent=2))
    cli(home / "root", "rule", "apply", str(rules))
    password = new_password()
    iam.create_login_profile(UserName="lee", Password=password)
    return ann, password


def elevate(home: Path, *command: str) -> subprocess.Popen[str]:
    """The engineer's command, which waits for the approval."""
    arguments = ["elevate", "prod-orders", "--reason", "incident 42: orders are not written", "--ticket", "INC-42"]
    print(f"   $ {SHOWN} {' '.join(arguments)} --for 30m -- python fix.py", flush=True)
    environment = {**os.environ, "DAYPASS_HOME": str(home / "ann")}
    return subprocess.Popen(
        [*DAYPASS, *arguments, "--for", "30m", "--", *command], env=environment, stdout=subprocess.PIPE, text=True
    )


def waiting(home: Path) -> dict[str, Any]:
    """The request that waits for the lead's vote."""
    for _ in range(100):
        found = json.loads(cli(home / "lee", "request", "ls", "--inbox", "--output", "json", quiet=True))
        if found:
            return dict(found[0])
        time.sleep(0.2)
    sys.exit("no request arrived")


def approve(lee: Approver, request: str, note_: str) -> None:
    """The lead opens the request, approves it and confirms exactly that."""
    for fact in lee.approve(request, note_):
        note(fact)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--software", action="store_true", help="an authenticator in software, also where Chromium is installed"
    )
    given = parser.parse_args()
    started = time.perf_counter()
    root = new_key()
    with (
        tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder,
        server(Path(folder) / "data", {ACCOUNT: root}, DAYPASS_SERVER__PUBLIC_URL="{local}") as url,
        ExitStack() as stack,
    ):
        lee, how = approver(url.replace("127.0.0.1", "localhost"), Path(folder) / "browser", software=given.software)
        stack.callback(lee.close)
        home = Path(folder)
        say("1. A role that nobody can assume without an approval, and a rule as a file")
        ann, password = set_up(url, home, root)
        lee.sign_in(ACCOUNT, "lee", password)
        lee.register("key of the on-call desk")
        note(f"Lee, who leads, has registered a passkey, with {how}")
        role = f"arn:aws:iam::{ACCOUNT}:role/prod-orders"
        sts = client("sts", url, ann)
        error = refused(lambda: sts.assume_role(RoleArn=role, RoleSessionName="ann"), "AccessDenied")
        note(f"Ann, on call, without a request: {error.response['Error']['Code']}")

        say("2. The incident: Ann asks, and her command waits")
        command = elevate(home, sys.executable, "-c", ACT)
        request = waiting(home)

        say("3. Lee sees exactly what is asked, approves, and signs that with the passkey")
        note("Ann cannot approve it:")
        cli(home / "ann", "request", "approve", request["id"], "--binding", request["binding"], status=4)
        approve(lee, request["id"], "go ahead")

        say("4. Ann's command runs with the role, and the access ends with it")
        printed, _ = command.communicate(timeout=60)
        if command.returncode:
            sys.exit(f"elevate ended with {command.returncode}")
        note(printed.strip())
        cli(home / "ann", "request", "show", request["id"])
        refused(lambda: sts.assume_role(RoleArn=role, RoleSessionName="ann"), "AccessDenied")
        note("Ann again, without a new request: AccessDenied")

        say("5. Another approved session is cut off at once")
        made = json.loads(
            cli(
                home / "ann",
                *("request", "create", "prod-orders", "--reason", "incident 43: more orders", "--ticket", "INC-43"),
                *("--output", "json"),
                quiet=True,
            )
        )
        lee.approve(made["id"], "once more")
        session = session_key(sts.assume_role(RoleArn=role, RoleSessionName="ann"))
        note(f"she works as {client('sts', url, session).get_caller_identity()['Arn']}")
        grant = json.loads(cli(home / "ann", "request", "show", made["id"], "--output", "json", quiet=True))["grants"][
            0
        ]
        cli(home / "root", "revoke", "grant", grant["id"], "--reason", "the key may have leaked")
        refused(lambda: client("sts", url, session).get_caller_identity(), "ExpiredToken")
        note("her session: ExpiredToken")

        say("6. The record")
        for operation in ("CreateAccessRequest", "ApproveAccessRequest", "FinishAccessRequest", "RevokeSession"):
            cli(home / "root", "audit", "search", "--operation", f"daypass:{operation}")
        cli(home / "root", "audit", "verify", quiet=True)
        note("the record verifies")
    print(f"\nDone in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
