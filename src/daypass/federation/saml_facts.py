"""Extracts the facts of a signed assertion and checks them by the rules of SAML's browser profile and AWS's additions.

It reads only elements that a signature covers, and checks them for one time, one issuer and our addresses.
Sources: SAML V2.0 profiles, section 4.1.4.3; AWS page "Configure SAML assertions for the authentication response".
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

from lxml import etree

from daypass.domain.assertion import REDEEM_MS, Assertion, refuse
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import iso_time
from daypass.federation.saml_metadata import read_time
from daypass.federation.saml_xml import SAML, BadXml, only, text_of
from daypass.ports.certificates import SamlMetadataView

LEEWAY_MS: Final = 60_000
"""How far an identity provider's clock may be from ours."""
OWN_REQUEST: Final = "_daypass-"
"""The prefix of the ids of our requests. A response to one is accepted only where the request is known."""

_BEARER: Final = "urn:oasis:names:tc:SAML:2.0:cm:bearer"
_UNSPECIFIED: Final = "urn:oasis:names:tc:SAML:1.1:nameid-format:unspecified"
_CONDITIONS: Final = frozenset(f"{SAML}{name}" for name in ("AudienceRestriction", "OneTimeUse", "ProxyRestriction"))
_MAX_ID: Final = 256
_MAX_TEXT: Final = 1024  # of a NameID, and of a name of an attribute
_MAX_VALUE: Final = 4096  # characters of an attribute's value
_AWS_ADDRESS = re.compile(
    r"https://(?:[a-z]{2}(?:-[a-z]{2,12}){1,2}-[0-9]{1,2}\.)?signin\.aws\.amazon\.com(?:/static)?/saml"
    r"(?:/acs/(?P<provider>[A-Z0-9]{16,32}))?"
)
_AWS_NAME: Final = "urn:amazon:webservices"


@dataclass(frozen=True, slots=True)
class SamlRules:
    """The facts against which a response is verified."""

    metadata: SamlMetadataView | str  # of the provider, or why it cannot be used
    provider_id: str  # of the provider, which AWS's sign-in addresses contain
    only_encrypted: bool  # whether the provider accepts encrypted assertions only
    arrival_url: str  # our address to which a browser posted it, and which it must name; "" for a parameter of a call
    addresses: tuple[str, ...]  # our addresses, one of which it must name otherwise
    entity_id: str  # our name as an audience; "" for none
    aws_addresses: bool  # whether AWS's sign-in addresses and its audience are accepted too
    request_id: str  # the request that it must answer; "" for none
    now: int  # ms

    def is_recipient(self, url: str) -> bool:
        """Whether it is the address that received the response."""
        return url == self.arrival_url if self.arrival_url else self._is_ours(url)

    def is_audience(self, name: str) -> bool:
        """Whether it names this service."""
        if name and name == self.entity_id:
            return True
        return self.aws_addresses and (name == _AWS_NAME or self._is_ours(name))

    def _is_ours(self, url: str) -> bool:
        if url and url in self.addresses:
            return True
        match = _AWS_ADDRESS.fullmatch(url) if self.aws_addresses else None
        return match is not None and match["provider"] in (None, self.provider_id)


def read(assertion: etree._Element, key: str, rules: SamlRules, issuer: str) -> Assertion:
    """The facts of an assertion signed by `issuer`. Raises BadXml when it is malformed, DaypassError when it does not match."""
    if assertion.get("Version") != "2.0" or not 0 < len(assertion.get("ID", "")) <= _MAX_ID:
        raise BadXml("its assertion is not of version 2.0, or its ID is missing or too long")
    check_issuer(text_of(only(assertion, f"{SAML}Issuer")), issuer)
    subject = only(assertion, f"{SAML}Subject")
    name = only(subject, f"{SAML}NameID")
    subject_text = text_of(name).strip()
    if not 0 < len(subject_text) <= _MAX_TEXT:
        raise BadXml(f"its NameID is empty or over {_MAX_TEXT} characters")
    confirmation = _confirmation(subject)
    recipient = confirmation.get("Recipient", "")
    if not rules.is_recipient(recipient):
        raise refuse(f"The Recipient of the response, '{recipient[:256]}', is not an address of this service")
    answers = confirmation.get("InResponseTo", "")
    check_answers(answers, rules)
    times = _Times(rules.now)
    issued_at = times.issued(assertion.get("IssueInstant", ""))
    times.window(confirmation, "SubjectConfirmationData")
    conditions = only(assertion, f"{SAML}Conditions")
    times.window(conditions, "Conditions")
    _check_conditions(conditions, rules)
    ends_at = times.session_end(assertion)
    return Assertion(
        id=assertion.get("ID"),
        issuer=issuer,
        subject=subject_text,
        subject_format=name.get("Format", _UNSPECIFIED)[:_MAX_TEXT],
        recipient=recipient,
        in_response_to=answers,
        issued_at=issued_at,
        not_after=times.end,
        session_ends_at=ends_at,
        attributes=_attributes(assertion),
        key=key,
        authenticated_at=_authenticated_at(assertion),
    )


def check_issuer(found: str, issuer: str) -> None:
    if found.strip() != issuer:
        raise refuse("Issuer not present in specified provider")


def check_answers(found: str, rules: SamlRules) -> None:
    """Checks InResponseTo: a browser may present the response to our request, or an unsolicited response.

    A call may present the answer to somebody else's request, as command lines make them, but never to one of ours: that
    one belongs to the browser that it was made for.
    """
    if rules.arrival_url:  # a browser brought it
        wrong = found != rules.request_id
    else:
        wrong = found.startswith(OWN_REQUEST)
    if wrong:
        raise refuse("The response answers another request than the one that was made (InResponseTo)")


