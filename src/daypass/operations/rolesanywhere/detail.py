"""Entities as IAM Roles Anywhere shows them: output members of the service model."""

from __future__ import annotations

import json
from typing import Any, Final

from daypass.domain.certificate import ISSUER, SAN, SUBJECT
from daypass.domain.directory import Crl, Tags, TrustAnchor, X509Profile, X509Subject

EVENTS: Final = ("CA_CERTIFICATE_EXPIRY", "END_ENTITY_CERTIFICATE_EXPIRY")
_DEFAULT_DAYS: Final = 45
_DEFAULT_BY: Final = "rolesanywhere.amazonaws.com"


def tags_of(members: list[dict[str, str]] | None) -> Tags:
    """The tags parameter of a request as pairs, in its order."""
    return tuple((member["key"], member["value"]) for member in members or ())


def tags(pairs: Tags) -> list[dict[str, str]]:
    return [{"key": key, "value": value} for key, value in pairs]


def trust_anchor(entity: TrustAnchor) -> dict[str, Any]:
    return {
        "trustAnchorId": entity.id,
        "trustAnchorArn": entity.arn,
        "name": entity.name,
        "source": {
            "sourceType": "CERTIFICATE_BUNDLE",
            "sourceData": {"x509CertificateData": entity.certificates},
        },
        "enabled": entity.enabled,
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
        "notificationSettings": _notifications(entity),
    }


def _notifications(entity: TrustAnchor) -> list[dict[str, Any]]:
    own = {event: (channel, enabled, days) for event, channel, enabled, days in entity.notifications}
    shown = []
    for event in EVENTS:
        channel, enabled, days = own.get(event, ("ALL", "true", str(_DEFAULT_DAYS)))
        by = entity.account if event in own else _DEFAULT_BY
        shown.append(
            {
                "enabled": enabled == "true",
                "event": event,
                "threshold": int(days),
                "channel": channel,
                "configuredBy": by,
            }
        )
    return shown


def profile(entity: X509Profile) -> dict[str, Any]:
    shown: dict[str, Any] = {
        "profileId": entity.id,
        "profileArn": entity.arn,
        "name": entity.name,
        "requireInstanceProperties": entity.require_instance_properties,
        "enabled": entity.enabled,
        "createdBy": entity.created_by,
        "roleArns": list(entity.role_arns),
        "managedPolicyArns": list(entity.managed_policy_arns),
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
        "durationSeconds": entity.duration_seconds,
        "acceptRoleSessionName": entity.accept_role_session_name,
        "attributeMappings": _mappings(entity),
    }
    if entity.session_policy:
        shown["sessionPolicy"] = entity.session_policy
    return shown


def _mappings(entity: X509Profile) -> list[dict[str, Any]]:
    by_field: dict[str, list[dict[str, str]]] = {}
    for field in (ISSUER, SAN, SUBJECT):
        rules = [{"specifier": specifier} for known, specifier in entity.mappings if known == field]
        if rules:
            by_field[field] = rules
    return [{"certificateField": field, "mappingRules": rules} for field, rules in by_field.items()]


def crl(entity: Crl, trust_anchor_arn: str) -> dict[str, Any]:
    return {
        "crlId": entity.id,
        "crlArn": entity.arn,
        "name": entity.name,
        "enabled": entity.enabled,
        "crlData": entity.data,
        "trustAnchorArn": trust_anchor_arn,
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
    }


def subject(entity: X509Subject) -> dict[str, Any]:
    """In a list."""
    return {
        "subjectArn": entity.arn,
        "subjectId": entity.id,
        "enabled": entity.enabled,
        "x509Subject": entity.x509_subject,
        "lastSeenAt": entity.last_seen_at,
        "createdAt": entity.created_at,
        "updatedAt": entity.updated_at,
    }


def subject_whole(entity: X509Subject) -> dict[str, Any]:
    return {
        **subject(entity),
        "credentials": json.loads(entity.credentials),
        "instanceProperties": json.loads(entity.instance_properties),
    }
