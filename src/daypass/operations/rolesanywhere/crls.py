"""Certificate revocation lists: imported, never fetched. One that is enabled and has expired stops its authority's certificates.

Source: IAM Roles Anywhere API Reference, ImportCrl and its kin.
"""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Final

from daypass.domain.certificate import CertificateRefused
from daypass.domain.directory import Crl, TrustAnchor
from daypass.operations.rolesanywhere import faults, shapes
from daypass.operations.rolesanywhere.lists import page, within_quota
from daypass.operations.rolesanywhere.tags import first
from daypass.operations.rolesanywhere.work import Answer, Look, Params, Work

CRLS_PER_ANCHOR: Final = 20


def check_import(look: Look, p: Params) -> None:
    """Refuses data that is no CRL of the trust anchor."""
    _checked(look, look.find(TrustAnchor, p["trustAnchorArn"]), p["crlData"])


def check_update(look: Look, p: Params) -> None:
    """The same for a CRL that is there already."""
    old = look.find(Crl, p["crlId"])
    if "crlData" in p:
        _checked(look, look.find(TrustAnchor, old.trust_anchor_id), p["crlData"])


def _checked(look: Look, anchor: TrustAnchor, data: bytes) -> bytes:
    try:
        look.certificates.check_crl(data, anchor.certificates)
    except CertificateRefused as refusal:
        raise faults.invalid(f"crlData cannot be imported: {refusal}") from None
    return data


def import_crl(work: Work, p: Params) -> Answer:
    _check_alias(p)
    anchor = work.find(TrustAnchor, p["trustAnchorArn"])
    within_quota(work, Crl, "CRLs of a trust anchor", CRLS_PER_ANCHOR, account=work.account, trust_anchor_id=anchor.id)
    made = Crl(
        id=work.ids.request(),
        account=work.account,
        region=anchor.region,
        name=p["name"],
        created_at=work.now,
        updated_at=work.now,
        trust_anchor_id=anchor.id,
        data=_checked(work, anchor, p["crlData"]),
        enabled=p.get("enabled", False),
        tags=first(p),
    )
    work.tx.insert(made)
    return _answer(work, made)


def _check_alias(p: Params) -> None:
    if p.get("aliasName"):
        raise faults.unsupported("aliasName")


def get_crl(look: Look, p: Params) -> Answer:
    return _answer(look, look.find(Crl, p["crlId"]))


def list_crls(look: Look, p: Params) -> Answer:
    found, more = page(look, p, Crl)
    return {"crls": [shapes.crl(crl, _anchor_arn(look, crl)) for crl in found], **more}


def update_crl(work: Work, p: Params) -> Answer:
    _check_alias(p)
    old = work.find(Crl, p["crlId"])
    data = old.data
    if "crlData" in p:
        data = _checked(work, work.find(TrustAnchor, old.trust_anchor_id), p["crlData"])
    return _stored(work, replace(old, name=p.get("name", old.name), data=data))


def _switch(work: Work, p: Params, *, enabled: bool) -> Answer:
    return _stored(work, replace(work.find(Crl, p["crlId"]), enabled=enabled))


enable_crl = partial(_switch, enabled=True)
disable_crl = partial(_switch, enabled=False)


def delete_crl(work: Work, p: Params) -> Answer:
    old = work.find(Crl, p["crlId"])
    work.tx.delete(old)
    return _answer(work, old)


def _stored(work: Work, changed: Crl) -> Answer:
    changed = replace(changed, updated_at=work.now)
    work.tx.replace(changed)
    return _answer(work, changed)


def _answer(look: Look, crl: Crl) -> Answer:
    return {"crl": shapes.crl(crl, _anchor_arn(look, crl))}


def _anchor_arn(look: Look, crl: Crl) -> str:
    anchor = look.get(TrustAnchor, crl.trust_anchor_id)
    return anchor.arn if anchor is not None else look.arn(TrustAnchor, crl.trust_anchor_id)
