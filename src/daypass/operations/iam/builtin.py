"""The managed policies that Daypass ships, as entities of account "aws".

They are data files, the same for every account. They cannot be changed and are not in the database. An operator may add
further AWS managed policies.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from daypass.data import BuiltinPolicies
from daypass.domain.directory import Attachment, InlinePolicy, ManagedPolicy, PolicyVersion
from daypass.domain.policy.compiled import PolicyDocument, PolicyKind
from daypass.domain.policy.document import compile_stored
from daypass.domain.policy.model import Effect
from daypass.ports import Env, Reader

ACCOUNT: Final = "aws"
_DESCRIPTIONS: Final = {
    "DaypassAdministratorAccess": "Administration of Daypass in the principal's own account.",
    "DaypassOperatorAccess": "Administration of Daypass in every account, for principals of the operator account.",
}


class Catalog:
    """The built-in policies of an installation, by ARN. `texts` are read when they are needed."""

    __slots__ = ("texts",)

    def __init__(self, texts: BuiltinPolicies) -> None:
        self.texts = texts

    def policy(self, arn: str) -> ManagedPolicy | None:
        return self._entity(arn) if arn in self.texts else None

    def policies(self, after: str = "") -> Sequence[ManagedPolicy]:
        """All policies after a `place`, by name."""
        policies = map(self._entity, self.texts)
        return sorted((policy for policy in policies if _order(policy) > after.lower()), key=_order)

    def version(self, arn: str) -> PolicyVersion | None:
        """The only version of a built-in policy: AWS's default version."""
        policy = self.policy(arn)
        if policy is None:
            return None
        text = self.texts[arn]
        return PolicyVersion(ACCOUNT, policy.id, policy.default_version, text, policy.updated_at)

    def _entity(self, arn: str) -> ManagedPolicy:
        path, _, name = arn.split(":policy", 1)[1].rpartition("/")
        digest = base64.b32encode(hashlib.sha256(arn.encode()).digest()).decode()
        dates = self.texts.dates(arn)
        return ManagedPolicy(
            id=f"ANPA{digest[:17]}",
            account=ACCOUNT,
            arn=arn,
            name=name,
            path=f"{path}/",
            created_at=dates.created_at,
            updated_at=dates.updated_at,
            default_version=dates.version,
            latest_version=dates.version,
            description=_DESCRIPTIONS.get(name),
        )


_MANY: Final = 1_000  # policies of one owner


def place(policy: ManagedPolicy) -> str:
    """The position of a built-in policy in the list. Two of them may have one name, under different paths."""
    return f"{policy.name} {policy.path}"


def _order(policy: ManagedPolicy) -> str:
    return place(policy).lower()


def policy_text(tx: Reader, texts: Mapping[str, str], arn: str, **equals: Any) -> str:
    """The text of a managed policy's default version; "" when there is none. `texts`: of the built-in policies, by ARN.
    `equals`: what else a stored policy must have.
    """
    if arn in texts:
        return texts[arn]
    policy = tx.get(ManagedPolicy, arn=arn, **equals)
    version = tx.get(PolicyVersion, policy_id=policy.id, version=policy.default_version) if policy is not None else None
    return version.document if version is not None else ""


def allowed_actions(tx: Reader, env: Env, owner_id: str) -> list[str]:
    """The actions that the own policies of a role, user or group allow, as they are written."""
    texts = [policy.document for policy in tx.find(InlinePolicy, owner_id=owner_id, order="name", limit=_MANY)]
    attached = tx.find(Attachment, owner_id=owner_id, order="policy_arn", limit=_MANY)
    texts += [policy_text(tx, env.builtin, each.policy_arn) for each in attached]
    return actions_in(compile_stored(text, PolicyKind.IDENTITY) for text in texts if text)


def actions_in(documents: Iterable[PolicyDocument]) -> list[str]:
    """The actions that the documents allow, as they are written."""
    found: list[str] = []
    for statement in (each for document in documents for each in document.statements):
        if statement.effect is Effect.ALLOW:
            found += ["*"] if statement.not_action else statement.written.get("Action", ())
    return found
