"""Certificates and passwords by role with Debian's OpenSSH and PostgreSQL: issued, used, revoked, and what is refused."""

from __future__ import annotations

import getpass
import json
import os
import pwd
import re
import shlex
import shutil
import struct
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, ROOT_KEYS, TENANT, Server, running, session_key
from tests.processes import bound, free_port, until_listening

from daypass.client.certificates import new_key, store
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError
from daypass.sigv4.canonical import SigningKey, presign

SSHD = shutil.which("sshd", path="/usr/sbin:/usr/local/sbin")
DAYPASS = [sys.executable, "-m", "daypass.cli.main"]
ME = getpass.getuser()
pytestmark = pytest.mark.slow
Key = tuple[str, str, str]


@dataclass
class World:
    server: Server
    folder: Path
    port: int = 0

    def session(self, role: str = "operator", **more: Any) -> Key:
        arn = f"arn:aws:iam::{OPERATOR}:role/{role}"
        return session_key(self.server.client("sts").assume_role(RoleArn=arn, RoleSessionName="job", **more))

    def session_of_tenant(self) -> Key:
        """One that may have every certificate of its own account."""
        iam = self.server.client("iam", ROOT_KEYS[TENANT])
        trust = document({"Principal": {"AWS": TENANT}, "Action": "sts:AssumeRole"})
        role = iam.create_role(RoleName="all", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        everything = document({"Action": "daypass:*", "Resource": "*"}, {"Action": "sts:AssumeRole", "Resource": role})
        iam.put_role_policy(RoleName="all", PolicyName="p", PolicyDocument=everything)
        iam.create_user(UserName="eve")
        iam.put_user_policy(UserName="eve", PolicyName="p", PolicyDocument=everything)
        made = iam.create_access_key(UserName="eve")["AccessKey"]
        sts = self.server.client("sts", (made["AccessKeyId"], made["SecretAccessKey"]))
        return session_key(sts.assume_role(RoleArn=role, RoleSessionName="eve"))

    def run(self, key: tuple[str, ...], *arguments: str, **more: str) -> subprocess.CompletedProcess[str]:
        (self.folder / "tmp").mkdir(exist_ok=True)
        own = {"DAYPASS_HOME": str(self.folder / "home"), "TMPDIR": str(self.folder / "tmp")}
        environment = {**self.server.environment(key), **own, **more}
        command = [*DAYPASS, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    def fetch(self) -> None:
        files = ("--ssh-user-ca", "ca.pub", "--krl", "krl", "--database-ca", "root.crt", "--crl", "root.crl")
        paths = [each if each.startswith("--") else str(self.folder / each) for each in files]
        made = self.run(self.session("host"), "certificate", "fetch", *paths)
        assert made.returncode == 0, made.stderr

    def ssh(self, key: Key, *command: str, host: str = "web1", options: Sequence[str] = ()) -> Any:
        to = ("-p", str(self.port), "-oHostName=127.0.0.1", f"-oHostKeyAlias={host}", "-oBatchMode=yes", host)
        return self.run(key, "ssh", *options, *to, *command)

    def issue(self, key: tuple[str, ...], **body: Any) -> Any:
        whole = {"kind": "ssh-user", "public_key": PUBLIC, "names": [ME], **body}
        return self.server.api("POST", "/certificates", key=key, body=whole)

    def revoke(self, key: Key) -> None:
        session = self.server.api("GET", "/session", key=key)["session_id"]
        self.server.api("POST", "/revocations", body={"subject": "session", "value": session})

    def records(self, kind: str) -> list[dict[str, Any]]:
        found = self.server.api("GET", "/audit/records", query={"type": kind, "limit": "50"})["records"]
        return [each["event"] for each in found]


PUBLIC = "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINgqk0R1gjZzAjVK1jC7VdUuP2sHGfvlUHjbyNNjAyP7"


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **each} for each in statements]})


