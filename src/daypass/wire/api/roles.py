"""A role's own settings over the management API. Nothing is decided here."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from daypass.operations.accounts import role_settings
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()
_PATH = "/roles/{name}/settings"


class RoleSettingsIn(s.In):
    chained_max_seconds: Annotated[int, Field(strict=True)] = Field(
        description="Longest duration of a session of the role that is made from another session; 3600 by default."
    )


class RoleSettingsOut(s.EntityOut):
    arn: str
    chained_max_seconds: int


@router.get(_PATH, name="GetRoleSettings", tags=["roles"])
async def get_role_settings(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, account: s.AccountQuery = ""
) -> RoleSettingsOut:
    """The Daypass settings of a role."""
    return RoleSettingsOut.of(await role_settings.get_role_settings(env, call, name, account))


@router.put(_PATH, name="PutRoleSettings", tags=["roles"])
async def put_role_settings(
    env: s.EnvDep, call: s.CallDep, name: s.IdPath, body: RoleSettingsIn, account: s.AccountQuery = ""
) -> RoleSettingsOut:
    """Sets the Daypass settings of a role. Existing sessions do not change."""
    return RoleSettingsOut.of(await role_settings.put_role_settings(env, call, name, body.chained_max_seconds, account))
