"""Trust anchors: the certification authorities that an account trusts.

Source: IAM Roles Anywhere API Reference, CreateTrustAnchor and related operations.
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

ANCHORS_PER_ACCOUNT: Final = 1_000
_EVERY: Final = 1_000


def _answer(_ctx: ReadContext, anchor: TrustAnchor) -> Answer:
    return {"trustAnchor": detail.trust_anchor(anchor)}


ANCHORS: Final = EntityKind(
    TrustAnchor, "trustAnchorId", "trustAnchors", _answer, lambda _ctx, anchor: detail.trust_anchor(anchor)
)


def check_source(ctx: ReadContext, p: Params) -> None:
    """Refuses anything but a bundle of CA certificates."""
    if (source := p.get("source")) is not None:
        certificates(ctx, source)


def certificates(ctx: ReadContext, source: dict[str, Any]) -> str:
    """The PEM text of a source. Raises VALIDATION."""
    kind = source.get("sourceType")
    pem = (source.get("sourceData") or {}).get("x509CertificateData")
    if kind != "CERTIFICATE_BUNDLE":
        raise faults.unsupported(f"A trust anchor of the source type {kind}")
    if not pem:
        raise faults.invalid("sourceData must hold x509CertificateData.")
    try:
        ctx.certificates.check_anchors(pem)
    except CertificateRefused as refusal:
        raise faults.invalid(f"x509CertificateData cannot be a trust anchor: {refusal}") from None
    return str(pem)


def _check_unsupported(p: Params) -> None:
    if p.get("crlDpRevocationEnabled"):
        raise faults.unsupported("crlDpRevocationEnabled")
    if p.get("aliasName"):
        raise faults.unsupported("aliasName")


def create_trust_anchor(ctx: WriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    within_quota(ctx, TrustAnchor, "trust anchors", ANCHORS_PER_ACCOUNT, account=ctx.account)
    anchor = TrustAnchor(
        id=ctx.ids.request(),
        account=ctx.account,
        region=ctx.facts.region,
        name=p["name"],
        created_at=ctx.now,
        updated_at=ctx.now,
        certificates=certificates(ctx, p["source"]),
        enabled=p.get("enabled", False),
        tags=first(p),
    )
    anchor = _with_notifications(anchor, p.get("notificationSettings") or [])
    ctx.tx.insert(anchor)
    return _answer(ctx, anchor)


def update_trust_anchor(ctx: WriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    old = ANCHORS.find(ctx, p)
    pem = certificates(ctx, p["source"]) if "source" in p else old.certificates
    return ANCHORS.store(ctx, replace(old, name=p.get("name", old.name), certificates=pem))


def delete_trust_anchor(ctx: WriteContext, p: Params) -> Answer:
    """Deletes its CRLs too."""
    anchor = ANCHORS.find(ctx, p)
    for crl in ctx.tx.find(Crl, trust_anchor_id=anchor.id, account=ctx.account, order="id", limit=_EVERY):
        ctx.tx.delete(crl)
    return ANCHORS.delete(ctx, p)


def put_notification_settings(ctx: WriteContext, p: Params) -> Answer:
    old = ANCHORS.find(ctx, p)
    return ANCHORS.store(ctx, _with_notifications(old, p["notificationSettings"]))


def reset_notification_settings(ctx: WriteContext, p: Params) -> Answer:
    old = ANCHORS.find(ctx, p)
    reset = {key["event"] for key in p["notificationSettingKeys"]}
    return ANCHORS.store(
        ctx, replace(old, notifications=tuple(row for row in old.notifications if row[0] not in reset))
    )


def _with_notifications(anchor: TrustAnchor, settings: list[dict[str, Any]]) -> TrustAnchor:
    own = {row[0]: row for row in anchor.notifications}
    for setting in settings:
        event, enabled = setting["event"], "true" if setting["enabled"] else "false"
        own[event] = (event, setting.get("channel", "ALL"), enabled, str(setting.get("threshold", 45)))
    return replace(anchor, notifications=tuple(own.values()))
