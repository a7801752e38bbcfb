"""The settings and the measurements of the server over the management API."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Request
from pydantic import Field

from daypass.operations.accounts import read_settings as settings
from daypass.operations.accounts.read_settings import ShownSettings
from daypass.operations.record.measure import Check, Measured, measure
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()


def _settings_of(request: Request) -> ShownSettings:
    found: ShownSettings = request.app.state.settings
    return found


class SettingsOut(s.Out):
    sections: dict[str, dict[str, str]]


class LatencyOut(s.EntityOut):
    count: int
    p50: float | None = Field(description="Milliseconds: half of the requests took at most this. Null: none, or more.")
    p95: float | None
    p99: float | None


class OperationLatencyOut(LatencyOut):
    operation: str


class CheckOut(s.Out):
    name: str
    passed: int
    failed: int
    last_at: int | None = Field(description="When the process that answers ran it last.")
    last_ms: float | None
    problem: str | None = Field(description="What was wrong then; empty when it passed.")

    @classmethod
    def of(cls, check: Check) -> CheckOut:
        last = check.last
        return cls.copied(
            check,
            last_at=last.at if last is not None else None,
            last_ms=round(last.seconds * 1000, 1) if last is not None else None,
            problem=last.why if last is not None else None,
        )


class MeasurementsOut(s.Out):
    since: int = Field(
        description="Later than requested if the figures do not go back so far: they are kept for six hours."
    )
    until: int
    times: list[int] = Field(description="The beginnings of the buckets of the lists below.")
    requests: list[int]
    faults: list[int] = Field(description="Answers that were the fault of the server.")
    p50: list[float | None]
    p99: list[float | None]
    latency: LatencyOut
    refused: int
    operations: list[OperationLatencyOut]
    checks: list[CheckOut]

    @classmethod
    def of(cls, found: Measured) -> MeasurementsOut:
        return cls.copied(
            found,
            latency=LatencyOut.of(found.latency),
            operations=[
                OperationLatencyOut.copied(each.latency, operation=each.operation) for each in found.operations
            ],
            checks=[CheckOut.of(each) for each in found.checks],
        )


@router.get("/measurements", name="ReadMeasurements", tags=["installation"])
async def read_measurements(env: s.EnvDep, call: s.CallDep, since: s.TimeQuery, until: s.TimeQuery) -> MeasurementsOut:
    """Latency, errors and synthetic checks of the server that answers, with all its worker processes. Only the operator's
    principals may read them.
    """
    return MeasurementsOut.of(await measure(env, call, since, until))


@router.get("/settings", name="ReadSettings", tags=["installation"])
async def read_settings(
    env: s.EnvDep, call: s.CallDep, shown: Annotated[ShownSettings, Depends(_settings_of)]
) -> SettingsOut:
    """The settings of the server by section, as text, without secrets. Only the operator's principals may read them."""
    sections = await settings.read_settings(env, call, shown)
    return SettingsOut(sections={section: dict(values) for section, values in sections.items()})
