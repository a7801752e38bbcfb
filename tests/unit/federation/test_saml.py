"""The SAML service provider: what it takes, what it refuses, and that nothing unsigned is ever read."""

from __future__ import annotations

import asyncio
import base64
import re
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import load_pem_private_key
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from signxml import DigestAlgorithm, SignatureMethod
from tests.cost import least_cpu_seconds
from tests.heavy import PickledHeavyWork
from tests.saml_idp import (
    AWS_ACS,
    ISSUER,
    NOW,
    Key,
    Response,
    certificate_text,
    ec_key,
    encode,
    encrypt,
    metadata,
    pem,
    rsa_key,
    sign,
    when,
)
from tests.x509 import Authority, SlowKey

from daypass.domain.arn import Source, network_of
from daypass.domain.assertion import Assertion
from daypass.domain.directory import SamlProvider
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.federation import saml_metadata, saml_xml
from daypass.federation.saml import SamlServiceProvider
from daypass.federation.saml_metadata import SamlMetadata, read, read_time
from daypass.federation.saml_xml import BadXml, load_key, parse
from daypass.ports import SamlArrival

BASE = "https://daypass.example.com"
ROLE = "arn:aws:iam::111122223333:role/dev"
PROVIDER = SamlProvider("ASPRABCDEFGHIJKLMNOPQ", "111122223333", "idp", NOW, NOW * 2, metadata([rsa_key(), ec_key()]))


class PlainSealer:
    """Bound to its owner, as the real one is."""

    def open_secret(self, sealed: bytes, account: str, owner_id: str) -> bytes:
        prefix = f"{account}/{owner_id}/".encode()
        if not sealed.startswith(prefix):
            raise ValueError("sealed for another owner")
        return sealed.removeprefix(prefix)


SP = SamlServiceProvider(PlainSealer(), PickledHeavyWork(), BASE)  # type: ignore[arg-type]
OWN_ONLY = SamlServiceProvider(PlainSealer(), PickledHeavyWork(), BASE, aws_addresses=False)  # type: ignore[arg-type]


def response(**more: Any) -> Response:
    return Response(**{"roles": [f"{ROLE},{PROVIDER.arn}"], **more})


def verify(
    text: str,
    provider: SamlProvider | None = PROVIDER,
    *,
    now: int = NOW,
    arrival: SamlArrival | None = None,
    sp: SamlServiceProvider = SP,
) -> Assertion:
    return asyncio.run(sp.verify(text, provider, now, arrival or SamlArrival()))


def refused(text: str, *given: Any, kind: ErrorKind = ErrorKind.INVALID_IDENTITY_TOKEN, **more: Any) -> DaypassError:
    with pytest.raises(DaypassError) as caught:
        verify(text, *given, **more)
    assert caught.value.kind is kind, caught.value.public
    return caught.value


def with_key(key: Key, mode: str = "Allowed", owner: str = "") -> SamlProvider:
    sealed = f"{PROVIDER.account}/{owner or PROVIDER.id}/".encode() + pem(key)
    keys = (("ASPKEONE", str(NOW), base64.b64encode(sealed).decode()),)
    return replace(PROVIDER, private_keys=keys, encryption_mode=mode)


# --- Turns -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("encrypted", [False, True])
def test_verify_reads_xml_only_as_heavy_work_of_the_source(monkeypatch: pytest.MonkeyPatch, *, encrypted: bool) -> None:
    heavy = PickledHeavyWork()
    service = SamlServiceProvider(PlainSealer(), heavy, BASE)  # type: ignore[arg-type]
    read_where: list[bool] = []
    for module, name in ((saml_xml, "_check_limits"), (saml_xml, "_tree")):
        monkeypatch.setattr(module, name, _noting(getattr(module, name), lambda: read_where.append(heavy.computing)))
    made, provider = response(), with_key(rsa_key())
    text = made.encrypted(None, rsa_key().public_key()) if encrypted else made.encoded()
    for source in ("198.51.100.1", "2001:db8:1:2:3::9"):
        asyncio.run(service.verify(text, provider, NOW, SamlArrival(source=Source(network_of(source)))))
    assert len(read_where) > 4
    assert all(read_where)
    asked = [account for account, work in heavy.asked if work.startswith("verify")]
    assert asked == sorted(["198.51.100.1", "2001:db8:1:2::/64"] * (2 if encrypted else 1))


