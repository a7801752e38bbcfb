"""The long-term keys of an account, the oldest first by id: age, last use, reach, and the role that would replace each (O1)."""

from __future__ import annotations

import json
from typing import Any, Final

from msgspec import Struct

from daypass.domain.access.risk import breadth_of
from daypass.domain.arn import root_arn
from daypass.domain.directory import (
    AccessKey,
    Account,
    KeyStatus,
    LastUse,
    LoginProfile,
    Membership,
    OidcProvider,
    User,
)
from daypass.operations.iam.builtin import allowed_actions
from daypass.operations.management import allow
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Reader

_DAY_MS: Final = 86_400_000
_OLD_DAYS: Final = 90
_MANY: Final = 1_000


class LongLivedKey(Struct, frozen=True):
    """One active key."""

    access_key_id: str
    owner: str
    created_at: int
    age_days: int
    used_at: int
    used_for: str
    reach: str  # what its policies allow: everything, whole services, named actions, or nothing
    # advice: what to do about it. role, trust_policy: the role that would replace it, "" for a person.
    advice: str
    role: str
    trust_policy: str

    @property
    def who(self) -> str:
        """The owner without its account."""
        return self.owner.rpartition(":")[2]


async def list_long_lived_keys(env: Env, call: Call, after: str, limit: int) -> tuple[list[LongLivedKey], str]:
    """daypass:ListLongLivedKeys. One page of the caller's account, and where the next one begins."""
    decision = await allow(env, call, "ListLongLivedKeys", "access", "*")
    account = call.caller.account
    found, following = await env.directory.read(
        lambda tx: _page(tx, env, account, call.now, after, limit), account=account
    )
    await env.journal.commit(served(call, decision=decision, detail={"keys": len(found)}))
    return found, following


def _page(tx: Reader, env: Env, account: str, now: int, after: str, limit: int) -> tuple[list[LongLivedKey], str]:
    keys = tx.find(AccessKey, account=account, order="id", after=after, limit=limit)
    provider = next(iter(tx.find(OidcProvider, account=account, order="url", limit=1)), None)
    active = [_described(tx, env, key, provider, now) for key in keys if key.status is KeyStatus.ACTIVE]
    return active, keys[-1].id if len(keys) == limit else ""


def _described(tx: Reader, env: Env, key: AccessKey, provider: OidcProvider | None, now: int) -> LongLivedKey:
    user = tx.get(User, id=key.owner_id)
    last = max(tx.find(LastUse, subject=key.id), key=lambda use: use.at, default=None)
    person = user is not None and tx.get(LoginProfile, user_id=user.id) is not None
    age = (now - key.created_at) // _DAY_MS
    workload = user is not None and not person
    name = user.name if user is not None else ""
    return LongLivedKey(
        access_key_id=key.id,
        owner=user.arn if user is not None else root_arn(key.account),
        created_at=key.created_at,
        age_days=age,
        used_at=last.at if last is not None else 0,
        used_for=last.operation if last is not None else "",
        reach=_reach(tx, env, user, is_root=tx.get(Account, id=key.owner_id) is not None),
        advice=_advice(age, (now - last.at) // _DAY_MS if last is not None else None, root=user is None, person=person),
        role=name if workload else "",
        trust_policy=_trust_policy(name, provider) if workload else "",
    )


def _advice(age: int, unused: int | None, *, root: bool, person: bool) -> str:
    idle = age if unused is None else unused
    if idle > _OLD_DAYS:
        return "not used for 90 days: delete it"
    if root:
        return "delete it: the root needs no key"
    if person:
        return "delete it: the person signs in with daypass login --browser"
    rotate = "; rotate it until then" if age > _OLD_DAYS else ""
    return f"replace it by the role{rotate}"


def _reach(tx: Reader, env: Env, user: User | None, *, is_root: bool) -> str:
    if is_root or user is None:
        return "everything"
    groups = [each.group_id for each in tx.find(Membership, user_id=user.id, limit=_MANY)]
    actions = [action for owner in (user.id, *groups) for action in allowed_actions(tx, env, owner)]
    breadth = breadth_of(actions)
    if breadth == 1:
        return "everything"
    return "whole services" if breadth else "named actions" if actions else "nothing"


def _trust_policy(name: str, provider: OidcProvider | None) -> str:
    """The trust policy of the role: for tokens of the account's provider, else for certificates."""
    statement: dict[str, Any]
    if provider is not None:
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": provider.arn},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{provider.url}:sub": f"SUBJECT-OF-{name}"}},
        }
    else:
        statement = {
            "Effect": "Allow",
            "Principal": {"Service": "rolesanywhere.amazonaws.com"},
            "Action": ["sts:AssumeRole", "sts:SetSourceIdentity", "sts:TagSession"],
            "Condition": {"StringEquals": {"aws:PrincipalTag/x509Subject/CN": name}},
        }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})
