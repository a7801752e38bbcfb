"""The content of a verified SAML assertion: the roles it offers, the session it requests, and its context keys.

Only the verifier in `federation.saml` creates an `Assertion`, and only from signed content. Sources: the AWS pages
"Configure SAML assertions for the authentication response", "Pass session tags in AWS STS" and "Available keys for
SAML-based AWS STS federation". It never guesses: an assertion that differs from AWS's form is refused with a reason.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Final

from daypass.domain.claims import OneTime, PrincipalKind, Proof
from daypass.domain.directory import SamlProvider, Tags
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import text_digest
from daypass.domain.policy.model import Value
from daypass.domain.session import is_tag_text

ATTRIBUTES: Final = "https://aws.amazon.com/SAML/Attributes/"
REDEEM_MS: Final = 300_000
"""AWS: "Token must be redeemed within 5 minutes of issuance"."""
PURPOSE: Final = "saml"

_PRINCIPAL_TAG: Final = f"{ATTRIBUTES}PrincipalTag:"
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{2,64}")
_BETWEEN_ARNS = re.compile(r"\s*,\s*(?=arn:)")
_FORMAT: Final = "urn:oasis:names:tc:SAML:2.0:nameid-format:"
_MAX_ROLES: Final = 200
_MAX_TAGS: Final = 50
_MAX_KEY_VALUES: Final = 100  # number of values of one context key
_SHORTEST: Final = 900  # in seconds
_LONGEST: Final = 43_200

_KEYS: Final[Mapping[str, str]] = {
    **{
        f"urn:oid:1.3.6.1.4.1.5923.1.1.1.{number}": f"eduperson{name}"
        for number, name in (
            (1, "affiliation"),
            (2, "nickname"),
            (3, "orgdn"),
            (4, "orgunitdn"),
            (5, "primaryaffiliation"),
            (6, "principalname"),
            (7, "entitlement"),
            (8, "primaryorgunitdn"),
            (9, "scopedaffiliation"),
            (10, "targetedid"),
            (11, "assurance"),
        )
    },
    **{
        f"urn:oid:1.3.6.1.4.1.5923.1.2.1.{number}": f"eduorg{name}"
        for number, name in (
            (2, "homepageuri"),
            (3, "identityauthnpolicyuri"),
            (4, "legalname"),
            (5, "superioruri"),
            (6, "whitepagesuri"),
        )
    },
    "urn:oid:2.5.4.3": "cn",
    "2.5.4.3": "commonname",
    "2.5.4.4": "surname",
    "urn:oid:2.5.4.4": "surname",
    "2.4.5.42": "givenname",  # spelled as on AWS's page
    "2.5.4.42": "givenname",
    "urn:oid:2.5.4.42": "givenname",
    "2.5.4.45": "x500uniqueidentifier",
    "urn:oid:2.5.4.45": "x500uniqueidentifier",
    "0.9.2342.19200300100.1.1": "uid",  # spelled as on AWS's page
    "urn:oid:0.9.2342.19200300.100.1.1": "uid",
    "0.9.2342.19200300100.1.3": "mail",
    "urn:oid:0.9.2342.19200300.100.1.3": "mail",
    "0.9.2342.19200300.100.1.45": "organizationstatus",
    "urn:oid:0.9.2342.19200300.100.1.45": "organizationstatus",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/name": "name",
    "http://schemas.xmlsoap.org/claims/CommonName": "commonname",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/givenname": "givenname",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/surname": "surname",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/emailaddress": "mail",
    "http://schemas.xmlsoap.org/ws/2005/05/identity/claims/uid": "uid",
    "http://schemas.microsoft.com/ws/2008/06/identity/claims/primarygroupsid": "primarygroupsid",
}
"""Attribute names and the context keys that they become, without the prefix `saml:`."""
_SESSION_KEYS: Final = (
    "saml:sub",
    "saml:sub_type",
    "saml:namequalifier",
)  # the keys that AWS also sets in calls of the session


@dataclass(frozen=True, slots=True)
class Assertion:
    """The content of one assertion. All of it is signed. Times in ms; 0 when absent."""

    id: str
    issuer: str
    subject: str
    subject_format: str  # the full Format of the NameID
    recipient: str  # the address that the assertion was issued for (saml:aud)
    in_response_to: str  # the id of the request that it answers, or ""
    issued_at: int
    not_after: int  # the end of its validity; it is refused later
    session_ends_at: int  # SessionNotOnOrAfter
    attributes: tuple[tuple[str, tuple[str, ...]], ...]  # names with their values, in document order, each name once
    key: str  # SHA-256 of the public key that verified the signature, in hex
    authenticated_at: int = 0  # AuthnInstant

    def essential(self) -> Assertion:
        """The assertion with only the attributes that Daypass uses."""
        kept = tuple((n, v) for n, v in self.attributes if n in _KEYS or n.startswith(ATTRIBUTES))
        return replace(self, attributes=kept)

    def offering(self, role: str, provider: str) -> Assertion:
        """The assertion with only this role."""
        kept = tuple((n, v) for n, v in self.attributes if n != f"{ATTRIBUTES}Role")
        return replace(self, attributes=(*kept, (f"{ATTRIBUTES}Role", (f"{role},{provider}",))))

    def values(self, name: str) -> tuple[str, ...]:
        """The values of the attribute with AWS's name `name`; () when it is absent."""
        return dict(self.attributes).get(ATTRIBUTES + name, ())

    @property
    def subject_type(self) -> str:
        """saml:sub_type: "persistent", "transient", or the full format when it has another prefix."""
        return self.subject_format.removeprefix(_FORMAT)


