"""Attestation of passkeys (A79): packed, with a chain as WebAuthn 8.2 describes it, and every chain that proves nothing."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from tests.attack.installation import Installation
from tests.authenticator import Authenticator
from tests.browser import Browser, forms, text
from tests.passkeys import DEVICES, new_passkey, registered, sign_in_with
from tests.sign_in import signed_in, site_with_pages, user

MODEL, OTHER_MODEL = UUID("11111111-2222-3333-4444-555555555555"), UUID("99999999-2222-3333-4444-555555555555")
NOW = datetime.now(UTC)
_AAGUID = x509.ObjectIdentifier("1.3.6.1.4.1.45724.1.1.4")


@dataclass
class Certified:
    """A certificate with its key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


def name(common: str, unit: str) -> x509.Name:
    values = {
        NameOID.COUNTRY_NAME: "SE",
        NameOID.ORGANIZATION_NAME: "Makers",
        NameOID.ORGANIZATIONAL_UNIT_NAME: unit,
        NameOID.COMMON_NAME: common,
    }
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in values.items()])


def issue(
    common: str,
    issuer: Certified | None = None,
    *,
    unit: str = "Authority",
    ca: bool = True,
    length: int | None = None,
    days: int = 365,
    model: UUID | None = None,
) -> Certified:
    """A certificate by `issuer`; None: by itself."""
    key, subject = ec.generate_private_key(ec.SECP256R1()), name(common, unit)
    by = issuer if issuer is not None else Certified(None, key)  # type: ignore[arg-type]
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer is not None else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(NOW - timedelta(days=400))
        .not_valid_after(NOW + timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=ca, path_length=length), critical=True)
    )
    if model is not None:
        builder = builder.add_extension(x509.UnrecognizedExtension(_AAGUID, b"\x04\x10" + model.bytes), critical=False)
    return Certified(builder.sign(by.key, hashes.SHA256()), key)


def leaf(issuer: Certified, **changes: Any) -> Certified:
    """The certificate of a batch of authenticators (8.2.1)."""
    return issue("Batch 7", issuer, **{"unit": "Authenticator Attestation", "ca": False, "model": MODEL, **changes})


class Packed:
    """Makes statements of the format "packed" with a chain; without one by the passkey's own key."""

    def __init__(self, key: ec.EllipticCurvePrivateKey, chain: Sequence[Certified]) -> None:
        self.key, self.chain = key, [each.der for each in chain]

    def __call__(self, data: bytes, client_hash: bytes) -> tuple[str, dict[str, Any]]:
        signature = self.key.sign(data + client_hash, ec.ECDSA(hashes.SHA256()))
        statement: dict[str, Any] = {"alg": -7, "sig": signature}
        return "packed", {**statement, "x5c": self.chain} if self.chain else statement


ROOT = issue("Root")
INTERMEDIATE = issue("Intermediate", ROOT, length=0)
OLD_ROOT = issue("Root")  # of the same name, as a maker renews its root
BATCH = leaf(INTERMEDIATE)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    folder: Path = tmp_path_factory.mktemp("attested")
    roots = folder / "roots.pem"
    roots.write_bytes(b"".join(each.certificate.public_bytes(Encoding.PEM) for each in (OLD_ROOT, ROOT)))
    policy = {"passkey_roots": str(roots), "passkey_models": [str(MODEL)]}
    with site_with_pages(folder / "data", sign_in=policy) as made:
        yield made


def attested(key: ec.EllipticCurvePrivateKey, *chain: Certified, model: UUID = MODEL) -> dict[str, Any]:
    return {"aaguid": model.bytes, "attest": Packed(key, chain)}


@pytest.mark.parametrize("chain", [(BATCH, INTERMEDIATE), (BATCH, INTERMEDIATE, ROOT), (leaf(ROOT),)], ids=len)
def test_register_an_allowed_model_with_a_chain_to_a_root_and_sign_in(
    site: Installation, chain: tuple[Certified, ...]
) -> None:
    person = user(site)
    browser = signed_in(site, person)
    assert '"attestation":"direct"' in forms(browser.get(DEVICES))[f"{DEVICES}/add"].options
    authenticator = registered(site, browser, **attested(chain[0].key, *chain))
    assert sign_in_with(Browser(site), authenticator).status == 303


