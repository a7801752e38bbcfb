"""Daypass's own settings of a role: the longest session when it is chained from another session."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Final, TypeAlias

from daypass.domain.arn import role_arn
from daypass.domain.directory import Role
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.operations.iam import faults
from daypass.operations.management import InAws, allow, allow_operator
from daypass.operations.outcome import served
from daypass.ports import Call, Env, Tx

MIN_CHAINED_SECONDS: Final = 900
MAX_CHAINED_SECONDS: Final = 43_200


async def get_role_settings(env: Env, call: Call, name: str, account: str = "") -> Role:
    """daypass:GetRoleSettings. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    owner = account or call.caller.account
    role = await _find_role(env, call, owner, name)
    known = role.name if role is not None else name
    tags = role.tags if role is not None else ()
    decision = await allow(env, call, "GetRoleSettings", "role", known, owner, in_aws=InAws(tags=tags), requested=name)
    if role is None:
        raise faults.no_such("role", name)
    await env.journal.commit(served(call, account=owner, decision=decision, detail={"role": role.arn}))
    return role


async def put_role_settings(env: Env, call: Call, name: str, chained_max_seconds: int, account: str = "") -> Role:
    """daypass:PutRoleSettings, with iam:UpdateRole. AWS limits every chained session to an hour; here that is the default.

    Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION.
    """
    owner = account or call.caller.account
    stored = await _find_role(env, call, owner, name)
    known, arn = (stored.name, stored.arn) if stored is not None else (name, role_arn(owner, "/", name))
    in_aws = InAws(arn, tags=stored.tags if stored is not None else ())
    decision = await allow(env, call, "PutRoleSettings", "role", known, owner, in_aws=in_aws, requested=name)
    if not MIN_CHAINED_SECONDS <= chained_max_seconds <= MAX_CHAINED_SECONDS:
        raise DaypassError(
            ErrorKind.VALIDATION,
            f"chained_max_seconds is {MIN_CHAINED_SECONDS} to {MAX_CHAINED_SECONDS} seconds.",
        )

    def change(tx: Tx) -> tuple[Role, Event]:
        current = tx.get(Role, account=owner, name=name)
        if current is None:
            raise faults.no_such("role", name)
        role = replace(current, chained_max_seconds=chained_max_seconds)
        tx.replace(role)
        detail = {"role": role.arn, "chained_max_seconds": chained_max_seconds}
        return role, served(call, kind=EventType.DIRECTORY_CHANGED, account=owner, decision=decision, detail=detail)

    return await env.journal.write(change, account=call.caller.account)


async def _find_role(env: Env, call: Call, account: str, name: str) -> Role | None:
    """The role as it is stored: policies see its name and path, however the request spells them (attack A196)."""
    return await env.directory.read(lambda tx: tx.get(Role, account=account, name=name), account=call.caller.account)


# --- daypass:ReadSettings: the settings of this process, for the operator of the installation


ShownSettings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Section to name to text. The composition root replaces secrets before it passes them."""


async def read_settings(env: Env, call: Call, settings: ShownSettings) -> ShownSettings:
    """Raises DaypassError(ACCESS_DENIED): for other accounts than the operator's, whatever their policies say."""
    decision = await allow_operator(env, call, "ReadSettings", "settings", "*")
    await env.journal.commit(served(call, decision=decision))
    return settings
