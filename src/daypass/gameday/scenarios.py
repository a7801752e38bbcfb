"""Scenarios of game days: the fault, the alert that finds it, and the steps of the runbook."""

from __future__ import annotations

import datetime as dt
import ipaddress
import json
import resource
import signal
import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, NamedTuple

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.serving import Handler
from daypass.gameday.deployment import Deployment, Missing, Tls

Step = tuple[str, Callable[[], object]]
"""A step's text in the report, and the function that performs it."""


class Scenario(NamedTuple):
    """One incident."""

    name: str
    summary: str
    alerts: tuple[str, ...]  # any of them is the detection; the runbook is that of the first
    breaks: Callable[[Deployment, ExitStack], None]  # breaks the deployment
    repairs: Callable[[Deployment, ExitStack], Iterator[Step]]  # the steps of the runbook
    tls: bool = False  # the deployment serves HTTPS
    replicated: bool = False  # its database is PostgreSQL with a standby


def command(deployment: Deployment, *arguments: str) -> Step:
    """A command of the runbook. It must succeed, except one that looks: its findings are an exit status of 1."""

    def run() -> str:
        ran = deployment.cli(*arguments)
        if ran.returncode not in (0, 1):
            raise Missing(f"daypass {' '.join(arguments)}: {ran.stderr.strip()}")
        return ran.stdout

    shown = " ".join(each if len(each) < 60 else "FILE" for each in arguments)
    return f"daypass {shown}", run


# --- The server is gone


def _kill(deployment: Deployment, _: ExitStack) -> None:
    assert deployment.server is not None
    deployment.server.kill()
    deployment.server.wait(60)