def refuse(message: str, **private: object) -> DaypassError:
    """INVALID_IDENTITY_TOKEN with this message."""
    return DaypassError(ErrorKind.INVALID_IDENTITY_TOKEN, message, private=private)


# --- What it requests ------------------------------------------------------------------------------------------------


def role_pairs(values: tuple[str, ...]) -> tuple[tuple[str, str], ...]:
    """(role ARN, provider ARN) pairs from the values of Role, in either order. Values that are not pairs are skipped."""
    pairs: list[tuple[str, str]] = []
    for value in values[:_MAX_ROLES]:
        first, second, *more = (*_BETWEEN_ARNS.split(value.strip()), "")  # a role name may contain commas
        if ":saml-provider/" in first:
            first, second = second, first
        if ":role/" in first and ":saml-provider/" in second and more == [""]:
            pairs.append((first, second))
    return tuple(dict.fromkeys(pairs))


def session_name(assertion: Assertion) -> str:
    """RoleSessionName. Raises DaypassError."""
    names = assertion.values("RoleSessionName")
    if len(names) != 1:
        wrong = "must have exactly one value" if names else "is required"
        raise refuse(f"RoleSessionName {wrong} in AuthnResponse")
    if not _NAME.fullmatch(names[0]):
        raise refuse("RoleSessionName in AuthnResponse must match [a-zA-Z_0-9+=,.@-]{2,64}")
    return names[0]


def session_seconds(assertion: Assertion) -> int | None:
    """SessionDuration, None when it is absent. Raises DaypassError."""
    durations = assertion.values("SessionDuration")
    if not durations:
        return None
    text = durations[0]
    seconds = int(text) if len(durations) == 1 and text.isascii() and text.isdigit() and len(text) < 6 else 0
    if not _SHORTEST <= seconds <= _LONGEST:
        raise refuse(f"SessionDuration in AuthnResponse must be a number of seconds from {_SHORTEST} to {_LONGEST}")
    return seconds


def source_identity(assertion: Assertion) -> str:
    """SourceIdentity, "" when it is absent. Raises DaypassError."""
    identities = assertion.values("SourceIdentity")
    if not identities:
        return ""
    if len(identities) != 1 or not _NAME.fullmatch(identities[0]) or identities[0].lower().startswith("aws:"):
        raise refuse('Source Identity must match [a-zA-Z_0-9+=,.@-]{2,64} and not begin with "aws:"')
    return identities[0]


