"""The managed policies that Daypass ships, as entities of account "aws".

They are data files, the same for every account. They cannot be changed and are not in the database. An operator may add
further AWS managed policies.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any, Final

from daypass.domain.directory import ManagedPolicy, PolicyVersion
from daypass.ports import Reader

ACCOUNT: Final = "aws"
_CREATED_AT: Final = 1_423_247_992_000  # 2015-02-06, when AWS created its first managed policies
_DESCRIPTIONS: Final = {
    "AWSDenyAll": "Nothing, on anything.",
    "AWSLambdaBasicExecutionRole": "Lets a function keep its logs.",
    "AWSLambdaExecute": "Lets a function keep its logs, and read and write objects.",
    "AdministratorAccess": "Everything, on everything.",
    "AmazonS3FullAccess": "Everything on object storage.",
    "AmazonS3ReadOnlyAccess": "Reading of buckets and objects.",
    "DaypassOperatorAccess": "Administration of Daypass in every account, for principals of the operator account.",
    "IAMFullAccess": "Everything on identities and their policies.",
    "IAMReadOnlyAccess": "Reading of identities and their policies.",
    "IAMUserChangePassword": "Lets users change their own passwords.",
    "PowerUserAccess": "Everything, except on identities, organizations and accounts.",
    "ReadOnlyAccess": "Reading of everything.",
    "SecurityAudit": "Reading of configuration for security reviews, without data.",
    "ViewOnlyAccess": "Lists and descriptions of resources, without their data.",
}


class Catalog:
    """The built-in policies of an installation, by ARN."""

    __slots__ = ("_by_arn", "texts")

    def __init__(self, texts: Mapping[str, str]) -> None:
        self.texts = dict(texts)
        self._by_arn = {arn: _entity(arn) for arn in self.texts}

    def policy(self, arn: str) -> ManagedPolicy | None:
        return self._by_arn.get(arn)

    def policies(self, after: str = "") -> Sequence[ManagedPolicy]:
        """All policies after a `place`, by name."""
        return [policy for policy in sorted(self._by_arn.values(), key=_order) if _order(policy) > after.lower()]

    def version(self, arn: str) -> PolicyVersion | None:
        """The only version of a built-in policy."""
        policy = self._by_arn.get(arn)
        if policy is None:
            return None
        return PolicyVersion(ACCOUNT, policy.id, 1, self.texts[arn], _CREATED_AT)


def catalog(texts: Mapping[str, str]) -> Catalog:
    """The catalog of these texts by ARN."""
    return _catalog(tuple(texts.items()))


def place(policy: ManagedPolicy) -> str:
    """The position of a built-in policy in the list. Two of them may have one name, under different paths."""
    return f"{policy.name} {policy.path}"


def _order(policy: ManagedPolicy) -> str:
    return place(policy).lower()


@lru_cache(maxsize=8)
def _catalog(texts: tuple[tuple[str, str], ...]) -> Catalog:
    return Catalog(dict(texts))


def _entity(arn: str) -> ManagedPolicy:
    path_and_name = arn.split(":policy", 1)[1]
    path, _, name = path_and_name.rpartition("/")
    digest = base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()
    return ManagedPolicy(
        id=f"ANPA{digest[:17]}",
        account=ACCOUNT,
        arn=arn,
        name=name,
        path=f"{path}/",
        created_at=_CREATED_AT,
        updated_at=_CREATED_AT,
        description=_DESCRIPTIONS.get(name),
    )


def policy_text(tx: Reader, texts: Mapping[str, str], arn: str, **equals: Any) -> str:
    """The text of a managed policy's default version; "" when there is none. `texts`: of the built-in policies, by ARN.
    `equals`: what else a stored policy must have.
    """
    if arn in texts:
        return texts[arn]
    policy = tx.get(ManagedPolicy, arn=arn, **equals)
    version = tx.get(PolicyVersion, policy_id=policy.id, version=policy.default_version) if policy is not None else None
    return version.document if version is not None else ""
