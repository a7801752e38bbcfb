"""AssumeRole with session tags and conditions, from many callers: what `peers` asks several programs for, and `cost` takes apart.

The mix: 20 callers, two session tags in each request (a pair that no other request has), a Deny with NotIpAddress in each caller's identity policy, StringLike on a
request tag in the role's trust policy. The plain requests have neither tags nor conditions.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from typing import Any
from urllib.parse import quote_plus

from daypass import sigv4

CALLERS = 20
MIXED, PLAIN = "mixed", "plain"
TARGETS = {MIXED: 10.0, PLAIN: 12.0}  # times moto_server
ROLE = {MIXED: "mix-tagged", PLAIN: "mix-plain"}
_TAGGED = {"StringLike": {"aws:RequestTag/project": ["web-*", "api-*"]}}
_ELSEWHERE = {"NotIpAddress": {"aws:SourceIp": ["127.0.0.0/8", "10.0.0.0/8"]}}

Key = tuple[str, str]  # id and secret


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": statements})


def trust(account: str, kind: str) -> str:
    actions = ["sts:AssumeRole", "sts:TagSession"] if kind == MIXED else "sts:AssumeRole"
    allow = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": actions}
    return policy({**allow, "Condition": _TAGGED} if kind == MIXED else allow)


def identity(account: str, kind: str) -> str:
    roles = f"arn:aws:iam::{account}:role/{ROLE[kind]}"
    allow = {"Effect": "Allow", "Action": ["sts:AssumeRole", "sts:TagSession"], "Resource": roles}
    deny = {"Effect": "Deny", "Action": "*", "Resource": "*", "Condition": _ELSEWHERE}
    return policy(allow, deny) if kind == MIXED else policy(allow)


def set_up(iam: Any, account: str, kind: str) -> list[Key]:
    """The role and its callers by IAM; the keys of the callers. `iam`: a boto3 client."""
    iam.create_role(RoleName=ROLE[kind], AssumeRolePolicyDocument=trust(account, kind))
    keys = []
    for number in range(CALLERS):
        name = f"{kind}-caller-{number}"
        iam.create_user(UserName=name)
        iam.put_user_policy(UserName=name, PolicyName="assume", PolicyDocument=identity(account, kind))
        made = iam.create_access_key(UserName=name)["AccessKey"]
        keys.append((made["AccessKeyId"], made["SecretAccessKey"]))
    return keys


def form(account: str, kind: str, name: str, number: int) -> str:
    """The parameters of one request: its own session name and its own pair of tags, so that no cache of tags helps.

    There are 50 projects; the ticket is that of the request alone.
    """
    arn = quote_plus(f"arn:aws:iam::{account}:role/{ROLE[kind]}")
    plain = f"Action=AssumeRole&Version=2011-06-15&RoleArn={arn}&RoleSessionName={name}"
    if kind == PLAIN:
        return plain
    project, ticket = f"web-{number % 50}", f"T-{name}"
    return (
        f"{plain}&Tags.member.1.Key=project&Tags.member.1.Value={project}"
        f"&Tags.member.2.Key=ticket&Tags.member.2.Value={ticket}"
    )


def requests(
    url: str, account: str, kind: str, keys: Sequence[Key], count: int, salt: str, sign: Callable[..., bytes]
) -> list[bytes]:
    """Whole HTTP requests, each with its own session name, signed now; the callers in turn."""
    signing = [sigv4.SigningKey(key_id, secret, "us-east-1", "sts") for key_id, secret in keys]
    return [
        sign(signing[n % len(signing)], url, form(account, kind, f"mix-{salt}-{n}", n // len(signing)))
        for n in range(count)
    ]


def salt_of(moment: Callable[[], float] = time.monotonic) -> str:
    """Another one for each round, so that no two requests are the same."""
    return f"{int(moment() * 1000):x}"
