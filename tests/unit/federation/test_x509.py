"""Paths to a trust anchor: which certificates are believed, what they say, and which CRLs are obeyed."""

from __future__ import annotations

import asyncio
import ipaddress
import threading
from datetime import timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import ExtendedKeyUsageOID
from tests.x509 import NOW, Authority, Holder, SlowKey, certify, ec_key, key_usage, name

from daypass.domain.arn import Source
from daypass.domain.jws import CertificateRefused, VerifiedCertificate
from daypass.federation import x509 as x509_module
from daypass.federation.x509 import MAX_CHAIN, X509Verifier

MS = int(NOW.timestamp() * 1000)
DAY = 86_400_000
ROOT = Authority.make()
MIDDLE = Authority.make("CN=plant issuing", ROOT)
VERIFIER = X509Verifier()
SOURCE = Source("198.51.100.1")
LEAF_ONLY = ((x509.BasicConstraints(ca=False, path_length=None), True),)


def verify(
    holder: Holder, *chain: Holder, anchor: str = ROOT.pem, crls: tuple[bytes, ...] = (), now: int = MS
) -> VerifiedCertificate:
    return asyncio.run(VERIFIER.verify(SOURCE, anchor, crls, holder.der, [other.der for other in chain], now))


def check_signature(der: bytes, algorithm: str, signature: bytes, message: bytes) -> None:
    serial = x509.load_der_x509_certificate(der).serial_number
    asyncio.run(VERIFIER.check_signature(SOURCE, der, serial, algorithm, signature, message))


def refused(match: str, holder: Holder, *chain: Holder, **more: Any) -> None:
    with pytest.raises(CertificateRefused, match=match):
        verify(holder, *chain, **more)


def test_verify_host_of_the_anchor_says_who_it_is() -> None:
    host = ROOT.host(
        "C=DE/O=Acme, Inc./OU=Line 1/OU=Line 2/CN=host-1",
        serial=0x0ABC,
        sans=[
            x509.DNSName("host-1.acme.example"),
            x509.DNSName("second.acme.example"),
            x509.UniformResourceIdentifier("spiffe://acme.example/line/1"),
            x509.DirectoryName(name("O=Acme/CN=other")),
            x509.IPAddress(ipaddress.ip_address("192.0.2.1")),
        ],
    )
    said = verify(host)
    assert said.session_name == "abc"
    assert said.subject == "CN=host-1,OU=Line 2,OU=Line 1,O=Acme\\, Inc.,C=DE"
    assert said.issuer == "CN=plant root"
    assert said.subject_fields == (
        ("C", "DE"),
        ("O", "Acme, Inc."),
        ("OU", "Line 1"),
        ("OU", "Line 2"),
        ("CN", "host-1"),
    )
    assert said.sans == (
        ("DNS", "host-1.acme.example"),
        ("DNS", "second.acme.example"),
        ("URI", "spiffe://acme.example/line/1"),
        ("Name/O", "Acme"),
        ("Name/CN", "other"),
    )
    assert said.not_after == MS + 29 * DAY
    assert said.pem == host.pem


def test_verify_spiffe_svid_without_a_subject_is_its_uri() -> None:
    svid = ROOT.host("", sans=[x509.UniformResourceIdentifier("spiffe://acme.example/web")])
    said = verify(svid)
    assert (said.subject, said.sans, said.source_identity) == ("", (("URI", "spiffe://acme.example/web"),), "")


def test_verify_svid_with_several_uris_is_refused() -> None:
    uris = [x509.UniformResourceIdentifier(f"{scheme}://acme.example/web") for scheme in ("https", "spiffe")]
    refused("SVID", ROOT.host("", sans=uris))
    refused("SVID", ROOT.host("CN=x", sans=[uris[1], x509.UniformResourceIdentifier("SPIFFE://acme.example/db")]))
    assert verify(ROOT.host(sans=[uris[0], uris[0]])).sans[0][0] == "URI"


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 2048),
        ec.generate_private_key(ec.SECP384R1()),
        ec.generate_private_key(ec.SECP521R1()),
    ],
    ids=["rsa2048", "p384", "p521"],
)
def test_verify_strong_keys_are_believed_and_their_signatures_checked(key: Any) -> None:
    host = ROOT.host(key=key)
    verify(host)
    kind = "RSA" if isinstance(key, rsa.RSAPrivateKey) else "ECDSA"
    signature = host.signed(b"message")
    check_signature(host.der, kind, signature, b"message")
    for other in ((kind, signature, b"massage"), (kind, signature[:-1], b"message"), (kind, b"", b"message")):
        with pytest.raises(CertificateRefused):
            check_signature(host.der, *other)
    with pytest.raises(CertificateRefused, match="algorithm"):
        check_signature(host.der, "ECDSA" if kind == "RSA" else "RSA", signature, b"message")


