"""A throwaway certification authority, with a server's certificate, a client's, and one of a stranger."""

from __future__ import annotations

import ipaddress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

_DAY = timedelta(days=1)
_KEY_USES = (
    *("digital_signature", "content_commitment", "key_encipherment", "data_encipherment", "key_agreement"),
    *("key_cert_sign", "crl_sign", "encipher_only", "decipher_only"),
)


class Pki:
    """PEM files in `folder`. The foreign certificate has the client's name, from an authority that nobody trusts."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        key, authority = _authority()
        self.ca = self._write("ca.pem", authority.public_bytes(Encoding.PEM))
        self.server_cert, self.server_key = self._issue("server", "127.0.0.1", key, authority)
        self.client_cert, self.client_key = self._issue("client", "client", key, authority)
        self.foreign_cert, self.foreign_key = self._issue("foreign", "client", *_authority())

    def _write(self, name: str, data: bytes) -> Path:
        file = self._folder / name
        file.write_bytes(data)
        return file

    def _issue(
        self, file: str, name: str, ca_key: ec.EllipticCurvePrivateKey, ca: x509.Certificate
    ) -> tuple[Path, Path]:
        key = ec.generate_private_key(ec.SECP256R1())
        builder = _builder(name, ca.subject, key).add_extension(
            x509.AuthorityKeyIdentifier.from_issuer_public_key(ca_key.public_key()), critical=False
        )
        if name[0].isdigit():
            address = x509.IPAddress(ipaddress.ip_address(name))
            builder = builder.add_extension(x509.SubjectAlternativeName([address]), critical=False)
        made = builder.sign(ca_key, hashes.SHA256())
        pem = key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        return self._write(f"{file}.pem", made.public_bytes(Encoding.PEM)), self._write(f"{file}.key", pem)


def _authority() -> tuple[ec.EllipticCurvePrivateKey, x509.Certificate]:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "throwaway authority")])
    builder = _builder("throwaway authority", name, key)
    builder = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
    uses = dict.fromkeys(_KEY_USES, False) | {"key_cert_sign": True}
    builder = builder.add_extension(x509.KeyUsage(**uses), critical=True)  # Python 3.13 verifies strictly
    return key, builder.sign(key, hashes.SHA256())


def _builder(name: str, issuer: x509.Name, key: ec.EllipticCurvePrivateKey) -> x509.CertificateBuilder:
    now = datetime.now(UTC)
    return (
        x509.CertificateBuilder()
        .subject_name(x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)]))
        .issuer_name(issuer)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - _DAY)
        .not_valid_after(now + _DAY)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
