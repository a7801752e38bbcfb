"""`daypass k8s`: the webhook gives pods their role, as the published schemas allow, and kubectl gets a token that the API
server has reviewed. There is no real API server in any registry: tests/kubernetes_api.py stands for it.
"""

from __future__ import annotations

import base64
import copy
import http.client
import json
import os
import re
import shutil
import socket
import ssl
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote

import jsonpatch
import pytest
import yaml
from tests.e2e.cli.sdks import go_program
from tests.e2e.conftest import OPERATOR, Server, running
from tests.e2e.pki import Pki
from tests.e2e.test_kubernetes import configure, role_for
from tests.e2e.test_own_proxy import LENGTHS
from tests.kubernetes_api import AUDIENCE, READER, Cluster, cluster, validate
from tests.processes import bound

pytestmark = pytest.mark.slow
ROLE_ARN, TOKEN = "eks.amazonaws.com/role-arn", "eks.amazonaws.com/token-expiration"
KUBECTL = shutil.which("kubectl", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
POD: dict[str, Any] = {
    "apiVersion": "v1",
    "kind": "Pod",
    "metadata": {"name": "orders-1", "namespace": "shop", "labels": {"app": "orders"}},
    "spec": {
        "serviceAccountName": "orders",
        "containers": [
            {"name": "app", "image": "orders:1", "env": [{"name": "AWS_REGION", "value": "eu-west-1"}]},
            {"name": "logs", "image": "logs:1"},
        ],
    },
}
WHO = "import boto3; print(boto3.Session().client('sts').get_caller_identity()['Arn'])"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with running(tmp_path_factory.mktemp("daypass"), environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as made:
        yield made


@dataclass
class World:
    """A cluster with a running webhook. `kubelet`: the folder in which it runs pods."""

    cluster: Cluster
    url: str
    tls: ssl.SSLContext
    pki: Pki
    kubelet: Path

    def admit(self, pod: dict[str, Any], path: str = "/mutate") -> dict[str, Any]:
        """The webhook's answer, as the API server reads it."""
        asked = {"uid": "5c1b0f6e", "namespace": "shop", "operation": "CREATE", "object": pod}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}).encode()
        answer = self.post(f"{path}?timeout=10s", body)
        assert (answer["apiVersion"], answer["kind"]) == ("admission.k8s.io/v1", "AdmissionReview")
        assert answer["response"]["uid"] == "5c1b0f6e"
        return dict(answer["response"])

    def post(self, path: str, body: bytes) -> Any:
        request = urllib.request.Request(self.url + path, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
            return json.load(answer)

    def admitted(self, pod: dict[str, Any]) -> dict[str, Any]:
        """The pod as it is stored: patched, and valid by the published schema."""
        response = self.admit(pod)
        assert (response["allowed"], response["patchType"]) == (True, "JSONPatch"), response
        made: dict[str, Any] = jsonpatch.apply_patch(pod, json.loads(base64.b64decode(response["patch"])))
        validate(made)
        return made

    def run(self, pod: dict[str, Any], name: str) -> tuple[dict[str, str], list[str]]:
        """As a kubelet does: writes the files of the pod's volumes; environment and command of a container of it."""
        places = {}
        for volume in pod["spec"].get("volumes", ()):
            places[volume["name"]] = folder = self.kubelet / volume["name"]
            folder.mkdir(exist_ok=True)
            if "projected" in volume:
                wanted = volume["projected"]["sources"][0]["serviceAccountToken"]
                account = pod["spec"]["serviceAccountName"]
                token = self.cluster.token("shop", account, "orders-1", aud=[wanted["audience"]])
                (folder / wanted["path"]).write_text(token)
            for item in volume.get("downwardAPI", {}).get("items", ()):
                named = re.fullmatch(r"metadata\.annotations\['(.+)'\]", item["fieldRef"]["fieldPath"])
                assert named
                text = pod["metadata"]["annotations"][named[1]]
                (folder / item["path"]).write_text(self.here(text, pod, places))
        everyone = [*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]]
        container = next(each for each in everyone if each["name"] == name)
        environment = {each["name"]: self.here(each["value"], pod, places) for each in container.get("env", ())}
        return environment, [self.here(word, pod, places) for word in container.get("command", ())]

    def here(self, text: str, pod: dict[str, Any], places: dict[str, Path]) -> str:
        """A text with the paths of the pod's mounts as they are on this machine."""
        for container in (*pod["spec"].get("initContainers", ()), *pod["spec"]["containers"]):
            for mount in container.get("volumeMounts", ()):
                text = text.replace(mount["mountPath"], str(places.get(mount["name"], "/none")))
        return text