@pytest.mark.parametrize(
    "key",
    [
        rsa.generate_private_key(65537, 1024),
        ec.generate_private_key(ec.SECP256K1()),
        ed25519.Ed25519PrivateKey.generate(),
    ],
    ids=["rsa1024", "secp256k1", "ed25519"],
)
def test_verify_weak_or_strange_keys_are_refused(key: Any) -> None:
    refused("RSA key", ROOT.host(key=key))


def test_verify_key_with_a_long_exponent_is_refused_before_it_verifies_anything() -> None:
    slow: Any = SlowKey()
    middle = Authority.make("CN=slow", ROOT, key=slow)
    leaf = Holder(ec_key(), certify("CN=host", ec_key(), (ec_key(), name("CN=slow")), LEAF_ONLY))
    for holder, chain in ((ROOT.host(key=slow), ()), (leaf, (middle,)), (ROOT.host(), (middle,))):
        refused("RSA key with a public exponent of 3070 bits", holder, *chain)
    with pytest.raises(CertificateRefused, match="public exponent"):
        VERIFIER.check_anchors(middle.pem)
    with pytest.raises(CertificateRefused, match="public exponent"):
        check_signature(middle.der, "RSA", b"x" * 384, b"message")


def test_check_signature_other_serial_is_refused() -> None:
    host = ROOT.host(serial=7)
    with pytest.raises(CertificateRefused, match="serial"):
        asyncio.run(VERIFIER.check_signature(SOURCE, host.der, 8, "ECDSA", host.signed(b"message"), b"message"))


def test_verify_works_on_another_thread_in_turns_by_source(monkeypatch: pytest.MonkeyPatch) -> None:
    all_asked, verified = threading.Event(), []

    def observed(path: tuple[x509.Certificate, ...]) -> VerifiedCertificate:
        all_asked.wait(60)
        verified.append((path[0].serial_number, threading.current_thread() is threading.main_thread()))
        return facts(path)

    facts = x509_module._facts
    monkeypatch.setattr(x509_module, "_facts", observed)
    sources = ["198.51.100.1"] * 5 + ["203.0.113.9"]

    async def ask() -> None:
        hosts = [(ROOT.host(serial=number + 1), source) for number, source in enumerate(sources)]
        asked = [
            asyncio.ensure_future(VERIFIER.verify(Source(ip), ROOT.pem, (), host.der, (), MS)) for host, ip in hosts
        ]
        await asyncio.sleep(0)
        all_asked.set()
        await asyncio.gather(*asked)

    asyncio.run(ask())
    assert [serial for serial, _ in verified].index(6) <= 2
    assert not any(main for _, main in verified)


def test_verify_chain_in_any_order_ends_with_the_first_expiry() -> None:
    short = Authority.make("CN=short", MIDDLE, days=3)
    host = short.host()
    assert verify(host, short, MIDDLE).not_after == verify(host, MIDDLE, short, ROOT).not_after == MS + 2 * DAY
    assert verify(host, short, anchor=MIDDLE.pem).not_after == MS + 2 * DAY  # an intermediate may be the anchor


def test_verify_chain_that_is_not_whole_or_too_long_is_refused() -> None:
    issuers = [ROOT]
    for level in range(MAX_CHAIN + 1):
        issuers.append(Authority.make(f"CN=level {level}", issuers[-1]))
    verify(issuers[MAX_CHAIN].host(), *issuers[1 : MAX_CHAIN + 1])
    refused("no valid path", issuers[2].host(), issuers[2])
    refused("more than 5", issuers[-1].host(), *issuers[1:])
    refused("no valid path", issuers[-1].host(), *issuers[2:])


def test_verify_chain_that_makes_paths_multiply_costs_nothing() -> None:
    key = ec.generate_private_key(ec.SECP521R1())
    twins = [Authority.make("CN=twin", key=key) for _ in range(MAX_CHAIN)]
    refused("same subject", twins[0].host(), *twins)
    verify(MIDDLE.host(), MIDDLE, MIDDLE, ROOT, ROOT)  # the same one again is not a twin


def test_verify_expired_intermediate_or_anchor_is_refused() -> None:
    host = Authority.make("CN=plant issuing", ROOT, days=2).host(days=90)
    refused("no valid path", host, Authority.make("CN=plant issuing", ROOT, days=2), now=MS + 5 * DAY)
    old = Authority.make(start=-10, days=5)
    refused("no valid path", old.host(), anchor=old.pem)


