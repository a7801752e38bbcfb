"""AssumeRole from 20 callers with tags and conditions, beside other programs that issue credentials, asked in turn.

| program | what it does for an answer |
|---|---|
| Daypass | verifies a signature; evaluates trust and identity policies with their conditions; commits the event and the session to disk |
| moto_server | stores the credentials in memory; verifies no signature and evaluates no policy |
| SeaweedFS | verifies a signature; evaluates policies without conditions; signs a token and stores nothing |
| OpenBao | compares the hash of a secret (AppRole); commits the token by raft and writes to a file audit device |

SeaweedFS and OpenBao need the group `programs` (`sh tools/setup.sh programs`). SeaweedFS gets the same requests as Daypass and moto_server.
Each server has the same core. Rates are medians of rounds; a ratio compares neighbouring rounds.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import shutil
import statistics
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.processes import free_ports

import alone  # noqa: F401  # before all that reads the environment
import mix
from assume_role import (
    ACCOUNT,
    LOAD_CORE,
    SERVER_CORE,
    daypass,
    free_port,
    iam_client,
    moto,
    report_rounds,
    sign,
    started,
)
from loadgen import Result, run

BIN = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
_KEYS = [(f"AKIACALLER{number:010}", f"secret-of-caller-{number:02}-{'0' * 20}") for number in range(mix.CALLERS)]
_BAO = """
storage "raft" {{
  path = "{folder}/raft"
  node_id = "bench"
}}
listener "tcp" {{
  address = "127.0.0.1:{port}"
  tls_disable = true
}}
audit "file" "bench" {{
  options = {{ file_path = "{folder}/audit.log" }}
}}
api_addr = "http://127.0.0.1:{port}"
cluster_addr = "http://127.0.0.1:{cluster}"
"""
Build = Callable[[int], list[bytes]]


class Issuer(NamedTuple):
    """A server that is asked. `build`: that many whole HTTP requests, each another one where that makes a difference."""

    name: str
    url: str
    build: Build


def signed(name: str, url: str, kind: str, keys: list[mix.Key]) -> Issuer:
    return Issuer(name, url, lambda count: mix.requests(url, ACCOUNT, kind, keys, count, mix.salt_of(), sign))


@contextmanager
def seaweedfs(folder: Path, kind: str) -> Iterator[Issuer]:
    """Its policies have no conditions: it evaluates those of S3 alone."""
    allow = {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": ["sts:*"], "Resource": ["*"]}]}
    trust = {
        "Version": "2012-10-17",
        "Statement": [{"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": ["sts:AssumeRole"]}],
    }
    role_name = mix.ROLE[kind]
    role = {"roleName": role_name, "roleArn": f"arn:aws:iam::{ACCOUNT}:role/{role_name}", "trustPolicy": trust}
    key = "c2lnbmluZy1rZXktb2YtdGhlLWJlbmNoLTMyLWJ5dGU="
    sts = {"tokenDuration": "1h", "maxSessionLength": "12h", "issuer": "bench", "signingKey": key}
    iam = {
        "sts": sts,
        "policy": {"defaultEffect": "Deny", "storeType": "memory"},
        "providers": [],
        "policies": [{"name": "assume", "document": allow}],
        "roles": [{**role, "attachedPolicies": ["assume"]}],
    }
    callers = [
        {"name": name, "credentials": [{"accessKey": name, "secretKey": secret}], "policyNames": ["assume"]}
        for name, secret in _KEYS
    ]
    s3 = {"identities": callers, "policies": [{"name": "assume", "content": json.dumps(allow)}]}
    for file, content in {"iam.json": iam, "s3.json": s3}.items():
        (folder / file).write_text(json.dumps(content))
    (folder / "data").mkdir()
    master, volume, filer, port = (str(each) for each in free_ports(4))
    command = [program("weed"), "server", f"-dir={folder}/data", "-ip=127.0.0.1", "-ip.bind=127.0.0.1"]
    command += [f"-master.port={master}", f"-volume.port={volume}", f"-filer.port={filer}", "-volume.max=5"]
    command += ["-s3", f"-s3.port={port}", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    command += [f"-s3.config={folder}/s3.json", f"-s3.iam.config={folder}/iam.json"]
    url = f"http://127.0.0.1:{port}"
    with started(command, url, "/healthz", {SERVER_CORE}, {}):
        yield signed("SeaweedFS (stores nothing)", url, kind, _KEYS)


@contextmanager
def openbao(folder: Path) -> Iterator[Issuer]:
    (folder / "raft").mkdir()
    port, cluster = free_port(), free_port()
    url = f"http://127.0.0.1:{port}"
    (folder / "bao.hcl").write_text(_BAO.format(folder=folder, port=port, cluster=cluster))
    command = [program("bao"), "server", f"-config={folder}/bao.hcl"]
    with started(command, url, "/v1/sys/health?uninitcode=200&sealedcode=200", {SERVER_CORE}, {}):
        login = json.dumps(_app_role(url)).encode()
        head = f"POST /v1/auth/approle/login HTTP/1.1\r\nhost: {url[7:]}\r\ncontent-length: {len(login)}\r\n\r\n"
        request = head.encode() + login
        yield Issuer("OpenBao AppRole (raft, file audit)", url, lambda count: [request] * count)


def _app_role(url: str) -> dict[str, str]:
    """The credentials of a new AppRole of a new OpenBao."""

    def call(method: str, path: str, body: Any = None, token: str = "") -> Any:
        content = None if body is None else json.dumps(body).encode()
        asked = urllib.request.Request(f"{url}/v1/{path}", content, {"X-Vault-Token": token}, method=method)
        with urllib.request.urlopen(asked, timeout=30) as answer:
            return json.loads(answer.read() or b"null")

    made = call("PUT", "sys/init", {"secret_shares": 1, "secret_threshold": 1})
    call("PUT", "sys/unseal", {"key": made["keys"][0]})
    while not call("GET", "sys/leader")["is_self"]:
        time.sleep(0.1)
    token = made["root_token"]
    call("POST", "sys/auth/approle", {"type": "approle"}, token)
    call("POST", "auth/approle/role/bench", {"token_ttl": "1h", "token_policies": "default"}, token)
    role = call("GET", "auth/approle/role/bench/role-id", token=token)["data"]
    secret = call("POST", "auth/approle/role/bench/secret-id", {}, token)["data"]
    return {"role_id": role["role_id"], "secret_id": secret["secret_id"]}


def program(name: str) -> str:
    found = shutil.which(name, path=BIN)
    if found is None:
        raise SystemExit(f"{name} is not installed: sh tools/setup.sh programs")
    return found


def play(issuer: Issuer, connections: int, count: int, seconds: float) -> Result:
    os.sched_setaffinity(0, {LOAD_CORE})
    requests = issuer.build(count + 200)
    asyncio.run(run(issuer.url, requests[:200], connections, 5))  # a short warm-up
    return asyncio.run(run(issuer.url, requests[200:], connections, seconds))


def measure(kind: str, args: argparse.Namespace) -> None:
    with ExitStack() as stack:
        folders = [Path(stack.enter_context(tempfile.TemporaryDirectory())) for _ in range(3)]
        ours, theirs = stack.enter_context(daypass(folders[0], {})), stack.enter_context(moto())
        issuers = [
            signed(name, url, kind, mix.set_up(iam_client(url), ACCOUNT, kind))
            for name, url in (("Daypass", ours), ("moto_server (checks nothing)", theirs))
        ]
        if not args.without_programs:
            issuers += [stack.enter_context(seaweedfs(folders[1], kind)), stack.enter_context(openbao(folders[2]))]
        for connections in (32, 256):
            rounds: dict[str, list[Result]] = {issuer.name: [] for issuer in issuers}
            for _ in range(args.rounds):
                for issuer in issuers:
                    count = args.requests // 10 if issuer.url == theirs else args.requests
                    rounds[issuer.name].append(play(issuer, connections, count, args.seconds))
            print(f"{kind}, {connections} connections")
            for issuer in issuers:
                report_rounds(f"    {issuer.name}", rounds[issuer.name])
            for issuer in issuers[1:]:
                pairs = zip(rounds["Daypass"], rounds[issuer.name], strict=True)
                ratios = sorted(a.rate / b.rate for a, b in pairs if b.rate)
                target = f"; target {mix.TARGETS[kind]:g}" if issuer.url == theirs else "; target above 1"
                print(
                    f"    Daypass: {statistics.median(ratios):.2f} times {issuer.name} "
                    f"({ratios[0]:.2f} to {ratios[-1]:.2f}{target})",
                    flush=True,
                )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--requests", type=int, default=20_000, help="requests for each run")
    parser.add_argument("--seconds", type=float, default=10, help="longest time of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs of each program")
    parser.add_argument("--kinds", default=f"{mix.PLAIN},{mix.MIXED}", help="plain, mixed")
    parser.add_argument("--without-programs", action="store_true", help="Daypass and moto_server alone")
    args = parser.parse_args()
    for kind in args.kinds.split(","):
        measure(kind, args)


if __name__ == "__main__":
    main()