@pytest.fixture
def world(server: Server, tmp_path: Path) -> Iterator[World]:
    with cluster(tmp_path, lambda: time.time_ns() // 1_000_000) as made:
        made.run_pod("shop", "orders-1")
        account = tmp_path / "account"
        account.mkdir()
        (account / "token").write_text(READER)
        (account / "ca.crt").write_text(made.ca_pem)
        (tmp_path / "tls").mkdir()
        pki = Pki(tmp_path / "tls")
        with webhook(server, made, account, pki) as url:
            tls = ssl.create_default_context(cafile=str(pki.ca))
            configure(server, made)
            (tmp_path / "kubelet").mkdir()
            yield World(made, url, tls, pki, tmp_path / "kubelet")


@contextmanager
def webhook(server: Server, api: Cluster, account: Path, pki: Pki) -> Iterator[str]:
    command = [
        sys.executable,
        "-m",
        "daypass.cli.main",
        "k8s",
        "webhook",
        "--endpoint",
        server.url,
        "--audience",
        "daypass",
    ]
    command += ["--region", "eu-central-1", "--agent-image", "daypass:test", "--listen", "127.0.0.1:0"]
    command += ["--cert", str(pki.server_cert), "--key", str(pki.server_key)]
    process = subprocess.Popen(
        bound([*command, "--api", api.url, "--account", str(account)]), stderr=subprocess.PIPE, text=True
    )
    assert process.stderr is not None
    try:
        found = re.search(r"https://127\.0\.0\.1:\d+", line := process.stderr.readline())
        assert found, line + process.stderr.read()
        yield found[0]
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


def program(environment: dict[str, str], script: str = WHO) -> str:
    """The output of a program in a container: it has the container's environment, and nothing else of AWS."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DAYPASS_"))}
    ran = subprocess.run(
        [sys.executable, "-c", script], env={**kept, "AWS_CONFIG_FILE": os.devnull, **environment},
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    return ran.stdout.strip() or ran.stderr


def changed(**metadata: Any) -> dict[str, Any]:
    pod = copy.deepcopy(POD)
    pod["metadata"].update(metadata)
    return pod


def test_pod_of_an_annotated_service_account_has_its_role(server: Server, world: World) -> None:
    role = role_for(server, "shop", "orders")
    world.cluster.accounts["shop", "orders"] = {ROLE_ARN: role, TOKEN: "3600"}
    pod = world.admitted(changed(annotations={"eks.amazonaws.com/skip-containers": "logs"}))
    environment, _ = world.run(pod, "app")
    assert environment["AWS_REGION"] == "eu-west-1", "what the pod says stays"
    assert program(environment).startswith(f"arn:aws:sts::{OPERATOR}:assumed-role/{role.rpartition('/')[2]}/")
    assert "env" not in pod["spec"]["containers"][1]
    source = pod["spec"]["volumes"][0]["projected"]["sources"][0]["serviceAccountToken"]
    assert source == {"audience": "daypass", "expirationSeconds": 3600, "path": "token"}
    assert "patch" not in world.admit(pod), "it is served once"


def test_pod_with_an_agent_has_its_role_without_a_token(
    server: Server, world: World, unused_tcp_port_factory: Any
) -> None:
    role = role_for(server, "shop", "orders")
    world.cluster.accounts["shop", "orders"] = {ROLE_ARN: role, "daypass.dev/agent": "true"}
    pod = world.admitted(POD)
    agent, command = world.run(pod, "daypass-agent")
    app, _ = world.run(pod, "app")
    assert not any("mountPath" in each for each in pod["spec"]["containers"][0].get("volumeMounts", ()))
    file, port = Path(command[-1]), str(unused_tcp_port_factory())
    text = file.read_text().replace(":8711", f":{port}")
    file.write_text(f'listen = "127.0.0.1:{unused_tcp_port_factory()}"\n{text}')
    file.chmod(0o644)
    run = bound([sys.executable, "-m", "daypass.cli.main", *command[1:]])
    process = subprocess.Popen(run, env={**os.environ, **agent}, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        while f":{port}" not in (line := process.stderr.readline()):
            assert line, "the agent ended"
        app["AWS_EC2_METADATA_SERVICE_ENDPOINT"] = app["AWS_EC2_METADATA_SERVICE_ENDPOINT"].replace("8711", port)
        waiting = {**app, "AWS_METADATA_SERVICE_NUM_ATTEMPTS": "5", "AWS_METADATA_SERVICE_TIMEOUT": "20"}
        assert program(waiting).startswith(f"arn:aws:sts::{OPERATOR}:assumed-role/{role.rpartition('/')[2]}/")
    finally:
        process.terminate()
        process.wait(60)
        process.stderr.close()


@pytest.mark.parametrize(
    ("annotations", "why"),
    [
        ({ROLE_ARN: "orders"}, "is not the ARN of a role"),
        ({ROLE_ARN: f"arn:aws:iam::{OPERATOR}:user/eve"}, "is not the ARN of a role"),
        ({ROLE_ARN: f"arn:aws:iam::{OPERATOR}:role/x", TOKEN: "60"}, "is not a number of 600"),
        ({ROLE_ARN: f"arn:aws:iam::{OPERATOR}:role/x", TOKEN: "９００"}, "is not a number of 600"),
        (None, "the service account could not be read"),
    ],
)
def test_pod_that_cannot_be_served_is_refused_where_a_role_is_required(
    world: World, annotations: dict[str, str] | None, why: str
) -> None:
    if annotations is None:
        world.cluster.stop()  # the API server is away
    else:
        world.cluster.accounts["shop", "orders"] = annotations
    closed, opened = world.admit(POD, "/mutate/required"), world.admit(POD)
    assert (closed["allowed"], closed["status"]["code"]) == (False, 403)
    assert why in closed["status"]["message"]
    assert (opened["allowed"], "patch" in opened, why in opened["warnings"][0]) == (True, False, True)


def test_pod_without_annotations_is_left_alone_and_other_bodies_are_refused(world: World) -> None:
    assert world.admit(POD, "/mutate/required") == {"uid": "5c1b0f6e", "allowed": True}
    for body in (b"", b"[]", b"{}", b"[" * 100_000, b'{"apiVersion":"admission.k8s.io/v1beta1","request":{}}', b"\xff"):
        with pytest.raises(urllib.request.HTTPError, match="400"):
            world.post("/mutate", body)


def test_answers_are_those_of_kubernetes_own_types(world: World) -> None:
    """AdmissionReview is in no published schema. Debian has the types with which an API server decodes it."""
    program = go_program("admission_review", "k8s.io/api/admission/v1")
    if not program:
        pytest.skip("Go or golang-k8s-api-dev is not installed")
    sent: list[dict[str, Any]] = []
    for given in ({}, {ROLE_ARN: f"arn:aws:iam::{OPERATOR}:role/x"}, {ROLE_ARN: "x"}):
        world.cluster.accounts["shop", "orders"] = given
        for path in ("/mutate", "/mutate/required"):
            answer = world.admit(POD, path)
            sent.append({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "response": answer})
    lines = "".join(json.dumps(each) + "\n" for each in sent)
    read = subprocess.run([program], input=lines, capture_output=True, text=True, check=False)
    assert read.returncode == 0, read.stderr
    head = "admission.k8s.io/v1 AdmissionReview 5c1b0f6e"  # then: allowed, patched, with a warning
    assert read.stdout.splitlines() == [
        *[f"{head} true false false"] * 2,
        *[f"{head} true true false"] * 2,
        f"{head} true false true",
        f"{head} false false false",
    ]


@pytest.mark.parametrize("length", LENGTHS)
def test_malformed_length_of_a_body_is_refused(world: World, length: bytes) -> None:
    host, port = world.url.removeprefix("https://").split(":")
    with (
        socket.create_connection((host, int(port)), 20) as plain,
        world.tls.wrap_socket(plain, server_hostname=host) as tls,
    ):
        tls.sendall(b"POST /mutate HTTP/1.1\r\nHost: x\r\nContent-Length: %b\r\n\r\n{}" % length)
        answer = http.client.HTTPResponse(tls)
        answer.begin()
        assert (answer.status, b"Content-Length" in answer.read()) == (413, True)
        answer.close()
    world.admit(POD)


def test_new_certificate_is_served_without_a_restart(world: World) -> None:
    world.admit(POD)
    (world.kubelet / "new").mkdir()
    new = Pki(world.kubelet / "new")
    new.server_key.replace(world.pki.server_key)  # the files do not fit together now
    world.admit(POD)
    new.server_cert.replace(world.pki.server_cert)
    with pytest.raises(OSError, match="CERTIFICATE_VERIFY_FAILED"):
        world.admit(POD)
    world.tls = ssl.create_default_context(cafile=str(new.ca))
    world.admit(POD)


def test_a590_thief_of_the_webhooks_certificate_cannot_give_a_pod_another_role(server: Server, world: World) -> None:
    """A patch can name any role, but the token is the pod's own."""
    role = role_for(server, "shop", "payments")
    world.cluster.accounts["shop", "orders"] = {ROLE_ARN: role}
    environment, _ = world.run(world.admitted(POD), "app")
    assert "AccessDenied" in program(environment)
    (denied,) = server.api("GET", "/audit/events", query={"error": "access_denied"})["records"]
    assert denied["event"]["operation"] == "sts:AssumeRoleWithWebIdentity", denied


def test_manifest_is_valid() -> None:
    documents = list(yaml.safe_load_all(Path("deploy/kubernetes/webhook.yaml").read_text()))
    for each in documents:
        if not each["apiVersion"].startswith("cert-manager.io"):
            validate(each)
    assert {each["failurePolicy"] for each in documents[-1]["webhooks"]} == {"Fail", "Ignore"}


@pytest.mark.skipif(KUBECTL is None, reason="there is no kubectl")
def test_kubectl_is_whom_the_access_token_says_until_it_is_revoked(server: Server, world: World) -> None:
    server.api("PUT", f"/resource-servers/{quote(AUDIENCE, safe='')}", body={"name": "cluster-1", "settings": {}})
    iam = server.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"}
    name = f"viewer-{time.time_ns()}"
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    role = iam.create_role(RoleName=name, AssumeRolePolicyDocument=document)["Role"]["Arn"]
    allowed = {"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    iam.put_role_policy(RoleName=name, PolicyName="token", PolicyDocument=document)
    world.cluster.review_url = f"{server.url}/kubernetes/token-review"
    plugin = {
        "apiVersion": "client.authentication.k8s.io/v1",
        "command": sys.executable,
        "args": ["-m", "daypass.cli.main", "k8s", "credential", "--audience", AUDIENCE, "--role", name],
        "interactiveMode": "IfAvailable",
        "provideClusterInfo": False,
    }
    kubeconfig = {
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{"name": "c", "cluster": {"server": world.cluster.url, "certificate-authority-data": base64.b64encode(world.cluster.ca_pem.encode()).decode()}}],
        "users": [{"name": "u", "user": {"exec": plugin}}],
        "contexts": [{"name": "x", "context": {"cluster": "c", "user": "u"}}],
        "current-context": "x",
    }  # fmt: skip
    file = world.kubelet / "config"
    file.write_text(yaml.safe_dump(kubeconfig))

    def whoami() -> subprocess.CompletedProcess[str]:
        command = [str(KUBECTL), "--kubeconfig", str(file), "auth", "whoami", "-o", "json"]
        environment = {**server.environment(), "DAYPASS_HOME": str(world.kubelet / "home"), "HOME": str(world.kubelet)}
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)

    done = whoami()
    assert done.returncode == 0, done.stderr
    user = json.loads(done.stdout)["status"]["userInfo"]
    assert user["username"].startswith(f"arn:aws:sts::{OPERATOR}:assumed-role/{name}/")
    assert role in user["groups"]
    iam.delete_role_policy(RoleName=name, PolicyName="token")
    refused = whoami()
    assert (refused.returncode, "is not authorized to perform" in refused.stderr) == (1, True), refused.stderr