def certificates(*names: str, **condition: Any) -> dict[str, Any]:
    resources = [f"arn:aws:daypass::{OPERATOR}:certificate/{name}" for name in names]
    return {"Action": "daypass:IssueCertificate", "Resource": resources, **condition}


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("certificates")
    with running(folder / "daypass") as server:
        iam = server.client("iam")
        plain = {"ForAllValues:StringEquals": {"daypass:SshExtension": "pty"}}
        backup = {
            "StringEquals": {"daypass:SshForceCommand": "echo saved"},
            "Null": {"daypass:SshSourceAddress": "false"},
        }
        roles = {
            "operator": [
                certificates(f"ssh-user/{ME}", Condition=plain),
                certificates("database/app"),
                {"Action": "rds-db:connect", "Resource": f"arn:aws:rds-db::{OPERATOR}:dbuser:orders/report"},
            ],
            "host": [certificates("ssh-host/web1")],
            "backup": [certificates(f"ssh-user/{ME}", Condition=backup)],
        }
        trust = document({"Principal": {"AWS": OPERATOR}, "Action": "sts:AssumeRole"})
        for role, statements in roles.items():
            iam.create_role(RoleName=role, AssumeRolePolicyDocument=trust)
            iam.put_role_policy(RoleName=role, PolicyName="p", PolicyDocument=document(*statements))
        yield World(server, folder)


# --- OpenSSH


@pytest.fixture(scope="module")
def sshd(world: World) -> Iterator[World]:
    """A host whose certificate and authorities come from its own role."""
    if SSHD is None:
        pytest.skip("sshd is not installed (openssh-server)")
    if os.geteuid() == 0:
        Path("/run/sshd").mkdir(exist_ok=True)
    made = world.run(
        world.session("host"), "certificate", "issue", "ssh-host", "web1", "--key", str(world.folder / "host")
    )
    assert made.returncode == 0, made.stderr
    world.fetch()
    world.port = free_port()
    settings = {
        "ListenAddress": f"127.0.0.1:{world.port}",
        "HostKey": world.folder / "host",
        "HostCertificate": f"{world.folder}/host-cert.pub",
        "TrustedUserCAKeys": world.folder / "ca.pub",
        "RevokedKeys": world.folder / "krl",
        "AuthorizedKeysFile": "none",
        "PasswordAuthentication": "no",
        "KbdInteractiveAuthentication": "no",
        "UsePAM": "no",
        "PermitRootLogin": "prohibit-password",
        "PidFile": "none",
    }
    config = world.folder / "sshd_config"
    config.write_text("".join(f"{name} {value}\n" for name, value in settings.items()))
    with (world.folder / "sshd.log").open("wb") as log:
        process = subprocess.Popen(bound([SSHD, "-D", "-e", "-f", str(config)]), stdout=log, stderr=log)
    try:
        until_listening(process, world.port)
        yield world
    finally:
        process.terminate()
        process.wait(30)


def test_role_logs_in_to_a_known_host_until_its_session_is_revoked(sshd: World) -> None:
    key = sshd.session()
    found = sshd.ssh(key, "echo", "hello")
    assert (found.returncode, found.stdout) == (0, "hello\n"), found.stderr
    assert sshd.ssh(key, "exit", "7").returncode == 7
    log = (sshd.folder / "sshd.log").read_text()
    session = sshd.server.api("GET", "/session", key=key)["session_id"]
    assert f"ID {session} arn:aws:sts::{OPERATOR}:assumed-role/operator/job" in log  # sshd's log names the session
    event = sshd.records("certificate.issued")[0]
    assert (event["session_id"], event["detail"]["names"], event["detail"]["kind"]) == (session, [ME], "ssh-user")
    assert not list((sshd.folder / "tmp").iterdir())  # where the key was

    held = sshd.folder / "held"
    assert sshd.run(key, "certificate", "issue", "ssh-user", ME, "--key", str(held)).returncode == 0
    direct = [*with_key(sshd, held), "true"]
    assert subprocess.run(direct, capture_output=True, check=False).returncode == 0
    sshd.revoke(key)
    sshd.fetch()
    assert subprocess.run(direct, capture_output=True, check=False).returncode == 255
    assert "revoked by file" in (sshd.folder / "sshd.log").read_text()
    assert sshd.ssh(key, "true").returncode != 0  # the session itself gets no further one
    assert sshd.ssh(sshd.session(), "true").returncode == 0  # another one does


