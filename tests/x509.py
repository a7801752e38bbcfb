"""Throwaway authorities, hosts with certificates, and requests signed with their keys: by the book, none of the product's code."""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

Key: TypeAlias = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey
Extensions: TypeAlias = Sequence[tuple[x509.ExtensionType, bool]]

NOW = datetime.fromtimestamp(1_800_000_000, UTC)  # when installations under attack begin
_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)
_ATTRIBUTES = {
    "CN": NameOID.COMMON_NAME,
    "O": NameOID.ORGANIZATION_NAME,
    "OU": NameOID.ORGANIZATIONAL_UNIT_NAME,
    "C": NameOID.COUNTRY_NAME,
    "E": NameOID.EMAIL_ADDRESS,
}


def name(text: str) -> x509.Name:
    """`O=Acme/OU=Ops/CN=host`, in that order; "" is the empty name."""
    pairs = [part.split("=", 1) for part in text.split("/") if part]
    return x509.Name([x509.NameAttribute(_ATTRIBUTES[key], value) for key, value in pairs])


def key_usage(*uses: str) -> x509.KeyUsage:
    return x509.KeyUsage(**dict.fromkeys(_USES, False) | dict.fromkeys(uses, True))


class SlowKey:
    """Nobody's RSA key, with an exponent of nearly as many bits as the modulus: checking a signature takes 18 ms."""

    def public_key(self) -> rsa.RSAPublicKey:
        return rsa.RSAPublicNumbers((1 << 3069) + 1, (1 << 3071) + 1).public_key()


def ec_key() -> Key:
    return ec.generate_private_key(ec.SECP256R1())


@dataclass(frozen=True)
class Holder:
    """Whoever has a certificate and its key."""

    key: Key
    certificate: x509.Certificate

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)

    @property
    def pem(self) -> str:
        return self.certificate.public_bytes(Encoding.PEM).decode()

    @property
    def base64(self) -> str:
        return base64.b64encode(self.der).decode()

    def signed(self, message: bytes) -> bytes:
        if isinstance(self.key, rsa.RSAPrivateKey):
            return self.key.sign(message, padding.PKCS1v15(), hashes.SHA256())
        return self.key.sign(message, ec.ECDSA(hashes.SHA256()))


class Authority(Holder):
    """A CA: a root, or one that `issuer` vouches for."""

    @classmethod
    def make(
        cls, subject: str = "CN=plant root", issuer: Authority | None = None, *, length: int | None = None, **more: Any
    ) -> Authority:
        key = more.pop("key", None) or ec_key()
        extensions: Extensions = more.pop("extensions", ()) or (
            (x509.BasicConstraints(ca=True, path_length=length), True),
            (key_usage("key_cert_sign", "crl_sign"), True),
        )
        extensions = (*extensions, *more.pop("also", ()))
        signer = (issuer.key, issuer.certificate.subject) if issuer else (key, name(subject))
        return cls(key, certify(subject, key, signer, extensions, **more))

    def host(self, subject: str = "O=Acme/CN=host-1", **more: Any) -> Holder:
        """An end-entity certificate; `sans`, `extensions` (in place of the usual ones), `also`, `key`, `days`."""
        key = more.pop("key", None) or ec_key()
        extensions: Extensions = more.pop("extensions", None) or (
            (x509.BasicConstraints(ca=False, path_length=None), True),
            (key_usage("digital_signature"), True),
        )
        sans = more.pop("sans", ())
        extensions = (*extensions, *more.pop("also", ()))
        if sans:
            extensions = (*extensions, (x509.SubjectAlternativeName(list(sans)), False))
        return Holder(key, certify(subject, key, (self.key, self.certificate.subject), extensions, **more))

    def crl(
        self, *serials: int, start: float = -1.0, days: float = 7.0, also: Extensions = (), at: datetime = NOW
    ) -> bytes:
        """A list of these serial numbers, in force from `start` days from now for `days`."""
        builder = (
            x509.CertificateRevocationListBuilder()
            .issuer_name(self.certificate.subject)
            .last_update(at + timedelta(days=start))
            .next_update(at + timedelta(days=start + days))
        )
        for serial in serials:
            revoked = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(at - timedelta(days=1))
            builder = builder.add_revoked_certificate(revoked.build())
        for extension, critical in also:
            builder = builder.add_extension(extension, critical)
        return builder.sign(self.key, hashes.SHA256()).public_bytes(Encoding.PEM)


def certify(
    subject: str,
    key: Key,
    signer: tuple[Key, x509.Name],
    extensions: Extensions,
    *,
    start: float = -1.0,
    days: float = 30.0,
    serial: int = 0,
    at: datetime = NOW,
    digest: hashes.SHA256 | hashes.SHA384 | hashes.SHA512 | None = None,
) -> x509.Certificate:
    builder = (
        x509.CertificateBuilder()
        .subject_name(name(subject))
        .issuer_name(signer[1])
        .public_key(key.public_key())
        .serial_number(serial or x509.random_serial_number())
        .not_valid_before(at + timedelta(days=start))
        .not_valid_after(at + timedelta(days=start + days))
    )
    for extension, critical in extensions:
        builder = builder.add_extension(extension, critical=critical)
    return builder.sign(signer[0], digest or hashes.SHA256())


def sign(
    holder: Holder,
    body: bytes,
    now: int,
    *,
    chain: Sequence[Holder] = (),
    host: str = "daypass.test",
    region: str = "eu-central-1",
    query: str = "",
    extra: Mapping[str, str] | None = None,
    **changed: str,
) -> list[tuple[bytes, bytes]]:
    """The headers of CreateSession, signed at `now` (ms). `changed`: serial, service, algorithm, certificate, names; `extra` headers are signed too."""
    stamp = datetime.fromtimestamp(now // 1000, UTC).strftime("%Y%m%dT%H%M%SZ")
    headers = {
        "content-type": "application/json",
        "host": host,
        "x-amz-date": stamp,
        "x-amz-x509": changed.get("certificate", holder.base64),
        **(extra or {}),
    }
    if chain:
        headers["x-amz-x509-chain"] = ",".join(other.base64 for other in chain)
    names = changed.get("names", ";".join(sorted(headers)))
    lines = "".join(f"{header}:{headers[header]}\n" for header in names.split(";"))
    canonical = f"POST\n/sessions\n{query}\n{lines}\n{names}\n{hashlib.sha256(body).hexdigest()}"
    kind = "RSA" if isinstance(holder.key, rsa.RSAPrivateKey) else "ECDSA"
    algorithm = changed.get("algorithm", f"AWS4-X509-{kind}-SHA256")
    scope = f"{stamp[:8]}/{region}/{changed.get('service', 'rolesanywhere')}/aws4_request"
    message = f"{algorithm}\n{stamp}\n{scope}\n{hashlib.sha256(canonical.encode()).hexdigest()}"
    serial = changed.get("serial", str(holder.certificate.serial_number))
    headers["authorization"] = (
        f"{algorithm} Credential={serial}/{scope}, SignedHeaders={names}, "
        f"Signature={holder.signed(message.encode()).hex()}"
    )
    return [(key.encode(), value.encode()) for key, value in headers.items()]


def body(arns: Mapping[str, str], **more: Any) -> bytes:
    """A request for these ARNs (profile, role, anchor)."""
    asked = {"profileArn": arns["profile"], "roleArn": arns["role"], "trustAnchorArn": arns["anchor"], **more}
    return json.dumps({key: value for key, value in asked.items() if value is not None}).encode()