def test_verify_metadata_is_read_once_for_each_version() -> None:
    heavy = PickledHeavyWork()
    service = SamlServiceProvider(PlainSealer(), heavy, BASE)  # type: ignore[arg-type]
    changed = replace(PROVIDER, metadata=metadata([rsa_key()]))
    for provider in (PROVIDER, PROVIDER, changed, changed):
        asyncio.run(service.verify(response().encoded(), provider, NOW, SamlArrival()))
    assert [work for _, work in heavy.asked].count("_read_metadata") == 2


def _noting(function: Any, note: Any) -> Any:
    def noting(*given: Any) -> Any:
        note()
        return function(*given)

    return noting


# --- Signatures ------------------------------------------------------------------------------------------------------

RSA = [m for m in SignatureMethod if re.fullmatch(r"RSA_SHA(256|384|512)|SHA(256|384|512)_RSA_MGF1", m.name)]
EC = [m for m in SignatureMethod if re.fullmatch(r"ECDSA_SHA(256|384|512)", m.name)]


@pytest.mark.parametrize("what", ["assertion", "response", "both"])
@pytest.mark.parametrize("method", [*RSA, *EC], ids=lambda m: m.name)
def test_verify_allowed_algorithm_gives_the_facts(method: SignatureMethod, what: str) -> None:
    key: Key = ec_key() if method in EC else rsa_key()
    facts = verify(response(attributes={"groups:x": ["a", "b"]}).encoded(key, what=what, method=method))
    assert (facts.issuer, facts.subject, facts.recipient) == (ISSUER, "ann@example.com", AWS_ACS)
    assert facts.values("Role") == (f"{ROLE},{PROVIDER.arn}",)
    assert dict(facts.attributes)["groups:x"] == ("a", "b")
    assert facts.subject_type == "persistent"
    assert facts.issued_at == NOW
    assert NOW < facts.not_after <= NOW + 360_000


@pytest.mark.parametrize("digest", [DigestAlgorithm.SHA384, DigestAlgorithm.SHA512])
def test_verify_larger_digest_gives_the_facts(digest: DigestAlgorithm) -> None:
    assert verify(response().encoded(digest=digest)).subject == "ann@example.com"


@pytest.mark.parametrize(
    "method",
    [
        m
        for m in SignatureMethod
        if ("RSA" in m.name or "ECDSA" in m.name) and m not in (*RSA, *EC) and "SHA3" not in m.name
    ],
    ids=lambda m: m.name,
)
def test_verify_other_algorithm_is_refused_though_the_key_is_right(method: SignatureMethod) -> None:
    key: Key = ec_key() if "ECDSA" in method.name else rsa_key()
    assert "not allowed" in refused(response().encoded(key, method=method)).public


def test_verify_signature_that_is_wrong_beside_one_that_is_right_is_refused() -> None:
    made = response()
    text = made.signed(what="both")
    for at in (text.index("SignatureValue>") + 20, text.rindex("SignatureValue>") - 60):
        spoilt = text[:at] + ("A" if text[at] != "A" else "B") + text[at + 1 :]
        assert "signature invalid" in refused(encode(spoilt)).public
    inner = sign(made.assertion(), rsa_key("mallory"), made.assertion_id)
    from tests.saml_idp import _PLACE

    outer = sign(made.wrap(inner, _PLACE), rsa_key(), made.response_id)
    assert "signature invalid" in refused(encode(outer)).public


def test_verify_namespaces_that_only_values_use_survive() -> None:
    """OpenSAML's way: prefixes that stand in attribute values alone are kept by an InclusiveNamespaces list."""
    made = response()
    inner = made.assertion().replace(
        "<saml:AttributeValue>",
        '<saml:AttributeValue xmlns:xs="http://www.w3.org/2001/XMLSchema" '
        'xmlns:xsi="http://www.w3.org/2001/XMLSchema-instance" xsi:type="xs:string">',
    )
    signed = sign(inner, rsa_key(), made.assertion_id)
    assert verify(encode(made.wrap(signed))).values("RoleSessionName") == ("ann",)


