"""Bridges to other clouds: what `daypass bridge` prints is entered at the other side, and stock clients get its tokens."""

from __future__ import annotations

import json
import shlex
import ssl
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import boto3
import pytest
from azure.core.exceptions import ClientAuthenticationError
from azure.identity import ClientAssertionCredential
from google.auth import identity_pool, pluggable
from google.auth.exceptions import OAuthError
from google.auth.transport.requests import Request
from moto import mock_aws
from requests import Session
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running, session_key
from tests.e2e.pki import Pki
from tests.other_clouds import Entra, Google, Vault, serving

from daypass import sigv4
from daypass.sigv4.canonical import presign

pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class World:
    server: Server
    role: str
    session: tuple[str, str, str]  # of the role
    stranger: tuple[str, str, str]  # of another role

    def bridge(self, *arguments: str, key: tuple[str, ...] = ADMIN_KEY) -> str:
        command = [sys.executable, "-m", "daypass.cli.main", "bridge", *arguments]
        made = subprocess.run(
            command, env=self.server.environment(key), capture_output=True, text=True, timeout=60, check=False
        )
        assert made.returncode == 0, made.stderr
        return made.stdout

    def told(self, what: str, *arguments: str) -> dict[str, Any]:
        """The other side's configuration, for tokens of the role."""
        return dict(json.loads(self.bridge(what, "--subject", self.role, "--output", "json", *arguments)))

    def token(self, audience: str, key: tuple[str, ...] | None = None, *arguments: str) -> str:
        return self.bridge("token", audience, *arguments, key=key or self.session).strip()


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}", "DAYPASS_OAUTH__WEB_IDENTITY_ALGORITHMS": "ES256,ES384,RS256"}
    with running(tmp_path_factory.mktemp("bridges"), environment=environment) as server:
        iam, sts = server.client("iam"), server.client("sts")
        iam.enable_outbound_web_identity_federation()
        trusted = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [trusted]})
        may = {"Effect": "Allow", "Action": "sts:GetWebIdentityToken", "Resource": "*"}
        arns, sessions = [], []
        for name in ("job", "stranger"):
            arns.append(iam.create_role(RoleName=name, AssumeRolePolicyDocument=trust)["Role"]["Arn"])
            policy = json.dumps({"Version": "2012-10-17", "Statement": [may]})
            iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
            sessions.append(session_key(sts.assume_role(RoleArn=arns[-1], RoleSessionName="run")))
        yield World(server, arns[0], sessions[0], sessions[1])


def google(world: World, url: str, key: tuple[str, ...], monkeypatch: pytest.MonkeyPatch) -> str:
    """The token that google-auth gets with the printed credential file; the file runs the command that it names."""
    told = world.told("gcp", "--token-url", f"{url}/v1/token")
    info = told["credentials"]
    source = info["credential_source"]["executable"]
    source["command"] = f"{sys.executable} -m daypass.cli.main{source['command'].removeprefix('daypass')}"
    monkeypatch.setenv("GOOGLE_EXTERNAL_ACCOUNT_ALLOW_EXECUTABLES", "1")
    for name, value in world.server.environment(key).items():
        monkeypatch.setenv(name, value)
    credentials = pluggable.Credentials.from_info(info)
    with closing(Session()) as session:
        credentials.refresh(Request(session))
    return str(credentials.token)


def test_google_auth_gets_a_token_for_a_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    cloud = Google()
    with serving(cloud) as url:
        cloud.settings = world.told("gcp")["provider"]
        assert google(world, url, world.session, monkeypatch) == cloud.given[world.role]
        with pytest.raises(OAuthError, match="attribute condition"):
            google(world, url, world.stranger, monkeypatch)


def test_google_auth_exchanges_tokens_at_our_endpoint(world: World, tmp_path: Path) -> None:
    """The other direction: google-auth, unmodified, with our token endpoint in its credential file."""
    url = f"{world.server.url}/oauth2/token"
    mine = _access_token(world)
    file = tmp_path / "token"
    file.write_text(mine)
    info = {
        "type": "external_account",
        "audience": "https://api.example",
        "subject_token_type": "urn:ietf:params:oauth:token-type:jwt",
        "token_url": url,
        "credential_source": {"file": str(file)},
    }
    credentials = identity_pool.Credentials.from_info(info)
    with closing(Session()) as session:
        credentials.refresh(Request(session))
        assert credentials.token.count(".") == 2
        file.write_text(mine[:-4] + "AAAA")
        with pytest.raises(OAuthError, match="invalid_request"):
            identity_pool.Credentials.from_info(info).refresh(Request(session))


