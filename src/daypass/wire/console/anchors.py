"""Trust anchors of IAM Roles Anywhere: the certification authorities whose certificates the account accepts."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Any, Final

from daypass.wire.console.change import Change
from daypass.wire.console.forms import Field, FormView
from daypass.wire.console.iam import roles_anywhere
from daypass.wire.console.table import Cell, TableView, columns, link, table_page
from daypass.wire.console.visit import ConsolePage, ConsoleVisit, to
from daypass.wire.http import Response

_ROWS: Final = 50
_ANCHORS: Final = "/console/trust-anchors"
_ANCHOR: Final = "/console/trust-anchor"
_MAX_PEM: Final = 16_384
_PEM: Final = Field("pem", "Certificates", kind="code", hint="Certificates of the authority, PEM", maxlength=_MAX_PEM)


async def anchors(visit: ConsoleVisit, problem: str = "") -> Response:
    """GET /console/trust-anchors: in the order of creation."""
    found = await roles_anywhere(visit, "ListTrustAnchors", pageSize=_ROWS, nextToken=visit.value("after"))
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
    name = Field("anchor_name", "Name", visit.value("anchor_name"), maxlength=255)
    pem = _PEM._replace(value=visit.value("pem", _MAX_PEM))
    new = FormView(f"{_ANCHORS}/create", "Create the trust anchor", "New trust anchor", (name, pem))
    return table_page(visit, "Trust anchors", table, problem=problem, forms=(new,))


async def anchor(visit: ConsoleVisit, problem: str = "") -> Response:
    """GET /console/trust-anchor?id=…"""
    found = (await roles_anywhere(visit, "GetTrustAnchor", trustAnchorId=visit.value("id", 64)))["trustAnchor"]
    hidden, enabled = {"id": found["trustAnchorId"]}, found["enabled"]
    pem = found["source"]["sourceData"]["x509CertificateData"]
    action, text = ("disable", "Disable the anchor") if enabled else ("enable", "Enable the anchor")
    fields = (
        Field("anchor_name", "Name", found["name"], maxlength=255),
        _PEM._replace(value=visit.value("pem", _MAX_PEM) or pem),
    )
    return visit.page(
        "trust_anchor",
        found["name"],
        anchor=found,
        switch=FormView(f"{_ANCHOR}/{action}", text, hidden=hidden, danger=enabled),
        delete=FormView(f"{_ANCHOR}/delete", "Delete the anchor", hidden=hidden, danger=True),
        forms=(FormView(f"{_ANCHOR}/save", "Save", "Name and certificates", fields, hidden),),
        problem=problem,
    )


def _source(visit: ConsoleVisit) -> dict[str, Any]:
    pem = visit.value("pem", _MAX_PEM)
    return {"sourceType": "CERTIFICATE_BUNDLE", "sourceData": {"x509CertificateData": f"{pem}\n"}}


async def _create(visit: ConsoleVisit) -> Response:
    made = await roles_anywhere(
        visit, "CreateTrustAnchor", name=visit.value("anchor_name"), source=_source(visit), enabled=True
    )
    return to(_ANCHOR, id=made["trustAnchor"]["trustAnchorId"], done="saved")


async def _save(visit: ConsoleVisit) -> Response:
    identifier, name = visit.value("id", 64), visit.value("anchor_name")
    await roles_anywhere(visit, "UpdateTrustAnchor", trustAnchorId=identifier, name=name, source=_source(visit))
    return to(_ANCHOR, id=identifier, done="saved")


def _switching(operation: str) -> ConsolePage:
    async def perform(visit: ConsoleVisit) -> Response:
        identifier = visit.value("id", 64)
        await roles_anywhere(visit, operation, trustAnchorId=identifier)
        return to(_ANCHOR, id=identifier, done="saved")

    return perform


async def _delete(visit: ConsoleVisit) -> Response:
    await roles_anywhere(visit, "DeleteTrustAnchor", trustAnchorId=visit.value("id", 64))
    return to(_ANCHORS, done="deleted")


def anchor_changes() -> Sequence[Change]:
    """Every change of a trust anchor. Each is confirmed: an anchor decides which certificates are accepted."""
    change = partial(Change, again=anchor, confirmed=True)
    of = "rolesanywhere:"
    enable, disable = _switching("EnableTrustAnchor"), _switching("DisableTrustAnchor")
    return (
        Change(
            f"{_ANCHORS}/create", f"{of}CreateTrustAnchor", "Create a trust anchor", _create, anchors, confirmed=True
        ),
        change(f"{_ANCHOR}/save", f"{of}UpdateTrustAnchor", "Change a trust anchor", _save),
        change(f"{_ANCHOR}/enable", f"{of}EnableTrustAnchor", "Enable a trust anchor", enable),
        change(f"{_ANCHOR}/disable", f"{of}DisableTrustAnchor", "Disable a trust anchor", disable),
        change(f"{_ANCHOR}/delete", f"{of}DeleteTrustAnchor", "Delete a trust anchor", _delete, deletes=True),
    )
