"""Servers and databases that can be broken on purpose: for `chaos.py` and `outage.py`.

A PostgreSQL of its own is started here, and only processes that were started here are ever signalled.
"""

from __future__ import annotations

import contextlib
import os
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psycopg
from tests import postgres

import alone  # noqa: F401  # before all that reads the environment
from assume_role import ACCOUNT, KEY, SECRET, free_port
from daypass.client.http import Connection
from daypass.client.profiles import Profile
from forks import Forked, Forks

_START_SECONDS = 60.0
_SETTINGS = {
    "listen_addresses": "",
    "fsync": "on",
    "full_page_writes": "on",
    "max_connections": "40",
    "shared_buffers": "64MB",
    "superuser_reserved_connections": "3",
    "log_min_messages": "panic",
}
_DAYPASS = "daypass"  # the role that Daypass uses; it is not a superuser


class Postgres:
    """A durable PostgreSQL server that can be killed, paused, made read-only and filled with connections."""

    def __init__(self, base: Path) -> None:
        self._base = base
        installed = postgres._installed()
        self._identity: dict[str, Any] = {}
        if os.geteuid() == 0:
            user = postgres._unprivileged()
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            installed = postgres._copy(installed, base / "programs")
        for name in ("socket", "run"):
            (base / name).mkdir(mode=0o700)
            if self._identity:
                os.chown(base / name, user.pw_uid, user.pw_gid)
        self._bin, self._data = installed / "bin", base / "run" / "data"
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "XDG_RUNTIME_DIR": str(base / "run")}
        self._options: dict[str, Any] = {
            "cwd": base / "run",
            "env": environment,
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.DEVNULL,
            "stderr": subprocess.DEVNULL,
            **self._identity,
        }
        make: list[str | Path] = [
            self._bin / "initdb",
            "-D",
            self._data,
            "-U",
            "root",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--locale=C",
        ]
        subprocess.run([*make, "--no-sync", "--no-instructions"], check=True, **self._options)
        self._process = self._run()
        self._taken: list[psycopg.Connection[Any]] = []
        self.sql(f"CREATE ROLE {_DAYPASS} LOGIN")
        self.sql(f"CREATE DATABASE daypass OWNER {_DAYPASS}")
        self.url = f"postgresql://{_DAYPASS}@/daypass?host={quote(str(base / 'socket'))}"

    def _run(self) -> subprocess.Popen[bytes]:
        settings = {**_SETTINGS, "unix_socket_directories": str(self._base / "socket")}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        process: subprocess.Popen[bytes] = subprocess.Popen(
            [self._bin / "postgres", "-D", self._data, *arguments], start_new_session=True, **self._options
        )
        until = time.monotonic() + _START_SECONDS
        while True:
            with contextlib.suppress(psycopg.OperationalError):
                self._connect("postgres").close()
                return process
            if process.poll() is not None or time.monotonic() > until:
                raise RuntimeError(f"postgres ended with {process.returncode}")
            time.sleep(0.05)

    def _connect(self, database: str, user: str = "root") -> psycopg.Connection[Any]:
        return psycopg.connect(host=str(self._base / "socket"), user=user, dbname=database, autocommit=True)

    def sql(self, statement: str) -> None:
        with self._connect("postgres") as conn:
            conn.execute(statement.encode())

    def kill(self) -> None:
        """kill -9 of the server and all its processes."""
        self._signal(signal.SIGKILL)
        self._process.wait()

    def start(self) -> None:
        """Starts it again after `kill`; it recovers from its write-ahead log."""
        (self._data / "postmaster.pid").unlink(missing_ok=True)
        self._process = self._run()

    def pause(self) -> None:
        """SIGSTOP: connections stay open and nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        self._signal(signal.SIGCONT)

    def _signal(self, number: signal.Signals) -> None:
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def be_read_only(self, *, on: bool) -> None:
        """As a standby is: every transaction of Daypass is read-only."""
        self.sql(f"ALTER ROLE {_DAYPASS} SET default_transaction_read_only = {'on' if on else 'off'}")
        self.disconnect()

    def disconnect(self) -> None:
        """Ends the connections of Daypass."""
        self.sql(f"SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = '{_DAYPASS}'")

    def take_connections(self) -> None:
        """Leaves no connection for Daypass."""
        self.sql(f"ALTER ROLE {_DAYPASS} CONNECTION LIMIT 0")
        self.disconnect()

    def give_connections(self) -> None:
        self.sql(f"ALTER ROLE {_DAYPASS} CONNECTION LIMIT -1")

    def fill_disk(self) -> None:
        """Every file of the server has its largest size now: writes that extend one fail."""
        self._limit_files("8192")

    def empty_disk(self) -> None:
        self._limit_files("unlimited")

    def _limit_files(self, size: str) -> None:
        """As the server's user, because root may lack the capability to do it for others."""
        for pid in self._processes():
            done = subprocess.run(["prlimit", f"--pid={pid}", f"--fsize={size}:"], check=False, **self._options)
            if done.returncode and Path(f"/proc/{pid}").exists():
                raise RuntimeError(f"the size of files of process {pid} cannot be limited")

    def _processes(self) -> list[int]:
        """The server and its backends, each of which has a session of its own."""
        children = Path(f"/proc/{self._process.pid}/task/{self._process.pid}/children")
        with contextlib.suppress(OSError):
            return [self._process.pid, *map(int, children.read_text().split())]
        return [self._process.pid]

    def ended(self) -> bool:
        """Whether the server has ended by itself."""
        return self._process.poll() is not None

    def close(self) -> None:
        self.resume()
        self.kill()


