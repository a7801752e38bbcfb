"""Subjects: who used which certificates. They are recorded when sessions are issued; operations only read them.

The data of each subject is bounded: the newest certificates and instance properties.
Source: IAM Roles Anywhere API Reference, SubjectDetail.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import X509Subject
from daypass.operations.rolesanywhere import detail
from daypass.operations.rolesanywhere.entity_kind import EntityKind
from daypass.ports import CertificateUse, Tx

_CERTIFICATES: Final = 10
_PROPERTIES: Final = 10


SUBJECTS: Final = EntityKind(
    X509Subject,
    "subjectId",
    "subjects",
    lambda _ctx, subject: {"subject": detail.subject_whole(subject)},
    lambda _ctx, subject: detail.subject(subject),
)


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
