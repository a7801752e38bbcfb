"""Two PostgreSQL servers with streaming replication, from the programs on this machine.

The servers listen on Unix sockets only, keep what they confirm, and are the only processes that are ever signalled here.
"""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import psycopg

_SECONDS: Final = 60.0
_PROGRAMS: Final = ("initdb", "postgres", "pg_basebackup")
_SETTINGS: Final = {
    "listen_addresses": "",
    "fsync": "on",
    "max_connections": "100",
    "shared_buffers": "32MB",
    "wal_level": "replica",
    "max_wal_senders": "8",
    "wal_keep_size": "128MB",
    "hot_standby": "on",
    "log_min_messages": "panic",
    "wal_receiver_status_interval": "1s",
    "wal_retrieve_retry_interval": "200ms",
}


def programs() -> Path | None:
    """The directory of the newest PostgreSQL on this machine; None without one."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda each: float(each.parts[-2]), reverse=True)
    on_path = map(Path, os.get_exec_path())
    return next((each for each in (*debian, *on_path) if all((each / name).is_file() for name in _PROGRAMS)), None)


class DatabaseServer:
    """One server. `socket`: the folder of its socket, which names it in connection strings."""

    def __init__(self, base: Path, name: str) -> None:
        self.name, self.socket, self.data = name, base / f"{name}-socket", base / f"{name}-run" / "data"
        self.process: subprocess.Popen[bytes] | None = None

    def sql(self, statement: str) -> Any:
        """Runs one statement, and returns its first row, if it has one."""
        with psycopg.connect(host=str(self.socket), user="root", dbname="postgres", autocommit=True) as conn:
            cursor = conn.execute(statement.encode())
            return cursor.fetchone() if cursor.description else None

    def url(self) -> str:
        """The URL of Daypass's database on this server alone."""
        return f"postgresql://daypass@/daypass?host={quote(str(self.socket))}"


class Cluster:
    """A primary and a standby. After a failover `primary` and `standby` have changed places.

    Args:
        base: an empty directory, which the servers' user can pass through.
        bin: the directory of PostgreSQL's programs.
        synchronous: the primary confirms what the standby has.
        user: whose processes the servers are; None: this process's user, who must not be root.
    """

    def __init__(
        self, base: Path, bin: Path, *, synchronous: bool = True, user: pwd.struct_passwd | None = None  # noqa: A002  # its usual name
    ) -> None:  # fmt: skip
        self._synchronous = synchronous
        self._bin = bin
        self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []} if user else {}
        owner = (user.pw_uid, user.pw_gid) if user else (os.getuid(), os.getgid())
        self.primary, self.standby = (DatabaseServer(base, name) for name in ("one", "two"))
        for node in (self.primary, self.standby):
            for folder in (node.socket, node.data.parent):
                folder.mkdir(mode=0o700)
                os.chown(folder, *owner)
        make = ["-U", "root", "-A", "trust", "-E", "UTF8", "--locale=C", "--no-sync", "--no-instructions"]
        self._program(self.primary, "initdb", "-D", str(self.primary.data), *make)
        self._start(self.primary)
        self.primary.sql("CREATE ROLE daypass LOGIN")
        self.primary.sql("CREATE DATABASE daypass OWNER daypass")
        self.follow()

    @property
    def url(self) -> str:
        """Names both servers: libpq connects to the one that accepts writes."""
        hosts = ",".join(str(node.socket) for node in sorted((self.primary, self.standby), key=lambda node: node.name))
        return f"postgresql://daypass@/daypass?host={quote(hosts, safe='')}&target_session_attrs=read-write"

    def follow(self) -> None:
        """Makes the standby anew, as a copy of the primary that streams from it."""
        self.kill(self.standby)
        shutil.rmtree(self.standby.data, ignore_errors=True)
        self._program(
            self.standby, "pg_basebackup", "-D", str(self.standby.data), "-R", "-c", "fast", "-d", self._source()
        )
        self._start(self.standby)
        self.wait(lambda: bool(self.primary.sql("SELECT 1 FROM pg_stat_replication WHERE state = 'streaming'")))
        names = "standby" if self._synchronous else ""
        self.primary.sql(f"ALTER SYSTEM SET synchronous_standby_names = '{names}'")
        self.primary.sql("SELECT pg_reload_conf()")

    def _source(self) -> str:
        return f"host={self.primary.socket} user=root application_name=standby"

    def promote(self) -> None:
        """The standby accepts writes and is the primary from now on."""
        self.standby.sql("ALTER SYSTEM SET synchronous_standby_names = ''")
        self.standby.sql("SELECT pg_promote(true, 60)")
        self.primary, self.standby = self.standby, self.primary

    def kill(self, node: DatabaseServer) -> None:
        """Ends a server and its processes at once."""
        process = node.process
        if process is None or process.poll() is not None:
            return
        children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
        pids = [process.pid, *map(int, children.read_text().split())]
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        process.wait()
        (node.data / "postmaster.pid").unlink(missing_ok=True)

    def close(self) -> None:
        for node in (self.primary, self.standby):
            self.kill(node)

    def _start(self, node: DatabaseServer) -> None:
        settings = {**_SETTINGS, "unix_socket_directories": str(node.socket)}
        arguments = [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        command: list[str | Path] = [self._bin / "postgres", "-D", node.data, *arguments]
        node.process = subprocess.Popen(command, start_new_session=True, **self._options(node))

        def answers() -> bool:
            with contextlib.suppress(psycopg.OperationalError):
                node.sql("SELECT 1")
                return True
            assert node.process is not None
            assert node.process.poll() is None, "postgres ended"
            return False

        self.wait(answers)

    def _program(self, node: DatabaseServer, name: str, *arguments: str) -> None:
        subprocess.run([self._bin / name, *arguments], check=True, **self._options(node))

    def _options(self, node: DatabaseServer) -> dict[str, Any]:
        environment = {"PATH": "/usr/bin:/bin", "LC_ALL": "C", "TZ": "UTC", "XDG_RUNTIME_DIR": str(node.data.parent)}
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return {"cwd": node.data.parent, "env": environment, **quiet, **self._identity}

    @staticmethod
    def wait(condition: Callable[[], bool]) -> None:
        """Waits until it holds, at most for a minute."""
        end = time.monotonic() + _SECONDS
        while not condition():
            assert time.monotonic() < end, "not in time"
            time.sleep(0.05)
