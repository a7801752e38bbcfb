"""Tags, source identity and session name from a certificate."""

from __future__ import annotations

from dataclasses import replace

import pytest

from daypass.domain.jws import DEFAULT_MAPPINGS, ISSUER, SAN, SPECIFIERS, SUBJECT, VerifiedCertificate, check_mapping

HOST = VerifiedCertificate(
    serial=0xBEEF,
    subject="CN=host-1,OU=Line 2,OU=Line 1,O=Acme\\, Inc.",
    issuer="CN=plant",
    not_after=1,
    fingerprint="ab",
    subject_fields=(("O", "Acme, Inc."), ("OU", "Line 1"), ("OU", "Line 2"), ("CN", "host-1")),
    issuer_fields=(("CN", "plant"),),
    sans=(
        ("DNS", "host-1.example"),
        ("DNS", "other.example"),
        ("URI", "spiffe://acme.example/line/1"),
        ("Name/CN", "twin"),
        ("Name/O", "Acme"),
    ),
)


def test_tags_by_default_are_all_names_and_the_first_of_each_alternative_name() -> None:
    assert HOST.tags(DEFAULT_MAPPINGS) == (
        ("x509Issuer/CN", "plant"),
        ("x509SAN/DNS", "host-1.example"),
        ("x509SAN/URI", "spiffe://acme.example/line/1"),
        ("x509SAN/Name/CN", "twin"),
        ("x509SAN/Name/O", "Acme"),
        ("x509Subject/O", "Acme, Inc."),
        ("x509Subject/OU", "Line 1/Line 2"),
        ("x509Subject/CN", "host-1"),
    )


def test_tags_of_chosen_specifiers_are_those_alone_each_once() -> None:
    mappings = ((SUBJECT, "CN"), (SUBJECT, "*"), (SAN, "Name/CN"), (ISSUER, "OU"))
    assert dict(HOST.tags(mappings)) == {
        "x509Subject/CN": "host-1",
        "x509Subject/O": "Acme, Inc.",
        "x509Subject/OU": "Line 1/Line 2",
        "x509SAN/Name/CN": "twin",
    }
    assert len(HOST.tags(mappings)) == 4
    assert HOST.tags(()) == ()


@pytest.mark.parametrize("value", ["", "x" * 257, "a\nb", "a\0b", "a\u202eb"])
def test_tags_that_could_be_misread_are_left_out_rather_than_altered(value: str) -> None:
    odd = replace(HOST, subject_fields=(("CN", value), ("O", "Acme")))
    assert odd.tags(((SUBJECT, "*"),)) == (("x509Subject/O", "Acme"),)


@pytest.mark.parametrize(
    ("fields", "identity"),
    [
        ((("CN", "host-1"),), "CN=host-1"),
        ((("O", "Acme"),), ""),
        ((("CN", "Host 1"),), ""),  # a blank is none of a source identity's characters
        ((("CN", "a*"),), ""),
        ((("CN", "x" * 61),), "CN=" + "x" * 61),
        ((("CN", "x" * 62),), ""),
        ((("CN", "a\n"),), ""),
        ((("CN", "ä"),), ""),
        ((("CN", "a"), ("CN", "b")), ""),  # joined by a slash, which no source identity has
    ],
)
def test_source_identity_is_the_common_name_or_nothing(fields: tuple[tuple[str, str], ...], identity: str) -> None:
    assert replace(HOST, subject_fields=fields).source_identity == identity


@pytest.mark.parametrize(("serial", "name"), [(0xBEEF, "beef"), (1, "01"), (2**159, "8" + "0" * 39)])
def test_session_name_is_the_serial_number_in_hex(serial: int, name: str) -> None:
    assert replace(HOST, serial=serial).session_name == name
    assert 2 <= len(name) <= 64


def test_subject_id_belongs_to_account_and_subject_and_is_a_uuid() -> None:
    one = HOST.subject_id("111122223333")
    assert one == replace(HOST, serial=2, fingerprint="cd").subject_id("111122223333")
    assert one not in (HOST.subject_id("444455556666"), replace(HOST, subject="CN=x").subject_id("111122223333"))
    assert [len(part) for part in one.split("-")] == [8, 4, 4, 4, 12]


def test_subject_without_a_name_is_called_by_its_first_alternative_name() -> None:
    svid = replace(HOST, subject="", sans=(("URI", "spiffe://acme.example/a"),))
    other = replace(HOST, subject="", sans=(("URI", "spiffe://acme.example/b"),))
    assert svid.display_name == "spiffe://acme.example/a"
    assert svid.subject_id("111122223333") != other.subject_id("111122223333")
    assert replace(HOST, subject="", sans=()).display_name == "beef"


def test_check_mapping_names_the_first_specifier_that_the_field_does_not_have() -> None:
    assert check_mapping(SUBJECT, ["CN", "*", "OU"]) == ""
    assert check_mapping(SUBJECT, ["CN", "DNS", "URI"]) == "DNS"
    assert check_mapping(SAN, ["*"]) == "*"
    assert {field for field, _ in DEFAULT_MAPPINGS} == set(SPECIFIERS)
