"""Certificate revocation lists: imported, never fetched. An enabled CRL that has expired blocks its authority's certificates.

Source: IAM Roles Anywhere API Reference, ImportCrl and related operations.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any, Final

from daypass.domain.certificate import CertificateRefused
from daypass.domain.directory import Crl, TrustAnchor
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.rolesanywhere import detail, faults
from daypass.operations.rolesanywhere.context import ReadContext, WriteContext
from daypass.operations.rolesanywhere.entity_kind import EntityKind, within_quota
from daypass.operations.rolesanywhere.tags import first

CRLS_PER_ANCHOR: Final = 20


def _members(ctx: ReadContext, crl: Crl) -> dict[str, Any]:
    anchor = ctx.get(TrustAnchor, crl.trust_anchor_id)
    arn = anchor.arn if anchor is not None else ctx.arn(TrustAnchor, crl.trust_anchor_id)
    return detail.crl(crl, arn)


def _answer(ctx: ReadContext, crl: Crl) -> Answer:
    return {"crl": _members(ctx, crl)}


CRLS: Final = EntityKind(Crl, "crlId", "crls", _answer, _members)


def check_import(ctx: ReadContext, p: Params) -> None:
    """Refuses data that is not a CRL of the trust anchor."""
    _checked(ctx, ctx.find(TrustAnchor, p["trustAnchorArn"]), p["crlData"])


def check_update(ctx: ReadContext, p: Params) -> None:
    """The same for an existing CRL."""
    old = CRLS.find(ctx, p)
    if "crlData" in p:
        _checked(ctx, ctx.find(TrustAnchor, old.trust_anchor_id), p["crlData"])


def _checked(ctx: ReadContext, anchor: TrustAnchor, data: bytes) -> bytes:
    try:
        ctx.certificates.check_crl(data, anchor.certificates)
    except CertificateRefused as refusal:
        raise faults.invalid(f"crlData cannot be imported: {refusal}") from None
    return data


def import_crl(ctx: WriteContext, p: Params) -> Answer:
    _check_alias(p)
    anchor = ctx.find(TrustAnchor, p["trustAnchorArn"])
    within_quota(ctx, Crl, "CRLs of a trust anchor", CRLS_PER_ANCHOR, account=ctx.account, trust_anchor_id=anchor.id)
    crl = Crl(
        id=ctx.ids.request(),
        account=ctx.account,
        region=anchor.region,
        name=p["name"],
        created_at=ctx.now,
        updated_at=ctx.now,
        trust_anchor_id=anchor.id,
        data=_checked(ctx, anchor, p["crlData"]),
        enabled=p.get("enabled", False),
        tags=first(p),
    )
    ctx.tx.insert(crl)
    return _answer(ctx, crl)


def _check_alias(p: Params) -> None:
    if p.get("aliasName"):
        raise faults.unsupported("aliasName")


def update_crl(ctx: WriteContext, p: Params) -> Answer:
    _check_alias(p)
    old = CRLS.find(ctx, p)
    data = old.data
    if "crlData" in p:
        data = _checked(ctx, ctx.find(TrustAnchor, old.trust_anchor_id), p["crlData"])
    return CRLS.store(ctx, replace(old, name=p.get("name", old.name), data=data))
