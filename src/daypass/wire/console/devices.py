"""The virtual MFA devices of the account. Passkeys are on the page of their user."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterator, Mapping
from datetime import datetime
from typing import Any, Final, NamedTuple

from daypass.wire.console.context import ConsoleContext, address, to
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.table import Cell, Column, TableView, columns, link, table_page
from daypass.wire.http import Response

_ROWS: Final = 50


async def devices(ctx: ConsoleContext) -> Response:
    """GET /console/devices."""
    found = await iam(ctx, "ListVirtualMFADevices", Marker=ctx.value("after"), MaxItems=_ROWS)
    rows = [_device(device) for device in found["VirtualMFADevices"]]
    empty = ("No virtual MFA devices.", "People register passkeys and devices on the page of their account.")
    table = TableView(
        columns("Device", "User", "Enabled"), rows, "/console/devices", found.get("Marker", ""), empty=empty
    )
    return table_page(ctx, "MFA devices", table)


def _device(device: Mapping[str, Any]) -> tuple[Cell, ...]:
    owner = (device.get("User") or {}).get("UserName", "")
    return (
        Cell(device["SerialNumber"].rpartition("/")[2]),
        link(owner, "/console/user", name=owner) if owner else Cell("–"),
        Cell(at=device.get("EnableDate") or 0),
    )


# --- Long-term access keys: age and last use, and which of them a role could replace


_KEYS_ROWS: Final = 50
_DAY_MS: Final = 86_400_000
_OLD_DAYS: Final = 90
_UNUSED_DAYS: Final = 90


class KeyRow(NamedTuple):
    """One active key of the credential report. Times in ms; 0: never."""

    user: str
    number: int
    rotated_at: int
    used_at: int
    service: str

    def advice(self, now: int) -> str:
        """What to do about it."""
        if not self.used_at and now - self.rotated_at > _UNUSED_DAYS * _DAY_MS:
            return "never used: delete it"
        if self.used_at and now - self.used_at > _UNUSED_DAYS * _DAY_MS:
            return "unused for 90 days: delete it"
        if now - self.rotated_at > _OLD_DAYS * _DAY_MS:
            return "move it to a role, or rotate it"
        return "move it to a role when you can"


_ORDERS: Final[dict[str, Callable[[KeyRow], Any]]] = {
    "age": lambda row: (row.rotated_at, row.user),
    "use": lambda row: (row.used_at, row.user),
    "user": lambda row: (row.user, row.number),
}


async def keys(ctx: ConsoleContext) -> Response:
    """GET /console/keys. `sort`: age, use or user; `after`: the number of the first row."""
    report = await iam_part(ctx, "GetCredentialReport")
    key_rows = [] if report.value is None else list(_keys(report.value["Content"]))
    order = ctx.value("sort", 8)
    order = order if order in _ORDERS else "age"
    key_rows.sort(key=_ORDERS[order])
    begin = ctx.number("after")
    now = ctx.call.now
    rows = [
        (
            link(row.user, "/console/user", name=row.user) if row.user != "<root_account>" else Cell("root"),
            Cell(str(row.number)),
            Cell(f"{(now - row.rotated_at) // _DAY_MS} days"),
            Cell(at=row.used_at),
            Cell(row.service or "–"),
            Cell(row.advice(now)),
        )
        for row in key_rows[begin : begin + _KEYS_ROWS]
    ]
    titles = (
        Column("User", "user"),
        Column("Key"),
        Column("Age", "age"),
        Column("Last use", "use"),
        Column("Last used for"),
        Column("What to do"),
    )
    following = str(begin + _KEYS_ROWS) if len(key_rows) > begin + _KEYS_ROWS else ""
    table = TableView(
        titles,
        rows,
        address("/console/keys", sort=order),
        following,
        first=begin > 0,
        sorted_by=order,
        empty=("No active access keys.", "People and workloads here use roles."),
    )
    made_at = report.value["GeneratedTime"] if report.value is not None else 0
    return ctx.page("keys", "Access keys", table=table, report=report, made_at=made_at)


async def make_report(ctx: ConsoleContext) -> Response:
    """POST /console/keys/report: makes the account's credential report."""
    await iam(ctx, "GenerateCredentialReport")
    return to("/console/keys")


def _keys(content: bytes) -> Iterator[KeyRow]:
    for row in csv.DictReader(io.StringIO(content.decode())):
        for number in (1, 2):
            if row[f"access_key_{number}_active"] == "true":
                yield KeyRow(
                    row["user"],
                    number,
                    _ms(row[f"access_key_{number}_last_rotated"]),
                    _ms(row[f"access_key_{number}_last_used_date"]),
                    row[f"access_key_{number}_last_used_service"].replace("N/A", ""),
                )


def _ms(text: str) -> int:
    """A time of the report; 0 for "N/A" and the like."""
    try:
        return int(datetime.fromisoformat(text).timestamp() * 1000)
    except ValueError:
        return 0
