"""A pod without a static key, for real: its service account's token is its proof, and a store trusts the session.

The webhook gives the pod the standard environment of AWS SDKs, and a process has that and nothing else; boto3 in it is
unmodified. The cluster is an API server on this machine that signs tokens and reviews them as the real one does.
"""

from __future__ import annotations

import base64
import json
import re
import socket
import ssl
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from authority import Authority
from stage import DAYPASS, as_workload, cli, client, document, new_key, note, say, server

from issuer import Answer, Issuer, https

ACCOUNT = "111122223333"
CLUSTER = "oidc.cluster-1.example.com"
REVIEWER = "token-of-the-service-account-that-daypass-reviews-with"
POD = """
import json, sys, boto3, botocore.exceptions
s3 = boto3.client("s3")
def tried(act):
    try:
        return act()
    except botocore.exceptions.ClientError as error:
        return f"refused: {error.response['Error']['Code']}: {error.response['Error']['Message']}"
answer = {
    "write": tried(lambda: s3.put_object(Bucket="orders", Key="2026/11/1.json", Body=b"{}") and "written"),
    "read": tried(lambda: s3.get_object(Bucket="orders", Key="2026/11/1.json")["Body"].read().decode()),
    "elsewhere": tried(lambda: s3.put_object(Bucket="payroll", Key="x", Body=b"1") and "written"),
}
print(json.dumps(answer))
"""


class Cluster:
    """An API server as far as tokens go: keys, and reviews that know which pods run."""

    def __init__(self) -> None:
        self.issuer = Issuer(f"https://{CLUSTER}")
        self.pods: dict[str, str] = {}
        self.roles: dict[tuple[str, str], str] = {}  # of annotated service accounts
        self._tokens: dict[str, dict[str, Any]] = {}

    def run(self, pod: str, namespace: str, account: str) -> str:
        """The projected token of a new pod."""
        self.pods[pod] = f"uid-of-{pod}"
        claims = {
            "aud": ["sts.amazonaws.com"],
            "sub": f"system:serviceaccount:{namespace}:{account}",
            "kubernetes.io": {
                "namespace": namespace,
                "node": {"name": "node-1"},
                "pod": {"name": pod, "uid": self.pods[pod]},
                "serviceaccount": {"name": account, "uid": f"uid-of-{account}"},
            },
        }
        token = self.issuer.token(**claims)
        self._tokens[token] = {"pod": pod, "name": claims["sub"]}
        return token

    def answer(self, path: str, headers: Mapping[str, str], body: bytes) -> Answer:
        if headers.get("authorization") != f"Bearer {REVIEWER}":
            return 401, {"kind": "Status", "reason": "Unauthorized"}
        if path == "/openid/v1/jwks":
            return 200, self.issuer.jwks()
        if path == "/apis/authentication.k8s.io/v1/tokenreviews":
            return 201, self._review(json.loads(body)["spec"])
        *_, namespace, kind, account = ("", "", "", *path.split("/"))
        if kind == "serviceaccounts" and (namespace, account) in self.roles:
            annotations = {"eks.amazonaws.com/role-arn": self.roles[namespace, account]}
            return 200, {"kind": "ServiceAccount", "metadata": {"name": account, "annotations": annotations}}
        return 404, {"kind": "Status", "reason": "NotFound"}

    def _review(self, spec: Mapping[str, Any]) -> dict[str, Any]:
        known = self._tokens.get(spec["token"])
        status: dict[str, Any] = {"authenticated": False, "error": "the token's pod is gone"}
        if known is not None and known["pod"] in self.pods:
            user = {"username": known["name"], "groups": ["system:serviceaccounts"]}
            status = {"authenticated": True, "user": user, "audiences": spec.get("audiences", [])}
        return {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview", "status": status}


@contextmanager
def store(data: Path) -> Iterator[str]:
    """The S3-compatible store of demo/store.py; its URL."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    process = subprocess.Popen([sys.executable, str(Path(__file__).with_name("store.py")), str(port), str(data)])
    try:
        for _ in range(1200):  # a minute: a busy machine takes its time
            try:
                socket.create_connection(("127.0.0.1", port), timeout=1).close()
                break
            except OSError:
                time.sleep(0.05)
        else:
            sys.exit("the store did not start")
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(30)


def set_up(url: str, home: Path, key: tuple[str, str], cluster_at: str, authority: str) -> None:
    """The cluster as a provider, and a role for one service account, which may use one bucket."""
    cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
    ca, bearer = home / "ca.pem", home / "bearer"
    ca.write_text(authority)
    bearer.write_text(REVIEWER)
    cli(
        home,
        *("provider", "add", "kubernetes", "--tenant", CLUSTER),
        *(f"jwks_url={cluster_at}/openid/v1/jwks", f"jwks_bearer=@{bearer}", f"ca_pem=@{ca}"),
        *(f"token_review.url={cluster_at}", f"token_review.bearer=@{bearer}", "token_review.cache_seconds=0"),
        "allow_private_networks=true",
    )
    whom = ("--namespace", "shop", "--service-account", "orders")
    cli(home, "trust", "new", "kubernetes", "--tenant", CLUSTER, *whom, "--role", "orders", "--apply", quiet=True)
    allowed = document(Action=["s3:PutObject", "s3:GetObject"], Resource="arn:aws:s3:::orders/*")
    client("iam", url, key).put_role_policy(RoleName="orders", PolicyName="bucket", PolicyDocument=allowed)


class Webhook(NamedTuple):
    """The running webhook, as the API server calls it."""

    url: str
    tls: ssl.SSLContext

    def environment(self, account: str) -> dict[str, str]:
        """The webhook's patch for a new pod of a service account."""
        spec = {"serviceAccountName": account, "containers": [{"name": "app", "image": f"{account}:1"}]}
        asked = {"uid": "1", "namespace": "shop", "object": {"metadata": {}, "spec": spec}}
        body = json.dumps({"apiVersion": "admission.k8s.io/v1", "kind": "AdmissionReview", "request": asked}).encode()
        request = urllib.request.Request(self.url + "/mutate/required", body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30, context=self.tls) as answer:
            response = json.load(answer)["response"]
        for change in json.loads(base64.b64decode(response["patch"])):
            spec = change["value"] if change["path"] == "/spec" else spec
        return {each["name"]: each["value"] for each in spec["containers"][0]["env"]}  # type: ignore[index]  # JSON


@contextmanager
def webhook(url: str, cluster_at: str, authority: str, folder: Path) -> Iterator[Webhook]:
    """`daypass k8s webhook`, with a certificate of its own and the service account that may read service accounts."""
    (folder / "account").mkdir()
    (folder / "account" / "token").write_text(REVIEWER)
    (folder / "account" / "ca.crt").write_text(authority)
    own = Authority("authority of the webhook")
    held = own.issue(folder, {"CN": "webhook"}, "127.0.0.1")
    command = [*DAYPASS, "k8s", "webhook", "--endpoint", url, "--region", "eu-central-1", "--listen", "127.0.0.1:0"]
    command += ["--cert", str(held.certificate), "--key", str(held.key)]
    command += ["--api", cluster_at, "--account", str(folder / "account")]
    process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True)
    assert process.stderr is not None
    try:
        found = re.search(r"https://\S+", line := process.stderr.readline())
        if found is None:
            sys.exit(f"the webhook did not start: {line}{process.stderr.read()}")
        yield Webhook(found[0], ssl.create_default_context(cadata=own.pem))
    finally:
        process.terminate()
        process.wait(30)


