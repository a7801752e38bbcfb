"""Signed responses with their parts moved, doubled, renamed and replaced at random: refused, or read as they were signed."""

from __future__ import annotations

import asyncio
import base64
import copy
import random
from collections.abc import Callable
from typing import Any, Final

import pytest
from lxml import etree
from tests.heavy import PickledHeavyWork
from tests.saml_idp import NOW, NS, Response, encode, metadata

from daypass.domain.assertion import Assertion
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError
from daypass.federation.saml import SamlServiceProvider
from daypass.ports import SamlArrival

PROVIDER: Final = SamlProvider("SAMLPROVIDER12345678", "111122223333", "idp", 0, 2**50, metadata())
PAIR: Final = "arn:aws:iam::111122223333:role/{},arn:aws:iam::111122223333:saml-provider/idp"
EVIL: Final = Response(roles=[PAIR.format("admin")], subject="eve", assertion_id="_evil").assertion("")
MANY: Final = 120
Element = Any


def _evil_around_the_signed(root: Element, _: Element, __: Element, ___: random.Random) -> None:
    signed = next(root.iter(f"{{{NS['saml']}}}Assertion"))
    evil, signature = etree.fromstring(EVIL), next(root.iter(f"{{{NS['ds']}}}Signature"))
    signed.getparent().replace(signed, evil)
    evil.insert(1, signature)
    etree.SubElement(signature, f"{{{NS['ds']}}}Object").append(signed)


def _cut_by_a_comment(_: Element, one: Element, __: Element, ___: random.Random) -> None:
    text = one.text or ""
    comment = etree.Comment("x")
    one.text, comment.tail = text[: len(text) // 2], text[len(text) // 2 :]
    one.insert(0, comment)


def _wrapped(_: Element, one: Element, __: Element, rng: random.Random) -> None:
    around = (f"{{{NS['samlp']}}}Extensions", f"{{{NS['saml']}}}Advice", f"{{{NS['ds']}}}Object", "x")
    wrapper, parent = etree.Element(rng.choice(around)), one.getparent()
    if parent is not None:
        parent.replace(one, wrapper)
        wrapper.append(one)


def _moved(_: Element, one: Element, other: Element, rng: random.Random) -> None:
    if other not in list(one.iter()):
        other.insert(rng.randrange(len(other) + 1), one)


def _removed(_: Element, one: Element, __: Element, ___: random.Random) -> None:
    if one.getparent() is not None:
        one.getparent().remove(one)


def _ids(_: Element, one: Element, __: Element, rng: random.Random) -> None:
    one.set(rng.choice(["ID", "Id", "id", "AssertionID"]), rng.choice(["_assertion-1", "_response-1", "_evil"]))


CHANGES: Final[tuple[Callable[[Element, Element, Element, random.Random], object], ...]] = (
    _evil_around_the_signed,
    _cut_by_a_comment,
    _wrapped,
    _moved,
    _removed,
    _ids,
    lambda _, one, other, rng: other.insert(rng.randrange(len(other) + 1), copy.deepcopy(one)),
    lambda _, __, other, rng: other.insert(rng.randrange(len(other) + 1), etree.fromstring(EVIL)),
    lambda _, one, __, ___: setattr(one, "text", f"{one.text or ''} x"),
    lambda _, one, __, ___: setattr(one, "tail", "x"),
    lambda _, one, __, ___: [one.set(name, f"{value}x") for name, value in one.attrib.items()],
)


def read(text: str) -> Assertion:
    service = SamlServiceProvider(None, PickledHeavyWork(), "https://daypass.example.com")  # type: ignore[arg-type]  # nothing is sealed
    return asyncio.run(service.verify(text, PROVIDER, NOW, SamlArrival()))


@pytest.mark.parametrize("what", ["assertion", "response"])
@pytest.mark.parametrize("seed", range(2))
def test_a31_signed_response_that_was_rearranged_is_refused_or_reads_as_signed(what: str, seed: int) -> None:
    rng = random.Random(seed)
    honest = Response(roles=[PAIR.format("reader")]).encoded(what=what)
    signed, refused = read(honest), 0
    for _ in range(MANY):
        root = etree.fromstring(base64.b64decode(honest))
        for _ in range(rng.randrange(1, 4)):
            elements = [element for element in root.iter() if isinstance(element.tag, str)]
            try:
                rng.choice(CHANGES)(root, rng.choice(elements), rng.choice(elements), rng)
            except (ValueError, StopIteration):  # a text that is not a tree, or no longer has a signature
                continue
        try:
            assert read(encode(etree.tostring(root))) == signed
        except DaypassError:
            refused += 1
    assert refused > MANY // 2
