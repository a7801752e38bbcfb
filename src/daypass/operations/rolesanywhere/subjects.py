"""Subjects: who has come with which certificates. They are taken down as sessions are made, and only read by operations.

What is kept of each is bounded: the newest certificates and instance properties.
Source: IAM Roles Anywhere API Reference, SubjectDetail.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from daypass.domain.directory import X509Subject
from daypass.operations.rolesanywhere import shapes
from daypass.operations.rolesanywhere.lists import page
from daypass.operations.rolesanywhere.work import Answer, Look, Params
from daypass.ports import Sighting, Tx

_CERTIFICATES: Final = 10
_PROPERTIES: Final = 10


def get_subject(look: Look, p: Params) -> Answer:
    return {"subject": shapes.subject_whole(look.find(X509Subject, p["subjectId"]))}


def list_subjects(look: Look, p: Params) -> Answer:
    found, more = page(look, p, X509Subject)
    return {"subjects": [shapes.subject(subject) for subject in found], **more}


def take_down(tx: Tx, sightings: Sequence[Sighting]) -> None:
    """Brings the subjects of these sightings up to date, in their order."""
    for sighting in sightings:
        old = tx.get(X509Subject, id=sighting.subject_id)
        if old is None:
            tx.insert(_seen(_new(sighting), sighting))
        else:
            tx.replace(_seen(old, sighting))


def _new(sighting: Sighting) -> X509Subject:
    return X509Subject(
        id=sighting.subject_id,
        account=sighting.account,
        region=sighting.region,
        x509_subject=sighting.certificate.called,
        created_at=sighting.at,
        updated_at=sighting.at,
        last_seen_at=sighting.at,
    )


def _seen(subject: X509Subject, sighting: Sighting) -> X509Subject:
    certificate = sighting.certificate
    credential = {
        "seenAt": sighting.at,
        "serialNumber": str(certificate.serial),
        "issuer": certificate.issuer,
        "enabled": True,
        "x509CertificateData": certificate.pem,
        "failed": sighting.failed,
    }
    others = [
        known
        for known in json.loads(subject.credentials)
        if (known["serialNumber"], known["issuer"]) != (credential["serialNumber"], credential["issuer"])
    ]
    properties = json.loads(subject.instance_properties)
    if sighting.properties:
        shown = dict(sighting.properties)
        rest = [known for known in properties if known["properties"] != shown]
        properties = [{"seenAt": sighting.at, "properties": shown, "failed": sighting.failed}, *rest]
    return replace(
        subject,
        updated_at=max(sighting.at, subject.updated_at),
        last_seen_at=max(sighting.at, subject.last_seen_at),
        credentials=_packed([credential, *others][:_CERTIFICATES]),
        instance_properties=_packed(properties[:_PROPERTIES]),
    )


def _packed(value: list[Any]) -> str:
    return json.dumps(value, ensure_ascii=True, separators=(",", ":"))
