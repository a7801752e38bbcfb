"""Trust anchors: the certification authorities that an account trusts.

Source: IAM Roles Anywhere API Reference, CreateTrustAnchor and related operations.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from daypass.domain.certificate import CertificateRefused
from daypass.domain.directory import Crl, TrustAnchor
from daypass.operations.crud.operation import Answer, Params
from daypass.operations.rolesanywhere import detail, faults
from daypass.operations.rolesanywhere.context import ReadContext, WriteContext
from daypass.operations.rolesanywhere.lists import page, store, within_quota
from daypass.operations.rolesanywhere.tags import first

ANCHORS_PER_ACCOUNT: Final = 1_000
_EVERY: Final = 1_000


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
    made = TrustAnchor(
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
    made = _with_notifications(made, p.get("notificationSettings") or [])
    ctx.tx.insert(made)
    return _answer(made)


def get_trust_anchor(ctx: ReadContext, p: Params) -> Answer:
    return _answer(ctx.find(TrustAnchor, p["trustAnchorId"]))


def list_trust_anchors(ctx: ReadContext, p: Params) -> Answer:
    found, more = page(ctx, p, TrustAnchor)
    return {"trustAnchors": [detail.trust_anchor(anchor) for anchor in found], **more}


def update_trust_anchor(ctx: WriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    old = ctx.find(TrustAnchor, p["trustAnchorId"])
    pem = certificates(ctx, p["source"]) if "source" in p else old.certificates
    return _stored(ctx, replace(old, name=p.get("name", old.name), certificates=pem))


def _switch(ctx: WriteContext, p: Params, *, enabled: bool) -> Answer:
    return _stored(ctx, replace(ctx.find(TrustAnchor, p["trustAnchorId"]), enabled=enabled))


enable_trust_anchor = partial(_switch, enabled=True)
disable_trust_anchor = partial(_switch, enabled=False)


def delete_trust_anchor(ctx: WriteContext, p: Params) -> Answer:
    """Deletes its CRLs too."""
    old = ctx.find(TrustAnchor, p["trustAnchorId"])
    for crl in ctx.tx.find(Crl, trust_anchor_id=old.id, account=ctx.account, order="id", limit=_EVERY):
        ctx.tx.delete(crl)
    ctx.tx.delete(old)
    return _answer(old)


def put_notification_settings(ctx: WriteContext, p: Params) -> Answer:
    old = ctx.find(TrustAnchor, p["trustAnchorId"])
    return _stored(ctx, _with_notifications(old, p["notificationSettings"]))


def reset_notification_settings(ctx: WriteContext, p: Params) -> Answer:
    old = ctx.find(TrustAnchor, p["trustAnchorId"])
    reset = {key["event"] for key in p["notificationSettingKeys"]}
    return _stored(ctx, replace(old, notifications=tuple(row for row in old.notifications if row[0] not in reset)))


def _with_notifications(anchor: TrustAnchor, settings: list[dict[str, Any]]) -> TrustAnchor:
    own = {row[0]: row for row in anchor.notifications}
    for setting in settings:
        event, enabled = setting["event"], "true" if setting["enabled"] else "false"
        own[event] = (event, setting.get("channel", "ALL"), enabled, str(setting.get("threshold", 45)))
    return replace(anchor, notifications=tuple(own.values()))


def _stored(ctx: WriteContext, changed: TrustAnchor) -> Answer:
    return _answer(store(ctx, changed))


def _answer(anchor: TrustAnchor) -> Answer:
    return {"trustAnchor": detail.trust_anchor(anchor)}
