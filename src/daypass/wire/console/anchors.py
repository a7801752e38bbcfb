"""Trust anchors of IAM Roles Anywhere: the certification authorities whose certificates the account accepts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from daypass.wire.console.change import FormChange
from daypass.wire.console.context import ConsoleContext, ConsolePage, to
from daypass.wire.console.iam import roles_anywhere
from daypass.wire.console.table import Cell, Field, FormView, TableView, columns, link, table_page
from daypass.wire.http import Response

_ROWS: Final = 50
_ANCHORS: Final = "/console/trust-anchors"
_ANCHOR: Final = "/console/trust-anchor"
_MAX_PEM: Final = 16_384
_PEM: Final = Field("pem", "Certificates", kind="code", hint="Certificates of the authority, PEM", maxlength=_MAX_PEM)


async def anchors(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/trust-anchors: in the order of creation."""
    found = await roles_anywhere(ctx, "ListTrustAnchors", pageSize=_ROWS, nextToken=ctx.value("after"))
    rows = [
        (
            link(each["name"], _ANCHOR, id=each["trustAnchorId"]),
            Cell(state="active" if each["enabled"] else "inactive"),
            Cell(at=each["createdAt"]),
            Cell(at=each["updatedAt"]),
        )
        for each in found["trustAnchors"]
    ]
    empty = ("No trust anchors.", "With one, servers get sessions with certificates that they already have.")
    titles = columns("Name", "State", "Created", "Changed")
    table = TableView(titles, rows, _ANCHORS, found.get("nextToken", ""), empty=empty)
    name = Field("anchor_name", "Name", ctx.value("anchor_name"), maxlength=255)
    pem = _PEM._replace(value=ctx.value("pem", _MAX_PEM))
    new = FormView(f"{_ANCHORS}/create", "Create the trust anchor", "New trust anchor", (name, pem))
    return table_page(ctx, "Trust anchors", table, problem=problem, forms=(new,))


async def anchor(ctx: ConsoleContext, problem: str = "") -> Response:
    """GET /console/trust-anchor?id=…"""
    found = (await roles_anywhere(ctx, "GetTrustAnchor", trustAnchorId=ctx.value("id", 64)))["trustAnchor"]
    hidden, enabled = {"id": found["trustAnchorId"]}, found["enabled"]
    pem = found["source"]["sourceData"]["x509CertificateData"]
    action, text = ("disable", "Disable the anchor") if enabled else ("enable", "Enable the anchor")
    fields = (
        Field("anchor_name", "Name", found["name"], maxlength=255),
        _PEM._replace(value=ctx.value("pem", _MAX_PEM) or pem),
    )
    return ctx.page(
        "trust_anchor",
        found["name"],
        anchor=found,
        switch=FormView(f"{_ANCHOR}/{action}", text, hidden=hidden, danger=enabled),
        delete=FormView(f"{_ANCHOR}/delete", "Delete the anchor", hidden=hidden, danger=True),
        forms=(FormView(f"{_ANCHOR}/save", "Save", "Name and certificates", fields, hidden),),
        problem=problem,
    )


def _source(ctx: ConsoleContext) -> dict[str, Any]:
    pem = ctx.value("pem", _MAX_PEM)
    return {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": f"{pem}\n"}}


async def _create(ctx: ConsoleContext) -> Response:
    made = await roles_anywhere(
        ctx, "CreateTrustAnchor", name=ctx.value("anchor_name"), source=_source(ctx), enabled=True
    )
    return to(_ANCHOR, id=made["trustAnchor"]["trustAnchorId"], done="saved")


async def _save(ctx: ConsoleContext) -> Response:
    identifier, name = ctx.value("id", 64), ctx.value("anchor_name")
    await roles_anywhere(ctx, "UpdateTrustAnchor", trustAnchorId=identifier, name=name, source=_source(ctx))
    return to(_ANCHOR, id=identifier, done="saved")


def _switching(operation: str) -> ConsolePage:
    async def perform(ctx: ConsoleContext) -> Response:
        identifier = ctx.value("id", 64)
        await roles_anywhere(ctx, operation, trustAnchorId=identifier)
        return to(_ANCHOR, id=identifier, done="saved")

    return perform


async def _delete(ctx: ConsoleContext) -> Response:
    await roles_anywhere(ctx, "DeleteTrustAnchor", trustAnchorId=ctx.value("id", 64))
    return to(_ANCHORS, done="deleted")


def anchor_changes() -> Sequence[FormChange]:
    """Every change of a trust anchor. Each is confirmed: an anchor decides which certificates are accepted."""
    change = partial(FormChange, again=anchor, confirmed=True, of="id")
    of = "rolesanywhere:"
    enable, disable = _switching("EnableTrustAnchor"), _switching("DisableTrustAnchor")
    return (
        FormChange(
            f"{_ANCHORS}/create", f"{of}CreateTrustAnchor", "Create a trust anchor", _create, anchors, confirmed=True
        ),
        change(f"{_ANCHOR}/save", f"{of}UpdateTrustAnchor", "Change a trust anchor", _save),
        change(f"{_ANCHOR}/enable", f"{of}EnableTrustAnchor", "Enable a trust anchor", enable),
        change(f"{_ANCHOR}/disable", f"{of}DisableTrustAnchor", "Disable a trust anchor", disable),
        change(f"{_ANCHOR}/delete", f"{of}DeleteTrustAnchor", "Delete a trust anchor", _delete, asks=True),
    )
