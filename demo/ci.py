"""A CI job without a static key, for real: its token is its proof. An issuer on this machine signs as GitHub Actions does.

The jobs are processes with the standard environment of AWS SDKs alone; boto3 in them is unmodified.
"""

from __future__ import annotations

import tempfile
import time
from pathlib import Path
from typing import Any

from stage import as_workload, cli, client, document, new_key, note, refused, say, server

from issuer import Answer, Issuer, https

ACCOUNT = "111122223333"
GITHUB = "token.actions.githubusercontent.com"
JOB = """
import json, boto3, botocore.exceptions
try:
    who = boto3.client("sts").get_caller_identity()["Arn"]
    boto3.client("iam").get_role(RoleName="deployer")
    print(json.dumps({"who": who}))
except botocore.exceptions.ClientError as error:
    print(json.dumps({"refused": error.response["Error"]}))
"""


def claims(repository: str, ref: str, **more: Any) -> dict[str, Any]:
    """The claims of a job's token, as GitHub Actions sends them."""
    return {
        "aud": "sts.amazonaws.com",
        "sub": f"repo:{repository}:ref:{ref}",
        "repository": repository,
        "repository_owner": repository.partition("/")[0],
        "ref": ref,
        "workflow": "release",
        "event_name": "push",
        "run_id": "8123456789",
        **more,
    }


def job(url: str, scratch: Path, token: str) -> dict[str, Any]:
    """One CI job: everything it has is a token in a file, and a role's name."""
    file = scratch / "token"
    file.write_text(token)
    return as_workload(
        JOB,
        {
            "AWS_ROLE_ARN": f"arn:aws:iam::{ACCOUNT}:role/deployer",
            "AWS_WEB_IDENTITY_TOKEN_FILE": str(file),
            "AWS_ROLE_SESSION_NAME": "run-8123456789",
            "AWS_ENDPOINT_URL": url,
            "AWS_REGION": "eu-central-1",
            "AWS_DEFAULT_REGION": "eu-central-1",
        },
    )


def set_up(url: str, home: Path, key: tuple[str, str], keys_at: str, authority: str) -> Any:
    """The provider, with its keys on this machine, and a role for one branch of one repository."""
    cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
    ca = home / "ca.pem"
    ca.write_text(authority)
    here = (f"jwks_url={keys_at}/jwks", f"ca_pem=@{ca}", "allow_private_networks=true")  # its keys are on this machine
    cli(home, "provider", "add", "github", *here)
    cli(home, "trust", "new", "github", "--repo", "acme/shop", "--branch", "main", "--role", "deployer", "--apply")
    iam = client("iam", url, key)
    iam.put_role_policy(
        RoleName="deployer", PolicyName="work", PolicyDocument=document(Action="iam:GetRole", Resource="*")
    )
    return iam


def refusals(url: str, scratch: Path, github: Issuer, other: str) -> None:
    stale = {"iat": int(time.time()) - 7200, "nbf": None, "exp": int(time.time()) - 3600}
    for what, token in (
        ("another branch", other),
        ("a stranger", github.token(**claims("mallory/shop", "refs/heads/main"))),
        ("a stale token", github.token(**claims("acme/shop", "refs/heads/main", **stale))),
    ):
        error = job(url, scratch, token)["refused"]
        note(f"{what}: {error['Code']}: {error['Message'][:110]}")


def main() -> None:
    started = time.perf_counter()
    key = new_key()
    github = Issuer(f"https://{GITHUB}")

    def answers(path: str, _headers: object, _body: bytes) -> Answer:
        return (200, github.jwks()) if path == "/jwks" else (404, {})

    with (
        tempfile.TemporaryDirectory() as folder,
        https(answers) as (keys_at, authority),
        server(Path(folder) / "data", {ACCOUNT: key}) as url,
    ):
        scratch = Path(folder)
        home = scratch / "home"
        say("1. A provider for GitHub Actions, and a role that one branch of one repository may have")
        iam = set_up(url, home, key, keys_at, authority)

        say("2. A job on main borrows the role with its token alone")
        note(str(job(url, scratch, github.token(**claims("acme/shop", "refs/heads/main")))["who"]))

        say("3. Jobs of another branch, of a stranger's repository, and with a stale token are refused")
        other = github.token(**claims("acme/shop", "refs/heads/experiment"))
        refusals(url, scratch, github, other)

        say("4. Why? The role's owner is told, claim by claim")
        (scratch / "other").write_text(other)
        cli(home, "trust", "test", "deployer", "--token", str(scratch / "other"), status=1)

        say("5. The issuer changes its key; jobs do not notice")
        note(f"new key {github.rotate()}")
        cli(home, "provider", "keys", GITHUB, "--refresh")  # by itself at most every 30 s: strangers can ask for it
        note(str(job(url, scratch, github.token(**claims("acme/shop", "refs/heads/main")))["who"]))

        say("6. Trust in everyone at the issuer cannot be written")
        anyone = document(
            Principal={"Federated": f"arn:aws:iam::{ACCOUNT}:oidc-provider/{GITHUB}"},
            Action="sts:AssumeRoleWithWebIdentity",
            Condition={"StringLike": {f"{GITHUB}:sub": "repo:*"}},
        )
        denied = refused(
            lambda: iam.create_role(RoleName="anyone", AssumeRolePolicyDocument=anyone), "MalformedPolicyDocument"
        )
        note(denied.response["Error"]["Message"])

        say("7. The record")
        cli(home, "audit", "search", "--operation", "sts:AssumeRoleWithWebIdentity")
        cli(home, "audit", "verify")
    say(f"Done in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
