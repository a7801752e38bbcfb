"""Automated remediation, for real: an alert takes a one-time grant and runs the fix. The alert comes twice; the fix runs once.

The automation has no standing access. A rule grants it one session for each alert, automatically, and the record shows it as such.
"""

from __future__ import annotations

import json
import tempfile
import threading
import time
import urllib.error
import urllib.request
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError
from stage import cli, client, document, new_key, note, say, server, session_key

ACCOUNT = "111122223333"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/restart-orders"
RULE: dict[str, Any] = {
    "roles": ["role/restart-orders"],
    "requesters": {"principals": ["user/remediation"]},
    "reason": {"patterns": ["alert * fired"]},
    "ticket": {"patterns": ["ALERT-*"]},
    "max_seconds": 300,
    "max_uses": 1,
    "automatic": [{"name": "an alert", "condition": {"StringLike": {"daypass:TicketId": "ALERT-*"}}}],
}


def api(url: str, key: tuple[str, str], path: str, body: dict[str, Any]) -> dict[str, Any]:
    """One call of the management API, signed as those to AWS are."""
    request = AWSRequest("POST", f"{url}/api/v1{path}", {"content-type": "application/json"}, json.dumps(body))
    SigV4Auth(Credentials(*key), "daypass", "eu-central-1").add_auth(request)
    sent = urllib.request.Request(request.url, request.body, dict(request.headers.items()))
    with urllib.request.urlopen(sent, timeout=20) as answer:
        return dict(json.load(answer))


class Remediation:
    """The receiver of alerts. It knows nothing of earlier deliveries: the grant alone makes it run once."""

    def __init__(self, url: str, key: tuple[str, str]) -> None:
        self.url, self.key = url, key
        self.runs = 0
        self.lines: list[str] = []

    def handle(self, alert: str) -> str:
        wanted = {"roles": [ROLE], "reason": f"alert {alert} fired", "ticket": alert, "client_token": alert}
        request = api(self.url, self.key, "/access-requests", wanted)
        try:
            given = client("sts", self.url, self.key).assume_role(RoleArn=ROLE, RoleSessionName=alert)
        except ClientError as error:
            return f"request {request['id']}: {error.response['Error']['Code']}: nothing to do"
        me = client("sts", self.url, session_key(given)).get_caller_identity()["Arn"]
        self.runs += 1
        return f"request {request['id']}: fixed by {me}"


def receiver(remediation: Remediation) -> ThreadingHTTPServer:
    """An endpoint for the webhooks of a monitoring system."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            answer = remediation.handle(body["alert"]).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(answer)))
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_: object) -> None:
            pass

    made = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=made.serve_forever, daemon=True).start()
    return made


def deliver(port: int, alert: str) -> str:
    sent = urllib.request.Request(f"http://127.0.0.1:{port}/", json.dumps({"alert": alert}).encode())
    with urllib.request.urlopen(sent, timeout=30) as answer:
        return str(answer.read().decode())


def set_up(url: str, home: Path, root: tuple[str, str]) -> tuple[str, str]:
    cli(home, "login", "--endpoint", url, "--access-key-id", root[0], "--secret-stdin", stdin=root[1], quiet=True)
    iam = client("iam", url, root)
    trust = document(
        Principal={"AWS": f"arn:aws:iam::{ACCOUNT}:user/remediation"},
        Action="sts:AssumeRole",
        Condition={"Bool": {"daypass:Approved": "true"}, "StringLike": {"daypass:TicketId": "ALERT-*"}},
    )
    iam.create_user(UserName="remediation")
    iam.create_role(RoleName="restart-orders", AssumeRolePolicyDocument=trust)
    policy = document(Action=["daypass:CreateAccessRequest"], Resource="*")
    iam.put_user_policy(UserName="remediation", PolicyName="ask", PolicyDocument=policy)
    rules = home / "rules"
    rules.mkdir(parents=True)
    (rules / "restart-orders.json").write_text(json.dumps(RULE, indent=2))
    cli(home, "rule", "apply", str(rules))
    key = iam.create_access_key(UserName="remediation")["AccessKey"]
    return key["AccessKeyId"], key["SecretAccessKey"]


def main() -> None:
    started = time.perf_counter()
    root = new_key()
    with tempfile.TemporaryDirectory() as folder, server(Path(folder) / "data", {ACCOUNT: root}) as url:
        home = Path(folder) / "home"
        say("1. A role for the fix, and a rule: one session for each alert, without a person")
        remediation = Remediation(url, set_up(url, home, root))
        hooks = receiver(remediation)
        port = hooks.server_address[1]

        say("2. The alert fires, and the monitoring system delivers it twice at the same time")
        answers: list[str] = []
        threads = [threading.Thread(target=lambda: answers.append(deliver(port, "ALERT-7"))) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        for answer in sorted(answers):
            note(answer)
        note(f"once more, later: {deliver(port, 'ALERT-7')}")
        if remediation.runs != 1:
            raise SystemExit(f"the fix ran {remediation.runs} times")
        note("the fix ran once")

        say("3. Another alert is another grant")
        note(deliver(port, "ALERT-8"))

        say("4. The record shows who did what, and that no person approved it")
        cli(home, "audit", "search", "--operation", "daypass:CreateAccessRequest")
        cli(home, "audit", "verify", quiet=True)
        note("the record verifies")
        hooks.shutdown()
    print(f"\nDone in {time.perf_counter() - started:.1f} s.")


if __name__ == "__main__":
    main()