@pytest.mark.parametrize(
    "extensions",
    [
        ((x509.BasicConstraints(ca=True, path_length=None), True), (key_usage("digital_signature"), True)),
        LEAF_ONLY,
        (*LEAF_ONLY, (key_usage("key_encipherment"), True)),
        (*LEAF_ONLY, (key_usage("digital_signature", "key_cert_sign"), True)),
        (
            *LEAF_ONLY,
            (key_usage("digital_signature"), True),
            (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False),
        ),
        (
            *LEAF_ONLY,
            (key_usage("digital_signature"), True),
            (x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"), True),
        ),
    ],
    ids=["ca", "no key usage", "not for signing", "signs certificates", "for servers", "unknown critical"],
)
def test_verify_end_entity_of_the_wrong_kind_is_refused(extensions: Any) -> None:
    refused("no valid path", ROOT.host(extensions=extensions))


def test_verify_client_authentication_is_believed() -> None:
    usage = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), True)
    verify(ROOT.host(extensions=((key_usage("digital_signature"), True), usage)))


def test_verify_issuers_that_may_not_issue_are_refused() -> None:
    host = ROOT.host()
    refused("no valid path", Authority(host.key, host.certificate).host("CN=x"), host)
    closed = Authority.make("CN=closed", ROOT, length=0)
    refused("no valid path", Authority.make("CN=below", closed).host(), Authority.make("CN=below", closed), closed)
    bare = Authority.make("CN=bare", ROOT, extensions=((x509.BasicConstraints(ca=True, path_length=None), True),))
    refused("no valid path", bare.host(), bare)
    server = (x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), False)
    other = Authority.make("CN=web", ROOT, also=(server,))
    refused("no valid path", other.host(), other)


def test_verify_path_length_is_kept() -> None:
    closed = Authority.make("CN=closed", length=0)
    below = Authority.make("CN=below", closed)
    verify(closed.host(), anchor=closed.pem)
    refused("no valid path", below.host(), below, anchor=closed.pem)


@pytest.mark.parametrize("permitted", [True, False])
def test_verify_name_constraints_are_kept(*, permitted: bool) -> None:
    subtree = [x509.DNSName("acme.example")]
    constraint = x509.NameConstraints(subtree if permitted else None, None if permitted else subtree)
    issuer = Authority.make("CN=constrained", ROOT, also=((constraint, True),))
    inside = issuer.host(sans=[x509.DNSName("a.acme.example")])
    outside = issuer.host(sans=[x509.DNSName("a.other.example")])
    good, bad = (inside, outside) if permitted else (outside, inside)
    verify(good, issuer)
    refused("no valid path", bad, issuer)
    anchored = Authority.make("CN=constrained", also=((constraint, True),))
    refused("no valid path", anchored.host(sans=bad_names(bad)), anchor=anchored.pem)


def bad_names(holder: Holder) -> list[x509.GeneralName]:
    return list(holder.certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value)


@pytest.mark.parametrize("critical", [True, False])
@pytest.mark.parametrize(
    "subtree", [x509.DirectoryName(name("O=Acme")), x509.UniformResourceIdentifier("acme.example")]
)
def test_verify_name_constraints_that_cannot_be_kept_are_refused(subtree: x509.GeneralName, *, critical: bool) -> None:
    issuer = Authority.make("CN=constrained", ROOT, also=((x509.NameConstraints([subtree], None), critical),))
    refused("no valid path", issuer.host(sans=[x509.UniformResourceIdentifier("spiffe://other.example/x")]), issuer)


def test_verify_anchor_itself_and_its_twin_are_refused() -> None:
    refused("no valid path", ROOT)
    host = ROOT.host()
    refused("anchor itself", host, anchor=host.pem)


@pytest.mark.parametrize(
    "der", [b"", b"\x30", b"x" * 100, ROOT.host().der + b"\0", b"\x30\x82\xff\xff" + b"\0" * 20_000]
)
def test_verify_what_is_no_certificate_is_refused(der: bytes) -> None:
    with pytest.raises(CertificateRefused):
        asyncio.run(VERIFIER.verify(SOURCE, ROOT.pem, (), der, (), MS))
    with pytest.raises(CertificateRefused):
        asyncio.run(VERIFIER.verify(SOURCE, ROOT.pem, (), ROOT.host().der, (der,), MS))
    with pytest.raises(CertificateRefused):
        asyncio.run(VERIFIER.check_signature(SOURCE, der, 1, "ECDSA", b"x", b"message"))


# --- Revocation ------------------------------------------------------------------------------------------------------


def test_verify_revoked_intermediate_is_refused() -> None:
    crl = ROOT.crl(MIDDLE.certificate.serial_number)
    refused("is revoked", MIDDLE.host(), MIDDLE, crls=(crl,))


def test_verify_crl_of_an_intermediate_covers_its_own_certificates() -> None:
    gone = MIDDLE.host()
    serial = gone.certificate.serial_number
    refused("is revoked", gone, MIDDLE, crls=(ROOT.crl(), MIDDLE.crl(serial)))
    verify(gone, MIDDLE, crls=(ROOT.crl(serial),))  # another issuer's number


