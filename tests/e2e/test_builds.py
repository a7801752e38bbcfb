"""CI jobs and builds: the steps in `integrations/` against an issuer of this machine, and helpers for git, Docker and pip, each with
the stock program.
"""

from __future__ import annotations

import base64
import json
import os
import re
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
import yaml
from docker.credentials import Store
from docker.credentials.errors import CredentialsNotFound
from tests.e2e.conftest import OPERATOR, Server, running
from tests.issuer import Issuer

pytestmark = pytest.mark.slow
ROOT = Path(__file__).parents[2]
INTEGRATIONS = ROOT / "integrations"
CI = "ci.example.com"
ROLE = f"arn:aws:iam::{OPERATOR}:role/deployer"
WHO = f'{sys.executable} -c \'import boto3; print(boto3.client("sts").get_caller_identity()["Arn"])\''


@pytest.fixture(scope="module")
def issuer() -> Issuer:
    return Issuer(CI, audience="sts.amazonaws.com")


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, issuer: Issuer) -> Iterator[Server]:
    settings = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("builds"), environment=settings) as made:
        iam = made.client("iam")
        iam.create_open_id_connect_provider(Url=f"https://{CI}", ClientIDList=["sts.amazonaws.com"])
        body = {"settings": {"static_jwks": issuer.jwks()}}
        made.api("PUT", f"/providers/oidc/{CI}/settings", body=body)
        federated = {"Federated": f"arn:aws:iam::{OPERATOR}:oidc-provider/{CI}"}
        only = {"StringEquals": {f"{CI}:sub": "main"}}
        trust = [
            {"Effect": "Allow", "Principal": federated, "Action": "sts:AssumeRoleWithWebIdentity", "Condition": only},
            {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"},
        ]
        document = json.dumps({"Version": "2012-10-17", "Statement": trust})
        iam.create_role(RoleName="deployer", AssumeRolePolicyDocument=document)
        allowed = {"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
        iam.put_role_policy(RoleName="deployer", PolicyName="tokens", PolicyDocument=document)
        yield made


def token(issuer: Issuer, **claims: Any) -> str:
    return issuer.token(time.time_ns() // 1_000_000, **{"sub": "main", "aud": "sts.amazonaws.com", **claims})


def shell(script: str, folder: Path, environment: dict[str, str]) -> str:
    """The output of a step, which has the variables of the job alone."""
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
    ran = subprocess.run(
        ["bash", "-e", "-c", script],
        cwd=folder,
        env={**kept, "AWS_CONFIG_FILE": os.devnull, "AWS_EC2_METADATA_DISABLED": "true", **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    return ran.stdout.strip()


Answer = tuple[int, dict[str, str], bytes]


@contextmanager
def serving(answer: Callable[[str, str, Any, bytes], Answer]) -> Iterator[str]:
    """Serves (method, target, headers, body) on loopback; its URL."""

    class Handler(BaseHTTPRequestHandler):
        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, headers, content = answer(self.command, self.path, self.headers, body)
            self.send_response(status)
            for name, value in {**headers, "Content-Length": str(len(content))}.items():
                self.send_header(name, value)
            self.end_headers()
            self.wfile.write(content)

        do_GET = do_POST = do_HEAD = _serve  # noqa: N815  # the library's names

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as listening:
        threading.Thread(target=listening.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        yield f"http://127.0.0.1:{listening.server_port}"
        listening.shutdown()


# --- CI --------------------------------------------------------------------------------------------------------------


def test_github_action_gives_later_steps_the_role(server: Server, issuer: Issuer, tmp_path: Path) -> None:
    action = yaml.safe_load((INTEGRATIONS / "github/action.yml").read_text())
    (step,) = action["runs"]["steps"]
    given = {"endpoint": server.url, "role-arn": ROLE, "region": "eu-central-1"}
    inputs = {name: each.get("default", "") for name, each in action["inputs"].items()} | given
    filled = {
        name: re.sub(r"\$\{\{ inputs\.([\w-]+) \}\}", lambda m: inputs[m[1]], v) for name, v in step["env"].items()
    }

    def answer(_method: str, target: str, headers: Any, _body: bytes) -> Answer:
        if headers["authorization"] != "bearer of-the-job" or "audience=sts.amazonaws.com" not in target:
            return 401, {}, b""
        return 200, {}, json.dumps({"value": token(issuer)}).encode()

    job = {"RUNNER_TEMP": str(tmp_path), "GITHUB_ENV": str(tmp_path / "env"), "GITHUB_RUN_ID": "812"}
    with serving(answer) as url:
        asked = {
            "ACTIONS_ID_TOKEN_REQUEST_URL": f"{url}/token?api-version=2",
            "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "of-the-job",
        }
        assert shell(step["run"], tmp_path, {**job, **filled, **asked}) == "", "the token is not shown"
        with pytest.raises(AssertionError, match="id-token: write"):
            shell(step["run"], tmp_path, {**job, **filled})
        with pytest.raises(AssertionError, match="401"):
            shell(step["run"], tmp_path, {**job, **filled, **asked, "ACTIONS_ID_TOKEN_REQUEST_TOKEN": "another"})
    later = dict(line.split("=", 1) for line in (tmp_path / "env").read_text().splitlines())
    assert shell(WHO, tmp_path, later) == f"arn:aws:sts::{OPERATOR}:assumed-role/deployer/run-812"
    assert Path(later["AWS_WEB_IDENTITY_TOKEN_FILE"]).stat().st_mode & 0o077 == 0


def test_gitlab_component_gives_a_job_the_role(server: Server, issuer: Issuer, tmp_path: Path) -> None:
    header, text = (INTEGRATIONS / "gitlab/templates/role.yml").read_text().split("---\n")
    given = {"endpoint": server.url, "role-arn": ROLE}
    inputs = {n: each.get("default", "") for n, each in yaml.safe_load(header)["spec"]["inputs"].items()} | given
    job = yaml.safe_load(re.sub(r"\$\[\[ inputs\.([\w-]+) \]\]", lambda m: inputs[m[1]], text))[".daypass"]
    assert job["id_tokens"] == {"DAYPASS_TOKEN": {"aud": "https://gitlab.com"}}
    variables = {name: value.replace("$CI_PIPELINE_ID", "77") for name, value in job["variables"].items()}
    script = "\n".join([*job["before_script"], WHO])
    who = shell(script, tmp_path, {**variables, "DAYPASS_TOKEN": token(issuer)})
    assert who == f"arn:aws:sts::{OPERATOR}:assumed-role/deployer/pipeline-77"


def test_buildkite_hook_gives_a_step_the_role(server: Server, issuer: Issuer, tmp_path: Path) -> None:
    agent = tmp_path / "buildkite-agent"
    agent.write_text(
        f'#!/bin/sh\n[ "$*" = "oidc request-token --audience sts.amazonaws.com" ] && echo {token(issuer)}\n'
    )
    agent.chmod(0o755)
    environment = {"DAYPASS_ENDPOINT": server.url, "DAYPASS_ROLE_ARN": ROLE, "BUILDKITE_JOB_ID": "9"}
    environment["PATH"] = f"{tmp_path}:{os.environ['PATH']}"
    script = f". {INTEGRATIONS}/buildkite/hooks/environment\n{WHO}"
    assert shell(script, tmp_path, environment) == f"arn:aws:sts::{OPERATOR}:assumed-role/deployer/job-9"


def test_jenkins_pipeline_gives_a_build_the_role(server: Server, issuer: Issuer, tmp_path: Path) -> None:
    """Jenkins itself is in no package registry: its file's environment and `sh` steps are taken as they are written."""
    text = (INTEGRATIONS / "jenkins/Jenkinsfile").read_text()
    block = re.search(r"environment \{(.*?)\n  \}", text, re.DOTALL)
    assert block
    found = dict(re.findall(r"^\s+(\w+) = ['\"](.+)['\"]$", block[1], re.MULTILINE))
    assert "AWS_WEB_IDENTITY_TOKEN_FILE = credentials('daypass-token')" in block[1]
    (tmp_path / "token").write_text(token(issuer))
    found |= {"AWS_WEB_IDENTITY_TOKEN_FILE": str(tmp_path / "token"), "AWS_ENDPOINT_URL_STS": server.url}
    found["AWS_ROLE_SESSION_NAME"] = found["AWS_ROLE_SESSION_NAME"].replace("${env.BUILD_NUMBER}", "5")
    found["PATH"] = f"{Path(sys.executable).parent}:{os.environ['PATH']}"  # with the AWS CLI
    (step,) = re.findall(r"^\s+sh '(.+)'$", text, re.MULTILINE)
    answered = json.loads(shell(step, tmp_path, found))
    assert answered["Arn"] == f"arn:aws:sts::{OPERATOR}:assumed-role/deployer/build-5"
    (tmp_path / "token").write_text(token(issuer, sub="fork"))
    with pytest.raises(AssertionError, match="Not authorized to perform sts:AssumeRoleWithWebIdentity"):
        shell(step, tmp_path, found)


# --- Builds ----------------------------------------------------------------------------------------------------------


def accepted(server: Server, text: str, audience: str) -> bool:
    """Whether a repository that asks Daypass lets the bearer in."""
    server.api("PUT", f"/resource-servers/{quote(audience, safe='')}", body={"name": "packages", "settings": {}})
    review = {
        "apiVersion": "authentication.k8s.io/v1",
        "kind": "TokenReview",
        "spec": {"token": text, "audiences": [audience]},
    }
    request = urllib.request.Request(f"{server.url}/kubernetes/token-review", json.dumps(review).encode())
    with urllib.request.urlopen(request, timeout=30) as answer:
        return bool(json.load(answer)["status"]["authenticated"])


@pytest.fixture
def own(server: Server, tmp_path: Path) -> dict[str, str]:
    """The environment of a person with a profile; programs of this installation are on PATH."""
    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    return {**server.environment(), "DAYPASS_HOME": str(tmp_path / "home"), "HOME": str(tmp_path), "PATH": path}


def test_git_clones_with_a_bearer_token(server: Server, tmp_path: Path, own: dict[str, str]) -> None:
    bare, work = tmp_path / "srv/orders.git", tmp_path / "work"
    identity = ("-c", "user.name=ann", "-c", "user.email=ann@example.com")
    for command in (
        ("init", "-q", "--bare", "-b", "main", str(bare)),
        ("init", "-q", "-b", "main", str(work)),
        ("-C", str(work), *identity, "commit", "-q", "--allow-empty", "-m", "first"),
        ("-C", str(work), "push", "-q", str(bare), "main"),
    ):
        subprocess.run(["git", *command], check=True, timeout=60, capture_output=True)
    seen: list[str] = []

    def answer(method: str, target: str, headers: Any, body: bytes) -> Answer:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        if scheme != "Bearer" or not accepted(server, text, "https://git.example"):
            return 401, {"WWW-Authenticate": 'Bearer realm="git"'}, b""
        seen.append(text)
        path, _, query = target.partition("?")
        cgi = {
            "GIT_PROJECT_ROOT": str(bare.parent),
            "GIT_HTTP_EXPORT_ALL": "1",
            "PATH_INFO": path,
            "REQUEST_METHOD": method,
        }
        cgi |= {
            "QUERY_STRING": query,
            "CONTENT_TYPE": headers.get("content-type", ""),
            "CONTENT_LENGTH": str(len(body)),
        }
        cgi |= {"GIT_PROTOCOL": headers.get("git-protocol", ""), "PATH": os.environ["PATH"], "HOME": str(tmp_path)}
        ran = subprocess.run(["git", "http-backend"], input=body, env=cgi, capture_output=True, timeout=60, check=True)
        head, _, content = ran.stdout.partition(b"\r\n\r\n")
        found = dict(line.split(": ", 1) for line in head.decode().splitlines())
        return int(found.pop("Status", "200").split()[0]), found, content

    with serving(answer) as url:
        helper = f"!{sys.executable} -m daypass.cli.main credential-helper git --role deployer --audience https://git.example"
        clone = [
            "git",
            "-c",
            f"credential.{url}.helper={helper}",
            "clone",
            "-q",
            f"{url}/orders.git",
            str(tmp_path / "clone"),
        ]
        without = ["git", "ls-remote", f"{url}/orders.git"]
        never = {**own, "GIT_TERMINAL_PROMPT": "0", "GIT_CONFIG_NOSYSTEM": "1"}
        assert subprocess.run(without, env=never, capture_output=True, timeout=60, check=False).returncode
        ran = subprocess.run(clone, env=never, capture_output=True, text=True, timeout=120, check=False)
    assert ran.returncode == 0, ran.stderr
    assert seen
    assert (tmp_path / "clone/.git").is_dir()


@pytest.mark.parametrize(
    "asked",
    [
        "protocol=http\nhost=git.example\n",
        "protocol=https\n",
        "",
        "host\n",
        "protocol=http\nhost=git.example:127.0.0.1\n",
    ],
)
def test_a592_git_gets_no_token_for_a_host_without_tls(own: dict[str, str], asked: str) -> None:
    command = [sys.executable, "-m", "daypass.cli.main", "credential-helper", "git", "get"]
    ran = subprocess.run(command, input=asked, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert "=" not in ran.stdout, ran.stderr


def test_a592_docker_gets_a_token_for_a_registry_that_was_named(
    server: Server, own: dict[str, str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of credential helpers is that of Docker's own SDK."""
    monkeypatch.setenv("PATH", own["PATH"])
    store = Store("daypass", environment={**own, "DAYPASS_CREDENTIAL_HOSTS": "registry.example.com=deployer"})
    got = store.get("https://registry.example.com/v2/")
    assert got["Username"] == "daypass"
    assert accepted(server, got["Secret"], "https://registry.example.com")
    for other in ("docker.io", "http://registry.example.com", "registry.example.com.evil.example", "https://["):
        with pytest.raises(CredentialsNotFound):
            store.get(other)
    assert store.list() == {}


def test_pip_downloads_with_a_token_by_keyring(server: Server, tmp_path: Path, own: dict[str, str]) -> None:
    packages = tmp_path / "keyring"
    fetch = [sys.executable, "-m", "pip", "install", "-q", "--target", str(packages), "keyring"]
    if subprocess.run(fetch, capture_output=True, timeout=300, check=False).returncode:
        pytest.skip("keyring cannot be installed")
    download = [
        sys.executable,
        "-m",
        "pip",
        "download",
        "-q",
        "--no-deps",
        "-d",
        str(tmp_path / "first"),
        "jsonpointer",
    ]
    subprocess.run(download, check=True, capture_output=True, timeout=300)
    (wheel,) = (tmp_path / "first").glob("*.whl")

    def answer(_method: str, target: str, headers: Any, _body: bytes) -> Answer:
        scheme, _, text = headers.get("authorization", "").partition(" ")
        user, _, password = base64.b64decode(text).decode().partition(":") if scheme == "Basic" else ("", "", "")
        if user != "daypass" or not accepted(server, password, f"https://{headers['host']}"):
            return 401, {"WWW-Authenticate": 'Basic realm="packages"'}, b""
        if target.endswith(".whl"):
            return 200, {"Content-Type": "application/octet-stream"}, wheel.read_bytes()
        page = f'<!DOCTYPE html><html><body><a href="/{wheel.name}">{wheel.name}</a></body></html>'
        return 200, {"Content-Type": "text/html"}, page.encode()

    with serving(answer) as url:
        host = url.removeprefix("http://")
        environment = {**own, "PYTHONPATH": str(packages), "DAYPASS_CREDENTIAL_HOSTS": f"{host}=deployer"}
        command = [sys.executable, "-m", "pip", "download", "--no-deps", "--keyring-provider", "import"]
        command += [
            "--no-input",
            "--index-url",
            f"http://daypass@{host}/simple/",
            "-d",
            str(tmp_path / "got"),
            "jsonpointer",
        ]
        ran = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
        assert ran.returncode == 0, ran.stderr
        assert (tmp_path / "got" / wheel.name).read_bytes() == wheel.read_bytes()
        environment["DAYPASS_CREDENTIAL_HOSTS"] = "another.example"
        ran = subprocess.run(
            [*command, "--no-cache-dir"], env=environment, capture_output=True, text=True, timeout=120, check=False
        )
        assert ran.returncode != 0