def _start(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    yield command(deployment, "doctor")
    yield "systemctl restart daypass", deployment.start_server
    yield command(deployment, "probe")


# --- The database does not answer: another process holds its lock


def _lock(deployment: Deployment, closing: ExitStack) -> None:
    other = sqlite3.connect(deployment.data / "daypass.db", isolation_level=None, timeout=60, check_same_thread=False)
    closing.callback(other.close)
    other.execute("BEGIN EXCLUSIVE")


def _unlock(deployment: Deployment, closing: ExitStack) -> Iterator[Step]:
    yield command(deployment, "doctor")
    yield "end the process that holds the lock of the database", closing.close
    yield command(deployment, "doctor")


# --- The primary of PostgreSQL is gone, and nothing promotes the standby


def _kill_primary(deployment: Deployment, _: ExitStack) -> None:
    assert deployment.cluster is not None
    deployment.cluster.kill(deployment.cluster.primary)


def _promote(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    assert deployment.cluster is not None
    yield command(deployment, "doctor")
    yield 'psql -h STANDBY -c "SELECT pg_promote()"', deployment.cluster.promote
    yield command(deployment, "doctor")


# --- The clock of the clients is wrong


def _skew(deployment: Deployment, _: ExitStack) -> None:
    deployment.load.skew = 1_200.0


def _synchronise(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    yield command(deployment, "audit", "search", "--error", "signature_mismatch", "--limit", "5")
    yield command(deployment, "clock", "show", "--data", str(deployment.data))
    yield "systemctl restart chrony (on the clients)", lambda: setattr(deployment.load, "skew", 0.0)


# --- Ring keys were ended in an emergency, and workloads hold on to their sessions


def _end_keys(deployment: Deployment, _: ExitStack) -> None:
    command(deployment, "server-keys", "rotate", "--emergency", "--yes", "--data", str(deployment.data))[1]()


def _renew(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    yield command(deployment, "dashboard", "--last", "1h")
    yield command(deployment, "server-keys", "ls", "--data", str(deployment.data))
    yield "restart the workloads that hold sessions", deployment.load.renew


# --- An issuer is down when its keys are fetched again


class _Issuer(Handler):
    def do_GET(self) -> None:
        self.answer(200, b'{"keys": []}', "application/json")


def _issuer(closing: ExitStack, port: int = 0) -> int:
    issuer = ThreadingHTTPServer(("127.0.0.1", port), _Issuer)
    threading.Thread(target=issuer.serve_forever, daemon=True).start()
    closing.callback(issuer.server_close)
    closing.callback(issuer.shutdown)
    return int(issuer.server_address[1])


_ISSUER: Final = "https://issuer.gameday.example"


def _end_issuer(deployment: Deployment, _: ExitStack) -> None:
    with ExitStack() as up:
        port = _issuer(up)
        settings = (f"jwks_url=http://127.0.0.1:{port}/keys", "allow_http=true", "allow_private_networks=true")
        command(deployment, "provider", "add", _ISSUER, "--client-id", "daypass", *settings)[1]()
        command(deployment, "provider", "keys", _ISSUER, "--refresh")[1]()
    deployment.notes["port"] = port
    deployment.cli("provider", "keys", _ISSUER, "--refresh")


def _restore_issuer(deployment: Deployment, closing: ExitStack) -> Iterator[Step]:
    yield command(deployment, "provider", "ls")
    yield "start the issuer", lambda: _issuer(closing, deployment.notes["port"])
    yield command(deployment, "provider", "keys", _ISSUER, "--refresh")


# --- A trust policy was changed by mistake


def _mistake(deployment: Deployment, _: ExitStack) -> None:
    Connection(deployment.root).iam(
        "UpdateAssumeRolePolicy", RoleName="work", PolicyDocument=deployment.trust("user/nobody-else")
    )


def _correct(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    file = deployment.directory / "good-trust-policy.json"
    file.write_text(deployment.trust("user/worker"), "utf-8")
    yield command(
        deployment, "audit", "search", "--operation", "sts:AssumeRole", "--error", "access_denied", "--limit", "5"
    )
    yield "daypass explain REQUEST_ID", partial(_explain, deployment)
    yield command(deployment, "role", "trust", "work", str(file), "--yes")


def _explain(deployment: Deployment) -> object:
    return command(deployment, "explain", _last_denial(deployment))[1]()


def _last_denial(deployment: Deployment) -> str:
    query = ("--operation", "sts:AssumeRole", "--error", "access_denied", "--limit", "1", "--output", "json")
    ran = deployment.cli("audit", "search", *query)
    return str(json.loads(ran.stdout.splitlines()[0])["event"]["request_id"])


# --- A key has leaked, and a stranger tries every role


def _leak(deployment: Deployment, closing: ExitStack) -> None:
    ended = threading.Event()
    closing.callback(ended.set)

    def steal() -> None:
        connection = Connection(deployment.user, deadline=5.0)
        number = 0
        while not ended.wait(0.02):
            number += 1
            try:
                connection.sts("AssumeRole", RoleArn=deployment.arn(f"role-{number}"), RoleSessionName="stranger")
            except ClientError:
                continue

    threading.Thread(target=steal, daemon=True).start()


def _disable(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    key = deployment.user.access_key_id
    yield command(deployment, "audit", "search", "--access-key-id", key, "--decision", "refused", "--limit", "5")
    yield command(deployment, "revoke", "access-key", key, "--block")
    yield command(deployment, "key", "disable", key, "--user", "worker")
    yield "give the workload a new key", deployment.replace_key


# --- The certificate ends


_CA_USES: Final = x509.KeyUsage(
    digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
    key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
)  # fmt: skip


class Authority:
    """Issues certificates for 127.0.0.1 into a directory: cert.pem and key.pem; its own is ca.pem."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "gameday")])
        own = self._signed(
            self._name, self._key.public_key(), 365, x509.BasicConstraints(ca=True, path_length=0), _CA_USES
        )
        (directory / "ca.pem").write_bytes(own)

    def _signed(self, name: x509.Name, key: ec.EllipticCurvePublicKey, days: int, *extensions: Any) -> bytes:
        now = dt.datetime.now(dt.UTC)
        builder = x509.CertificateBuilder().subject_name(name).issuer_name(self._name).public_key(key)
        builder = builder.serial_number(x509.random_serial_number())
        builder = builder.not_valid_before(now - dt.timedelta(days=30)).not_valid_after(now + dt.timedelta(days))
        identifiers = (
            x509.SubjectKeyIdentifier.from_public_key(key),
            x509.AuthorityKeyIdentifier.from_issuer_public_key(self._key.public_key()),
        )
        for extension in (*extensions, *identifiers):
            builder = builder.add_extension(extension, critical=isinstance(extension, x509.BasicConstraints))
        return builder.sign(self._key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)

    def issue(self, days: int) -> Tls:
        """A certificate that ends in so many days takes the place of the one before."""
        key = ec.generate_private_key(ec.SECP256R1())
        names = x509.SubjectAlternativeName([x509.IPAddress(ipaddress.ip_address("127.0.0.1"))])
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
        files = Tls(*(self._directory / f"{name}.pem" for name in ("cert", "key", "ca")))
        files.certificate.write_bytes(self._signed(subject, key.public_key(), days, names))
        form, encoding = serialization.PrivateFormat.PKCS8, serialization.Encoding.PEM
        files.key.write_bytes(key.private_bytes(encoding, form, serialization.NoEncryption()))
        files.key.chmod(0o600)
        return files


def _reload(deployment: Deployment, days: int) -> None:
    assert deployment.server is not None
    deployment.authority.issue(days)
    deployment.server.send_signal(signal.SIGHUP)


def _expire(deployment: Deployment, _: ExitStack) -> None:
    _reload(deployment, -1)


def _replace(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    yield command(deployment, "doctor")
    yield "cp new-cert.pem cert.pem; systemctl reload daypass", lambda: _reload(deployment, 90)
    yield command(deployment, "probe")


# --- The disk is full


def _fill(deployment: Deployment, _: ExitStack) -> None:
    """No file of the server can grow any more, as on a full disk."""
    assert deployment.server is not None
    hard = resource.prlimit(deployment.server.pid, resource.RLIMIT_FSIZE)[1]
    resource.prlimit(deployment.server.pid, resource.RLIMIT_FSIZE, (4096, hard))


def _free(deployment: Deployment, _: ExitStack) -> Iterator[Step]:
    assert deployment.server is not None
    pid = deployment.server.pid
    hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)[1]
    yield command(deployment, "doctor")
    yield "free space on the disk", lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard))
    yield command(deployment, "doctor")


SCENARIOS: Final = (
    Scenario("server-gone", "the server is killed", ("DaypassDown", "DaypassCheckFailing"), _kill, _start),
    Scenario("database", "the database does not answer", ("DaypassDatabaseUnavailable",), _lock, _unlock),
    Scenario("database-failover", "the primary of PostgreSQL is killed", ("DaypassDatabaseUnavailable",), _kill_primary,
             _promote, replicated=True),
    Scenario("clock-skew", "the clock of the clients is 20 minutes ahead", ("DaypassAuthFailures",), _skew, _synchronise),
    Scenario("key-rotation", "ring keys are ended; workloads hold on to their sessions", ("DaypassAuthFailures",),
             _end_keys, _renew),
    Scenario("issuer-down", "the keys of an issuer cannot be fetched", ("DaypassIssuerFailing",), _end_issuer,
             _restore_issuer),
    Scenario("trust-policy", "a trust policy is changed by mistake", ("DaypassTrustDenials", "DaypassWidespreadFailures"),
             _mistake, _correct),
    Scenario("leaked-key", "a stranger tries roles with a leaked key", ("DaypassAnomaly", "DaypassWidespreadFailures"),
             _leak, _disable),
    Scenario("certificate", "the TLS certificate has expired", ("DaypassCertificateExpires", "DaypassDown"), _expire,
             _replace, tls=True),
    Scenario("full-disk", "the disk of the server is full", ("DaypassDiskFull", "DaypassBudgetEscalation", "DaypassBudgetFastBurn", "DaypassCheckFailing", "DaypassDatabaseUnavailable"),
             _fill, _free),
)  # fmt: skip
"""Every scenario."""