def test_verify_key_rotation_takes_every_key_of_the_metadata_and_no_other() -> None:
    old, new = rsa_key("old"), rsa_key("new")
    both = replace(PROVIDER, metadata=metadata([old, new]))
    after = replace(PROVIDER, metadata=metadata([new]))
    for key in (old, new):
        assert verify(response().encoded(key), both).subject
    assert verify(response().encoded(new), after).key == verify(response().encoded(new), both).key
    refused(response().encoded(old), after)
    assert verify(response().encoded(old), both).key != verify(response().encoded(new), both).key


def test_verify_expired_metadata_vouches_for_nobody() -> None:
    text = response().encoded()
    ended = replace(PROVIDER, metadata=metadata(valid_until=when(NOW)))
    running = replace(PROVIDER, metadata=metadata(valid_until=when(NOW + 1000)))
    assert verify(text, running).subject
    first, second = refused(text, ended), refused(text, replace(PROVIDER, valid_until=NOW))
    assert first.public == second.public == refused(text, None).public
    assert "validUntil" in first.private["reason"]


def test_verify_stranger_and_absent_provider_are_refused_alike() -> None:
    stranger = response().encoded(rsa_key("mallory"))
    other_issuer = response(issuer="https://other.example.com").encoded()
    texts = {refused(stranger).public, refused(stranger, None).public, refused(other_issuer).public}
    texts |= {refused(response().encrypted(None, rsa_key("theirs").public_key())).public}
    assert len(texts) == 1


# --- Where it is for, and when ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("recipient", "taken"),
    [
        ("https://signin.aws.amazon.com/saml", True),
        ("https://signin.aws.amazon.com/static/saml", True),
        ("https://eu-central-1.signin.aws.amazon.com/saml", True),
        ("https://us-gov-west-1.signin.aws.amazon.com/saml", True),
        (f"https://signin.aws.amazon.com/saml/acs/{PROVIDER.id}", True),
        ("https://signin.aws.amazon.com/saml/acs/ASPROTHEROTHEROTHEROT", False),
        ("https://evil.signin.aws.amazon.com/saml", False),
        ("https://signin.aws.amazon.com/saml\n", False),
        ("http://signin.aws.amazon.com/saml", False),
        ("https://signin-aws.amazon.com/saml", False),
        (f"{BASE}/saml/acs", True),
        (f"{BASE}/saml/acs/111122223333/idp", True),
        (f"{BASE}/saml/acs/111122223333/other", False),
        (f"{BASE}/saml/acs/", False),
        ("https://daypass.example.com.evil.example/saml/acs", False),
    ],
)
def test_verify_recipient_is_one_of_ours(recipient: str, taken: bool) -> None:
    made = response(recipient=recipient, destination=None)
    if taken:
        assert verify(made.encoded()).recipient == recipient
    else:
        assert "Recipient" in refused(made.encoded()).public


def test_verify_without_aws_addresses_takes_our_own_alone() -> None:
    ours = {"recipient": f"{BASE}/saml/acs", "destination": None, "audience": f"{BASE}/saml/metadata"}
    assert verify(response(**ours).encoded(), sp=OWN_ONLY).recipient == f"{BASE}/saml/acs"
    for spoilt in ({"recipient": AWS_ACS}, {"audience": "urn:amazon:webservices"}):
        refused(response(**{**ours, **spoilt}).encoded(), sp=OWN_ONLY)


def test_verify_without_a_public_address_takes_no_empty_one() -> None:
    bare = SamlServiceProvider(PlainSealer(), PickledHeavyWork(), "", aws_addresses=False)  # type: ignore[arg-type]
    assert (bare.entity_id, bare.acs_url()) == ("", "")
    refused(response(recipient="", destination=None, audience="").encoded(), sp=bare)
    refused(response(recipient=" ", destination=None, audience=" ").encoded(), sp=bare)


def test_verify_browser_brings_what_was_asked_for() -> None:
    url = f"{BASE}/saml/acs"
    ours = {"recipient": url, "destination": url}
    solicited = SamlArrival(url, "_daypass-1")
    assert verify(response(**ours, in_response_to="_daypass-1").encoded(), arrival=solicited).in_response_to
    assert verify(response(**ours).encoded(), arrival=SamlArrival(url)).subject
    for answers, arrival in (("", solicited), ("_daypass-2", solicited), ("_other", SamlArrival(url))):
        message = refused(response(**ours, in_response_to=answers).encoded(), arrival=arrival).public
        assert "InResponseTo" in message
    refused(response(recipient=AWS_ACS, destination=None).encoded(), arrival=SamlArrival(url))


