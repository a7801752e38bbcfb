"""Blocks of principals as policies that deny everything, so that a question about access gets the decision of a real request.

They are guardrails of the caller of each request, and of whom "simulate", "who can" and the other questions ask about. A
blocked key or user can make neither sessions nor other credentials (attack A618).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

from msgspec.structs import replace

from daypass.domain.claims import Caller, PrincipalKind
from daypass.domain.directory import AccessKey, KeyStatus, LoginProfile, Passkey, Revocation, Role, User
from daypass.domain.policy.document import PolicyKind
from daypass.domain.policy.layers import BLOCK, NamedPolicy
from daypass.domain.session import Hop
from daypass.domain.trust import CallerPolicies
from daypass.operations.principals import compiled
from daypass.ports import Env, Reader

Levels: TypeAlias = tuple[tuple[NamedPolicy, ...], ...]

NO_CREDENTIALS: Final = (
    "It has no active credential: its access keys are disabled, and it has no password and no passkey."
)
_DENY: Final = '{"Version":"2012-10-17","Statement":[{"Effect":"Deny","Action":"*","Resource":"*"}]}'


def levels_of(blocks: Iterable[Revocation]) -> Levels:
    """One level of guardrails for each of these blocks."""
    denial = compiled(_DENY, PolicyKind.GUARDRAIL)
    return tuple((NamedPolicy(f"{BLOCK}{block.id}", denial),) for block in blocks)


def block_of(env: Env, now: int, account: str, principal_id: str) -> Revocation | None:
    """The block of a user or role of the account, from memory. Raises DaypassError(UNAVAILABLE)."""
    return env.directory.blocked([Hop("", account, principal_id, now, env.directory.seen(), "")], "", now)


def in_force(env: Env, now: int, entity: User | Role) -> Levels:
    """The level of what blocks this principal now. Raises DaypassError(UNAVAILABLE)."""
    block = block_of(env, now, entity.account, entity.id)
    return levels_of([block] if block is not None else [])


def on_caller(env: Env, caller: Caller) -> Revocation | None:
    """The block on this caller, as far as this process knows. That of an account leaves its root able to lift it."""
    session = caller.session
    identity = session.source_identity if session is not None else ""
    block = env.directory.known_block(caller.hops, identity, env.clock.now())
    if block is not None and block.subject == "account" and caller.kind is PrincipalKind.ROOT:
        return None
    return block


def under(policies: CallerPolicies, levels: Levels) -> CallerPolicies:
    return replace(policies, guardrails=(*policies.guardrails, *levels)) if levels else policies


def stored(tx: Reader, account: str, ids: Sequence[str], now: int) -> Mapping[str, Levels]:
    """The blocks of principals of the account, by id; of the account itself by the account's id."""
    found: dict[str, Levels] = {}
    for kind, values in (("principal", ids), ("role", ids), ("account", [account])):
        for block in tx.find_among(Revocation, "value", values, order="id", account=account, subject=kind):
            if block.blocks_at(now):
                found[block.value] = levels_of([block])
    return found


def without_credentials(tx: Reader, users: Sequence[User]) -> frozenset[str]:
    """The ids of those users whose access keys are all disabled, and who have no password and no passkey."""
    ids = [user.id for user in users]
    keys = tx.find_among(AccessKey, "owner_id", ids, order="id")
    working = {key.owner_id for key in keys if key.status is KeyStatus.ACTIVE}
    working |= {login.user_id for login in tx.find_among(LoginProfile, "user_id", ids, order="user_id")}
    working |= {passkey.user_id for passkey in tx.find_among(Passkey, "user_id", ids, order="id")}
    return frozenset(key.owner_id for key in keys) - working
