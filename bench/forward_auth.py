"""Checks of the gateway on kept-alive connections, beside nginx: requests through nginx with `auth_request` to a constant 204 of
its own, with `auth_request` to Daypass, and through Envoy, which asks over gRPC. Daypass and nginx have one core, load and Envoy the other.

Only ratios within one run say anything. A million divided by the CPU time of a check is the rate of a whole core.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from assume_role import ACCOUNT, KEY, LOAD_CORE, SECRET, SERVER_CORE, free_port, iam_client, report, served
from daypass import sigv4
from daypass.client.http import Connection, post_form
from daypass.client.profiles import Profile
from daypass.sigv4.canonical import presign
from loadgen import Result, run

ROOT = Path(__file__).resolve().parents[1]
AUDIENCE, HOST, PORT = "https://orders.example", "orders.example", 18791
FORWARDED = ("X-Forwarded-Method: GET", "X-Forwarded-Uri: /orders/7")
_RATES = ("PRINCIPAL", "ACCOUNT", "FAILURES")
ENVIRONMENT = {f"DAYPASS_RATES__{name}_{what}": "100000000" for name in _RATES for what in ("PER_SECOND", "BURST")}
ENVIRONMENT["DAYPASS_AUTHZEN__RECORD"] = "denied"
ISSUER = ENVIRONMENT["DAYPASS_SERVER__PUBLIC_URL"] = "https://daypass.example.com"


def set_up(url: str) -> str:
    """A role that may read orders, with a resource server whose routes say so: an access token of it."""
    iam = iam_client(url)
    trust = {"Effect": "Allow", "Principal": {"AWS": ACCOUNT}, "Action": "sts:AssumeRole"}
    role = iam.create_role(
        RoleName="reader", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )["Role"]["Arn"]
    allowed = [
        {"Effect": "Allow", "Action": "orders:Read", "Resource": f"arn:aws:orders::{ACCOUNT}:order/*"},
        {"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"},
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": allowed})
    iam.put_role_policy(RoleName="reader", PolicyName="p", PolicyDocument=document)
    connection = Connection(Profile(url, KEY, SECRET, "", "us-east-1"))
    routes = [{"path": "/orders/{id}", "action": "orders:Read", "resource": "order/{id}", "methods": ["GET"]}]
    body = {"name": "orders", "settings": {"routes": routes}}
    connection.api("PUT", "/resource-servers/https%3A%2F%2Forders.example", body=body)
    pairs = [("Action", "GetCallerIdentity"), ("Version", "2011-06-15"), ("X-Daypass-Audience", ISSUER)]
    key, now = sigv4.SigningKey(KEY, SECRET, "us-east-1", "sts"), int(time.time() * 1000)
    asked = {
        "grant_type": "urn:ietf:params:oauth:grant-type:token-exchange",
        "subject_token": f"{ISSUER}/?{presign(key, 'GET', ISSUER.removeprefix('https://'), '/', pairs, 300, now)}",
        "subject_token_type": "urn:daypass:token-type:presigned-get-caller-identity",
        "role": role,
        "audience": AUDIENCE,
    }
    return str(json.loads(post_form(url, "/oauth2/token", asked).body)["access_token"])


def head(path: str, *lines: str) -> bytes:
    return "\r\n".join([f"GET {path} HTTP/1.1", f"Host: {HOST}", *lines, "", ""]).encode()


def signed() -> bytes:
    key = sigv4.SigningKey(KEY, SECRET, "us-east-1", "orders")
    made = sigv4.sign(key, "GET", "/orders/7", "", {"host": HOST}, b"", int(time.time() * 1000))
    lines = [f"{name}: {value}" for name, value in made.items() if name.lower() != "host"]
    return head(f"/gateway/auth?audience={AUDIENCE}", *FORWARDED, *lines)


@contextmanager
def nginx(folder: Path, url: str) -> Iterator[str]:
    """nginx on Daypass's core: `/bare/` asks a location that answers 204, `/orders/` asks Daypass."""
    program = shutil.which("nginx", path=f"{os.environ['PATH']}:/usr/sbin")
    if program is None:
        yield ""
        return
    paths = "".join(f"{n}_temp_path {folder}/{n};\n" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    ask = "proxy_pass http://daypass/gateway/auth?audience=https://orders.example; proxy_http_version 1.1;"
    ask += 'proxy_set_header Connection ""; proxy_pass_request_body off; proxy_set_header Content-Length "";'
    ask += "proxy_set_header X-Forwarded-Method $request_method; proxy_set_header X-Forwarded-Uri $request_uri;"
    text = f"""daemon off; worker_processes 1; pid {folder}/pid; error_log stderr crit; events {{}}
        {"user root;" if os.geteuid() == 0 else ""}
        http {{ access_log off; keepalive_requests 10000000; {paths}
            upstream daypass {{ server {url.removeprefix("http://")}; keepalive 64; }}
            server {{ listen 127.0.0.1:{PORT + 1}; location / {{ return 200; }} }}
            server {{ listen 127.0.0.1:{PORT};
                location /bare/ {{ auth_request /_bare; try_files /none =404; error_page 404 =200 @ok; }}
                location /orders/ {{ auth_request /_ask; try_files /none =404; error_page 404 =200 @ok; }}
                location @ok {{ return 200; }}
                location = /_bare {{ internal; return 204; }}
                location = /_ask {{ internal; {ask} }} }} }}"""
    (folder / "nginx.conf").write_text(text)
    with subprocess.Popen([program, "-p", str(folder), "-c", str(folder / "nginx.conf")]) as process:
        time.sleep(1)  # its worker is there by then
        workers = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        for each in (process.pid, *map(int, workers)):
            os.sched_setaffinity(each, {SERVER_CORE})
        yield f"http://127.0.0.1:{PORT}"
        process.terminate()


@contextmanager
def envoy(folder: Path, grpc_port: str) -> Iterator[str]:
    """The example of the docs, in front of nginx."""
    program = Path(sys.executable).with_name("envoy")
    if not program.exists():
        yield ""
        return
    port, text = free_port(), (ROOT / "deploy/proxy/gateway/envoy-grpc.yaml").read_text()
    text = text.replace("port_value: 8701", f"port_value: {grpc_port}").replace(
        "port_value: 8080", f"port_value: {PORT + 1}"
    )
    text = text.replace("0.0.0.0, port_value: 80}", f"127.0.0.1, port_value: {port}}}")
    (folder / "envoy.yaml").write_text(text)
    command = [
        str(program),
        "-c",
        str(folder / "envoy.yaml"),
        "--concurrency",
        "1",
        "--base-id",
        str(port),
        "-l",
        "off",
    ]
    with subprocess.Popen(command) as process:
        os.sched_setaffinity(process.pid, {LOAD_CORE})
        for _ in range(100):
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    break
            time.sleep(0.1)
        yield f"http://127.0.0.1:{port}"
        process.terminate()


def cpu_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


def play(url: str, request: bytes, options: argparse.Namespace) -> Result:
    asyncio.run(run(url, [request] * 50, options.connections, 5))
    return asyncio.run(run(url, [request] * 200_000, options.connections, options.seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    parser.add_argument("--rounds", type=int, default=3)
    options = parser.parse_args()
    grpc_port = str(free_port())
    environment = {**ENVIRONMENT, "DAYPASS_SERVER__EXT_AUTHZ_PORT": grpc_port}
    with tempfile.TemporaryDirectory() as name, served(Path(name) / "data", environment, 1) as (url, pid):
        token = f"Authorization: Bearer {set_up(url)}"
        with nginx(Path(name), url) as proxy, envoy(Path(name), grpc_port) as over_grpc:
            os.sched_setaffinity(0, {LOAD_CORE})
            ways = {
                "gateway, bearer token": (url, head(f"/gateway/auth?audience={AUDIENCE}", *FORWARDED, token)),
                "gateway, SigV4": (url, signed()),
            }
            if proxy:
                ways |= {
                    "nginx, bare auth_request": (proxy, head("/bare/7", token)),
                    "nginx, auth_request to Daypass": (proxy, head("/orders/7", token)),
                }
            if proxy and over_grpc:
                ways["Envoy, gRPC to Daypass"] = (over_grpc, head("/orders/7", token))
            for _ in range(options.rounds):
                for way, (at, request) in ways.items():
                    before = cpu_seconds(pid)
                    result = play(at, request, options)
                    each = (cpu_seconds(pid) - before) / max(len(result.latencies), 1) * 1e6
                    report(way, result, f"  CPU of Daypass {each:.0f} µs")


if __name__ == "__main__":
    main()