def test_verify_call_brings_the_answer_to_a_request_of_its_client() -> None:
    assert verify(response(in_response_to="id123").encoded()).in_response_to == "id123"
    assert "InResponseTo" in refused(response(in_response_to="_daypass-1").encoded()).public


@pytest.mark.parametrize(
    ("more", "kind"),
    [
        ({"issued_at": NOW - 359_000}, None),
        ({"issued_at": NOW - 360_000}, ErrorKind.EXPIRED_IDENTITY_TOKEN),
        ({"issued_at": NOW + 60_000}, None),
        ({"issued_at": NOW + 61_000}, ErrorKind.INVALID_IDENTITY_TOKEN),
        ({"not_before": NOW + 60_000}, None),
        ({"not_before": NOW + 61_000}, ErrorKind.INVALID_IDENTITY_TOKEN),
        ({"not_on_or_after": NOW - 59_000}, None),
        ({"not_on_or_after": NOW - 60_000}, ErrorKind.EXPIRED_IDENTITY_TOKEN),
        ({"session_ends_at": NOW + 1000}, None),
        ({"session_ends_at": NOW}, ErrorKind.EXPIRED_IDENTITY_TOKEN),
    ],
)
def test_verify_times_have_a_leeway_of_a_minute(more: dict[str, int], kind: ErrorKind | None) -> None:
    text = response(**more).encoded()
    if kind is None:
        assert verify(text).session_ends_at == more.get("session_ends_at", 0)
    else:
        message = refused(text, kind=kind).public
        assert when(NOW) in message
        assert when(next(iter(more.values()))) in message


def test_verify_is_good_no_longer_than_it_says() -> None:
    facts = verify(response(not_on_or_after=NOW + 30_000).encoded())
    assert facts.not_after == NOW + 90_000
    assert verify(response().encoded(), now=facts.issued_at + 359_000).subject
    refused(response().encoded(), now=NOW + 360_000, kind=ErrorKind.EXPIRED_IDENTITY_TOKEN)


# --- What an assertion must have -------------------------------------------------------------------------------------


def signed_with(old: str, new: str, count: int = 1) -> str:
    """A response signed after its assertion was changed: everything but this is right."""
    made = response()
    inner = made.assertion()
    assert old in inner
    return encode(made.wrap(sign(inner.replace(old, new, count), rsa_key(), made.assertion_id)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ('Version="2.0"', 'Version="1.1"'),
        ("cm:bearer", "cm:holder-of-key"),
        ("</saml:SubjectConfirmation>", "</saml:SubjectConfirmation><saml:SubjectConfirmation Method='x'/>"),
        ("</saml:NameID>", "</saml:NameID><saml:NameID>evil</saml:NameID>"),
        ("ann@example.com</saml:NameID>", "</saml:NameID>"),
        ("ann@example.com</saml:NameID>", "x" * 1025 + "</saml:NameID>"),
        ("</saml:Issuer>", "</saml:Issuer><saml:Issuer>evil</saml:Issuer>"),
        ("</saml:AudienceRestriction>", "</saml:AudienceRestriction><saml:AudienceRestriction/>"),
        ("</saml:AudienceRestriction>", "</saml:AudienceRestriction><saml:Condition/>"),
        ("<saml:Audience>urn:amazon:webservices</saml:Audience>", ""),
        ("</saml:Conditions>", "</saml:Conditions><saml:Conditions/>"),
        ('Recipient="', 'Other="'),
        ('SubjectConfirmationData NotOnOrAfter="', 'SubjectConfirmationData Other="'),
        ("saml:AuthnStatement", "saml:AuthzDecisionStatement"),
        ('IssueInstant="', 'IssueInstant="x'),
        ('Name="https://aws.amazon.com/SAML/Attributes/Role"', 'Other="x"'),
        (">ann<", f">{'x' * 4097}<"),
    ],
)
def test_verify_assertion_of_another_form_is_refused(old: str, new: str) -> None:
    refused(signed_with(old, new, count=2 if old == "saml:AuthnStatement" else 1))