def _access_token(world: World) -> str:
    """An access token of the role's session, for its presigned GetCallerIdentity."""
    query = {"Action": "GetCallerIdentity", "Version": "2011-06-15", "X-Daypass-Audience": world.server.url}
    key_id, secret, token = world.session
    signing = sigv4.SigningKey(key_id, secret, "eu-central-1", "sts", token)
    host = world.server.url.removeprefix("http://")
    signed = presign(signing, "GET", host, "/", list(query.items()), 300, int(time.time() * 1000))
    pairs = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": f"{world.server.url}/?{signed}",
        "subject_token_type": "urn:daypass:token-type:presigned-get-caller-identity",
    }
    made = urllib.request.Request(f"{world.server.url}/oauth2/token", urlencode(pairs).encode())
    with urllib.request.urlopen(made, timeout=30) as answer:
        return str(json.load(answer)["access_token"])


def test_azure_identity_gets_a_token_for_a_session(world: World, tmp_path: Path) -> None:
    cloud, pki = Entra(), Pki(tmp_path)
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(pki.server_cert, pki.server_key)
    with serving(cloud, tls) as url:
        cloud.settings = world.told("azure")["federated_credential"]

        def token_of(key: tuple[str, ...]) -> str:
            credential = ClientAssertionCredential(
                "tenant",
                "application",
                lambda: world.token("api://AzureADTokenExchange", key),
                authority=url,
                disable_instance_discovery=True,
                connection_verify=str(pki.ca),
            )
            with credential:
                return str(credential.get_token("https://storage.azure.com/.default").token)

        assert token_of(world.session) == cloud.given[world.role]
        with pytest.raises(ClientAuthenticationError, match="AADSTS700213"):
            token_of(world.stranger)


def test_google_is_told_to_make_the_pool_and_to_bind_a_role_to_the_subject(world: World) -> None:
    told = world.told("gcp", "--pool", "ci")
    commands = [shlex.split(line) for line in told["command"].splitlines()]
    assert commands[0] == ["gcloud", "iam", "workload-identity-pools", "create", "ci", "--location", "global"]
    assert f'assertion.sub == "{world.role}"' in commands[1]
    member = "principal://iam.googleapis.com/projects/PROJECT_NUMBER/locations/global/workloadIdentityPools/ci/subject"
    assert commands[2][-2:] == ["--member", f"{member}/{world.role}"]


def test_tokens_of_vault_have_a_lifetime_of_their_own(world: World) -> None:
    told = world.told("vault", "--ttl", "20m")
    assert (told["role"]["token_ttl"], told["role"]["token_max_ttl"]) == ("20m", "20m")
    assert "token_max_ttl=20m" in told["command"]


def test_vault_accepts_the_session_that_it_was_told_of(world: World) -> None:
    cloud = Vault()
    with serving(cloud) as url:
        cloud.settings = world.told("vault", "--policy", "read-orders")

        def login(text: str) -> dict[str, Any]:
            body = json.dumps({"role": "daypass", "jwt": text}).encode()
            made = urllib.request.Request(f"{url}/v1/auth/jwt/login", body, {"content-type": "application/json"})
            with urllib.request.urlopen(made, timeout=30) as answer:
                return dict(json.load(answer)["auth"])

        assert login(world.token("vault"))["policies"] == ["read-orders"]
        assert login(world.token("vault", None, "--algorithm", "ES384"))["policies"] == ["read-orders"]
        for text in (world.token("vault", world.stranger), world.token("another-service")):
            with pytest.raises(urllib.error.HTTPError) as refused:
                login(text)
            with closing(refused.value):
                assert refused.value.status == 400


def test_moto_takes_the_token_and_the_printed_provider(world: World) -> None:
    told = world.told("aws")
    with mock_aws():
        region = {"region_name": "eu-central-1", "aws_access_key_id": "a", "aws_secret_access_key": "b"}
        iam, sts = boto3.client("iam", **region), boto3.client("sts", **region)
        url = told["provider"]["Url"].replace("http://", "https://")  # AWS takes https only
        iam.create_open_id_connect_provider(Url=url, ClientIDList=told["provider"]["ClientIDList"])
        arn = iam.create_role(RoleName="r", AssumeRolePolicyDocument=json.dumps(told["trust_policy"]))["Role"]["Arn"]
        token = world.token("sts.amazonaws.com")
        made = sts.assume_role_with_web_identity(RoleArn=arn, RoleSessionName="job", WebIdentityToken=token)
        assert made["AssumedRoleUser"]["Arn"].endswith("assumed-role/r/job")


def test_bridge_prints_commands_for_people(world: World) -> None:
    for what, command in (
        ("aws", "aws iam create-open-id"),
        ("gcp", "gcloud iam"),
        ("azure", "az ad"),
        ("vault", "vault"),
    ):
        text = world.bridge(what, "--subject", world.role)
        assert text.startswith(command)
        assert world.role in text
