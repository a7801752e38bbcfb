"""Amazon Resource Names: taking them apart and spelling the ones that principals have.

Pure text. It never decides whether what an ARN names exists. Source: IAM User Guide, "IAM identifiers".
"""

from __future__ import annotations

from typing import NamedTuple

PARTITIONS = frozenset(
    {"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"},
)
"""The partitions that AWS has: the second field of an ARN."""


class Arn(NamedTuple):
    """The fields behind `arn:`. Region and account may be empty; the resource keeps its colons."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        return ":".join(("arn", *self))

    @property
    def name(self) -> str:
        """What follows the last slash of the resource: a user's or role's name, a session's name."""
        return self.resource.rpartition("/")[2]


def parse_arn(text: str) -> Arn:
    """The ARN that `text` is. Raises ValueError when a field is missing, or one that must not be empty is."""
    fields = text.split(":", 5)
    if len(fields) != 6 or fields[0] != "arn" or not (fields[1] and fields[2] and fields[5]):
        raise ValueError("not an ARN")
    if any(not part.isprintable() or " " in part for part in fields[:5]):
        raise ValueError("not an ARN")
    return Arn(*fields[1:])


def is_account_id(text: str) -> bool:
    """Whether `text` is twelve ASCII digits."""
    return len(text) == 12 and text.isascii() and text.isdigit()


def account_of(text: str) -> str:
    """The account that an ARN names; "" where it names none (or "aws": what comes with Daypass is everyone's)."""
    fields = text.split(":", 5)
    return fields[4] if len(fields) == 6 and is_account_id(fields[4]) else ""


def root_arn(account: str) -> str:
    """`arn:aws:iam::ACCOUNT:root`: in a Principal element, the whole account."""
    return f"arn:aws:iam::{account}:root"


def user_arn(account: str, path: str, name: str) -> str:
    """`path` begins and ends with a slash."""
    return f"arn:aws:iam::{account}:user{path}{name}"


def role_arn(account: str, path: str, name: str) -> str:
    """`path` begins and ends with a slash."""
    return f"arn:aws:iam::{account}:role{path}{name}"


def assumed_role_arn(account: str, role_name: str, session_name: str) -> str:
    """The ARN of a role session; the role's path is no part of it."""
    return f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"


def federated_user_arn(account: str, name: str) -> str:
    """The ARN of a GetFederationToken session."""
    return f"arn:aws:sts::{account}:federated-user/{name}"


def is_session_arn(text: str) -> bool:
    """Whether `text` names one session (of a role or a federated user) and not the identity behind it."""
    fields = text.split(":", 5)
    return len(fields) == 6 and fields[2] == "sts" and fields[5].startswith(("assumed-role/", "federated-user/"))