def test_verify_one_of_several_audiences_is_enough() -> None:
    facts = verify(signed_with("<saml:Audience>", "<saml:Audience>urn:other</saml:Audience><saml:Audience>"))
    assert facts.subject
    assert verify(signed_with("</saml:AudienceRestriction>", "</saml:AudienceRestriction><saml:OneTimeUse/>")).subject


def test_verify_structured_values_are_names_or_nothing() -> None:
    """eduPersonTargetedID is a NameID; other structures say nothing to us."""
    value = "<saml:AttributeValue>{}</saml:AttributeValue>"
    extra = "".join(
        f'<saml:Attribute Name="{name}">{value.format(inner)}</saml:Attribute>'
        for name, inner in (
            ("urn:oid:1.3.6.1.4.1.5923.1.1.1.10", "<saml:NameID>pseudonym</saml:NameID>"),
            ("structured", "<x xmlns='urn:u'>evil</x>"),
        )
    )
    facts = verify(signed_with("<saml:AttributeStatement>", f"<saml:AttributeStatement>{extra}"))
    known = dict(facts.attributes)
    assert known["urn:oid:1.3.6.1.4.1.5923.1.1.1.10"] == ("pseudonym",)
    assert known["structured"] == ()


def test_verify_values_in_several_elements_of_one_name_are_one_attribute() -> None:
    more = '<saml:Attribute Name="https://aws.amazon.com/SAML/Attributes/Role"><saml:AttributeValue>x,y</saml:AttributeValue>'
    facts = verify(signed_with("</saml:AttributeStatement>", f"{more}</saml:Attribute></saml:AttributeStatement>"))
    assert facts.values("Role") == (f"{ROLE},{PROVIDER.arn}", "x,y")


def test_verify_status_other_than_success_is_told() -> None:
    denied = "urn:oasis:names:tc:SAML:2.0:status:AuthnFailed"
    message = refused(response(status=denied).encoded(), kind=ErrorKind.IDP_REJECTED_CLAIM).public
    assert denied in message
    message = refused(response(status="evil").encoded(), kind=ErrorKind.IDP_REJECTED_CLAIM).public
    assert "evil" not in message


# --- Encryption ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("what", "algorithm"), [("assertion", "gcm"), ("both", "gcm"), ("both", "cbc"), ("response", "cbc")]
)
def test_verify_encrypted_assertion_gives_the_facts(what: str, algorithm: str) -> None:
    key = rsa_key("theirs")
    for mode in ("Allowed", "Required"):
        text = response().encrypted(None, key.public_key(), what=what, algorithm=algorithm)
        assert verify(text, with_key(key, mode)).subject == "ann@example.com"


def test_verify_required_encryption_refuses_what_is_not() -> None:
    provider = with_key(rsa_key("theirs"), "Required")
    for what in ("assertion", "response", "both"):
        assert "encrypted" in refused(response().encoded(what=what), provider).public


def test_verify_cbc_that_no_signature_covers_is_refused() -> None:
    key = rsa_key("theirs")
    text = response().encrypted(None, key.public_key(), algorithm="cbc")
    assert "AES-CBC" in refused(text, with_key(key)).public


def test_verify_pkcs1_transport_is_refused_even_within_a_signed_response() -> None:
    key = rsa_key("theirs")
    text = response().encrypted(None, key.public_key(), what="both", transport="pkcs1")
    assert "RSA-OAEP" in refused(text, with_key(key)).public


def test_verify_encrypted_but_unsigned_assertion_is_refused() -> None:
    """Whoever knows the public key can encrypt: that proves nothing."""
    key = rsa_key("theirs")
    refused(response().encrypted(None, key.public_key(), what="none"), with_key(key))


def test_verify_failures_of_decryption_are_not_told_apart() -> None:
    key = rsa_key("theirs")
    provider = with_key(key)
    good = base64.b64decode(response().encrypted(None, key.public_key())).decode()
    values = re.findall(r"<xenc:CipherValue>([^<]+)", good)
    spoilt = [good.replace(v, ("B" if v[0] == "A" else "A") + v[1:]) for v in values]
    spoilt += [good.replace(values[1], values[1][:at]) for at in (0, 4, 16, 32)]
    made = response()
    plain = [b"not xml", b"<a/>", b"", made.assertion().encode(), b"<!DOCTYPE a><a/>"]
    texts = {refused(encode(text), provider).public for text in spoilt if text != good}
    texts |= {
        refused(
            encode(made.wrap(f"<saml:EncryptedAssertion>{encrypt(p, key.public_key())}</saml:EncryptedAssertion>")),
            provider,
        ).public
        for p in plain
    }
    texts.add(refused(encode(good), with_key(rsa_key("other"))).public)
    texts.add(refused(encode(good), with_key(key, owner="ASPROTHER")).public)
    assert len(texts) == 1, texts


