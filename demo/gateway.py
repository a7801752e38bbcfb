"""A real proxy, Caddy, in front of an application that knows nothing of Daypass: who may read orders reads them, who may not does
not, and a revoked session ends with the next request.
"""

from __future__ import annotations

import json
import socket
import subprocess
import sys
import tempfile
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from stage import cli, client, document, new_key, note, say, server

ACCOUNT = "111122223333"
ORDERS = "https://orders.example"
EXAMPLE = Path(__file__).resolve().parents[1] / "deploy/proxy/gateway/Caddyfile"
ROUTES = [
    {"path": "/orders/{id}", "methods": ["GET"], "action": "orders:Read", "resource": "order/{id}"},
    {"path": "/orders/{id}", "action": "orders:Write", "resource": "order/{id}"},
]


class Application(BaseHTTPRequestHandler):
    """It trusts the header that only the proxy sets."""

    def do_GET(self) -> None:
        body = f"order {self.path.rpartition('/')[2]}, for {self.headers['X-Daypass-Arn']}".encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: Any) -> None:
        pass


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def caddy(folder: Path, url: str, application: int) -> Iterator[str]:
    """Caddy with the example of deploy/proxy/gateway, whose addresses are replaced."""
    port = free_port()
    text = EXAMPLE.read_text().replace("http://orders.example", f"http://127.0.0.1:{port}")
    text = text.replace("127.0.0.1:8700", url.removeprefix("http://")).replace(
        "127.0.0.1:8080", f"127.0.0.1:{application}"
    )
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tstorage file_system {folder}\n}}\n{text}")
    program = Path(sys.executable).with_name("caddy")
    with (folder / "caddy.log").open("wb") as log:
        process = subprocess.Popen([program, "run", "--config", folder / "Caddyfile"], stdout=log, stderr=log)
    try:
        while True:
            try:
                socket.create_connection(("127.0.0.1", port), 2).close()
                break
            except OSError:
                if process.poll() is not None:
                    sys.exit((folder / "caddy.log").read_text())
                time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(60)


def ask(url: str, method: str, path: str, token: str, expected: int) -> None:
    """One request through the proxy, which must have this status."""
    headers = {"authorization": f"Bearer {token}"} if token else {}
    request = urllib.request.Request(url + path, headers=headers, method=method)
    try:
        with urllib.request.urlopen(request, timeout=20) as answer:
            status, text = answer.status, answer.read().decode()
    except urllib.error.HTTPError as error:
        with error:
            status, text = error.code, ""
    note(f"{method} {path}: {status} {text}")
    if status != expected:
        sys.exit(f"expected {expected}")


def set_up(url: str, home: Path, key: tuple[str, str]) -> Path:
    """The application, a role that may read orders, and Ann, who may assume it: the home of Ann's profile."""
    cli(home, "login", "--endpoint", url, "--access-key-id", key[0], "--secret-stdin", stdin=key[1], quiet=True)
    iam = client("iam", url, key)
    trust = document(Action="sts:AssumeRole", Principal={"AWS": ACCOUNT})
    iam.create_role(RoleName="orders-reader", AssumeRolePolicyDocument=trust)
    allowed = [
        {"Effect": "Allow", "Action": "orders:Read", "Resource": f"arn:aws:orders::{ACCOUNT}:order/*"},
        {"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"},
    ]
    text = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_role_policy(RoleName="orders-reader", PolicyName="read", PolicyDocument=text)
    routes = home / "routes.json"
    routes.write_text(json.dumps(ROUTES))
    cli(home, "resource-server", "put", ORDERS, "--routes", str(routes))
    iam.create_user(UserName="ann")
    may_assume = document(Action="sts:AssumeRole", Resource="*")
    iam.put_user_policy(UserName="ann", PolicyName="p", PolicyDocument=may_assume)
    made = iam.create_access_key(UserName="ann")["AccessKey"]
    of_ann = home / "ann"
    login = ("login", "--endpoint", url, "--access-key-id", made["AccessKeyId"], "--secret-stdin")
    cli(of_ann, *login, stdin=made["SecretAccessKey"], quiet=True)
    return of_ann


def main() -> None:
    with tempfile.TemporaryDirectory() as name, ThreadingHTTPServer(("127.0.0.1", 0), Application) as application:
        home = Path(name)
        threading.Thread(target=application.serve_forever, daemon=True).start()
        key = new_key()
        with server(home / "data", {ACCOUNT: key}, DAYPASS_SERVER__PUBLIC_URL="{url}") as url:
            say("An application is registered, with what its requests mean")
            ann = set_up(url, home, key)
            with caddy(home, url, application.server_port) as proxy:
                say("Caddy asks Daypass before each request")
                token = cli(ann, "token", "--audience", ORDERS, "--role", "orders-reader", quiet=True).strip()
                ask(proxy, "GET", "/orders/7", token, 200)
                say("No credentials, no permission, a path that hides another")
                ask(proxy, "GET", "/orders/7", "", 401)
                ask(proxy, "DELETE", "/orders/7", token, 403)
                ask(proxy, "GET", "/orders/7%2f..%2f8", token, 403)
                say("The sessions of the role are revoked: the next request is refused")
                cli(home, "revoke", "role", "orders-reader")
                ask(proxy, "GET", "/orders/7", token, 401)
        application.shutdown()
    say("Done: the application has no code for any of it.")


if __name__ == "__main__":
    main()
