"""The pages of use cases, command by command: a backup across accounts (U1), a service that acts for a person (U4), and a
function that reads a secret (U6), with the real stores.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, TENANT, Server, running
from tests.e2e.test_stores import BAO, WEED, Bao, bao, program, s3_client, world
from tests.e2e.test_stores import World as Stores
from tests.issuer import Issuer
from tests.packaging.machine import ROOT
from tests.processes import free_ports

__all__ = ["bao", "world"]  # fixtures
pytestmark = pytest.mark.slow
PAGES = ROOT / "docs/how-to"
Keys = tuple[str, ...]


def blocks(page: str, kind: str) -> list[str]:
    return re.findall(rf"^```{kind}\n(.*?)^```$", (PAGES / page).read_text(), re.DOTALL | re.MULTILINE)


class Shell:
    """Runs blocks in a directory, with the addresses of this test."""

    def __init__(self, server: Server, folder: Path, **addresses: str) -> None:
        self.server, self.folder, self.addresses = (
            server,
            folder,
            {"https://daypass.example.com": server.url, **addresses},
        )
        (folder / "bin").mkdir()
        for name, module in (("daypass", "daypass.cli.main"), ("aws", "awscli")):
            (folder / "bin" / name).write_text(f'#!/bin/sh\nexec {sys.executable} -m {module} "$@"\n')
            (folder / "bin" / name).chmod(0o755)

    def file(self, name: str, text: str) -> None:
        (self.folder / name).write_text(self.here(text))

    def here(self, text: str) -> str:
        for example, address in self.addresses.items():
            text = text.replace(example, address)
        return text

    def run(self, block: str, key: Keys = ADMIN_KEY, **environment: str) -> subprocess.CompletedProcess[str]:
        own = {
            "PATH": f"{self.folder}/bin:{os.environ['PATH']}",
            "HOME": str(self.folder),
            "DAYPASS_HOME": str(self.folder / "home"),
        }
        given = {**self.server.environment(key), "AWS_DEFAULT_REGION": "eu-central-1", **own, **environment}
        command = ["bash", "-e", "-o", "pipefail", "-c", self.here(block)]
        return subprocess.run(
            command, env=given, cwd=self.folder, capture_output=True, text=True, timeout=120, check=False
        )

    def done(self, block: str, key: Keys = ADMIN_KEY, **environment: str) -> str:
        found = self.run(block, key, **environment)
        assert found.returncode == 0, f"{block}\n{found.stdout}{found.stderr}"
        return found.stdout


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


# --- U1: a backup across accounts


@contextmanager
def store(folder: Path) -> Iterator[str]:
    """SeaweedFS with `iam.json`, and a bucket with two objects."""
    (folder / "data").mkdir()
    identity = {
        "name": "admin",
        "credentials": [{"accessKey": "admin", "secretKey": "secret-of-it"}],
        "actions": ["Admin"],
    }
    (folder / "s3.json").write_text(json.dumps({"identities": [identity]}))
    master, volume, filer, s3 = map(str, free_ports(4))
    command = [str(WEED), "server", "-dir=data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", f"-master.port={master}"]
    command += [f"-volume.port={volume}", f"-filer.port={filer}", "-s3", f"-s3.port={s3}", "-s3.port.iceberg=0"]
    command += ["-s3.port.lance=0", "-s3.config=s3.json", "-s3.iam.config=iam.json", "-volume.max=5"]
    with program(command, folder, f"http://127.0.0.1:{s3}") as url:
        made = s3_client(url, ("admin", "secret-of-it", ""))
        made.create_bucket(Bucket="orders")
        for name in ("1.json", "2026/2.json"):
            made.put_object(Bucket="orders", Key=name, Body=name.encode())
        yield url


@pytest.mark.skipif(WEED is None, reason="there is no weed")
def test_u1_backup_across_accounts(tmp_path: Path) -> None:
    page = "back-up-across-accounts.md"
    backups, data, job, end = blocks(page, "sh")
    with running(tmp_path / "daypass", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        iam = server.client("iam", ROOT_KEYS[TENANT])
        iam.create_user(UserName="admin")
        iam.attach_user_policy(UserName="admin", PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
        theirs = iam.create_access_key(UserName="admin")["AccessKey"]
        admin = theirs["AccessKeyId"], theirs["SecretAccessKey"]
        shell = Shell(server, tmp_path)
        for name, text in zip(
            ("assume.json", "trust.json", "token.json", "read.json"), blocks(page, "json"), strict=True
        ):
            shell.file(name, text)
        shell.file(
            "job.json", document(Principal={"AWS": f"arn:aws:iam::{TENANT}:user/admin"}, Action="sts:AssumeRole")
        )
        shell.done(backups, admin)
        shell.done(data)
        with store(tmp_path) as url:
            shell.addresses["http://store.example.com:8333"] = url
            (copy,) = blocks(page, "bash")
            shell.file("copy.sh", copy)
            shell.done(job, admin)
            made = {
                str(each.relative_to(tmp_path / "backup")): each.read_text()
                for each in (tmp_path / "backup").rglob("*.json")
            }
            assert made == {"1.json": "1.json", "2026/2.json": "2026/2.json"}
            assert "external-id" in job
            assert shell.run(job.replace("nightly-backup", "other"), admin).returncode == 4
            shell.file(
                "copy.sh", copy.replace("aws s3 sync s3://orders backup", "aws s3 cp trust.json s3://orders/1.json")
            )
            assert "AccessDenied" in shell.run(job, admin).stderr
            assert "backup-reader" in shell.done(end)
            refused = shell.run(job, admin)
            # The session that `exec` has kept is ended, and a new one is denied: which of both answers is a matter of timing.
            ended = refused.returncode == 3 and "ExpiredToken" in refused.stderr
            assert ended or (refused.returncode == 4 and "not authorized" in refused.stderr), refused.stderr


# --- U4: a service that acts for a person


def test_u4_service_acts_for_a_person(tmp_path: Path) -> None:
    page = "service-to-service.md"
    own, exchange, ask = blocks(page, "sh")
    company = Issuer("login.company.example", "ES256", "shop")
    with running(tmp_path / "daypass", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        shell, iam = Shell(server, tmp_path), server.client("iam")
        iam.create_open_id_connect_provider(Url=company.issuer, ClientIDList=["shop"])
        settings = {"settings": {"static_jwks": json.dumps(company.jwks())}}
        server.api("PUT", f"/providers/oidc/{company.url}/settings", body=settings)
        trust = {
            "Principal": {"Federated": f"arn:aws:iam::{OPERATOR}:oidc-provider/{company.url}"},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{company.url}:sub": "service-a", f"{company.url}:aud": "shop"}},
        }
        for name in ("service-a", "service-b"):
            iam.create_role(RoleName=name, AssumeRolePolicyDocument=document(**trust))
        may = document(Action="daypass:IntrospectToken", Resource=f"arn:aws:daypass::{OPERATOR}:session/*")
        iam.put_role_policy(RoleName="service-b", PolicyName="p", PolicyDocument=may)
        (through_a,) = blocks(page, "json")
        iam.create_role(RoleName="orders", AssumeRolePolicyDocument=through_a)
        server.api(
            "PUT",
            "/resource-servers/https%3A%2F%2Forders.example",
            body={"name": "orders", "settings": {"scopes": {"orders.read": {}}}},
        )
        iam.put_role_policy(
            RoleName="orders", PolicyName="p", PolicyDocument=document(Action="daypass:GetAccessToken", Resource="*")
        )
        now = time.time_ns() // 1_000_000
        shell.addresses["/var/run/secrets/token"] = str(tmp_path / "token")
        shell.file("token", company.token(now, sub="service-a"))
        proof = json.loads(shell.done(own))["access_token"]
        of_b = json.loads(shell.done(own.replace("role/service-a", "role/service-b")))["access_token"]
        ann = company.token(now, sub="ann")
        token = json.loads(shell.done(exchange, ANN=ann, OWN=proof))["access_token"]
        names: dict[str, Any] = {"jwt": jwt, "token": token}
        exec(shell.here(blocks(page, "python")[1]), names)  # our own page: what B does
        claims = names["claims"]
        assert (claims["act"]["sub"].partition(":")[0][:4], claims["scope"]) == ("AROA", "orders.read")
        assert "error" in json.loads(shell.done(exchange, ANN=ann, OWN=ann))  # without A
        assert json.loads(shell.done(ask, B_TOKEN=of_b, TOKEN=token))["active"] is True
        server.api("POST", "/revocations", body={"subject": "role", "value": f"arn:aws:iam::{OPERATOR}:role/service-a"})
        assert "error" in json.loads(shell.done(exchange, ANN=ann, OWN=proof))
        assert json.loads(shell.done(ask, B_TOKEN=of_b, TOKEN=token)) == {"active": False}


# --- U6: a function that reads a secret


@pytest.mark.skipif(BAO is None, reason="there is no bao")
def test_u6_function_reads_a_secret(world: Stores, bao: Bao, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    platform = Issuer("functions.example.com", "ES256", "daypass")
    iam = world.server.client("iam")
    made = iam.create_open_id_connect_provider(Url=platform.issuer, ClientIDList=["daypass"])
    settings = {"settings": {"static_jwks": json.dumps(platform.jwks())}}
    world.server.api("PUT", f"/providers/oidc/{platform.url}/settings", body=settings)
    condition = {"StringEquals": {f"{platform.url}:sub": "orders"}}
    trust = document(
        Principal={"Federated": made["OpenIDConnectProviderArn"]},
        Action="sts:AssumeRoleWithWebIdentity",
        Condition=condition,
    )
    iam.update_assume_role_policy(RoleName="orders", PolicyDocument=trust)
    (tmp_path / "token").write_text(platform.token(time.time_ns() // 1_000_000, sub="orders"))
    for line in blocks("functions.md", "sh")[1].splitlines():  # the variables of a function
        name, _, value = line.partition("=")
        value = value.replace("https://daypass.example.com", world.server.url).replace("/tmp/", f"{tmp_path}/")
        monkeypatch.setenv(name, value.replace("role/thumbnails", "role/orders"))
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    (code,) = blocks("functions.md", "python")
    names: dict[str, Any] = {}
    exec(code.replace("https://bao.example.com:8200", bao.url), names)  # our own page
    found: list[Any] = []
    thread = threading.Thread(target=lambda: found.append(names["secret"]("orders")))
    thread.start()
    thread.join()
    assert found == [{"password": "hunter2"}]