def test_verify_second_key_opens_what_the_first_does_not() -> None:
    first, second = with_key(rsa_key("theirs")), with_key(rsa_key("next"))
    both = replace(first, private_keys=(*first.private_keys, *second.private_keys))
    for name in ("theirs", "next"):
        assert verify(response().encrypted(None, rsa_key(name).public_key()), both).subject


def test_private_key_of_another_kind_is_refused() -> None:
    for bad in (pem(ec_key()), b"", b"-----BEGIN PRIVATE KEY-----\n-----END PRIVATE KEY-----", b"\xff"):
        with pytest.raises(ValueError):
            load_key(bad)
    SamlMetadata().check_private_key(pem(rsa_key()).decode())


def test_private_key_whose_numbers_do_not_fit_or_that_is_dear_to_use_is_refused(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    numbers = rsa_key().private_numbers()
    other = rsa_key("other").private_numbers()
    spoilt = rsa.RSAPrivateNumbers(
        numbers.p, numbers.q, other.d, numbers.dmp1, numbers.dmq1, numbers.iqmp, numbers.public_numbers
    ).private_key(unsafe_skip_rsa_key_validation=True)
    with pytest.raises(ValueError, match="numbers do not fit"):
        SamlMetadata().check_private_key(pem(spoilt).decode())
    for bound, limit in (("MIN_BITS", 2049), ("_LARGEST_OWN", 2047)):  # making such keys takes long
        with monkeypatch.context() as patched:
            patched.setattr(saml_metadata, bound, limit)
            with pytest.raises(ValueError, match="the private key is not RSA of"):
                SamlMetadata().check_private_key(pem(rsa_key()).decode())


def test_metadata_with_a_key_that_is_slow_to_use_is_refused() -> None:
    slow = Authority.make().host(key=SlowKey())
    text = metadata().replace(certificate_text(rsa_key()), slow.base64)
    with pytest.raises(ValueError, match="RSA key with a public exponent of 3070 bits"):
        SamlMetadata().read(text)


def test_loading_a_stored_key_takes_no_time_for_strangers_make_us_do_it() -> None:
    text = pem(rsa_key())

    def repeated(load: Callable[[bytes], object]) -> float:
        return least_cpu_seconds(lambda: [load(text) for _ in range(5)])

    checked = repeated(lambda given: load_pem_private_key(given, None))  # takes three times as long at least
    assert repeated(load_key) < 0.7 * checked


# --- Nothing unsigned is read ----------------------------------------------------------------------------------------

_BASES = {what: response().signed(what=what).encode() for what in ("assertion", "response", "both")}
_FACTS = {what: verify(encode(text)) for what, text in _BASES.items()}


@given(st.sampled_from(sorted(_BASES)), st.integers(0, 10_000), st.integers(0, 60), st.binary(max_size=40))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_verify_altered_response_is_refused_or_says_the_same(what: str, at: int, cut: int, put: bytes) -> None:
    text = _BASES[what]
    at %= len(text)
    try:
        facts = verify(encode(text[:at] + put + text[at + cut :]))
    except DaypassError:
        return
    assert facts == _FACTS[what]


@given(st.one_of(st.binary(max_size=300), st.text(max_size=300).map(lambda t: t.encode("utf-8", "surrogatepass"))))
@settings(max_examples=100, deadline=None)
def test_parse_anything_is_a_tree_or_refused(data: bytes) -> None:
    with suppress(BadXml):
        assert parse(b"<a>" + data + b"</a>").tag == "a"


@pytest.mark.parametrize("text", ["", "=", "A", "é", "AAAA" * 25_001, "\ud800", "PGE+", "PGE+\x00"])
def test_verify_text_that_is_no_base64_of_xml_is_refused(text: str) -> None:
    assert "not valid" in refused(text).public


# --- Metadata --------------------------------------------------------------------------------------------------------


def test_metadata_tells_entity_keys_and_address() -> None:
    view = read(metadata([rsa_key(), ec_key()], valid_until="2030-01-01T00:00:00.5Z"))
    assert view.entity_id == ISSUER
    assert [base64.b64encode(c).decode() for c in view.certificates] == [
        certificate_text(k) for k in (rsa_key(), ec_key())
    ]
    assert view.valid_until == read_time("2030-01-01T00:00:00Z") + 500
    assert view.sso_url == "https://idp.example.com/sso"


def test_metadata_of_a_federation_with_one_provider_is_taken() -> None:
    inner = metadata().removeprefix('<?xml version="1.0"?>')
    whole = f'<md:EntitiesDescriptor xmlns:md="urn:oasis:names:tc:SAML:2.0:metadata">{inner}</md:EntitiesDescriptor>'
    assert read(whole).entity_id == ISSUER
    with pytest.raises(BadXml, match="2 IDPSSODescriptor"):
        read(whole.replace("</md:EntitiesDescriptor>", f"{inner}</md:EntitiesDescriptor>"))


def _small() -> Any:
    from cryptography.hazmat.primitives.asymmetric import rsa

    return rsa.generate_private_key(65537, 1024)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        (lambda t: t.replace("EntityDescriptor", "Other"), "EntityDescriptor"),
        (lambda t: t.replace(ISSUER, ""), "entityID"),
        (lambda t: t.replace(ISSUER, "x" * 1025), "entityID"),
        (lambda t: t.replace("IDPSSODescriptor", "SPSSODescriptor"), "IDPSSODescriptor"),
        (lambda t: t.replace("SAML:2.0:protocol", "SAML:1.1:protocol"), "IDPSSODescriptor"),
        (lambda t: t.replace('use="signing"', 'use="encryption"'), "X509Certificate"),
        (lambda t: re.sub(r"X509Certificate>[^<]*", "X509Certificate>AAAA", t), "cannot be read"),
        (lambda t: re.sub(r"X509Certificate>[^<]*", "X509Certificate>%%", t), "base64"),
        (lambda t: t.replace("entityID", 'validUntil="tomorrow" entityID'), "time"),
        (lambda t: "<!DOCTYPE a>" + t.removeprefix('<?xml version="1.0"?>'), "document type"),
        (lambda _: "not xml", "well-formed"),
        (lambda _: "\ud800", "UTF-8"),
        (lambda _: metadata([_small()]), "2048"),
        (lambda _: metadata([ec_key(f"k{n}") for n in range(11)]), "more than 10"),
    ],
)
def test_metadata_of_no_use_says_why(change: Any, told: str) -> None:
    with pytest.raises(ValueError, match=told):
        SamlMetadata().read(change(metadata()))