def refused_as(site: Installation, authenticator: Authenticator) -> str:
    """Why the registration was refused, as the record says; the page says only that it was."""
    browser = signed_in(site, user(site))
    page = browser.get(DEVICES)
    form = forms(page)[f"{DEVICES}/add"]
    answer = browser.submit(page, f"{DEVICES}/add", name="key", response=authenticator.register(form.options))
    assert answer.status == 403, text(answer)
    assert "You have none." in text(browser.get(DEVICES))
    (record,) = [each for each in site.records(answer.request_id) if each.get("error")]
    reason = str(record["detail"]["private"]["passkey"])
    assert reason not in text(answer)
    return reason


STRANGER = issue("Root")
FORGED = leaf(BATCH)
DEEP = issue("Below", INTERMEDIATE)
REFUSED = {
    "no attestation": ({"aaguid": MODEL.bytes}, "not supported"),
    "root of a stranger": (attested((stray := leaf(STRANGER)).key, stray), "No root found"),
    "root in the chain": (attested(stray.key, stray, STRANGER), "No root found"),
    "other model": (attested(BATCH.key, BATCH, INTERMEDIATE, model=OTHER_MODEL), "does not match"),
    "other model, own certificate": (
        attested((other := leaf(INTERMEDIATE, model=OTHER_MODEL)).key, other, INTERMEDIATE, model=OTHER_MODEL),
        "is not allowed",
    ),
    "signed by another key": (attested(FORGED.key, BATCH, INTERMEDIATE), "InvalidSignature"),
    "without the intermediate": (attested(BATCH.key, BATCH), "No root found"),
    "issued by an authenticator": (attested(FORGED.key, FORGED, BATCH, INTERMEDIATE), "not issued by a CA"),
    "chain too long": (attested((low := leaf(DEEP)).key, low, DEEP, INTERMEDIATE), "not issued by a CA"),
    "expired": (attested((old := leaf(INTERMEDIATE, days=-1)).key, old, INTERMEDIATE), "not valid now"),
    "expired intermediate": (
        attested((child := leaf(gone := issue("Gone", ROOT, days=-1))).key, child, gone),
        "not valid now",
    ),
    "a CA as authenticator": (attested((ca := leaf(INTERMEDIATE, ca=True)).key, ca, INTERMEDIATE), "CA"),
    "wrong unit": (attested((unit := leaf(INTERMEDIATE, unit="Sales")).key, unit, INTERMEDIATE), "OU"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_a79_attestation_that_does_not_prove_the_model_is_refused(site: Installation, case: str) -> None:
    changes, reason = REFUSED[case]
    assert reason in refused_as(site, new_passkey(**changes))


def test_a79_attestation_by_the_passkey_itself_is_refused(site: Installation) -> None:
    authenticator = new_passkey(aaguid=MODEL.bytes)
    authenticator.attest = Packed(authenticator.key, ())
    assert "No root found" in refused_as(site, authenticator)


def test_a79_statement_for_another_challenge_is_refused(site: Installation) -> None:
    packed = Packed(BATCH.key, (BATCH, INTERMEDIATE))
    authenticator = new_passkey(aaguid=MODEL.bytes, attest=lambda data, _: packed(data, hashlib.sha256(b"x").digest()))
    assert "InvalidSignature" in refused_as(site, authenticator)


@pytest.mark.parametrize(
    "statement", [{}, {"alg": -7}, {"alg": -7, "sig": b"", "x5c": [b""]}, {"x5c": "x"}, {"x5c": [1]}]
)
def test_a79_statement_that_is_not_well_formed_is_refused(site: Installation, statement: dict[str, Any]) -> None:
    authenticator = new_passkey(aaguid=MODEL.bytes, attest=lambda *_: ("packed", statement))
    assert json.dumps(refused_as(site, authenticator))
