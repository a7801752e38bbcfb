"""A Kubernetes API server as far as tokens go: service accounts' tokens, discovery, keys, and TokenReview, over TLS.

It behaves as the real one does: keys want a bearer token, a review looks at signature, times, audiences and whether the
bound pod still exists. It listens on loopback, in a thread, and knows nothing of Daypass.
"""

from __future__ import annotations

import base64
import json
import re
import ssl
import threading
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from tests.e2e.pki import Pki
from tests.issuer import Issuer

ISSUER = "kubernetes.default.svc.cluster.local"
AUDIENCE = "https://cluster-1.example"
READER = "reader-token-of-daypass"


def validate(document: Any) -> None:
    """Fails unless the document is valid by the published schema."""
    import kubernetes_validate  # here alone: its parsers take a second of every process that collects tests

    kubernetes_validate.validate(document, "1.37", strict=True)


@dataclass
class Cluster:
    """One cluster: pods by (namespace, name), and what was asked of it."""

    ca_pem: str
    clock: Callable[[], int]  # ms
    url: str = ""
    issuer: Issuer = field(default_factory=lambda: Issuer(ISSUER, alg="RS256", audience="daypass"))
    pods: dict[tuple[str, str], str] = field(default_factory=dict)  # to the pod's uid
    asked: list[str] = field(default_factory=list)
    accounts: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # annotations of service accounts
    review_url: str = ""  # the webhook that knows the tokens of people
    servers: list[ThreadingHTTPServer] = field(default_factory=list)

    def run_pod(self, namespace: str, name: str) -> None:
        self.pods[namespace, name] = f"uid-of-{name}-{len(self.asked)}"

    def delete_pod(self, namespace: str, name: str) -> None:
        del self.pods[namespace, name]

    def token(self, namespace: str, account: str, pod: str, **claims: Any) -> str:
        """A projected token of a running pod (TokenRequest API), for an hour and seven seconds as kubelets ask."""
        bound = {
            "namespace": namespace,
            "node": {"name": "node-1", "uid": "uid-of-node"},
            "pod": {"name": pod, "uid": self.pods[namespace, pod]},
            "serviceaccount": {"name": account, "uid": f"uid-of-{account}"},
        }
        now = self.clock()
        return self.issuer.token(
            now,
            header={"typ": None},
            kid="",
            **{
                "aud": ["daypass"],
                "sub": f"system:serviceaccount:{namespace}:{account}",
                "exp": now // 1000 + 3607,
                "jti": f"jti-{pod}",
                "kubernetes.io": bound,
                **claims,
            },
        )

    def legacy_token(self, namespace: str, account: str) -> str:
        """As those that lay in Secrets before Kubernetes 1.24: it never expires and is for nobody in particular."""
        return self.issuer.token(
            self.clock(),
            header={},
            kid="",
            iss="kubernetes/serviceaccount",
            sub=f"system:serviceaccount:{namespace}:{account}",
            **dict.fromkeys(("exp", "nbf", "iat", "aud")),
            **{
                "kubernetes.io/serviceaccount/namespace": namespace,
                "kubernetes.io/serviceaccount/service-account.name": account,
            },
        )

    def stop(self) -> None:
        """The API server goes away."""
        for server in self.servers:
            server.shutdown()
            server.server_close()
        self.servers.clear()

    # --- what it answers

    def answer(self, method: str, path: str, bearer: str, body: bytes) -> tuple[int, Any]:
        self.asked.append(path)
        if (method, path.partition("?")[0]) == ("POST", "/apis/authentication.k8s.io/v1/selfsubjectreviews"):
            return self._self_review(bearer.removeprefix("Bearer "))
        if bearer != f"Bearer {READER}":
            return 403, {"kind": "Status", "status": "Failure", "code": 403}
        if (method, path) == ("GET", "/.well-known/openid-configuration"):
            return 200, {**self.issuer.discovery(), "jwks_uri": f"{self.url}/openid/v1/jwks"}
        if (method, path) == ("GET", "/openid/v1/jwks"):
            return 200, self.issuer.jwks()
        if (method, path) == ("POST", "/apis/authentication.k8s.io/v1/tokenreviews"):
            question = json.loads(body)
            return 201, {**question, "status": self._review(**question["spec"]), "metadata": {}}
        if found := re.fullmatch("/api/v1/namespaces/([^/]+)/serviceaccounts/([^/]+)", path):
            annotations = self.accounts.get((found[1], found[2]))
            if annotations is not None:
                return 200, {"kind": "ServiceAccount", "metadata": {"name": found[2], "annotations": annotations}}
        return 404, {"kind": "Status", "status": "Failure", "code": 404}

    def _self_review(self, token: str) -> tuple[int, Any]:
        """As with --authentication-token-webhook-config-file: who has the token is asked, and told."""
        kind = {"apiVersion": "authentication.k8s.io/v1", "kind": "TokenReview"}
        body = json.dumps({**kind, "metadata": {}, "spec": {"token": token, "audiences": [AUDIENCE]}}).encode()
        request = urllib.request.Request(self.review_url, body, {"content-type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            review = json.load(answer)
        validate({**review, "spec": {"token": token}})
        if not review["status"]["authenticated"] or review["status"]["audiences"] != [AUDIENCE]:
            return 401, {
                "kind": "Status",
                "apiVersion": "v1",
                "status": "Failure",
                "code": 401,
                "reason": "Unauthorized",
            }
        status = {"userInfo": review["status"]["user"]}
        return 201, {**kind, "kind": "SelfSubjectReview", "metadata": {}, "status": status}

    def _review(self, token: str, audiences: list[str]) -> dict[str, Any]:
        payload = token.split(".")[1]
        claims = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
        bound = claims.get("kubernetes.io", {})
        pod = bound.get("pod", {})
        if self.pods.get((bound.get("namespace"), pod.get("name"))) != pod.get("uid"):
            return {
                "authenticated": False,
                "error": "[invalid bearer token, service account token has been invalidated]",
            }
        found = [audience for audience in audiences if audience in claims["aud"]]
        if not found or claims["exp"] <= self.clock() // 1000:
            return {"authenticated": False, "error": "token audiences is invalid for the target audiences"}
        user = {"username": claims["sub"], "uid": bound["serviceaccount"]["uid"], "groups": ["system:serviceaccounts"]}
        return {"authenticated": True, "audiences": found, "user": user}


@contextmanager
def cluster(folder: Path, clock: Callable[[], int]) -> Iterator[Cluster]:
    """A running API server with a throwaway authority of its own."""
    pki = Pki(folder)
    made = Cluster(pki.ca.read_text(), clock)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def _serve(self) -> None:
            body = self.rfile.read(int(self.headers.get("content-length", 0)))
            status, content = made.answer(self.command, self.path, self.headers.get("authorization", ""), body)
            data = json.dumps(content).encode()
            self.send_response(status)
            kind = "application/jwk-set+json" if self.path.endswith("jwks") else "application/json"
            self.send_header("content-type", kind)
            self.send_header("content-length", str(len(data)))
            self.end_headers()
            self.wfile.write(data)

        do_GET = do_POST = _serve  # the library's names

        def log_message(self, *_: object) -> None:
            pass

    class Server(ThreadingHTTPServer):
        daemon_threads = True

        def handle_error(self, *_: object) -> None:
            pass  # the fetcher hangs up as soon as it has its answer

    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pki.server_cert, pki.server_key)
    server = Server(("127.0.0.1", 0), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    made.url = f"https://127.0.0.1:{server.server_address[1]}"
    made.servers.append(server)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield made
    finally:
        made.stop()