# --- Subject and conditions ------------------------------------------------------------------------------------------


def _confirmation(subject: etree._Element) -> etree._Element:
    confirmation = only(subject, f"{SAML}SubjectConfirmation")
    if confirmation.get("Method") != _BEARER:
        raise refuse("The SubjectConfirmation of the response is not a bearer's")
    data: etree._Element = only(confirmation, f"{SAML}SubjectConfirmationData")
    if data.get("NotOnOrAfter") is None or not data.get("Recipient"):
        raise refuse("SubjectConfirmationData must have NotOnOrAfter and Recipient")
    return data


def _check_conditions(conditions: etree._Element, rules: SamlRules) -> None:
    """There must be a restriction, and every restriction must name us. An unknown condition is not met."""
    unknown = [child for child in conditions.iterchildren(etree.Element) if child.tag not in _CONDITIONS]
    if unknown:
        raise refuse("The response has a condition that is not known here")
    restrictions = conditions.findall(f"{SAML}AudienceRestriction")
    for restriction in restrictions:
        audiences = [text_of(audience).strip() for audience in restriction.findall(f"{SAML}Audience")]
        if not any(map(rules.is_audience, audiences)):
            raise refuse("Response does not contain the required audience.", audiences=[a[:256] for a in audiences[:8]])
    if not restrictions:
        raise refuse("Response does not contain the required audience.", audiences=[])


# --- Times -----------------------------------------------------------------------------------------------------------


class _Times:
    """Times of one response against our clock. `end` is when the last of them has passed for good."""

    def __init__(self, now: int) -> None:
        self._now = now
        self.end = now + REDEEM_MS + 2 * LEEWAY_MS

    def issued(self, text: str) -> int:
        at = read_time(text)
        if at > self._now + LEEWAY_MS:
            raise self._skewed(ErrorKind.INVALID_IDENTITY_TOKEN, "The response is issued in the future", text)
        self._until(at + REDEEM_MS, "Token must be redeemed within 5 minutes of issuance", text)
        return at

    def window(self, element: etree._Element, name: str) -> None:
        """NotBefore and NotOnOrAfter of an element."""
        begins, ends = element.get("NotBefore"), element.get("NotOnOrAfter")
        if begins is not None and read_time(begins) > self._now + LEEWAY_MS:
            raise self._skewed(ErrorKind.INVALID_IDENTITY_TOKEN, f"The response is not yet valid ({name})", begins)
        if ends is not None:
            self._until(read_time(ends), f"The response has expired ({name})", ends)

    def session_end(self, assertion: etree._Element) -> int:
        """The earliest SessionNotOnOrAfter, 0 for none. There must be an AuthnStatement."""
        statements = assertion.findall(f"{SAML}AuthnStatement")
        if not statements:
            raise refuse("The response has no AuthnStatement: it does not state a login")
        texts = [text for statement in statements if (text := statement.get("SessionNotOnOrAfter")) is not None]
        if not texts:
            return 0
        ends_at, text = min((read_time(text), text) for text in texts)
        if ends_at <= self._now:
            raise self._skewed(ErrorKind.EXPIRED_IDENTITY_TOKEN, "The login has ended (SessionNotOnOrAfter)", text)
        return ends_at

    def _until(self, end: int, message: str, text: str) -> None:
        if self._now >= end + LEEWAY_MS:
            raise self._skewed(ErrorKind.EXPIRED_IDENTITY_TOKEN, message, text)
        self.end = min(self.end, end + LEEWAY_MS)

    def _skewed(self, kind: ErrorKind, message: str, text: str) -> DaypassError:
        ours = iso_time(self._now // 1000)
        return DaypassError(
            kind,
            f"{message}: it says {text}, this server's time is {ours}, and {LEEWAY_MS // 1000} seconds of leeway are given",
            private={"reason": "time"},
        )


def _authenticated_at(assertion: etree._Element) -> int:
    """The earliest AuthnInstant; 0 when it is absent."""
    statements = assertion.findall(f"{SAML}AuthnStatement")
    return min((read_time(text) for each in statements if (text := each.get("AuthnInstant")) is not None), default=0)


# --- Attributes ------------------------------------------------------------------------------------------------------


def _attributes(assertion: etree._Element) -> tuple[tuple[str, tuple[str, ...]], ...]:
    """Names with their values; several elements of one name are one attribute."""
    attributes: dict[str, list[str]] = {}
    for attribute in assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute"):
        name = attribute.get("Name", "")
        if not 0 < len(name) <= _MAX_TEXT:
            raise BadXml(f"the Name of an attribute is empty or over {_MAX_TEXT} characters")
        attributes.setdefault(name, []).extend(_values(attribute))
    return tuple((name, tuple(values)) for name, values in attributes.items())


def _values(attribute: etree._Element) -> Iterator[str]:
    """Texts of the values. A value that is a NameID (eduPersonTargetedID) is its text; any other structure is no
    value.
    """
    for value in attribute.findall(f"{SAML}AttributeValue"):
        inner = value.findall(f"{SAML}NameID")
        if len(value) and not (len(value) == 1 and inner):
            continue
        text = text_of(inner[0] if inner else value).strip()
        if len(text) > _MAX_VALUE:
            raise BadXml(f"the value of an attribute is over {_MAX_VALUE} characters")
        yield text