def session_tags(assertion: Assertion) -> tuple[Tags, tuple[str, ...]]:
    """PrincipalTag:* and TransitiveTagKeys. Raises DaypassError."""
    tags = []
    for name, values in assertion.attributes:
        if not name.startswith(_PRINCIPAL_TAG):
            continue
        key = name.removeprefix(_PRINCIPAL_TAG)
        if len(values) != 1:
            raise refuse("A PrincipalTag attribute in AuthnResponse must have exactly one value")
        if not (key and is_tag_text(key, 128) and is_tag_text(values[0], 256)):
            raise refuse("A PrincipalTag attribute in AuthnResponse is not a valid tag")
        tags.append((key, values[0]))
    transitive = assertion.values("TransitiveTagKeys")
    if len(tags) > _MAX_TAGS or len(transitive) > _MAX_TAGS:
        raise refuse(f"AuthnResponse has more than {_MAX_TAGS} session tags")
    if not set(transitive) <= {key for key, _ in tags}:
        raise refuse("TransitiveTagKeys in AuthnResponse names a tag that PrincipalTag does not set")
    return tuple(tags), transitive


# --- Context keys ----------------------------------------------------------------------------------------------------


def name_qualifier(issuer: str, account: str, provider_name: str) -> str:
    """NameQualifier as AWS computes it: Base64(SHA1(issuer + account + "/" + name)). It identifies; it does not protect."""
    text = f"{issuer}{account}/{provider_name}".encode("utf-8", "surrogatepass")
    return base64.b64encode(hashlib.sha1(text, usedforsecurity=False).digest()).decode("ascii")


def context_keys(assertion: Assertion, provider: SamlProvider) -> dict[str, Value]:
    """The `saml:` keys of an assertion, lower-cased. Only known attributes become keys; several values make a list."""
    keys: dict[str, Value] = {
        "saml:aud": assertion.recipient,
        "saml:iss": assertion.issuer,
        "saml:sub": assertion.subject,
        "saml:sub_type": assertion.subject_type,
        "saml:namequalifier": name_qualifier(assertion.issuer, provider.account, provider.name),
        "saml:doc": f"{provider.account}/{provider.name}",
    }
    for name, values in assertion.attributes:
        key = _KEYS.get(name)
        if key is None or not values:
            continue
        known = keys.get(f"saml:{key}", ())
        every = (*((known,) if isinstance(known, str) else known), *values)[:_MAX_KEY_VALUES]
        keys[f"saml:{key}"] = every[0] if len(every) == 1 else every
    return keys


def proof_of(assertion: Assertion, provider: SamlProvider, one_time: OneTime) -> Proof:
    """The assertion as a `Proof`. Raises DaypassError when a request in it is not well-formed."""
    tags, transitive = session_tags(assertion)
    keys = context_keys(assertion, provider)
    return Proof(
        kind=PrincipalKind.SAML,
        method="saml",
        account=provider.account,
        provider=provider.arn,
        subject=assertion.subject,
        issuer=assertion.issuer,
        audience=assertion.recipient,
        keys=keys,
        tags=tags,
        transitive_keys=transitive,
        source_identity=source_identity(assertion),
        one_time=one_time,
        not_after=assertion.session_ends_at,
        record={"assertion": assertion.id[:256], "subject_type": assertion.subject_type[:256]},
        session_keys={"aws:federatedprovider": provider.arn, **{key: keys[key] for key in _SESSION_KEYS}},
        authenticated_at=assertion.authenticated_at,
        transient=assertion.subject_format.endswith(":transient"),
    )


def replay_entry(assertion: Assertion) -> OneTime:
    """The replay entry of the assertion, which may be used once across all accounts (attack A32).

    The signing key is part of its id, so another identity provider cannot consume the ids of this one.
    """
    named = f"{assertion.key}\0{assertion.issuer}\0{assertion.id}"
    digest = text_digest(named)
    return OneTime(PURPOSE, digest, assertion.not_after)
