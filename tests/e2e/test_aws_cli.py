"""The AWS CLI, unmodified, with the profiles that people have: source_profile, credential_process, web identity."""

from __future__ import annotations

import json
import secrets
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server
from tests.issuer import Issuer

AWS = Path(sys.executable).with_name("aws")
DAYPASS = Path(sys.executable).with_name("daypass")

pytestmark = [
    pytest.mark.slow,
    pytest.mark.parametrize("server", ["sqlite"], indirect=True),
]  # the client is the point, and slow


class Cli:
    """Runs `aws` with a home of its own."""

    def __init__(self, server: Server, home: Path) -> None:
        self.server, self.home = server, home
        self.environment = {
            **server.environment(),
            "HOME": str(home),
            "AWS_CONFIG_FILE": str(home / "config"),
            "AWS_SHARED_CREDENTIALS_FILE": str(home / "credentials"),
            "AWS_PAGER": "",
            "AWS_DEFAULT_REGION": "eu-central-1",
        }

    def configure(self, text: str) -> None:
        """The config file; keys come from it, no longer from the environment."""
        (self.home / "config").write_text(text)
        (self.home / "credentials").write_text(
            f"[admin]\naws_access_key_id = {ADMIN_KEY[0]}\naws_secret_access_key = {ADMIN_KEY[1]}\n"
        )
        for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY"):
            self.environment.pop(name, None)

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [str(AWS), *arguments, "--output", "json"]
        return subprocess.run(command, env=self.environment, capture_output=True, text=True, timeout=60, check=False)

    def __call__(self, *arguments: str) -> Any:
        ran = self.run(*arguments)
        assert ran.returncode == 0, ran.stderr
        return json.loads(ran.stdout) if ran.stdout.strip() else None


@pytest.fixture
def aws(server: Server, tmp_path: Path) -> Cli:
    return Cli(server, tmp_path)


def role(server: Server, statement: dict[str, Any]) -> tuple[str, str]:
    """A fresh role with one statement of trust: its name and ARN."""
    name = f"cli-{secrets.token_hex(4)}"
    trust = json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})
    made = server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]
    return name, made["Arn"]


def trusting_admin(server: Server) -> tuple[str, str]:
    principal = {"AWS": f"arn:aws:iam::{OPERATOR}:user/admin"}
    return role(server, {"Principal": principal, "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"]})


def test_aws_cli_manages_and_is_refused_in_its_own_words(aws: Cli) -> None:
    name = f"cli-{secrets.token_hex(4)}"
    made = aws("iam", "create-user", "--user-name", name, "--tags", "Key=team,Value=web")
    assert made["User"]["Arn"] == f"arn:aws:iam::{OPERATOR}:user/{name}"
    assert aws("iam", "list-user-tags", "--user-name", name)["Tags"] == [{"Key": "team", "Value": "web"}]
    refused = aws.run("iam", "create-user", "--user-name", name)
    assert refused.returncode
    assert (
        f"(EntityAlreadyExists) when calling the CreateUser operation: User with name {name} already" in refused.stderr
    )


def test_aws_cli_source_profile_borrows_the_role(aws: Cli) -> None:
    name, arn = trusting_admin(aws.server)
    aws.configure(
        f"[profile admin]\nregion = eu-central-1\n"
        f"[profile work]\nrole_arn = {arn}\nsource_profile = admin\nrole_session_name = shift\nregion = eu-central-1\n"
    )
    identity = aws("sts", "get-caller-identity", "--profile", "work")
    assert identity["Arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/{name}/shift"


def test_aws_cli_credential_process_takes_what_daypass_borrows(aws: Cli) -> None:
    name, arn = trusting_admin(aws.server)
    aws.configure(f"[profile work]\ncredential_process = {DAYPASS} credential-process {arn}\nregion = eu-central-1\n")
    aws.environment |= {"DAYPASS_HOME": str(aws.home / "daypass")}
    login = ["login", "--endpoint", aws.server.url, "--access-key-id", ADMIN_KEY[0], "--secret-stdin"]
    stored = subprocess.run(
        [DAYPASS, *login], env=aws.environment, input=f"{ADMIN_KEY[1]}\n", capture_output=True, text=True, check=False
    )
    assert stored.returncode == 0, stored.stderr
    identity = aws("sts", "get-caller-identity", "--profile", "work")
    assert identity["Arn"].startswith(f"arn:aws:sts::{OPERATOR}:assumed-role/{name}/")


def test_aws_cli_web_identity_profile_borrows_the_role_with_a_token_alone(aws: Cli) -> None:
    server = aws.server
    issuer = Issuer(f"cli-{secrets.token_hex(4)}.example.com", "ES256", "sts.amazonaws.com")
    iam = server.client("iam")
    made = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["sts.amazonaws.com"])
    server.api(
        "PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": {"static_jwks": json.dumps(issuer.jwks())}}
    )
    name, arn = role(
        server,
        {
            "Principal": {"Federated": made["OpenIDConnectProviderArn"]},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer.url}:sub": "job-1"}},
        },
    )
    token = aws.home / "token"
    token.write_text(issuer.token(time.time_ns() // 1_000_000, sub="job-1"))
    aws.configure(
        f"[profile job]\nrole_arn = {arn}\nweb_identity_token_file = {token}\nrole_session_name = job\n"
        "region = eu-central-1\n"
    )
    identity = aws("sts", "get-caller-identity", "--profile", "job")
    assert identity["Arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/{name}/job"
    token.write_text(issuer.token(time.time_ns() // 1_000_000, sub="job-2"))
    refused = aws.run("sts", "get-caller-identity", "--profile", "job")
    assert "(AccessDenied) when calling the AssumeRoleWithWebIdentity operation" in refused.stderr