@pytest.mark.parametrize(
    "text",
    [
        "2026-01-31T12:00:00",
        "2026-01-31T12:00:00+00:00",
        "2026-01-31 12:00:00Z",
        "2026-02-30T12:00:00Z",
        "2026-01-31T12:00:60Z",
        "0000-01-31T12:00:00Z",
        "2026-01-31T2:00:000Z",
        "Z",
        "",
        "２026-01-31T12:00:00Z",
        "2026-01-31T12:00:00.Z",
        "2026-01-31T12:00:00.-1Z",
        "2026-01-31T12:00:00Z\n",
    ],
)
def test_time_of_another_form_is_refused(text: str) -> None:
    with pytest.raises(BadXml):
        read_time(text)


def test_own_metadata_is_read_by_its_own_standard() -> None:
    provider = with_key(rsa_key("theirs"))
    text = asyncio.run(SP.metadata(provider))
    root = parse(text, metadata=True)
    md = "{urn:oasis:names:tc:SAML:2.0:metadata}"
    assert root.get("entityID") == f"{BASE}/saml/metadata"
    assert root.find(f"{md}SPSSODescriptor").get("WantAssertionsSigned") == "true"
    assert root.find(f".//{md}AssertionConsumerService").get("Location") == f"{BASE}/saml/acs/111122223333/idp"
    assert text == asyncio.run(SP.metadata(provider))
    assert b"X509Certificate" not in asyncio.run(SP.metadata())
    assert saml_metadata.write(saml_metadata.OwnMetadata('"<&', "'>")).decode().count("&lt;") == 1