@pytest.mark.parametrize(("start", "days"), [(-10.0, 5.0), (1.0, 5.0)])
def test_verify_crl_that_is_not_in_force_stops_its_issuer_and_still_revokes(start: float, days: float) -> None:
    gone = ROOT.host()
    crl = ROOT.crl(gone.certificate.serial_number, start=start, days=days)
    refused("not in force", ROOT.host("CN=host-2"), crls=(crl,))
    refused("is revoked", gone, crls=(crl,))
    verify(MIDDLE.host(), MIDDLE, anchor=MIDDLE.pem, crls=(crl,))  # it is not about this path


def partition(number: int) -> tuple[x509.ExtensionType, bool]:
    place = [x509.UniformResourceIdentifier(f"http://acme.example/crl/{number}")]
    return x509.IssuingDistributionPoint(place, None, False, False, None, False, False), True


def test_verify_expired_crl_counts_no_more_where_a_newer_one_is_in_force_but_still_revokes() -> None:
    gone, host = ROOT.host(), ROOT.host("CN=host-2")
    old = ROOT.crl(gone.certificate.serial_number, start=-10, days=5)
    verify(host, crls=(old, ROOT.crl()))
    refused("is revoked", gone, crls=(old, ROOT.crl()))
    parts = ROOT.crl(also=(partition(1),)), ROOT.crl(start=-10, days=5, also=(partition(2),))
    refused("not in force", host, crls=parts)
    verify(host, crls=(*parts, ROOT.crl(also=(partition(2),))))


def test_verify_forged_crl_revokes_nobody() -> None:
    host = ROOT.host()
    verify(host, crls=(Authority.make().crl(host.certificate.serial_number),))


def test_check_crl_takes_the_anchors_own_lists_alone() -> None:
    VERIFIER.check_crl(ROOT.crl(1, 2), ROOT.pem)
    for crl in (Authority.make().crl(), MIDDLE.crl()):
        with pytest.raises(CertificateRefused, match="not signed"):
            VERIFIER.check_crl(crl, ROOT.pem)
    point = x509.IssuingDistributionPoint(
        full_name=[x509.UniformResourceIdentifier("http://acme.example/crl")],
        relative_name=None,
        only_contains_user_certs=False,
        only_contains_ca_certs=False,
        only_some_reasons=None,
        indirect_crl=False,
        only_contains_attribute_certs=False,
    )
    VERIFIER.check_crl(ROOT.crl(also=((point, True), (x509.CRLNumber(7), False))), ROOT.pem)


@pytest.mark.parametrize(
    "extension",
    [
        x509.DeltaCRLIndicator(1),
        x509.UnrecognizedExtension(x509.ObjectIdentifier("1.2.3.4"), b"\x05\x00"),
        x509.IssuingDistributionPoint(
            None, None, False, False, frozenset({x509.ReasonFlags.key_compromise}), False, False
        ),
        x509.IssuingDistributionPoint(None, None, False, False, None, True, False),
    ],
    ids=["delta", "unknown critical", "some reasons", "indirect"],
)
def test_check_crl_that_is_only_half_understood_is_refused(extension: x509.ExtensionType) -> None:
    with pytest.raises(CertificateRefused):
        VERIFIER.check_crl(ROOT.crl(also=((extension, True),)), ROOT.pem)


@pytest.mark.parametrize(
    "data", [b"", b"-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n", b"\xff" * 10, b"x" * 300_001]
)
def test_check_crl_of_what_is_none_is_refused(data: bytes) -> None:
    with pytest.raises(CertificateRefused):
        VERIFIER.check_crl(data, ROOT.pem)


# --- Anchors ---------------------------------------------------------------------------------------------------------


def test_check_anchors_takes_ca_certificates_alone() -> None:
    VERIFIER.check_anchors(ROOT.pem + MIDDLE.pem)
    small = Authority.make(key=rsa.generate_private_key(65537, 1024))
    bare = Authority.make(extensions=((x509.BasicConstraints(ca=True, path_length=None), True),))
    for pem in (ROOT.host().pem, ROOT.pem + ROOT.host().pem, bare.pem, small.pem, "", "x", "Größe", ROOT.pem * 21):
        with pytest.raises(CertificateRefused):
            VERIFIER.check_anchors(pem)


def test_verify_anchor_of_several_certificates_believes_each() -> None:
    second = Authority.make("CN=second root")
    both = ROOT.pem + second.pem
    assert verify(second.host(), anchor=both).issuer == "CN=second root"
    assert verify(ROOT.host(), anchor=both).not_after - MS == timedelta(days=29) // timedelta(milliseconds=1)