def with_key(sshd: World, key: Path) -> list[str]:
    """A command line of ssh itself, for this host, with this key and its certificate."""
    options = ("IdentitiesOnly=yes", "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null", "BatchMode=yes")
    return ["ssh", f"-i{key}", *(f"-o{each}" for each in options), "-p", str(sshd.port), "127.0.0.1"]


def test_sshd_enforces_what_the_certificate_permits(sshd: World) -> None:
    key = sshd.session()
    assert sshd.ssh(key, "tty", options=("-tt",)).stdout.startswith("/dev/pts/")
    for kind in ("user-rc", "pty"):  # the role may have a terminal alone
        found = sshd.ssh(key, "tty", options=("--allow", kind, "-tt"))
        assert (kind, "/dev/pts/" in found.stdout) == (kind, kind == "pty")
    for source, status in (("127.0.0.0/8", 0), ("10.0.0.0/8", 255)):
        held = sshd.folder / f"backup-{status}"
        options = ("--force-command", "echo saved", "--source", source, "--key", str(held))
        assert sshd.run(sshd.session("backup"), "certificate", "issue", "ssh-user", ME, *options).returncode == 0
        command = [*with_key(sshd, held), "cat", "/etc/passwd"]
        ran = subprocess.run(command, capture_output=True, text=True, check=False)
        assert (ran.returncode, ran.stdout) == (status, "saved\n" if status == 0 else ""), ran.stderr


def test_host_with_another_name_or_without_a_certificate_is_not_known(sshd: World) -> None:
    found = sshd.ssh(sshd.session(), "true", host="web2")
    assert found.returncode == 255
    assert "Host key verification failed" in found.stderr


def test_a600_principal_is_only_what_the_permission_names(sshd: World) -> None:
    """Neither another login, nor a further extension, nor a certificate of another account's authority opens a host."""
    for options in (("--principal", "somebody"), ("--allow", "pty", "--allow", "port-forwarding")):
        found = sshd.ssh(sshd.session(), "true", options=options)
        assert found.returncode == 4, found.stderr
        assert "is not authorized to perform: daypass:IssueCertificate" in found.stderr
    assert sshd.records("request.denied")[0]["operation"] == "daypass:IssueCertificate"
    found = sshd.ssh(sshd.session_of_tenant(), "true", options=("-oStrictHostKeyChecking=no",))
    assert (found.returncode, "Permission denied" in found.stderr) == (255, True)
    limited = {"force_command": "echo saved", "source_addresses": ["10.0.0.0/8"]}
    assert sshd.issue(sshd.session("backup"), **limited)["certificate"].startswith("ssh-ed25519-cert-v01@openssh.com ")
    for missing in limited:
        with pytest.raises(ClientError, match="not authorized"):
            sshd.issue(sshd.session("backup"), **{**limited, missing: "" if missing == "force_command" else []})


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({"names": []}, "names"),
        ({"names": ["*"], "kind": "ssh-host"}, "cannot be used"),
        ({"names": ["web1.*"], "kind": "ssh-host"}, "cannot be used"),
        ({"names": ["a,b"]}, "cannot be used"),
        ({"names": [ME, ME]}, "cannot be used"),
        ({"names": ["app", "other"], "kind": "database"}, "one name"),
        ({"names": ["app"], "kind": "database", "force_command": "x"}, "ssh-user alone"),
        ({"names": ["x"], "kind": "sftp"}, "one of"),
        ({"source_addresses": ["10.0.0.1/8"]}, "host bits"),
        ({"source_addresses": ["::%a,0.0.0.0/0"]}, "zone"),
        ({"force_command": "a\nb"}, "printable"),
        ({"public_key": "ssh-rsa AAAA"}, "public key"),
        ({"public_key": "ssh-dss AAAAB3NzaC1kc3MAAACB"}, "public key"),
        ({"public_key": "é" * 9}, "public key"),
        ({"seconds": 59}, "seconds"),
        ({"seconds": 43_200}, "beyond the end"),
    ],
)
def test_a601_certificate_that_would_be_wider_or_longer_is_refused(
    world: World, body: dict[str, Any], message: str
) -> None:
    with pytest.raises(ClientError, match=message):
        world.issue(world.session(), **body)


