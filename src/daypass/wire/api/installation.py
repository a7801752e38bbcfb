"""The settings of the server over the management API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request

from daypass.operations.accounts import read_settings as settings
from daypass.operations.accounts.read_settings import ShownSettings
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()


def _shown(request: Request) -> ShownSettings:
    found: ShownSettings = request.app.state.settings
    return found


class SettingsOut(s.Out):
    sections: dict[str, dict[str, str]]


@router.get("/settings", name="ReadSettings", tags=["installation"])
async def read_settings(
    env: s.EnvDep, call: s.CallDep, shown: Annotated[ShownSettings, Depends(_shown)]
) -> SettingsOut:
    """The settings of the server by section, as text, without secrets. Only the operator's principals may read them."""
    found = await settings.read_settings(env, call, shown)
    return SettingsOut(sections={section: dict(values) for section, values in found.items()})
