"""The certificate authorities of accounts: OpenSSH user and host certificates, and X.509 client certificates.

Each account has an authority of each kind, whose Ed25519 key follows from the ring key and the account: nothing more is
stored, and no account can issue for the hosts of another. A private key never leaves this module.
Sources: OpenSSH, PROTOCOL.certkeys and PROTOCOL.krl; RFC 5280; RFC 8032.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final, TypeAlias

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    SSHCertificateBuilder,
    SSHCertificateType,
    load_ssh_public_key,
    ssh_key_fingerprint,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from daypass.crypto.ids import random_bytes
from daypass.crypto.key_encryption import RingError, unavailable
from daypass.crypto.keys import KeyRings, Ring, RingKey
from daypass.ports.certificates import CertificateKind, CertificateRequest, MadeCertificate
from daypass.ports.clock import Clock

PublicKey: TypeAlias = ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey | rsa.RSAPublicKey

_BACKDATED_MS: Final = 60_000  # for verifiers whose clock is behind
_CRL_MS: Final = 86_400_000  # a verifier without a newer list refuses every certificate after this
_RSA_BITS: Final = 2048


def read_public_key(line: str) -> PublicKey:
    """The key in a line of a `.pub` file of ssh-keygen. Raises ValueError: it cannot be read, or is too weak."""
    try:
        key = load_ssh_public_key(line.encode("ascii"))
    except Exception:  # noqa: BLE001  # its parser raises many kinds
        raise ValueError("it is not an OpenSSH public key") from None
    if isinstance(key, rsa.RSAPublicKey):
        if key.key_size < _RSA_BITS or key.key_size > 4 * _RSA_BITS:
            raise ValueError("an RSA key has 2,048 to 8,192 bits")
    elif not isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey):
        raise ValueError("Ed25519, ECDSA and RSA keys are certified")  # noqa: TRY004  # the text is bad
    return key


def _fingerprint(key: PublicKey) -> str:
    """As ssh-keygen shows it, without the name of the hash."""
    return base64.b64encode(ssh_key_fingerprint(key, SHA256())).decode("ascii").rstrip("=")


class Authorities:
    """Issues certificates with the keys of the ring, and the lists of those that were revoked."""

    def __init__(self, rings: KeyRings, clock: Clock) -> None:
        self._rings, self._clock = rings, clock

    def issue(self, request: CertificateRequest) -> MadeCertificate:
        """Raises ValueError for an unusable public key, DaypassError(UNAVAILABLE) when no key may sign now."""
        key = read_public_key(request.public_key)
        try:
            ring_key = self._rings.signing(Ring.CERTIFICATES, self._clock.now())
        except RingError as error:
            raise unavailable(error) from None
        serial = int.from_bytes(random_bytes(8), "big") | 1  # never 0
        private = _private(ring_key, request.kind, request.account)
        start = self._clock.now() - _BACKDATED_MS
        if request.kind is CertificateKind.DATABASE:
            text = _client_certificate(request, key, _authority(ring_key, request.account), private, serial, start)
        else:
            text = _ssh_certificate(request, key, private, serial, start)
        return MadeCertificate(text, serial, ring_key.id, _fingerprint(key))

    def public(self, kind: CertificateKind, account: str) -> list[str]:
        """The authority's public keys, the oldest first: lines of OpenSSH, or certificates (PEM). One may sign later."""
        keys = self._rings.published(Ring.CERTIFICATES, self._clock.now())
        if kind is CertificateKind.DATABASE:
            return [_pem(_authority(key, account)) for key in keys]
        return [_line(_private(key, kind, account).public_key()) for key in keys]

    def revoked(self, account: str, number: int, serials: Mapping[str, Collection[int]] | None) -> tuple[bytes, str]:
        """The KRL of the account's ssh authorities, and the CRLs of its database authority (PEM).

        `serials`: the revoked ones, by ring key. None: every certificate of every authority is revoked.
        """
        keys = self._rings.published(Ring.CERTIFICATES, self._clock.now())
        ssh = (CertificateKind.SSH_USER, CertificateKind.SSH_HOST)
        authorities = {kind: [(key.id, _private(key, kind, account)) for key in keys] for kind in ssh}
        sections = [
            _revoked_key(private) if serials is None else _revoked_serials(private, serials.get(key_id, ()))
            for found in authorities.values()
            for key_id, private in found
        ]
        now = self._clock.now()
        lists = [
            _crl(key, account, number, now, serials.get(key.id, ()) if serials is not None else None) for key in keys
        ]
        return _krl(number, now, sections), "".join(lists)


