"""ARNs, and the source of a request: its network, which is the key of fair turns.

This module only handles text. It never checks that a named entity exists. Source: IAM User Guide, "IAM identifiers".
"""

from __future__ import annotations

from collections.abc import Collection
from functools import lru_cache
from ipaddress import IPv6Address, ip_address, ip_network
from typing import Final, NamedTuple

from msgspec import Struct

PARTITIONS = frozenset({"aws", "aws-cn", "aws-us-gov", "aws-iso", "aws-iso-b", "aws-iso-e", "aws-iso-f", "aws-eusc"})
"""The partitions of AWS: the second field of an ARN."""


class Arn(NamedTuple):
    """The fields after `arn:`. Region and account may be empty; the resource keeps its colons."""

    partition: str
    service: str
    region: str
    account: str
    resource: str

    def __str__(self) -> str:
        return ":".join(("arn", *self))

    @property
    def name(self) -> str:
        """The text after the last slash of the resource: the name of a user, role or session."""
        return self.resource.rpartition("/")[2]


def read_arn(text: str) -> Arn | None:
    """The fields of an ARN; None when a field is missing or a required field is empty."""
    fields = text.split(":", 5)
    if len(fields) != 6 or fields[0] != "arn" or not (fields[1] and fields[2] and fields[5]):
        return None
    if any(not part.isprintable() or " " in part for part in fields[:5]):
        return None
    return Arn(*fields[1:])


def parse_arn(text: str) -> Arn:
    """The fields of an ARN. Raises ValueError for any other text."""
    arn = read_arn(text)
    if arn is None:
        raise ValueError("not an ARN")
    return arn


def is_account_id(text: str) -> bool:
    """Whether `text` is twelve ASCII digits."""
    return len(text) == 12 and text.isascii() and text.isdigit()


def account_of(text: str) -> str:
    """The account in an ARN; "" when it has none, as the ARN of a policy that AWS manages (`arn:aws:iam::aws:policy/…`)."""
    fields = text.split(":", 5)
    return fields[4] if len(fields) == 6 and is_account_id(fields[4]) else ""


def entity_named(text: str, kinds: Collection[str]) -> tuple[str, str] | None:
    """The kind and name in the ARN of an IAM entity of an account: ("user", "ann"). None for any other kind or text."""
    arn = read_arn(text)
    if arn is None or arn.service != "iam" or arn.region or not is_account_id(arn.account):
        return None
    kind, slash, _ = arn.resource.partition("/")
    return (kind, arn.name) if slash and arn.name and kind in kinds else None


def is_role_arn(text: str) -> bool:
    """Whether `text` names a role of an account."""
    return bool(account_of(text)) and text.startswith(f"arn:aws:iam::{account_of(text)}:role/")


def root_arn(account: str) -> str:
    """`arn:aws:iam::ACCOUNT:root`: in a Principal element, the whole account."""
    return f"arn:aws:iam::{account}:root"


def role_arn(account: str, path: str, name: str) -> str:
    """`path` begins and ends with a slash."""
    return f"arn:aws:iam::{account}:role{path}{name}"


def assumed_role_arn(account: str, role_name: str, session_name: str) -> str:
    """The ARN of a role session. It does not contain the role's path."""
    return f"arn:aws:sts::{account}:assumed-role/{role_name}/{session_name}"


def federated_user_arn(account: str, name: str) -> str:
    """The ARN of a GetFederationToken session."""
    return f"arn:aws:sts::{account}:federated-user/{name}"


def is_session_arn(text: str) -> bool:
    """Whether `text` names a session (of a role or a federated user) rather than the identity behind it."""
    fields = text.split(":", 5)
    return len(fields) == 6 and fields[2] == "sts" and fields[5].startswith(("assumed-role/", "federated-user/"))


# --- The source of a request, as limits and fair queues see it


class Source(Struct, frozen=True):
    """`network`: see `network_of`; "" when the address is unknown. `account` and `principal`: of the caller; "" without one."""

    network: str = ""
    account: str = ""
    principal: str = ""

    @property
    def lane(self) -> str:
        """The key of fair queues: what is done for one account, or for one network without an account, waits for its turn."""
        return self.account or self.network


UNKNOWN: Final = Source()


@lru_cache(maxsize=4096)
def network_of(address: str) -> str:
    """An IPv4 address, or the first 64 bits of an IPv6 address, because one host can use all addresses of a /64."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address[:64]
    if not isinstance(parsed, IPv6Address):
        return str(parsed)
    mapped = parsed.ipv4_mapped
    return str(mapped) if mapped is not None else str(ip_network((parsed, 64), strict=False))
