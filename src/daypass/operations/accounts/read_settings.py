"""daypass:ReadSettings: the settings of this process, for the operator of the installation. Secrets are not among them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

from daypass.operations.management import allow_operator
from daypass.operations.outcome import served
from daypass.ports import Call, Env

ShownSettings: TypeAlias = Mapping[str, Mapping[str, str]]
"""Section to name to text. The composition root replaces secrets before it passes them."""


async def read_settings(env: Env, call: Call, settings: ShownSettings) -> ShownSettings:
    """Raises DaypassError(ACCESS_DENIED): for other accounts than the operator's, whatever their policies say."""
    decision = await allow_operator(env, call, "ReadSettings", "settings", "*")
    await env.journal.commit(served(call, decision=decision))
    return settings