def test_a601_certificate_ends_with_its_session_and_needs_one(world: World) -> None:
    key = world.session(DurationSeconds=900)
    ends = world.server.api("GET", "/session", key=key)["expires_at"]
    assert world.issue(key)["expires_at"] == ends
    with pytest.raises(ClientError, match="assume a role first"):
        world.server.api("POST", "/certificates", body={"kind": "ssh-user", "public_key": PUBLIC, "names": [ME]})


def test_a602_list_of_revoked_certificates_is_not_rolled_back(world: World) -> None:
    world.fetch()
    for name in ("krl", "root.crl"):
        path = world.folder / name
        held = path.read_bytes()
        newer = (
            held[:12] + (2**62).to_bytes(8, "big") + held[20:]
            if name == "krl"
            else re.sub(rb"# daypass \d+", b"# daypass 9999999999999", held)
        )
        path.write_bytes(newer)
        option = "--krl" if name == "krl" else "--crl"
        found = world.run(world.session("host"), "certificate", "fetch", option, str(path))
        assert (found.returncode, path.read_bytes()) == (6, newer)
        assert "was not replaced" in found.stderr
        path.write_bytes(held)


# --- PostgreSQL


@dataclass
class Database:
    """A server of Debian's package, run by an unprivileged user."""

    folder: Path
    programs: Path
    port: int
    user: str
    directory: subprocess.Popen[str]  # daypass ldap

    def as_user(self, *command: str) -> subprocess.CompletedProcess[str]:
        whole = ["setpriv", f"--reuid={self.user}", f"--regid={pwd.getpwnam(self.user).pw_gid}", "--clear-groups"]
        prefix = whole if os.geteuid() == 0 else []
        made = subprocess.run([*prefix, *command], capture_output=True, text=True, check=False, cwd="/", timeout=120)
        assert made.returncode == 0, made.stderr
        return made

    def reload(self) -> None:
        self.as_user(str(self.programs / "pg_ctl"), "reload", "-D", str(self.folder / "data"))

    def connect(self, user: str, name: str = "postgres", **environment: str) -> subprocess.CompletedProcess[str]:
        """As psql. Passwords for `postgres` are checked by LDAP, those for `template1` by PAM."""
        address = f"host=localhost hostaddr=127.0.0.1 port={self.port} dbname={name} user={user} sslmode=require"
        command = [str(self.programs / "psql"), "-w", "-At", "-c", "select current_user", address]
        return subprocess.run(
            command, env={**os.environ, **environment}, capture_output=True, text=True, check=False, timeout=60
        )


