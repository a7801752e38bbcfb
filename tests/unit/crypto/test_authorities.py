"""The authorities of accounts: what others read of the lists, and an account with too many certificates."""

from __future__ import annotations

import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tests.unit.crypto.rings import KEK, NOW, FixedClock, Shelf

from daypass.crypto.authorities import Authorities, read_public_key
from daypass.crypto.keys import DAY, ended_keys
from daypass.domain.errors import DaypassError
from daypass.ports.certificates import CertificateKind, CertificateRequest, MadeCertificate

ALPHA, BETA = "111122223333", "444455556666"


def authorities(shelf: Shelf, now: int = NOW) -> Authorities:
    rings = shelf.rings()
    rings.adopt(shelf.keys)
    return Authorities(rings, FixedClock(now))  # type: ignore[arg-type]  # a clock that stands


def issued(made: Authorities, kind: CertificateKind, account: str = ALPHA) -> MadeCertificate:
    key = ed25519.Ed25519PrivateKey.generate().public_key()
    line = key.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()
    return made.issue(CertificateRequest(kind, account, line, ("web1",), "session", NOW + 60_000, {}, ()))


def listed(krl: bytes, certificate: str, folder: Path) -> bool:
    """Whether OpenSSH takes it for revoked."""
    (folder / "krl").write_bytes(krl)
    (folder / "cert.pub").write_text(certificate)
    command = ["ssh-keygen", "-Q", "-f", str(folder / "krl"), str(folder / "cert.pub")]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    assert found.returncode == int("REVOKED" in found.stdout), found
    return found.returncode == 1


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
@pytest.mark.parametrize("kind", [CertificateKind.SSH_USER, CertificateKind.SSH_HOST])
def test_krl_has_the_revoked_of_one_account_or_all_of_them(kind: CertificateKind, tmp_path: Path) -> None:
    made = authorities(Shelf().fill())
    ended, other, foreign = issued(made, kind), issued(made, kind), issued(made, kind, BETA)
    some, _ = made.revoked(ALPHA, NOW, {ended.authority: [ended.serial]})
    assert [listed(some, each.text, tmp_path) for each in (ended, other, foreign)] == [True, False, False]
    none, _ = made.revoked(ALPHA, NOW, {})
    assert not listed(none, ended.text, tmp_path)
    everything, _ = made.revoked(ALPHA, NOW, None)
    assert [listed(everything, each.text, tmp_path) for each in (ended, other, foreign)] == [True, True, False]


@pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl is not installed")
def test_crl_has_the_revoked_of_one_account_or_all_of_them(tmp_path: Path) -> None:
    made = authorities(Shelf().fill())
    ended, other = (issued(made, CertificateKind.DATABASE) for _ in range(2))
    (tmp_path / "ca").write_text("".join(made.public(CertificateKind.DATABASE, ALPHA)))

    def valid(certificate: MadeCertificate, revoked: Any) -> bool:
        (tmp_path / "crl").write_text(made.revoked(ALPHA, NOW, revoked)[1])
        (tmp_path / "certificate").write_text(certificate.text)
        command = ["openssl", "verify", "-attime", str(NOW // 1000), "-purpose", "sslclient", "-crl_check_all"]
        command += ["-CAfile", str(tmp_path / "ca"), "-CRLfile", str(tmp_path / "crl"), str(tmp_path / "certificate")]
        found = subprocess.run(command, capture_output=True, text=True, check=False)
        assert found.returncode == 0 or "revoked" in found.stderr, found
        return found.returncode == 0

    listed = {ended.authority: [ended.serial]}
    assert [valid(ended, {}), valid(ended, listed), valid(other, listed)] == [True, False, True]
    assert not valid(other, None)


def test_servers_agree_and_an_emergency_ends_the_authorities() -> None:
    shelf = Shelf().fill()
    first, second = authorities(shelf), authorities(shelf)
    for kind in CertificateKind:
        assert first.public(kind, ALPHA) == second.public(kind, ALPHA) != first.public(kind, BETA)
    assert len({line for kind in CertificateKind for line in first.public(kind, ALPHA)}) == len(CertificateKind)
    shelf.keys[:] = ended_keys(shelf.keys, KEK, NOW)
    gone = authorities(shelf, NOW + 1)
    assert gone.public(CertificateKind.SSH_USER, ALPHA) == []
    with pytest.raises(DaypassError):
        issued(gone, CertificateKind.SSH_USER)
    shelf.fill(NOW + DAY)


def test_weak_key_is_not_certified() -> None:
    weak = rsa.generate_private_key(65_537, 1024).public_key()
    for line in (weak.public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode(), "", "ssh-ed25519 AAAA", "\0"):
        with pytest.raises(ValueError, match=r"bits|public key"):
            read_public_key(line)