def _private(key: RingKey, kind: CertificateKind, account: str) -> ed25519.Ed25519PrivateKey:
    """The key of an authority. HMAC-SHA256 gives an independent seed for each kind and account."""
    return ed25519.Ed25519PrivateKey.from_private_bytes(key.mac.digest(f"authority|{kind}|{account}".encode()))


def _line(key: PublicKey) -> str:
    return key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode("ascii")


# --- OpenSSH


def _ssh_certificate(
    request: CertificateRequest, key: PublicKey, private: ed25519.Ed25519PrivateKey, serial: int, start: int
) -> str:
    user = request.kind is CertificateKind.SSH_USER
    builder = (
        SSHCertificateBuilder()
        .public_key(key)
        .serial(serial)
        .type(SSHCertificateType.USER if user else SSHCertificateType.HOST)
        .key_id(request.key_id.encode("ascii", "backslashreplace"))
        .valid_principals([name.encode("ascii") for name in request.names])
        .valid_after(start // 1000)
        .valid_before(request.not_after // 1000)
    )
    for name, value in sorted(request.critical.items()):
        builder = builder.add_critical_option(name.encode(), value.encode())
    for name in sorted(set(request.extensions)):
        builder = builder.add_extension(name.encode(), b"")
    return builder.sign(private).public_bytes().decode("ascii")


_CERTIFICATES, _EXPLICIT_KEY, _SERIALS = 1, 2, 0x20


def _krl(number: int, now: int, sections: Sequence[bytes]) -> bytes:
    head = struct.pack(">8sIQQQ", b"SSHKRL\n\0", 1, number, now // 1000, 0)
    return head + _string(b"") + _string(b"") + b"".join(sections)


def _revoked_serials(private: ed25519.Ed25519PrivateKey, serials: Collection[int]) -> bytes:
    """The section of an authority; empty without a revoked serial number."""
    if not serials:
        return b""
    numbers = b"".join(struct.pack(">Q", serial) for serial in sorted(serials))
    inner = _string(_blob(private)) + _string(b"") + bytes([_SERIALS]) + _string(numbers)
    return bytes([_CERTIFICATES]) + _string(inner)


def _revoked_key(private: ed25519.Ed25519PrivateKey) -> bytes:
    return bytes([_EXPLICIT_KEY]) + _string(_string(_blob(private)))


def _blob(private: ed25519.Ed25519PrivateKey) -> bytes:
    return _string(b"ssh-ed25519") + _string(private.public_key().public_bytes_raw())


def _string(data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + data


# --- X.509


def _time(ms: int) -> datetime:
    return datetime.fromtimestamp(ms // 1000, UTC)


def _pem(certificate: x509.Certificate) -> str:
    return certificate.public_bytes(Encoding.PEM).decode("ascii")


def _authority(key: RingKey, account: str) -> x509.Certificate:
    """The self-signed certificate of an authority. Every server makes the same bytes."""
    private = _private(key, CertificateKind.DATABASE, account)
    name = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, account),
            x509.NameAttribute(NameOID.COMMON_NAME, f"Daypass database authority {key.id}"),
        ]
    )
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    builder = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(int(key.id, 16) | 1)
        .not_valid_before(_time(key.not_before - _BACKDATED_MS))
        .not_valid_after(_time(key.verify_until))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(private.public_key()), critical=False)
    )
    return builder.sign(private, None)


def _client_certificate(
    request: CertificateRequest,
    key: PublicKey,
    authority: x509.Certificate,
    private: ed25519.Ed25519PrivateKey,
    serial: int,
    start: int,
) -> str:
    (user,) = request.names
    subject = x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, request.account),
            x509.NameAttribute(NameOID.COMMON_NAME, user),
        ]
    )
    identifier = authority.extensions.get_extension_for_class(x509.SubjectKeyIdentifier).value
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(authority.subject)
        .public_key(key)
        .serial_number(serial)
        .not_valid_before(_time(start))
        .not_valid_after(_time(request.not_after))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.CLIENT_AUTH]), critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_subject_key_identifier(identifier), critical=False)
    )
    return _pem(builder.sign(private, None))


def _crl(key: RingKey, account: str, number: int, now: int, serials: Collection[int] | None) -> str:
    private = _private(key, CertificateKind.DATABASE, account)
    authority = _authority(key, account)
    ended = sorted([authority.serial_number] if serials is None else serials)
    builder = x509.CertificateRevocationListBuilder(
        authority.subject,
        _time(now - _BACKDATED_MS),
        _time(now + _CRL_MS),
        revoked_certificates=[x509.RevokedCertificateBuilder(serial, _time(now)).build() for serial in ended],
    ).add_extension(x509.CRLNumber(number), critical=False)
    return builder.sign(private, None).public_bytes(Encoding.PEM).decode("ascii")
