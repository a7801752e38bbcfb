"""Trust anchors: the certification authorities that an account trusts.

Source: IAM Roles Anywhere API Reference, CreateTrustAnchor and related operations.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final, TypeAlias

from daypass.domain.directory import Crl, TrustAnchor, X509Subject
from daypass.domain.jws import CertificateRefused
from daypass.operations.crud import Answer, Params
from daypass.operations.rolesanywhere import context, entity_kind
from daypass.operations.rolesanywhere.context import AnchorReadContext, AnchorWriteContext
from daypass.operations.rolesanywhere.entity_kind import EntityKind, within_quota
from daypass.ports import CertificateUse, Tx

ANCHORS_PER_ACCOUNT: Final = 1_000
_EVERY: Final = 1_000


Notifications: TypeAlias = tuple[tuple[str, str, str, str], ...]
ANCHORS: Final = EntityKind(TrustAnchor, "trustAnchor", entity_kind.trust_anchor)


def check_source(ctx: AnchorReadContext, p: Params) -> None:
    """Refuses anything but a bundle of CA certificates."""
    if (source := p.get("source")) is not None:
        certificates(ctx, source)


def certificates(ctx: AnchorReadContext, source: dict[str, Any]) -> str:
    """The PEM text of a source. Raises VALIDATION."""
    kind = source.get("sourceType")
    pem = (source.get("sourceData") or {}).get("x509CertificateData")
    if kind != "CERTIFICATE_BUNDLE":
        raise context.unsupported(f"A trust anchor of the source type {kind}")
    if not pem:
        raise context.invalid("sourceData must hold x509CertificateData.")
    try:
        ctx.certificates.check_anchors(pem)
    except CertificateRefused as refusal:
        raise context.invalid(f"x509CertificateData cannot be a trust anchor: {refusal}") from None
    return str(pem)


def _check_unsupported(p: Params) -> None:
    if p.get("crlDpRevocationEnabled"):
        raise context.unsupported("crlDpRevocationEnabled")
    if p.get("aliasName"):
        raise context.unsupported("aliasName")


def create_trust_anchor(ctx: AnchorWriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    within_quota(ctx, TrustAnchor, "trust anchors", ANCHORS_PER_ACCOUNT, account=ctx.account)
    pem, notifications = certificates(ctx, p["source"]), _merged((), p.get("notificationSettings") or [])
    return ANCHORS.create(ctx, p, certificates=pem, notifications=notifications)


def update_trust_anchor(ctx: AnchorWriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    old = ANCHORS.find(ctx, p)
    pem = certificates(ctx, p["source"]) if "source" in p else old.certificates
    return ANCHORS.store(ctx, replace(old, name=p.get("name", old.name), certificates=pem))


def delete_trust_anchor(ctx: AnchorWriteContext, p: Params) -> Answer:
    """Deletes its CRLs too."""
    anchor = ANCHORS.find(ctx, p)
    for crl in ctx.tx.find(Crl, trust_anchor_id=anchor.id, account=ctx.account, order="id", limit=_EVERY):
        ctx.tx.delete(crl)
    return ANCHORS.delete(ctx, p)


def put_notification_settings(ctx: AnchorWriteContext, p: Params) -> Answer:
    old = ANCHORS.find(ctx, p)
    return ANCHORS.store(ctx, replace(old, notifications=_merged(old.notifications, p["notificationSettings"])))


def reset_notification_settings(ctx: AnchorWriteContext, p: Params) -> Answer:
    old = ANCHORS.find(ctx, p)
    reset = {key["event"] for key in p["notificationSettingKeys"]}
    return ANCHORS.store(
        ctx, replace(old, notifications=tuple(row for row in old.notifications if row[0] not in reset))
    )


def _merged(stored: Notifications, settings: list[dict[str, Any]]) -> Notifications:
    own = {row[0]: row for row in stored}
    for setting in settings:
        event, enabled = setting["event"], "true" if setting["enabled"] else "false"
        own[event] = (event, setting.get("channel", "ALL"), enabled, str(setting.get("threshold", 45)))
    return tuple(own.values())


# --- Certificate revocation lists: imported, never fetched


CRLS_PER_ANCHOR: Final = 20


CRLS: Final = EntityKind(Crl, "crl", entity_kind.crl)


def check_import(ctx: AnchorReadContext, p: Params) -> None:
    """Refuses data that is not a CRL of the trust anchor."""
    _checked(ctx, ctx.find(TrustAnchor, p["trustAnchorArn"]), p["crlData"])


def check_update(ctx: AnchorReadContext, p: Params) -> None:
    """The same for an existing CRL."""
    old = CRLS.find(ctx, p)
    if "crlData" in p:
        _checked(ctx, ctx.find(TrustAnchor, old.trust_anchor_id), p["crlData"])


def _checked(ctx: AnchorReadContext, anchor: TrustAnchor, data: bytes) -> bytes:
    try:
        ctx.certificates.check_crl(data, anchor.certificates)
    except CertificateRefused as refusal:
        raise context.invalid(f"crlData cannot be imported: {refusal}") from None
    return data


def import_crl(ctx: AnchorWriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    anchor = ctx.find(TrustAnchor, p["trustAnchorArn"])
    within_quota(ctx, Crl, "CRLs of a trust anchor", CRLS_PER_ANCHOR, account=ctx.account, trust_anchor_id=anchor.id)
    data = _checked(ctx, anchor, p["crlData"])
    return CRLS.create(ctx, p, region=anchor.region, trust_anchor_id=anchor.id, data=data)


def update_crl(ctx: AnchorWriteContext, p: Params) -> Answer:
    _check_unsupported(p)
    old = CRLS.find(ctx, p)
    data = old.data
    if "crlData" in p:
        data = _checked(ctx, ctx.find(TrustAnchor, old.trust_anchor_id), p["crlData"])
    return CRLS.store(ctx, replace(old, name=p.get("name", old.name), data=data))


# --- Subjects: who used which certificates


_CERTIFICATES: Final = 10
_PROPERTIES: Final = 10


SUBJECTS: Final = EntityKind(X509Subject, "subject", entity_kind.subject, entity_kind.subject_whole)


def record_uses(tx: Tx, uses: Sequence[CertificateUse]) -> None:
    """Updates the subjects of the certificates that were used, in the order of the uses."""
    for use in uses:
        old = tx.get(X509Subject, id=use.subject_id)
        if old is None:
            tx.insert(_with_use(_new(use), use))
        else:
            tx.replace(_with_use(old, use))


def _new(use: CertificateUse) -> X509Subject:
    return X509Subject(
        id=use.subject_id,
        account=use.account,
        region=use.region,
        x509_subject=use.certificate.display_name,
        created_at=use.at,
        updated_at=use.at,
        last_seen_at=use.at,
    )


def _with_use(subject: X509Subject, use: CertificateUse) -> X509Subject:
    certificate = use.certificate
    credential = {
        "seenAt": use.at,
        "serialNumber": str(certificate.serial),
        "issuer": certificate.issuer,
        "enabled": True,
        "x509CertificateData": certificate.pem,
        "failed": use.failed,
    }
    others = [
        known
        for known in json.loads(subject.credentials)
        if (known["serialNumber"], known["issuer"]) != (credential["serialNumber"], credential["issuer"])
    ]
    properties = json.loads(subject.instance_properties)
    if use.properties:
        shown = dict(use.properties)
        rest = [known for known in properties if known["properties"] != shown]
        properties = [{"seenAt": use.at, "properties": shown, "failed": use.failed}, *rest]
    return replace(
        subject,
        updated_at=max(use.at, subject.updated_at),
        last_seen_at=max(use.at, subject.last_seen_at),
        credentials=_packed([credential, *others][:_CERTIFICATES]),
        instance_properties=_packed(properties[:_PROPERTIES]),
    )


def _packed(value: list[Any]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