@pytest.fixture(scope="module")
def database(world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Database]:
    programs = next(iter(sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True)), None)
    if programs is None or not (programs / "initdb").exists():
        pytest.skip("PostgreSQL with TLS is not installed (Debian's postgresql; the wheel is built without)")
    world.fetch()
    user = ME if os.geteuid() else "nobody"
    folder = Path(tempfile.mkdtemp(prefix="daypass-db-"))
    shutil.chown(folder, user)
    port = free_port()
    audience = f"https://localhost:{port}"
    route = {"path": "/", "methods": ["GET"], "query": ["DBUser"], "action": "rds-db:connect"}
    (world.folder / "routes.json").write_text(json.dumps([{**route, "resource": "dbuser:orders/{DBUser}"}]))
    made = world.run(
        ADMIN_KEY, "resource-server", "put", audience, "--routes", str(world.folder / "routes.json"), "--yes"
    )
    assert made.returncode == 0, made.stderr
    command = [*DAYPASS, "ldap", "--endpoint", world.server.url, "--audience", audience, "--listen", "127.0.0.1:0"]
    directory = subprocess.Popen(bound(command), stderr=subprocess.PIPE, text=True)
    assert directory.stderr is not None
    ldap = directory.stderr.readline().rpartition(":")[2].strip()
    found = Database(folder, programs, port, user, directory)
    try:
        for name in ("root.crt", "root.crl"):
            shutil.copy(world.folder / name, folder / name)
        openssl = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        openssl += [
            "-subj",
            "/CN=localhost",
            "-days",
            "2",
            "-keyout",
            f"{folder}/server.key",
            "-out",
            f"{folder}/server.crt",
        ]
        subprocess.run(openssl, check=True, capture_output=True)
        if os.geteuid() == 0:
            for each in folder.iterdir():
                shutil.chown(each, user)
        data = str(folder / "data")
        found.as_user(str(programs / "initdb"), "-A", "trust", "-U", "owner", "--no-sync", data)
        access = f"""
hostssl all app 127.0.0.1/32 cert
hostssl postgres report,app2 127.0.0.1/32 ldap ldapserver=127.0.0.1 ldapport={ldap} ldapprefix=""
hostssl template1 report,app2 127.0.0.1/32 pam pamservice=daypass-{port}
local all owner trust
"""
        (folder / "data/pg_hba.conf").write_text(access)
        settings = {
            "listen_addresses": "127.0.0.1",
            "port": port,
            "unix_socket_directories": folder,
            "fsync": "off",
            "ssl": "on",
            "ssl_cert_file": folder / "server.crt",
            "ssl_key_file": folder / "server.key",
            "ssl_ca_file": folder / "root.crt",
            "ssl_crl_file": folder / "root.crl",
        }
        with (folder / "data/postgresql.conf").open("a") as file:
            file.writelines(f"{name} = '{value}'\n" for name, value in settings.items())
        found.as_user(str(programs / "pg_ctl"), "start", "-w", "-D", data, "-l", str(folder / "log"))
        try:
            owner = [str(programs / "psql"), "-h", str(folder), "-p", str(port), "-U", "owner", "-d", "postgres"]
            for name in ("app", "app2", "report"):
                subprocess.run([*owner, "-c", f"create role {name} login"], check=True, capture_output=True)
            yield found
        finally:
            found.as_user(str(programs / "pg_ctl"), "stop", "-m", "immediate", "-D", data)
    finally:
        directory.terminate()
        directory.communicate(timeout=30)
        shutil.rmtree(folder)


def test_role_connects_to_its_database_user_until_its_session_is_revoked(world: World, database: Database) -> None:
    key, file = world.session(), world.folder / "app"
    assert world.run(key, "certificate", "issue", "database", "app", "--key", str(file)).returncode == 0
    tls = {"PGSSLCERT": f"{file}.crt", "PGSSLKEY": str(file)}
    found = database.connect("app", **tls)
    assert (found.returncode, found.stdout) == (0, "app\n"), found.stderr
    assert database.connect("app").returncode == 2  # without a certificate
    denied = world.run(key, "certificate", "issue", "database", "owner", "--key", str(world.folder / "owner"))
    assert (denied.returncode, "not authorized" in denied.stderr) == (4, True)
    world.revoke(key)
    world.fetch()
    shutil.copy(world.folder / "root.crl", database.folder / "root.crl")
    database.reload()
    for _ in range(100):  # it reads the list again in its own time
        found = database.connect("app", **tls)
        if found.returncode:
            break
        time.sleep(0.1)
    assert "certificate revoked" in found.stderr


@pytest.fixture(params=["LDAP", "PAM"])
def way(request: pytest.FixtureRequest, world: World, database: Database) -> Iterator[tuple[str, str]]:
    """How passwords are checked, and the database for which they are."""
    if request.param == "LDAP":
        yield "LDAP", "postgres"
        return
    if not list(Path("/usr/lib").glob("*/security/pam_script.so")) or os.geteuid():
        pytest.skip("pam_script is not installed (libpam-script), or /etc/pam.d cannot be written")
    scripts, service = database.folder / "pam", Path(f"/etc/pam.d/daypass-{database.port}")
    scripts.mkdir()
    asked = f"{shlex.join(DAYPASS)} pam --endpoint {world.server.url} --audience https://localhost:{database.port}"
    (scripts / "pam_script_auth").write_text(f"#!/bin/sh\nexec {asked}\n")
    (scripts / "pam_script_auth").chmod(0o755)
    service.write_text(f"auth required pam_script.so dir={scripts}\naccount required pam_permit.so\n")
    try:
        yield "PAM", "template1"
    finally:
        service.unlink()
        shutil.rmtree(scripts)


