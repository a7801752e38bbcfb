"""The main job, for real: an unmodified boto3 borrows a role, is stopped where policy says so, and the record shows it.

It starts a server of its own on a free port with its data in a temporary directory, and leaves nothing behind.
"""

from __future__ import annotations

import json
import os
import secrets
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import boto3
from botocore.config import Config
from botocore.exceptions import ClientError

SHOP, WAREHOUSE = "111122223333", "444455556666"
DAYPASS = [sys.executable, "-m", "daypass.cli.main"]


def say(text: str) -> None:
    print(f"\n\033[1m{text}\033[0m" if sys.stdout.isatty() else f"\n{text}", flush=True)


def note(text: str) -> None:
    print(f"   {text}", flush=True)


def new_key() -> tuple[str, str]:
    return "AKIA" + "".join(secrets.choice("ABCDEFGHIJKLMNOPQRSTUVWXYZ234567") for _ in range(16)), secrets.token_hex(
        20
    )


@contextmanager
def server(data: Path, keys: dict[str, tuple[str, str]]) -> Iterator[str]:
    """A running server; yields its URL. Stopped by SIGTERM, which drains."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    bootstrap = ",".join(f"{key}:{secret}:{account}" for account, (key, secret) in keys.items())
    environment = {**os.environ, "DAYPASS_BOOTSTRAP": bootstrap, "DAYPASS_LOG__LEVEL": "warning"}
    process = subprocess.Popen([*DAYPASS, "serve", "--port", str(port), "--data", str(data)], env=environment)
    url = f"http://127.0.0.1:{port}"
    try:
        for _ in range(200):
            if process.poll() is not None:
                sys.exit(f"the server ended with status {process.returncode}")
            try:
                urllib.request.urlopen(f"{url}/readyz", timeout=1).close()
                break
            except (urllib.error.URLError, OSError):
                time.sleep(0.1)
        else:
            sys.exit("the server did not become ready")
        yield url
    finally:
        process.terminate()
        process.wait(30)


def client(service: str, url: str, key: tuple[str, ...]) -> Any:
    return boto3.client(
        service,
        endpoint_url=url,
        region_name="eu-central-1",
        aws_access_key_id=key[0],
        aws_secret_access_key=key[1],
        aws_session_token=key[2] if len(key) > 2 else None,
        config=Config(retries={"max_attempts": 1}),
    )


def session_key(answer: dict[str, Any]) -> tuple[str, str, str]:
    credentials = answer["Credentials"]
    return credentials["AccessKeyId"], credentials["SecretAccessKey"], credentials["SessionToken"]


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def cli(home: Path, *arguments: str, stdin: str = "", quiet: bool = False) -> str:
    """Runs the command line as a person would, and prints what it prints."""
    print(f"   $ daypass {' '.join(a if len(a) < 60 else a[:24] + '…' for a in arguments)}", flush=True)
    environment = {**os.environ, "DAYPASS_HOME": str(home)}
    done = subprocess.run(
        [*DAYPASS, *arguments], env=environment, input=stdin, capture_output=True, text=True, check=False, timeout=60
    )
    shown = (done.stdout + done.stderr).strip().splitlines()
    if not quiet:
        print("\n".join(f"     {line[:150]}" for line in shown), flush=True)
    if done.returncode:
        sys.exit(f"daypass {arguments[0]} ended with status {done.returncode}: {done.stderr}")
    return done.stdout


def refused(call: Callable[[], Any], code: str) -> ClientError:
    """The call must be refused with this code; anything else ends the demo."""
    try:
        call()
    except ClientError as error:
        if error.response["Error"]["Code"] != code:
            sys.exit(f"refused with {error.response['Error']}, expected {code}")
        return error
    sys.exit(f"the call was allowed, expected {code}")


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
