"""Security events (SETs) of the Shared Signals Framework: their types, payloads and subjects.

Sources: OpenID Shared Signals Framework 1.0; OpenID CAEP 1.0; RFC 8417 (SET); RFC 9493 (subject identifiers).
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from itertools import combinations
from typing import Any, Final, NamedTuple, TypeAlias

from daypass.domain.directory import Revocation
from daypass.domain.revocation_index import what_ends

SubjectId: TypeAlias = "Mapping[str, Any]"

_CAEP: Final = "https://schemas.openid.net/secevent/caep/event-type/"
_SSF: Final = "https://schemas.openid.net/secevent/ssf/event-type/"
SESSION_REVOKED: Final = f"{_CAEP}session-revoked"
CREDENTIAL_CHANGE: Final = f"{_CAEP}credential-change"
VERIFICATION: Final = f"{_SSF}verification"
STREAM_UPDATED: Final = f"{_SSF}stream-updated"
SUPPORTED: Final = (SESSION_REVOKED, CREDENTIAL_CHANGE)
"""The events that a receiver may request. The two of the framework are always delivered."""
REVOCATION: Final = "urn:daypass:revocation"
"""The member of session-revoked with the facts of the revocation, for a receiver that compares them with tokens."""
MAX_SUBJECT_BYTES: Final = 2048
_MEMBERS: Final = ("user", "device", "session", "application", "tenant", "org_unit", "group")
_SIMPLE: Final[Mapping[str, tuple[str, ...]]] = {
    "opaque": ("id",),
    "iss_sub": ("iss", "sub"),
    "email": ("email",),
    "account": ("uri",),
    "uri": ("uri",),
    "did": ("url",),
    "phone_number": ("phone_number",),
}
"""The members of each format of a simple subject (RFC 9493, 3.2)."""


class InvalidSubject(ValueError):
    """Not a subject identifier. The message is for the receiver."""


class SecurityEventContent(NamedTuple):
    """One event before it is put into a SET: its type, payload and subject."""

    type: str
    payload: Mapping[str, Any]
    subject: SubjectId


class CredentialChange(NamedTuple):
    """A change of a credential.

    `holder_id`: the unique id of the user, the account id of a root, or the id of an OAuth client; "" when the credential
    belongs to the account, as a trust anchor does. `kind`: the `credential_type` of CAEP (3.3.1), or another one of the
    documentation. `change`: create, revoke, update or delete. `name`: the id of the credential, "" for none.
    `member`: of the subject, "user" or "application".
    """

    account: str
    holder_id: str
    kind: str
    change: str
    name: str = ""
    member: str = "user"


def session_revoked(issuer: str, revocation: Revocation) -> SecurityEventContent:
    """CAEP 3.1, for a revocation."""
    payload: dict[str, Any] = {
        "event_timestamp": revocation.created_at // 1000,
        "initiating_entity": "admin" if revocation.created_by else "system",
        REVOCATION: what_ends(revocation),
    }
    if revocation.reason:
        payload["reason_admin"] = {"en": revocation.reason}
    return SecurityEventContent(SESSION_REVOKED, payload, _subject_of(issuer, revocation))


def credential_change(issuer: str, change: CredentialChange, now: int, actor_id: str) -> SecurityEventContent:
    """CAEP 3.3. `actor_id`: the principal id of who changed it, "" for this service. `now` in ms."""
    other = "admin" if actor_id else "system"
    payload = {
        "event_timestamp": now // 1000,
        "initiating_entity": "user" if actor_id and actor_id == change.holder_id else other,
        "credential_type": change.kind,
        "change_type": change.change,
        **({"friendly_name": change.name} if change.name else {}),
    }
    return SecurityEventContent(CREDENTIAL_CHANGE, payload, _holder(issuer, change))


def of_stream(event_type: str, stream_id: str, payload: Mapping[str, Any]) -> SecurityEventContent:
    """An event of the framework about the stream itself."""
    return SecurityEventContent(event_type, payload, _opaque(stream_id))


def claims_of(issuer: str, audience: str, content: SecurityEventContent, now: int) -> str:
    """The claims of a SET without its `jti` (RFC 8417, 2.2), as JSON. It has no `sub` and no `exp` (SSF 1.0, 4.1)."""
    claims = {
        "iss": issuer,
        "aud": audience,
        "iat": now // 1000,
        "sub_id": content.subject,
        "events": {content.type: content.payload},
    }
    return json.dumps(claims, separators=(",", ":"), sort_keys=True)


# --- Subjects --------------------------------------------------------------------------------------------------------


def parsed_subject(unverified: object) -> SubjectId:
    """A subject of a receiver. Raises InvalidSubject."""
    if not isinstance(unverified, dict):
        raise InvalidSubject("A subject is a JSON object.")
    subject = _complex_subject(unverified) if unverified.get("format") == "complex" else _simple(unverified)
    if len(canonical(subject)) > MAX_SUBJECT_BYTES:
        raise InvalidSubject(f"A subject has at most {MAX_SUBJECT_BYTES} bytes.")
    return subject


def _complex_subject(unverified: Mapping[str, object]) -> SubjectId:
    parts = {name: value for name, value in unverified.items() if name != "format"}
    if not parts or not set(parts) <= set(_MEMBERS):
        raise InvalidSubject(f"A complex subject has some of: {', '.join(_MEMBERS)}.")
    return {"format": "complex", **{name: _simple(value) for name, value in parts.items()}}


def _simple(unverified: object) -> SubjectId:
    members = _SIMPLE.get(str(unverified.get("format"))) if isinstance(unverified, dict) else None
    if members is None or not isinstance(unverified, dict):
        raise InvalidSubject(f"The format of a subject is complex or one of: {', '.join(_SIMPLE)}.")
    if set(unverified) != {"format", *members} or not all(isinstance(unverified[name], str) for name in members):
        raise InvalidSubject(f"A subject of this format has the members {', '.join(members)}.")
    return unverified


def canonical(subject: SubjectId) -> str:
    """The text of a subject: equal subjects have the same."""
    return json.dumps(subject, separators=(",", ":"), sort_keys=True)


def covering(subject: SubjectId) -> list[str]:
    """The subjects, as texts, each of which a receiver can have removed so that it gets no event of this one (SSF 1.0, 8.1.3).

    A complex one covers an event that has each of its members, with equal values: whoever removes a user of an account
    still gets what concerns the whole account. A simple one covers its equals, and what has it as a member.
    """
    if subject.get("format") != "complex":
        return [canonical(subject)]
    parts = [(name, subject[name]) for name in _MEMBERS if name in subject]
    some = [chosen for count in range(1, len(parts) + 1) for chosen in combinations(parts, count)]
    return [canonical({"format": "complex", **dict(each)}) for each in some] + [canonical(each) for _, each in parts]


def _subject_of(issuer: str, revocation: Revocation) -> SubjectId:
    """The subject of a revocation. It ends sessions of the account, so each has the tenant."""
    account, value = revocation.account, revocation.value
    match revocation.subject:
        case "account":
            return _complex(account)
        case "principal":
            return _complex(account, user=_iss_sub(issuer, value))
        case "source_identity":
            email = {"format": "email", "email": value}
            return _complex(account, user=email if "@" in value else _opaque(value))
        case "role":
            return _complex(account, group=_opaque(value))
        case "client":
            return _complex(account, application=_opaque(value))
        case _:  # a session, an access key or a grant
            return _complex(account, session=_opaque(value))


def _holder(issuer: str, change: CredentialChange) -> SubjectId:
    if not change.holder_id:
        return _complex(change.account)
    if change.member == "application":
        return _complex(change.account, application=_opaque(change.holder_id))
    return _complex(change.account, user=_iss_sub(issuer, change.holder_id))


def _complex(account: str, **members: SubjectId) -> SubjectId:
    return {"format": "complex", "tenant": _opaque(account), **members}


def _iss_sub(issuer: str, sub: str) -> SubjectId:
    return {"format": "iss_sub", "iss": issuer, "sub": sub}


def _opaque(value: str) -> SubjectId:
    return {"format": "opaque", "id": value}