def password(world: World, key: Key, port: int, user: str) -> str:
    """As a stock client makes it."""
    command = [sys.executable, "-m", "awscli", "rds", "generate-db-auth-token", "--hostname", "localhost"]
    command += ["--port", str(port), "--username", user, "--region", "eu-central-1"]
    made = subprocess.run(command, env=world.server.environment(key), capture_output=True, text=True, check=True)
    return made.stdout.strip()


def test_stock_client_makes_a_password_that_ends_with_the_revocation(
    world: World, database: Database, way: tuple[str, str]
) -> None:
    method, name = way
    key = world.session()
    token = password(world, key, database.port, "report")
    found = database.connect("report", name, PGPASSWORD=token)
    assert (found.returncode, found.stdout) == (0, "report\n"), found.stderr
    world.revoke(key)
    found = database.connect("report", name, PGPASSWORD=token)
    assert (found.returncode, f"{method} authentication failed" in found.stderr) == (2, True)


def test_a603_replayed_password_opens_one_user_of_one_database_for_fifteen_minutes(
    world: World, database: Database, way: tuple[str, str]
) -> None:
    key, port, name = world.session(), database.port, way[1]
    token = password(world, key, port, "report")
    assert database.connect("report", name, PGPASSWORD=token).returncode == 0
    signing = SigningKey(key[0], key[1], "eu-central-1", "rds-db")
    query = [("Action", "connect"), ("DBUser", "report"), ("X-Amz-Security-Token", key[2])]

    def made(host: str, minutes: float, *more: tuple[str, str], expires: int = 604_800) -> str:
        now = int((time.time() - 60 * minutes) * 1000)
        return f"{host}/?{presign(signing, 'GET', host, '/', [*query, *more], expires, now)}"

    assert database.connect("report", name, PGPASSWORD=made(f"localhost:{port}", 14)).returncode == 0
    refused = {
        "too old, whatever it says": ("report", made(f"localhost:{port}", 16)),
        "for another database": ("report", made("localhost:5433", 0)),
        "for another database, renamed": ("report", made("localhost:5433", 0).replace(":5433", f":{port}", 1)),
        "for another user": ("app2", token),
        "for another user, renamed": ("app2", token.replace("DBUser=report", "DBUser=app2")),
        "without the permission": ("app2", password(world, key, port, "app2")),
        "for two users": ("report", made(f"localhost:{port}", 0, ("DBUser", "app2"))),
        "for another service": ("report", token.replace("rds-db", "sts")),
        "altered": ("report", token[:-1] + ("0" if token[-1] != "0" else "1")),
        "not a token": ("report", "secret"),
        "a new line": ("report", token + "\nX-Forwarded-Method: GET"),
    }
    opened = [
        why for why, (user, given) in refused.items() if not database.connect(user, name, PGPASSWORD=given).returncode
    ]
    assert opened == []
    kinds = {event["error"] for event in world.records("request.denied") + world.records("request.unauthenticated")}
    assert {"access_denied", "signature_mismatch"} <= kinds
    log = world.server.log.read_text() + (database.folder / "log").read_text()
    assert key[2] not in log
    assert token.rpartition("=")[2] not in log


def test_a_key_and_lists_that_several_processes_write_at_once_stay_whole(tmp_path: Path) -> None:
    key, krl = tmp_path / "key", tmp_path / "krl"

    def write(number: int) -> None:
        new_key(key, "ssh-user")
        with suppress(LocalStateError):  # an older list
            store(krl, struct.pack(">8sIQ", b"SSHKRL\n\0", 1, number))

    with ThreadPoolExecutor(8) as pool:
        list(pool.map(write, [3, 16, *range(1, 15), 2, 15]))
    private = subprocess.run(["ssh-keygen", "-y", "-f", key], capture_output=True, text=True, check=True).stdout
    assert private.split()[:2] == Path(f"{key}.pub").read_text().split()[:2]
    assert struct.unpack(">8sIQ", krl.read_bytes())[2] == 16
    assert {each.name for each in tmp_path.iterdir()} == {"key", "key.pub", "krl", ".krl.lock"}
    assert key.stat().st_mode & 0o777 == 0o600
