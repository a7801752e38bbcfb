"""`daypass agent` in front of a real server: stock SDKs find it by their standard environment, and it outlives its server."""

from __future__ import annotations

import json
import os
import secrets
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path

import jwt
import pytest
from tests.agent import RunningAgent, configured, running_agent
from tests.e2e.cli.sdks import CLIENTS, command
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, Server, running
from tests.issuer import Issuer

pytestmark = [pytest.mark.parametrize("server", ["sqlite"], indirect=True), pytest.mark.slow]

CONFIG = """
check = 1.0
[roles.app]
arn = "{role}"
session_name = "host-1"
duration = 900
token_file = "{folder}/app.token"
"""
METADATA = '[metadata]\nrole = "app"\nlisten = "127.0.0.1:0"\n'


def make_role(server: Server) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    name = f"agent-{secrets.token_hex(4)}"
    server.client("iam").create_role(RoleName=name, AssumeRolePolicyDocument=trust)
    return name


def config_for(server: Server, folder: Path, role: str, more: str = "") -> Path:
    arn = f"arn:aws:iam::{OPERATOR}:role/{role}"
    return configured(folder, CONFIG.format(role=arn, folder=folder) + more + METADATA, server.url, ADMIN_KEY)


def ways(agent: RunningAgent, folder: Path) -> dict[str, dict[str, str]]:
    """A program's environment, for each way in which SDKs find the agent."""
    return {
        "container": {
            "AWS_CONTAINER_CREDENTIALS_FULL_URI": f"{agent.addresses['container']}/roles/app",
            "AWS_CONTAINER_AUTHORIZATION_TOKEN_FILE": str(folder / "app.token"),
        },
        "metadata": {"AWS_EC2_METADATA_SERVICE_ENDPOINT": f"{agent.addresses['metadata']}/"},
        "file": {"AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials")},
    }


def who(client: str, server: Server, environment: dict[str, str], home: Path) -> str:
    regions = {"AWS_REGION": "us-east-1", "AWS_DEFAULT_REGION": "us-east-1"}
    own = {"PATH": os.environ["PATH"], "HOME": str(home), "AWS_ENDPOINT_URL": server.url, **regions, "AWS_PAGER": ""}
    ran = subprocess.run(
        command(client), env={**own, **environment}, capture_output=True, text=True, timeout=60, check=False
    )
    assert ran.returncode == 0, ran.stderr
    return str(json.loads(ran.stdout[ran.stdout.index("{") :])["arn"])


def test_stock_sdks_find_the_agent_by_their_standard_environment(server: Server, tmp_path: Path) -> None:
    role = make_role(server)
    file = f'[[roles.app.file]]\npath = "{tmp_path}/credentials"\nform = "credentials"\n'
    session = f"arn:aws:sts::{OPERATOR}:assumed-role/{role}/host-1"
    tried = set()
    with running_agent(tmp_path, config_for(server, tmp_path, role, file)) as agent:
        agent.until((tmp_path / "credentials").exists)
        for client in CLIENTS:
            for way, environment in ways(agent, tmp_path).items():
                try:
                    seen = who(client, server, environment, tmp_path)
                except pytest.skip.Exception:
                    continue
                assert (client, way, seen) == (client, way, session)
                tried.add(client)
        assert agent.metrics()['daypass_agent_renewals_total{role="app"}'] == 1
    assert {"boto3", "AWS CLI 1"} <= tried


