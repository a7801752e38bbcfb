"""AssumeRole per second and its latency: the server on one core, the load on the other, next to `moto_server`.

Every request is distinct (its own session name) and signed beforehand. Each line is one run: what was measured, the
rate, p50/p95/p99, and failures, which must be 0; several rounds are counted together, with the range of their rates.
Targets are printed beside the figures; they gate nothing. The first line tells how fast this interpreter is on this
machine at the moment: figures of two machines, or of two hours on a shared one, differ as it does.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import platform
import signal
import socket
import subprocess
import sys
import tempfile
import time
import timeit
import urllib.request
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote_plus

import boto3

import alone  # noqa: F401  # before all that reads the environment
import mix
from daypass import sigv4
from loadgen import Result, run
from owners import owners
from populate import add_roles

ACCOUNT, KEY, SECRET = "123456789012", "AKIABENCHBENCHBENCH0", "benchbenchbenchbenchbenchbenchbenchbench"
TRUST = json.dumps(
    {
        "Version": "2012-10-17",
        "Statement": [
            {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"}, "Action": "sts:AssumeRole"}
        ],
    }
)
# A role whose every request is evaluated: what its trust policy and the caller's own policy look at may differ each time.
EVALUATED, EXTERNAL_ID = "evaluated", "bench-external-id"
_NEARBY = {"IpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}}
_EVALUATED_TRUST = {
    "Effect": "Allow",
    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:root"},
    "Action": "sts:AssumeRole",
    "Condition": {
        "StringEquals": {"aws:PrincipalTag/team": "payments", "sts:ExternalId": EXTERNAL_ID},
        **_NEARBY,
    },
}
_EVALUATED_IDENTITY = {
    "Effect": "Allow",
    "Action": "sts:AssumeRole",
    "Resource": f"arn:aws:iam::{ACCOUNT}:role/*",
    "Condition": {"StringEquals": {"aws:PrincipalTag/team": ["payments", "ledger"]}, **_NEARBY},
}
TARGET_RATE, TARGET_P99 = 6000, 60
CORES = sorted(os.sched_getaffinity(0))
SERVER_CORE, LOAD_CORE = CORES[0], CORES[-1]


def call_time() -> float:
    """Nanoseconds, the least of several tries."""
    return min(timeit.repeat("f()", "def f(): pass", number=20_000, repeat=20)) / 20_000 * 1e9


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return int(server.getsockname()[1])


@contextmanager
def started(command: list[str], url: str, ready: str, cores: set[int], environment: dict[str, str]) -> Iterator[int]:
    """Runs a server pinned to these cores until the block ends; its process id."""
    process = subprocess.Popen(
        command,
        env={**os.environ, **environment},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,  # moto_server writes a line for each request
        preexec_fn=lambda: os.sched_setaffinity(0, cores),  # noqa: PLW1509  # no threads here
    )
    try:
        for _ in range(900):
            if process.poll() is not None:
                raise SystemExit(f"{command[0]} ended with status {process.returncode}")
            try:
                urllib.request.urlopen(url + ready, timeout=1).close()
                break
            except OSError:
                time.sleep(0.1)
        else:
            raise SystemExit(f"{command[0]} does not answer")
        yield process.pid
    finally:
        process.send_signal(signal.SIGTERM)
        process.wait(60)


@contextmanager
def daypass(data: Path, environment: dict[str, str], workers: int = 1) -> Iterator[str]:
    with served(data, environment, workers) as (url, _):
        yield url


@contextmanager
def served(data: Path, environment: dict[str, str], workers: int) -> Iterator[tuple[str, int]]:
    """`daypass`, with the process id of the server."""
    url = f"http://127.0.0.1:{free_port()}"
    command = [sys.executable, "-m", "daypass.cli.main", "serve", "--port", url.rsplit(":", 1)[1]]
    command += ["--data", str(data), "--workers", str(workers)]
    bootstrap = {"DAYPASS_BOOTSTRAP": f"{KEY}:{SECRET}:{ACCOUNT}:bench", "DAYPASS_LOG__LEVEL": "error"}
    with started(command, url, "/readyz", {SERVER_CORE}, {**bootstrap, **environment}) as pid:
        set_up(url)
        yield url, pid


@contextmanager
def moto() -> Iterator[str]:
    url = f"http://127.0.0.1:{free_port()}"
    command = [str(Path(sys.executable).parent / "moto_server"), "-H", "127.0.0.1", "-p", url.rsplit(":", 1)[1]]
    with started(command, url, "/moto-api/", {SERVER_CORE}, {}):
        set_up(url)
        yield url


def iam_client(url: str) -> Any:
    return boto3.client(
        "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )


def set_up(url: str) -> None:
    """One role with a trust policy and an inline policy, as a small team would have it."""
    iam = iam_client(url)
    with suppress(iam.exceptions.EntityAlreadyExistsException):
        iam.create_role(RoleName="bench", AssumeRolePolicyDocument=TRUST)


def requests(url: str, count: int, salt: str = "", roles: Sequence[str] = ("bench",)) -> list[bytes]:
    """Whole HTTP requests, each with its own session name, signed now; the roles in turn."""
    key = sigv4.SigningKey(KEY, SECRET, "us-east-1", "sts")
    built = []
    for number in range(count):
        role = roles[number % len(roles)]
        arn = quote_plus(f"arn:aws:iam::{ACCOUNT}:role/{role}")
        form = f"Action=AssumeRole&Version=2011-06-15&RoleArn={arn}&RoleSessionName=bench-{salt}{number}"
        built.append(sign(key, url, f"{form}&ExternalId={EXTERNAL_ID}" if role == EVALUATED else form))
    return built


def sign(key: sigv4.SigningKey, url: str, form: str) -> bytes:
    body = form.encode()
    headers = {"host": url.removeprefix("http://"), "content-type": "application/x-www-form-urlencoded; charset=utf-8"}
    sent = sigv4.sign(key, "POST", "/", "", headers, body, int(time.time() * 1000))
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body


def evaluated_setup(url: str) -> list[bytes]:
    """The IAM calls that make the role `EVALUATED`, and give user `bench` a policy and a tag to look at. In order."""
    policies = [
        quote_plus(json.dumps({"Version": "2012-10-17", "Statement": [statement]}))
        for statement in (_EVALUATED_TRUST, _EVALUATED_IDENTITY)
    ]
    key = sigv4.SigningKey(KEY, SECRET, "us-east-1", "iam")
    forms = (
        f"Action=CreateRole&RoleName={EVALUATED}&AssumeRolePolicyDocument={policies[0]}",
        f"Action=PutUserPolicy&UserName=bench&PolicyName=assume&PolicyDocument={policies[1]}",
        "Action=TagUser&UserName=bench&Tags.member.1.Key=team&Tags.member.1.Value=payments",
    )
    return [sign(key, url, f"{form}&Version=2010-05-08") for form in forms]


def mixed_setup(url: str) -> list[bytes]:
    """The IAM calls that make the role of `mix`, and give user `bench` the policy of its callers. In order."""
    trust, identity = (quote_plus(make(ACCOUNT, mix.MIXED)) for make in (mix.trust, mix.identity))
    key = sigv4.SigningKey(KEY, SECRET, "us-east-1", "iam")
    forms = (
        f"Action=CreateRole&RoleName={mix.ROLE[mix.MIXED]}&AssumeRolePolicyDocument={trust}",
        f"Action=PutUserPolicy&UserName=bench&PolicyName=assume&PolicyDocument={identity}",
    )
    return [sign(key, url, f"{form}&Version=2010-05-08") for form in forms]


def measure_many_roles(args: argparse.Namespace) -> None:
    """Flat in the number of roles: each request another role of 10 and of many, first touched, then from memory."""
    for count in (10, args.roles):
        with tempfile.TemporaryDirectory() as data:
            with daypass(Path(data), {}):
                pass  # makes the account
            add_roles(Path(data), ACCOUNT, count, TRUST)
            names = [f"many-{number}" for number in range(count)]
            with daypass(Path(data), {}) as url:
                for state in ("cold", "warm"):
                    roles = names[: args.requests]
                    result = asyncio.run(run(url, requests(url, args.requests, state, roles), 32, 60))
                    report(f"{count} roles, {state}, 32 connections", result)


def measure(
    url: str, connections: int, count: int, seconds: float, server: int = 0, roles: Sequence[str] = ("bench",)
) -> Result:
    """One run, with a short warm-up. `server`: its process id, to tell its worker processes apart."""
    os.sched_setaffinity(0, {LOAD_CORE})
    asyncio.run(run(url, requests(url, 500, "w", roles), connections, 5))
    who = partial(owners, server, int(url.rsplit(":", 1)[1])) if server else None
    return asyncio.run(run(url, requests(url, count, str(connections), roles), connections, seconds, who))


def report(name: str, result: Result, span: str = "") -> None:
    print(
        f"{name:44} {result.rate:8.0f}/s  p50 {result.percentile(0.5):7.1f}  p95 {result.percentile(0.95):7.1f}  "
        f"p99 {result.percentile(0.99):7.1f} ms  failed {result.failures}{span}",
        flush=True,
    )
    for status, body in result.failed.items():
        print(f"    {status}: {body[:200]!r}")


def report_rounds(name: str, rounds: Sequence[Result]) -> None:
    """All rounds together, and how far their rates lie apart."""
    whole = Result(sum(one.seconds for one in rounds))
    for one in rounds:
        whole.latencies += one.latencies
        whole.failures += one.failures
        whole.failed.update(one.failed)
    rates = sorted(one.rate for one in rounds)
    report(name, whole, f"  ({rates[0]:.0f} to {rates[-1]:.0f}/s)" if len(rates) > 1 else "")


def measure_sqlite(args: argparse.Namespace, name: str, environment: dict[str, str], workers: int = 1) -> None:
    with tempfile.TemporaryDirectory() as data, served(Path(data), environment, workers) as (url, pid):
        for connections in (32, 256):
            if workers == 1:
                rounds = [measure(url, connections, args.requests, args.seconds) for _ in range(args.rounds)]
                report_rounds(f"{name}, {connections} connections", rounds)
                continue
            result = measure(url, connections, args.requests, args.seconds, pid)
            report(f"{name}, {connections} connections", result)
            for number, part in enumerate(result.parts(), 1):
                report(f"    process {number}", part)


def measure_evaluated(args: argparse.Namespace) -> None:
    """Conditions in every policy that counts, so that each request has some to be tested."""
    with tempfile.TemporaryDirectory() as data, daypass(Path(data), {}) as url:
        if asyncio.run(run(url, evaluated_setup(url), 1, 10)).failed:
            raise SystemExit("the role with conditions could not be made")
        for connections in (32, 256):
            rounds = [
                measure(url, connections, args.requests, args.seconds, roles=(EVALUATED,)) for _ in range(args.rounds)
            ]
            report_rounds(f"SQLite FULL, every policy with conditions, {connections}", rounds)


def measure_postgres(args: argparse.Namespace) -> None:
    from tests.postgres import running_server  # only where it is asked for

    with running_server() as postgres, tempfile.TemporaryDirectory() as data:
        environment = {"DAYPASS_DATABASE__URL": postgres.url(postgres.create_database())}
        with daypass(Path(data), environment) as url:
            for connections in (32, 256):
                rounds = [measure(url, connections, args.requests, args.seconds) for _ in range(args.rounds)]
                report_rounds(f"PostgreSQL, {connections} connections", rounds)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--requests", type=int, default=20_000, help="signed requests for each run")
    parser.add_argument("--seconds", type=float, default=10, help="longest time of each run")
    parser.add_argument("--rounds", type=int, default=3, help="runs that are counted together")
    parser.add_argument("--only", default="", help=", ".join(PARTS))
    parser.add_argument("--roles", type=int, default=100_000, help="the larger number of roles")
    args = parser.parse_args()
    print(f"Python {platform.python_version()}: a call of an empty function takes {call_time():.0f} ns here and now")
    print(f"server on core {SERVER_CORE}, load on core {LOAD_CORE}; target {TARGET_RATE}/s, p99 {TARGET_P99} ms at 256")
    for name in args.only.split(",") if args.only else PARTS:
        PARTS[name](args)


def measure_plain(args: argparse.Namespace) -> None:
    measure_sqlite(args, "SQLite FULL", {})


def measure_workers(args: argparse.Namespace) -> None:
    for workers in (2, 4):
        measure_sqlite(args, f"SQLite FULL, {workers} workers", {}, workers)


def measure_delay(args: argparse.Namespace) -> None:
    slow = {"DAYPASS_JOURNAL__FSYNC_DELAY_MS": "3"}
    measure_sqlite(args, "SQLite FULL, +3 ms at each fsync", slow)
    for workers in (2, 4):
        measure_sqlite(args, f"SQLite FULL, +3 ms, {workers} workers", slow, workers)


def measure_moto(args: argparse.Namespace) -> None:
    with moto() as url:
        report("moto_server (checks nothing), 32 connections", measure(url, 32, 3000, args.seconds))


PARTS: Mapping[str, Callable[[argparse.Namespace], None]] = {
    "sqlite": measure_plain,
    "evaluated": measure_evaluated,
    "roles": measure_many_roles,
    "workers": measure_workers,
    "delay": measure_delay,
    "postgres": measure_postgres,
    "moto": measure_moto,
}


if __name__ == "__main__":
    main()
