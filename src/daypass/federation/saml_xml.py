"""The subset of XML that SAML needs: small, shallow, UTF-8, without document types, entities or processing
instructions.

A streaming parser checks the limits before a tree is built (attack A30). Two parsers must agree that a document is
well-formed; if either refuses it, it is refused. It must never fetch anything or accept an id twice.
"""

from __future__ import annotations

import re
from typing import Final
from xml.parsers import expat

from lxml import etree

MAX_BYTES: Final = 131_072  # of one response; AWS takes 100,000 characters of base64
MAX_METADATA_BYTES: Final = 10_000_000  # characters of a metadata document (IAM model, SAMLMetadataDocumentType)
MAX_DEPTH: Final = 32
MAX_ELEMENTS: Final = 4_000
MAX_ATTRIBUTES: Final = 32  # of one element
_MAX_METADATA_ELEMENTS: Final = 100_000

DS: Final = "{http://www.w3.org/2000/09/xmldsig#}"
SAML: Final = "{urn:oasis:names:tc:SAML:2.0:assertion}"
SAMLP: Final = "{urn:oasis:names:tc:SAML:2.0:protocol}"
MD: Final = "{urn:oasis:names:tc:SAML:2.0:metadata}"
XENC: Final = "{http://www.w3.org/2001/04/xmlenc#}"

_ENCODING = re.compile(r"""<\?xml[^>]*?encoding\s*=\s*["']([^"']*)["']""")
_IDS: Final = ("ID", "Id", "id", "AssertionID", "{http://www.w3.org/XML/1998/namespace}id")


class BadXml(ValueError):
    """The document is not supported. The message gives the sender the reason."""


class _Limits:
    """Callbacks of the streaming parser: each raises as soon as a limit is passed."""

    def __init__(self, elements: int) -> None:
        self._left = elements
        self._depth = 0

    def start(self, _name: str, attributes: list[str]) -> None:
        self._depth += 1
        self._left -= 1
        if self._depth > MAX_DEPTH:
            raise BadXml(f"it is nested more than {MAX_DEPTH} levels deep")
        if self._left < 0:
            raise BadXml("it has too many elements")
        if len(attributes) > 2 * MAX_ATTRIBUTES:
            raise BadXml(f"an element has more than {MAX_ATTRIBUTES} attributes")

    def end(self, _name: str) -> None:
        self._depth -= 1

    def doctype(self, *_: object) -> None:
        raise BadXml("it has a document type")

    def instruction(self, *_: object) -> None:
        raise BadXml("it has a processing instruction")


def parse(unverified: bytes, *, metadata: bool = False) -> etree._Element:
    """The root of a document within the limits. Raises BadXml."""
    limit = MAX_METADATA_BYTES if metadata else MAX_BYTES
    if len(unverified) > limit:
        raise BadXml(f"it is over {limit} bytes")
    _check_text(unverified)
    _check_limits(unverified, _MAX_METADATA_ELEMENTS if metadata else MAX_ELEMENTS)
    return _tree(unverified)


def _check_text(unverified: bytes) -> None:
    try:
        text = unverified.decode("utf-8")
    except UnicodeDecodeError:
        raise BadXml("it is not UTF-8") from None
    declared = _ENCODING.match(text)
    if declared and declared[1].lower() not in ("utf-8", "us-ascii", "ascii"):
        raise BadXml("it declares another encoding than UTF-8")


def _check_limits(unverified: bytes, elements: int) -> None:
    limits = _Limits(elements)
    parser = expat.ParserCreate("utf-8")
    parser.ordered_attributes = True
    parser.StartElementHandler = limits.start
    parser.EndElementHandler = limits.end
    parser.StartDoctypeDeclHandler = limits.doctype
    parser.EntityDeclHandler = limits.doctype
    parser.ProcessingInstructionHandler = limits.instruction
    parser.SetParamEntityParsing(expat.XML_PARAM_ENTITY_PARSING_NEVER)
    try:
        parser.Parse(unverified, True)
    except expat.ExpatError as error:
        raise BadXml(f"it is not well-formed (line {error.lineno})") from None


def _tree(checked: bytes) -> etree._Element:
    parser = etree.XMLParser(
        encoding="utf-8",
        resolve_entities=False,
        load_dtd=False,
        no_network=True,
        dtd_validation=False,
        huge_tree=False,
        remove_pis=False,
    )
    try:
        root = etree.fromstring(checked, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise BadXml("it is not well-formed") from None
    if root.getroottree().docinfo.doctype or any(True for _ in root.iter(etree.Entity, etree.PI)):
        raise BadXml("it has a document type, an entity or a processing instruction")
    return root


def check_ids(root: etree._Element) -> None:
    """Refuses a document in which two elements have one id, under whatever name of an id attribute (attack A31)."""
    seen: set[str] = set()
    for element in root.iter(etree.Element):
        for name in _IDS:
            value = element.get(name)
            if value is None:
                continue
            if value in seen:
                raise BadXml("two of its elements have the same ID")
            seen.add(value)


def as_document(element: etree._Element) -> bytes:
    """The bytes of one element as a separate document, with the namespaces that are in scope there."""
    return bytes(etree.tostring(element, encoding="utf-8", with_tail=False))


def text_of(element: etree._Element) -> str:
    """The whole text of an element that may hold text only. Comments do not cut it short (attack A28). Raises
    BadXml.
    """
    parts = [element.text or ""]
    for child in element:
        if child.tag is not etree.Comment:
            raise BadXml(f"{etree.QName(element).localname} holds elements where text is expected")
        parts.append(child.tail or "")
    return "".join(parts)


def only(parent: etree._Element, tag: str) -> etree._Element:
    """The one child with this tag. Raises BadXml when there is none, or more than one."""
    children = parent.findall(tag)
    if len(children) != 1:
        name = tag.rpartition("}")[2]
        raise BadXml(f"it has {len(children)} {name} elements where there must be one")
    return children[0]