@pytest.fixture
def issuing(tmp_path: Path, server: Server) -> Iterator[Server]:
    """A server that issues access tokens."""
    with running(tmp_path / "data", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as started:
        yield started


def test_agent_writes_files_gives_its_socket_and_replaces_a_revoked_session(issuing: Server, tmp_path: Path) -> None:
    server = issuing
    role = make_role(server)
    (tmp_path / "app.conf.in").write_text("key=$AccessKeyId\nregion=$Region\nbearer=$Token\n")
    files = f"""
[[roles.app.file]]
path = "{tmp_path}/token.jwt"
form = "jwt"
audience = "https://orders.example"
[[roles.app.file]]
path = "{tmp_path}/app.conf"
form = "template"
template = "{tmp_path}/app.conf.in"
audience = "https://orders.example"
mode = "0640"
reload = ["/bin/sh", "-c", "echo again >> {tmp_path}/reloads"]
"""
    with running_agent(tmp_path, config_for(server, tmp_path, role, files)) as agent:
        first = agent.credentials()
        agent.until((tmp_path / "reloads").exists)
        token = (tmp_path / "token.jwt").read_text()
        claims = jwt.decode(token, options={"verify_signature": False})
        assert claims["aud"] == "https://orders.example"
        filled = dict(line.split("=", 1) for line in (tmp_path / "app.conf").read_text().splitlines())
        assert filled == {"key": first["AccessKeyId"], "region": "us-east-1", "bearer": token}
        assert (tmp_path / "app.conf").stat().st_mode & 0o777 == 0o640
        printed = json.loads(agent.run("credentials", "app").stdout)
        assert (printed["Version"], printed["AccessKeyId"]) == (1, first["AccessKeyId"])
        assert agent.get("container", "/healthz") == (200, "ok\n")
        status = json.loads(agent.run("status", "--output", "json").stdout)
        assert [(each["role"], each["valid"]) for each in status["roles"]] == [("app", True)]
        assert status["endpoints"] == [{"endpoint": server.url, "called": True, "problem": ""}]
        assert first["SecretAccessKey"] not in json.dumps(status)

        key = (first["AccessKeyId"], first["SecretAccessKey"], first["Token"])
        server.api("POST", "/revocations", key=ROOT_KEYS[OPERATOR], body={"subject": "access_key", "value": key[0]})
        agent.until(lambda: agent.credentials()["AccessKeyId"] != key[0])
        agent.until(lambda: (tmp_path / "reloads").read_text() == "again\nagain\n")
        assert agent.credentials()["AccessKeyId"] in (tmp_path / "app.conf").read_text()


def test_a92_killed_agent_serves_its_sealed_cache_while_the_server_is_away(tmp_path: Path, server: Server) -> None:
    folder = tmp_path / "agent"
    folder.mkdir()
    with running(tmp_path / "data") as own:
        role = make_role(own)
        config = config_for(own, folder, role)
        with running_agent(folder, config) as agent:
            first = agent.credentials()
            agent.process.kill()
    cached = list((folder / "state/cache").glob("*.json"))
    assert len(cached) == 1
    assert first["SecretAccessKey"] not in cached[0].read_text()
    with running_agent(folder, config) as agent:
        assert agent.credentials() == first  # the server has ended
        assert agent.run("status").returncode == 0


@pytest.mark.parametrize("poison", ["changed", "another role's", "plain"])
def test_agent_refuses_a_poisoned_cache(poison: str, tmp_path: Path, server: Server) -> None:
    role, other = make_role(server), make_role(server)
    second = f'[roles.other]\narn = "arn:aws:iam::{OPERATOR}:role/{other}"\ntoken_file = "{tmp_path}/other.token"\n'
    config = config_for(server, tmp_path, role, second)
    with running_agent(tmp_path, config) as agent:
        keys = {name: agent.credentials(name)["AccessKeyId"] for name in ("app", "other")}
    one, two = sorted((tmp_path / "state/cache").glob("*.json"))
    texts = one.read_text(), two.read_text()
    plain = json.dumps({"access_key_id": "ASIAEVIL000000000000", "secret_access_key": "s", "session_token": "t"})
    middle = len(texts[0]) // 2
    flipped = texts[0][:middle] + ("A" if texts[0][middle] != "A" else "B") + texts[0][middle + 1 :]
    one.write_text({"changed": flipped, "another role's": texts[1], "plain": plain}[poison])
    with running_agent(tmp_path, config) as agent:
        after = {name: agent.credentials(name)["AccessKeyId"] for name in ("app", "other")}
        assert len(set(after.values()) & set(keys.values())) == 1  # the poisoned one is new
        assert agent.metrics()["daypass_agent_cache_refused_total"] >= 1


def test_agent_goes_to_the_second_endpoint_and_leaves_the_first_alone(server: Server, tmp_path: Path) -> None:
    config = config_for(server, tmp_path, make_role(server))
    config.write_text(f'endpoints = ["http://127.0.0.1:1", "{server.url}"]\n{config.read_text()}')
    with running_agent(tmp_path, config) as agent:
        assert agent.credentials()["Token"]
        status = json.loads(agent.run("status", "--output", "json").stdout)
        assert "127.0.0.1:1" in status["endpoints"][0]["endpoint"]
        assert "refused" in status["endpoints"][0]["problem"]
        assert status["endpoints"][1] == {"endpoint": server.url, "called": True, "problem": ""}


def test_agent_without_a_key_proves_itself_by_a_token_that_is_renewed_in_its_file(
    server: Server, tmp_path: Path
) -> None:
    issuer = Issuer(f"host-{secrets.token_hex(4)}.example.com", "ES256", "sts.amazonaws.com")
    iam = server.client("iam")
    provider = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["sts.amazonaws.com"])
    settings = {"static_jwks": json.dumps(issuer.jwks()), "one_time": True}
    server.api("PUT", f"/providers/oidc/{issuer.url}/settings", body={"settings": settings})
    statement = {
        "Effect": "Allow",
        "Principal": {"Federated": provider["OpenIDConnectProviderArn"]},
        "Action": "sts:AssumeRoleWithWebIdentity",
        "Condition": {"StringEquals": {f"{issuer.url}:sub": "host-1"}},
    }
    trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
    role = iam.create_role(RoleName=f"host-{secrets.token_hex(4)}", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
    text = f"""
endpoints = ["{server.url}"]
[source]
web_identity_token_file = "{tmp_path}/identity"
[roles.app]
arn = "{role}"
token_file = "{tmp_path}/app.token"
"""
    config = configured(tmp_path, text, server.url, ADMIN_KEY)
    (tmp_path / "home/profiles.json").unlink()
    (tmp_path / "identity").write_text(issuer.token(time.time_ns() // 1_000_000, sub="somebody", jti="1"))
    with running_agent(tmp_path, config) as agent:
        token = (tmp_path / "app.token").read_text()
        status, body = agent.get("container", "/roles/app", authorization=token)
        assert (status, "Not authorized" in body["message"]) == (503, True)
        (tmp_path / "identity").write_text(issuer.token(time.time_ns() // 1_000_000, sub="host-1", jti="2"))
        agent.until(lambda: agent.get("container", "/roles/app", authorization=token)[0] == 200)
        assert agent.credentials()["AccessKeyId"].startswith("ASIA")


def test_second_agent_on_the_same_state_is_refused(server: Server, tmp_path: Path) -> None:
    config = config_for(server, tmp_path, make_role(server))
    with running_agent(tmp_path, config) as agent:
        ran = agent.run("run")
    assert (ran.returncode, "Another agent uses" in ran.stderr) == (6, True)
