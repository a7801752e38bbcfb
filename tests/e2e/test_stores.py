"""Stores that trust sessions, with their own programs: SeaweedFS by AssumeRoleWithWebIdentity, OpenBao by its JWT auth
method. Each is set up by what `daypass bridge` prints, and used by its stock client.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import boto3
import pytest
from botocore import UNSIGNED
from botocore.config import Config
from botocore.exceptions import ClientError
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running, session_key
from tests.processes import bound, free_ports

BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
WEED, BAO = shutil.which("weed", path=BIN), shutil.which("bao", path=BIN)
pytestmark = pytest.mark.slow
SECONDS = 900


@dataclass(frozen=True)
class World:
    server: Server
    folder: Path
    role: str

    def bridge(self, *arguments: str, key: tuple[str, ...] = ADMIN_KEY) -> Any:
        """The JSON output of a command, run with this key."""
        command = [sys.executable, "-m", "daypass.cli.main", "bridge", *arguments, "--output", "json"]
        made = subprocess.run(
            command, env=self.server.environment(key), capture_output=True, text=True, timeout=60, check=False
        )
        assert made.returncode == 0, made.stderr
        return json.loads(made.stdout)

    def session(self, role: str = "") -> tuple[str, str, str]:
        sts = self.server.client("sts")
        return session_key(sts.assume_role(RoleArn=role or self.role, RoleSessionName="job"))

    def token(self, audience: str, session: tuple[str, ...]) -> str:
        return str(self.bridge("token", audience, key=session)["token"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("stores")
    settings = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(folder / "daypass", environment=settings) as server:
        iam = server.client("iam")
        iam.enable_outbound_web_identity_federation()
        for name in ("orders", "stranger"):
            iam.create_role(
                RoleName=name, AssumeRolePolicyDocument=document(Principal={"AWS": OPERATOR}, Action="sts:AssumeRole")
            )
            policy = document(Action="sts:GetWebIdentityToken", Resource="*")
            iam.put_role_policy(RoleName=name, PolicyName="tokens", PolicyDocument=policy)
        yield World(server, folder, f"arn:aws:iam::{OPERATOR}:role/orders")


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


@contextmanager
def program(command: Sequence[str], folder: Path, url: str, **environment: str) -> Iterator[str]:
    """A server, once it answers; killed at the end. Its URL."""
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            bound(command, "KILL"), cwd=folder, env={**os.environ, **environment}, stdout=log, stderr=log
        )
    try:
        for _ in range(600):
            assert process.poll() is None, (folder / "log").read_text()[-3000:]
            try:
                urllib.request.urlopen(url, timeout=2).close()
                break
            except urllib.error.HTTPError:
                break
            except OSError:
                time.sleep(0.1)
        yield url
    finally:
        process.kill()
        process.wait(60)


@pytest.fixture(scope="module")
def seaweed(world: World) -> Iterator[str]:
    """SeaweedFS with the printed configuration, and a bucket."""
    if WEED is None:
        pytest.skip("there is no weed")
    policy = document(Action=["s3:GetObject", "s3:PutObject"], Resource=["arn:aws:s3:::orders/*"])
    (world.folder / "orders.json").write_text(policy)
    told = world.bridge(
        *("seaweedfs", "--subject", world.role, "--policy", str(world.folder / "orders.json")),
        *("--ttl", f"{SECONDS}s"),
    )
    folder = world.folder / "seaweed"
    (folder / "data").mkdir(parents=True)
    (folder / "iam.json").write_text(json.dumps(told["iam"]))
    admin = {"accessKey": "admin", "secretKey": "secret-of-the-administrator"}
    identity = {"name": "admin", "credentials": [admin], "actions": ["Admin"]}
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = map(str, free_ports(4))
    command = [str(WEED), "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}"]
    command += [f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0"]
    command += ["-s3.port.lance=0", "-s3.config=s3.json", "-s3.iam.config=iam.json", "-volume.max=5"]
    with program(command, folder, f"http://127.0.0.1:{s3}") as url:
        made = s3_client(url, (admin["accessKey"], admin["secretKey"], ""))
        for name in ("orders", "payroll"):
            made.create_bucket(Bucket=name)
        yield url


def s3_client(url: str, key: tuple[str, str, str]) -> Any:
    given = dict(zip(("aws_access_key_id", "aws_secret_access_key"), key[:2], strict=True))
    config = Config(retries={"max_attempts": 2}, s3={"addressing_style": "path"})
    return boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", config=config, aws_session_token=key[2] or None, **given
    )


def assumed(url: str, token: str, role: str) -> tuple[str, str, str]:
    """A session of the store for a token, by the stock STS client. Raises ClientError."""
    sts = boto3.client("sts", endpoint_url=url, region_name="us-east-1", config=Config(signature_version=UNSIGNED))
    return session_key(
        sts.assume_role_with_web_identity(
            RoleArn=role, RoleSessionName="job", WebIdentityToken=token, DurationSeconds=SECONDS
        )
    )


def revoked(world: World) -> tuple[str, str, str]:
    """A session that is ended after it got its token."""
    session = world.session()
    body = {"subject": "access_key", "value": session[0]}
    world.server.api("POST", "/revocations", body=body)
    return session


def test_seaweedfs_serves_a_session_within_its_policy(world: World, seaweed: str) -> None:
    s3 = s3_client(seaweed, assumed(seaweed, world.token("seaweedfs", world.session()), world.role))
    s3.put_object(Bucket="orders", Key="1.json", Body=b"{}")
    assert s3.get_object(Bucket="orders", Key="1.json")["Body"].read() == b"{}"
    with pytest.raises(ClientError, match="AccessDenied"):
        s3.put_object(Bucket="payroll", Key="1.json", Body=b"{}")
    stranger = world.token("seaweedfs", world.session(world.role.replace("orders", "stranger")))
    with pytest.raises(ClientError, match="AccessDenied"):
        assumed(seaweed, stranger, world.role)
    with pytest.raises(ClientError):
        assumed(seaweed, world.token("vault", world.session()), world.role)


def test_revoked_session_gets_no_token_and_its_session_at_seaweedfs_ends_within_its_life(
    world: World, seaweed: str
) -> None:
    token = world.token("seaweedfs", world.session())
    sts = boto3.client("sts", endpoint_url=seaweed, region_name="us-east-1", config=Config(signature_version=UNSIGNED))
    given = {"RoleArn": world.role, "RoleSessionName": "job", "WebIdentityToken": token}
    with pytest.raises(ClientError, match="between 900 and 900 seconds"):
        sts.assume_role_with_web_identity(**given, DurationSeconds=3600)
    ends = sts.assume_role_with_web_identity(**given)["Credentials"]["Expiration"].timestamp()
    assert ends <= time.time() + SECONDS
    with pytest.raises(AssertionError, match="ExpiredToken"):
        world.token("seaweedfs", revoked(world))


# --- OpenBao ---------------------------------------------------------------------------------------------------------


class Bao:
    """A running OpenBao with one secret, and its command line."""

    def __init__(self, url: str) -> None:
        self.url = url

    def run(self, *arguments: str, token: str = "root") -> tuple[int, str]:
        environment = {**os.environ, "BAO_ADDR": self.url, "BAO_TOKEN": token, "PATH": BIN, "HOME": "/nonexistent"}
        done = subprocess.run(
            ["bao", *arguments], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def login(self, jwt: str) -> dict[str, Any]:
        status, out = self.run("write", "-format=json", "auth/jwt/login", "role=daypass", f"jwt={jwt}", token="")
        assert status == 0, out
        return dict(json.loads(out)["auth"])


@pytest.fixture(scope="module")
def bao(world: World) -> Iterator[Bao]:
    """OpenBao as the printed commands set it up."""
    if BAO is None:
        pytest.skip("there is no bao")
    folder = world.folder / "bao"
    folder.mkdir()
    (port,) = free_ports(1)
    command = [str(BAO), "server", "-dev", "-dev-root-token-id=root", f"-dev-listen-address=127.0.0.1:{port}"]
    with program(command, folder, f"http://127.0.0.1:{port}/v1/sys/health", HOME=str(folder)) as url:
        made = Bao(url.removesuffix("/v1/sys/health"))
        (folder / "read.hcl").write_text('path "secret/data/orders" { capabilities = ["read"] }')
        assert made.run("policy", "write", "read-orders", str(folder / "read.hcl"))[0] == 0
        assert made.run("kv", "put", "secret/orders", "password=hunter2")[0] == 0
        options = ("--program", "bao", "--subject", world.role, "--policy", "read-orders", "--ttl", f"{SECONDS}s")
        for line in world.bridge("vault", *options)["command"].splitlines():
            status, out = made.run(*shlex.split(line)[1:])
            assert status == 0, out
        yield made


def test_openbao_gives_a_secret_to_a_session_and_to_no_other(world: World, bao: Bao) -> None:
    given = bao.login(world.token("vault", world.session()))
    assert given["lease_duration"] <= SECONDS
    status, out = bao.run("kv", "get", "-field=password", "secret/orders", token=given["client_token"])
    assert (status, out.strip()) == (0, "hunter2")
    assert bao.run("kv", "put", "secret/orders", "password=x", token=given["client_token"])[0] == 2
    stranger = world.session(world.role.replace("orders", "stranger"))
    for jwt in (world.token("vault", stranger), world.token("seaweedfs", world.session()), "a.b.c"):
        with pytest.raises(AssertionError, match="Code: 400"):
            bao.login(jwt)
    with pytest.raises(AssertionError, match="ExpiredToken"):
        world.token("vault", revoked(world))


def test_tokens_of_openbao_cannot_be_renewed_beyond_their_life(world: World, bao: Bao) -> None:
    given = bao.login(world.token("vault", world.session()))
    status, out = bao.run("token", "renew", "-format=json", "-increment=24h", token=given["client_token"])
    assert status == 0, out
    assert json.loads(out)["auth"]["lease_duration"] <= SECONDS