def pod(store_at: str, scratch: Path, token: str, given: Mapping[str, str]) -> dict[str, Any]:
    """A pod's process: what the webhook gave it, with its token where this machine has it, and where the store is."""
    file = scratch / "token"
    file.write_text(token)
    return as_workload(POD, {**given, "AWS_WEB_IDENTITY_TOKEN_FILE": str(file), "AWS_ENDPOINT_URL_S3": store_at})


def main() -> None:
    started = time.perf_counter()
    key = new_key()
    cluster = Cluster()
    with (
        tempfile.TemporaryDirectory() as folder,
        https(cluster.answer) as (cluster_at, authority),
        server(Path(folder) / "data", {ACCOUNT: key}) as url,
        store(Path(folder) / "data") as store_at,
        webhook(url, cluster_at, authority, Path(folder)) as admission,
    ):
        scratch = Path(folder)
        home = scratch / "home"
        say("1. The cluster is a provider; one service account may have the role orders, and the role one bucket")
        set_up(url, home, key, cluster_at, authority)

        say("2. The service account is annotated with its role. The webhook gives its pod what SDKs need")
        cluster.roles["shop", "orders"] = cluster.roles["shop", "web"] = f"arn:aws:iam::{ACCOUNT}:role/orders"
        given = admission.environment("orders")
        for name, value in given.items():
            note(f"{name}={value}")

        say("3. Its pod writes to the bucket and reads it back; another bucket is closed to it")
        for what, answer in pod(store_at, scratch, cluster.run("orders-1", "shop", "orders"), given).items():
            note(f"{what}: {answer}")

        say("4. A pod of another service account, annotated with the same role, is refused: its token says who it is")
        stranger = cluster.run("web-1", "shop", "web")
        try_pod(store_at, scratch, stranger, admission.environment("web"))
        (scratch / "stranger").write_text(stranger)
        cli(home, "trust", "test", "orders", "--token", str(scratch / "stranger"), status=1)

        say("5. A pod is deleted: its token dies with it, though it would be valid for minutes")
        gone = cluster.run("orders-2", "shop", "orders")
        del cluster.pods["orders-2"]
        try_pod(store_at, scratch, gone, given)

        say("6. The record, of the server and of the store")
        cli(home, "audit", "tail", "--limit", "12")
        cli(home, "audit", "verify")
    say(f"Done in {time.perf_counter() - started:.1f} s.")


def try_pod(store_at: str, scratch: Path, token: str, given: Mapping[str, str]) -> None:
    """A pod that must not get anywhere."""
    answer = pod(store_at, scratch, token, given)
    if not all(text.startswith("refused") for text in answer.values()):
        sys.exit(f"the pod got somewhere: {answer}")
    note(answer["write"])


if __name__ == "__main__":
    main()
