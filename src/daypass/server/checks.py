"""The synthetic checks that a server runs against its own address, as any client would: `client.probe`.

They go to the address that the operator has configured, and nowhere else.
"""

from __future__ import annotations

import asyncio
from typing import Final

from daypass.client.probe import Probe
from daypass.client.profiles import Profile
from daypass.config import Settings
from daypass.observability import logs
from daypass.observability.measurements import Measurements
from daypass.observability.totals import CheckResult
from daypass.ports.clock import Clock

_DEFAULT_REGION: Final = "us-east-1"


async def follow(settings: Settings, measurements: Measurements, clock: Clock) -> None:
    """Runs the checks every `checks.seconds` until it is cancelled."""
    probe = probe_of(settings)
    while True:
        await asyncio.sleep(settings.checks.seconds)
        try:
            runs = await asyncio.to_thread(lambda: list(probe.run()))
        except Exception:  # noqa: BLE001  # the loop must continue; the checks of this turn are missing in the figures
            logs.get().error("checks.broken", exc_info=True)
            continue
        for run in runs:
            measurements.note_check(
                CheckResult(run.name, clock.now(), run.seconds, run.why, run.forbidden, run.accepted)
            )
            if run.why:
                logs.get().error("checks.failed", check=run.name, why=run.why)


def probe_of(settings: Settings) -> Probe:
    """The checks as configured."""
    checks, region = settings.checks, (settings.aws.regions or (_DEFAULT_REGION,))[0]
    url = checks.url or settings.server.public_url or f"{settings.server.scheme}://127.0.0.1:{settings.server.port}"
    secret = checks.secret_access_key.get_secret_value()
    bundle = str(checks.ca_bundle or "")
    profile = Profile(url.rstrip("/"), checks.access_key_id, secret, "", region, ca_bundle=bundle)
    return Probe(profile, checks.role, checks.denied_role)
