"""Verifies one SAML response: from base64 to verified facts, in a fixed order.

The form is checked first, then the signature, then the content. Until a signature is verified, a refusal describes only
the document; it does not reveal whether the provider exists or what it expects. Facts are read only from bytes that a
signature covers, parsed again. The document as received is used only to refuse it.

Everything here is a function of plain values, because it takes milliseconds and runs in a worker process. It has no
private key: an encrypted assertion is returned, to be decrypted by the server.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Final

from lxml import etree

from daypass.domain.assertion import ATTRIBUTES, Assertion, refuse, role_pairs
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.federation import saml_facts
from daypass.federation.saml_facts import SamlRules
from daypass.federation.saml_signature import SIGNATURE, BadSignature, SignedElement, check_profile, verify
from daypass.federation.saml_xml import (
    SAML,
    SAMLP,
    BadXml,
    Ciphertext,
    Undecryptable,
    as_document,
    check_encrypted,
    check_ids,
    only,
    parse,
    read_encrypted,
    text_of,
)
from daypass.ports.certificates import SamlMetadataView

MAX_TEXT: Final = 100_000  # characters of base64 (STS model, SAMLAssertionType)
_RESPONSE: Final = f"{SAMLP}Response"
_ASSERTION: Final = f"{SAML}Assertion"
_ENCRYPTED: Final = f"{SAML}EncryptedAssertion"
_SUCCESS: Final = "urn:oasis:names:tc:SAML:2.0:status:Success"
_STATUS = re.compile(r"urn:oasis:names:tc:SAML:2\.0:status:[A-Za-z]{1,32}")
_NOT_SIGNED: Final = (
    "Response signature invalid: the specified provider does not exist, has another issuer, or has none of the keys that "
    "signed or encrypted this response"
)


@dataclass(frozen=True, slots=True)
class Encrypted:
    """A response whose assertion must be decrypted first."""

    # response: XML of the response: the bytes that its signature covers, if it has one.
    response: bytes
    signed_by: str  # the digest of the key that signed the response; "" when it is not signed
    ciphertext: Ciphertext  # the encrypted assertion


@dataclass(frozen=True, slots=True)
class _ParsedResponse:
    """A response whose form has been checked, and nothing else."""

    response: etree._Element
    assertion: etree._Element  # an Assertion or an EncryptedAssertion, a child of the response
    response_signed: bool
    assertion_signed: bool

    @property
    def encrypted(self) -> bool:
        return bool(self.assertion.tag == _ENCRYPTED)


def not_signed(reason: str) -> DaypassError:
    """The one refusal for an unknown provider and for a response that it did not sign; `reason` is for the record."""
    return refuse(_NOT_SIGNED, reason=reason)


def verify_response(unverified: str, rules: SamlRules) -> Assertion | Encrypted:
    """The facts of a response (base64), or what must be decrypted to get them.

    Raises DaypassError: INVALID_IDENTITY_TOKEN, EXPIRED_IDENTITY_TOKEN, IDP_REJECTED_CLAIM.
    """
    with _refusals():
        opened = _open(unverified)
        metadata = _metadata(rules)
        if not opened.encrypted:
            _check_unverified_issuer(opened.assertion, metadata)
        response, signed_by = opened.response, ""
        if opened.response_signed:
            response, signed_by = verify(opened.response, metadata.certificates)
        if opened.encrypted:
            return Encrypted(as_document(response), signed_by, read_encrypted(_the_assertion(response)))
        assertion = opened.assertion if opened.assertion_signed else _the_assertion(response)
        signed = _signed(assertion, signed_by, metadata, own=opened.assertion_signed)
        if rules.only_encrypted:
            raise refuse("The specified provider takes encrypted assertions only")
        return _facts(response, signed, rules, metadata)


def verify_decrypted(encrypted: Encrypted, decrypted: bytes, rules: SamlRules) -> Assertion:
    """The facts of a response whose assertion has been decrypted. Raises DaypassError as `verify_response` does."""
    with _refusals():
        metadata = _metadata(rules)
        assertion = _assertion_of(decrypted)
        signed = _signed(assertion, encrypted.signed_by, metadata, own=check_profile(assertion))
        return _facts(parse(encrypted.response), signed, rules, metadata)


def claimed_providers(unverified: str) -> tuple[str, ...]:
    """ARNs of the providers that a response claims to come from. Raises DaypassError(INVALID_IDENTITY_TOKEN)."""
    with _refusals():
        values = [
            text_of(value)
            for attribute in _open(unverified).assertion.iterfind(f"{SAML}AttributeStatement/{SAML}Attribute")
            if attribute.get("Name") == f"{ATTRIBUTES}Role"
            for value in attribute.findall(f"{SAML}AttributeValue")
        ]
    return tuple(dict.fromkeys(provider for _, provider in role_pairs(tuple(values))))


@contextmanager
def _refusals() -> Iterator[None]:
    try:
        yield
    except BadXml as error:
        raise refuse(f"The SAML response is not valid: {error}") from None
    except BadSignature:
        raise not_signed("signature") from None
    except Undecryptable:
        raise not_signed("decryption") from None


def _metadata(rules: SamlRules) -> SamlMetadataView:
    if isinstance(rules.metadata, str):
        raise not_signed(rules.metadata)
    return rules.metadata


def _signed(assertion: etree._Element, signed_by: str, metadata: SamlMetadataView, *, own: bool) -> SignedElement:
    """The assertion as signed: by its own signature if it has one, else by that of the response."""
    if own:
        return verify(assertion, metadata.certificates)
    if not signed_by:
        raise BadSignature
    return SignedElement(parse(as_document(assertion)), signed_by)


def _facts(response: etree._Element, signed: SignedElement, rules: SamlRules, metadata: SamlMetadataView) -> Assertion:
    _check_response(response, rules, metadata)
    return saml_facts.read(signed.element, signed.key, rules, metadata.entity_id)


# --- Form ------------------------------------------------------------------------------------------------------------


def _open(unverified: str) -> _ParsedResponse:
    """A response in a supported form. Raises BadXml."""
    response = parse(_decoded(unverified))
    check_ids(response)
    if response.tag != _RESPONSE or response.get("Version") != "2.0":
        raise BadXml("it is not a Response of version 2.0")
    _check_status(response)
    assertion = _the_assertion(response)
    response_signed = check_profile(response)
    if assertion.tag == _ENCRYPTED:
        check_encrypted(assertion, covered=response_signed)
        assertion_signed = False
    else:
        assertion_signed = check_profile(assertion)
        if not response_signed and not assertion_signed:
            raise BadXml("neither the response nor its assertion is signed")
    if sum(1 for _ in response.iter(SIGNATURE)) != response_signed + assertion_signed:
        raise BadXml("it has a signature where none may be")
    return _ParsedResponse(response, assertion, response_signed, assertion_signed)


def _decoded(unverified: str) -> bytes:
    if len(unverified) > MAX_TEXT:
        raise BadXml(f"it is over {MAX_TEXT} characters")
    try:
        return base64.b64decode("".join(unverified.split()).encode("ascii"), validate=True)
    except ValueError:
        raise BadXml("it is not base64") from None


def _the_assertion(response: etree._Element) -> etree._Element:
    """The one assertion of a response, plain or encrypted, and a child of it: another one anywhere is refused."""
    every = list(response.iter(_ASSERTION, _ENCRYPTED))
    if len(every) != 1 or every[0].getparent() is not response:
        raise BadXml("it must have exactly one assertion")
    return every[0]


def _assertion_of(decrypted: bytes) -> etree._Element:
    """The assertion that was encrypted, in the same form as one that was not."""
    try:
        assertion = parse(decrypted)
        check_ids(assertion)
        nested = sum(1 for _ in assertion.iter(_ASSERTION, _ENCRYPTED))
        signatures = sum(1 for _ in assertion.iter(SIGNATURE))
        if assertion.tag != _ASSERTION or nested != 1 or signatures != check_profile(assertion):
            raise Undecryptable
    except BadXml:  # a sender who may have altered it must not learn its content
        raise Undecryptable from None
    return assertion


def _check_status(response: etree._Element) -> None:
    code = only(only(response, f"{SAMLP}Status"), f"{SAMLP}StatusCode")
    if code.get("Value") != _SUCCESS:
        inner = code.find(f"{SAMLP}StatusCode")
        value = (inner if inner is not None else code).get("Value", "")
        shown = f" ({value})" if _STATUS.fullmatch(value) else ""
        raise DaypassError(
            ErrorKind.IDP_REJECTED_CLAIM, f"The identity provider reported that authentication failed{shown}"
        )


def _check_unverified_issuer(assertion: etree._Element, metadata: SamlMetadataView) -> None:
    """Saves the work for a response of another provider; the signed issuer is checked again."""
    if text_of(only(assertion, f"{SAML}Issuer")).strip() != metadata.entity_id:
        raise not_signed("issuer")


def _check_response(response: etree._Element, rules: SamlRules, metadata: SamlMetadataView) -> None:
    """Checks the response around the assertion. Its unsigned parts can only lead to a refusal."""
    issuer = response.find(f"{SAML}Issuer")
    if issuer is not None:
        saml_facts.check_issuer(text_of(issuer), metadata.entity_id)
    destination = response.get("Destination", "")
    if destination and not rules.is_recipient(destination):
        raise refuse(f"The Destination of the response, '{destination[:256]}', is not an address of this service")
    answers = response.get("InResponseTo")
    if answers is not None:
        saml_facts.check_answers(answers, rules)
