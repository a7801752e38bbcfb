"""Access decisions over AuthZEN, on kept-alive connections, beside AssumeRole at the same server process on one core.

The policy of the subject has fifty statements with conditions, and every request is authenticated (SigV4), permitted by policy and durable on the
record (SQLite, synchronous=FULL). Only ratios within one run say anything.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import tempfile
import time
from pathlib import Path
from typing import Any

from assume_role import ACCOUNT, KEY, LOAD_CORE, SECRET, daypass, iam_client, report, requests
from daypass import sigv4
from loadgen import Result, run

_RATES = ("PRINCIPAL", "ACCOUNT", "FAILURES")
ENVIRONMENT = {f"DAYPASS_RATES__{name}_{what}": "100000000" for name in _RATES for what in ("PER_SECOND", "BURST")}
STATEMENTS = 50
BATCHES = (1, 20, 200, 1_000)


def set_up(url: str) -> None:
    """A user whose policy allows some decisions and not others."""
    iam = iam_client(url)
    iam.create_user(UserName="alice")
    iam.tag_user(UserName="alice", Tags=[{"Key": "team", "Value": "blue"}])
    for part in range(5):
        statements = [statement(10 * part + index) for index in range(STATEMENTS // 5)]
        document = json.dumps({"Version": "2012-10-17", "Statement": statements})
        arn = iam.create_policy(PolicyName=f"part{part}", PolicyDocument=document)["Policy"]["Arn"]
        iam.attach_user_policy(UserName="alice", PolicyArn=arn)


def statement(index: int) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Action": [f"orders:Read{index}", f"orders:List{index}"],
        "Resource": f"arn:aws:orders::{ACCOUNT}:department{index}/*",
        "Condition": {
            "StringEquals": {"aws:PrincipalTag/team": "blue", "aws:ResourceTag/team": "${aws:PrincipalTag/team}"}
        },
    }


def question(index: int) -> dict[str, Any]:
    return {
        "action": {"name": f"Read{index % STATEMENTS}"},
        "resource": {
            "type": "orders",
            "id": f"department{index % STATEMENTS}/{index}",
            "properties": {"team": "blue" if index % 4 else "red"},
        },
    }


def signed(url: str, path: str, body: dict[str, Any]) -> bytes:
    """One whole HTTP request, signed now."""
    key = sigv4.SigningKey(KEY, SECRET, "us-east-1", "daypass")
    data = json.dumps(body).encode()
    headers = {"host": url.removeprefix("http://"), "content-type": "application/json"}
    sent = sigv4.sign(key, "POST", path, "", headers, data, int(time.time() * 1000))
    head = "".join(f"{name}: {value}\r\n" for name, value in sent.items())
    return f"POST {path} HTTP/1.1\r\n{head}content-length: {len(data)}\r\n\r\n".encode() + data


def asked(url: str, size: int) -> bytes:
    subject = {"type": "user", "id": "alice"}
    if size == 1:
        return signed(url, "/access/v1/evaluation", {"subject": subject, **question(1)})
    body = {"subject": subject, "evaluations": [question(index) for index in range(size)]}
    return signed(url, "/access/v1/evaluations", body)


def play(url: str, whole: list[bytes], connections: int, seconds: float) -> Result:
    asyncio.run(run(url, whole[:100], connections, 5))
    return asyncio.run(run(url, whole, connections, seconds))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=3.0)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name, daypass(Path(name) / "data", ENVIRONMENT) as url:
        set_up(url)
        os.sched_setaffinity(0, {LOAD_CORE})
        best: dict[str, float] = {}
        for turn in range(options.rounds):
            base = play(url, requests(url, 6_000, f"a{turn}"), options.connections, options.seconds)
            report("AssumeRole", base)
            best["AssumeRole"] = max(best.get("AssumeRole", 0), base.rate)
            for size in BATCHES:
                whole = [asked(url, size)] * max(200, 12_000 // size)
                result = play(url, whole, options.connections, options.seconds)
                report(f"{size} in a request", result)
                rate = 0.0 if result.failures else result.rate * size
                best[str(size)] = max(best.get(str(size), 0), rate)
    for name, rate in best.items():
        what = name if name == "AssumeRole" else f"decisions, {name} in a request"
        print(f"{what:34} {rate:8.0f}/s  {rate / best['AssumeRole']:5.2f} times AssumeRole")


if __name__ == "__main__":
    main()
