"""The virtual MFA devices of the account. Passkeys are on the page of their user."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from daypass.wire.console.context import ConsoleContext
from daypass.wire.console.iam import iam
from daypass.wire.console.table import Cell, TableView, columns, link, table_page
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
