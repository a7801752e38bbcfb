"""Trust anchors: which certification authorities an account believes.

Source: IAM Roles Anywhere API Reference, CreateTrustAnchor and its kin.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any, Final

from daypass.domain.certificate import CertificateRefused
from daypass.domain.directory import Crl, TrustAnchor
from daypass.operations.rolesanywhere import faults, shapes
from daypass.operations.rolesanywhere.lists import page, within_quota
from daypass.operations.rolesanywhere.tags import first
from daypass.operations.rolesanywhere.work import Answer, Look, Params, Work

ANCHORS_PER_ACCOUNT: Final = 1_000
_EVERY: Final = 1_000


def check_source(look: Look, p: Params) -> None:
    """Refuses anything but a bundle of CA certificates."""
    if (source := p.get("source")) is not None:
        certificates(look, source)


def certificates(look: Look, source: dict[str, Any]) -> str:
    """The PEM text of a source. Raises VALIDATION."""
    kind = source.get("sourceType")
    pem = (source.get("sourceData") or {}).get("x509CertificateData")
    if kind != "CERTIFICATE_BUNDLE":
        raise faults.unsupported(f"A trust anchor of the source type {kind}")
    if not pem:
        raise faults.invalid("sourceData must hold x509CertificateData.")
    try:
        look.certificates.check_anchors(pem)
    except CertificateRefused as refusal:
        raise faults.invalid(f"x509CertificateData cannot be a trust anchor: {refusal}") from None
    return str(pem)


def _check_unsupported(p: Params) -> None:
    if p.get("crlDpRevocationEnabled"):
        raise faults.unsupported("crlDpRevocationEnabled")
    if p.get("aliasName"):
        raise faults.unsupported("aliasName")


def create_trust_anchor(work: Work, p: Params) -> Answer:
    _check_unsupported(p)
    within_quota(work, TrustAnchor, "trust anchors", ANCHORS_PER_ACCOUNT, account=work.account)
    made = TrustAnchor(
        id=work.ids.request(),
        account=work.account,
        region=work.facts.region,
        name=p["name"],
        created_at=work.now,
        updated_at=work.now,
        certificates=certificates(work, p["source"]),
        enabled=p.get("enabled", False),
        tags=first(p),
    )
    made = _with_notifications(made, p.get("notificationSettings") or [])
    work.tx.insert(made)
    return _answer(made)


def get_trust_anchor(look: Look, p: Params) -> Answer:
    return _answer(look.find(TrustAnchor, p["trustAnchorId"]))


def list_trust_anchors(look: Look, p: Params) -> Answer:
    found, more = page(look, p, TrustAnchor)
    return {"trustAnchors": [shapes.trust_anchor(anchor) for anchor in found], **more}


def update_trust_anchor(work: Work, p: Params) -> Answer:
    _check_unsupported(p)
    old = work.find(TrustAnchor, p["trustAnchorId"])
    pem = certificates(work, p["source"]) if "source" in p else old.certificates
    return _stored(work, replace(old, name=p.get("name", old.name), certificates=pem))


def _switch(work: Work, p: Params, *, enabled: bool) -> Answer:
    return _stored(work, replace(work.find(TrustAnchor, p["trustAnchorId"]), enabled=enabled))


enable_trust_anchor = partial(_switch, enabled=True)
disable_trust_anchor = partial(_switch, enabled=False)


def delete_trust_anchor(work: Work, p: Params) -> Answer:
    """Its CRLs go with it."""
    old = work.find(TrustAnchor, p["trustAnchorId"])
    for crl in work.tx.find(Crl, trust_anchor_id=old.id, account=work.account, order="id", limit=_EVERY):
        work.tx.delete(crl)
    work.tx.delete(old)
    return _answer(old)


def put_notification_settings(work: Work, p: Params) -> Answer:
    old = work.find(TrustAnchor, p["trustAnchorId"])
    return _stored(work, _with_notifications(old, p["notificationSettings"]))


def reset_notification_settings(work: Work, p: Params) -> Answer:
    old = work.find(TrustAnchor, p["trustAnchorId"])
    reset = {key["event"] for key in p["notificationSettingKeys"]}
    return _stored(work, replace(old, notifications=tuple(row for row in old.notifications if row[0] not in reset)))


def _with_notifications(anchor: TrustAnchor, settings: list[dict[str, Any]]) -> TrustAnchor:
    own = {row[0]: row for row in anchor.notifications}
    for setting in settings:
        event, enabled = setting["event"], "true" if setting["enabled"] else "false"
        own[event] = (event, setting.get("channel", "ALL"), enabled, str(setting.get("threshold", 45)))
    return replace(anchor, notifications=tuple(own.values()))


def _stored(work: Work, changed: TrustAnchor) -> Answer:
    changed = replace(changed, updated_at=work.now)
    work.tx.replace(changed)
    return _answer(changed)


def _answer(anchor: TrustAnchor) -> Answer:
    return {"trustAnchor": shapes.trust_anchor(anchor)}