@contextmanager
def own_postgres() -> Iterator[Postgres]:
    with tempfile.TemporaryDirectory(prefix="daypass-chaos-pg-") as directory:
        base = Path(directory)
        base.chmod(0o711)
        server = Postgres(base)
        try:
            yield server
        finally:
            server.close()
            shutil.rmtree(base, ignore_errors=True)


class Daypass:
    """A server process that can be killed and started again on the same port and data."""

    def __init__(self, data: Path, url: str = "", workers: int = 1, **settings: str) -> None:
        self.data, self.database, self.workers = data, url, workers
        self.forks: Forks | None = None
        """The process that forks it, if it is not a program of its own."""
        self.port, self.health = free_port(), free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self._settings = settings
        self.process: subprocess.Popen[bytes] | Forked | None = None
        self.starts = 0

    def start(self, seconds: float = 60.0) -> None:
        """Returns when it is ready."""
        self.run()
        until = time.monotonic() + seconds
        while not self.ready():
            if time.monotonic() > until or (self.process is not None and self.process.poll() is not None):
                raise RuntimeError(f"the server did not start:\n{self.log()}")
            time.sleep(0.05)

    def run(self) -> None:
        """Starts it without waiting."""
        environment = {
            **os.environ,
            "DAYPASS_BOOTSTRAP": f"{KEY}:{SECRET}:{ACCOUNT}:admin",
            "DAYPASS_SERVER__HEALTH_PORT": str(self.health),
            "DAYPASS_LOG__FORMAT": "text",
            **({"DAYPASS_DATABASE__URL": self.database} if self.database else {}),
            **self._settings,
        }
        arguments = ["serve", "--port", str(self.port), "--data", str(self.data), "--workers", str(self.workers)]
        self.starts += 1
        if self.forks is not None:
            self.process = self.forks.start(arguments, environment, self.data / "server.log")
            return
        with (self.data / "server.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "daypass.cli.main", *arguments],
                env=environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def log(self) -> str:
        return (self.data / "server.log").read_text(errors="replace")[-4000:]

    def health_of(self, path: str) -> tuple[int, str]:
        """Status and body; 0 when there is no answer."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.health}{path}", timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as error:
            return error.code, error.read().decode()
        except OSError:
            return 0, ""

    def ready(self) -> bool:
        return self.health_of("/readyz")[0] == 200

    def kill(self) -> None:
        """kill -9 of all its processes."""
        assert self.process is not None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()

    def kill_worker(self) -> bool:
        """kill -9 of the worker that has run longest; the supervisor replaces it. False when there is none."""
        assert self.process is not None
        children = Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children").read_text().split()
        servers = [int(pid) for pid in children if b"multiprocessing.spawn" in _command(int(pid))]
        if not servers:
            return False
        with contextlib.suppress(ProcessLookupError):
            os.kill(min(servers, key=_started), signal.SIGKILL)
        return True

    def limit_files(self, size: int) -> None:
        """No file of the server grows beyond this size: what a full disk does to a database that is larger."""
        for pid in self._processes():
            with contextlib.suppress(ProcessLookupError, OSError):
                resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY))

    def ended(self) -> bool:
        """Whether it has ended by itself."""
        return self.process is not None and self.process.poll() is not None

    def _processes(self) -> list[int]:
        assert self.process is not None
        found = []
        for entry in Path("/proc").iterdir():
            if entry.name.isdigit():
                with contextlib.suppress(OSError):
                    if os.getpgid(int(entry.name)) == self.process.pid:
                        found.append(int(entry.name))
        return found

    def stop(self) -> None:
        assert self.process is not None
        self.process.terminate()
        try:
            self.process.wait(40)
        except subprocess.TimeoutExpired:
            self.kill()

    def api(self, method: str, path: str, body: Any = None) -> Any:
        return Connection(Profile(self.url, KEY, SECRET, "", "us-east-1")).api(method, path, body=body)


def _command(pid: int) -> bytes:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


def _started(pid: int) -> int:
    """When the process was started, in ticks since the machine was."""
    with contextlib.suppress(OSError):
        return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19])
    return sys.maxsize  # it has ended
