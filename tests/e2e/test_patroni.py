"""PostgreSQL under Patroni and etcd: a switchover and the death of the leader's machine, under load, with the spool.

Patroni's settings are those of deploy/compose, but for ports, paths and passwords.

Needs the programs `etcd` (Debian: etcd-server) and `patroni` (Debian: patroni and python3-etcd).
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import pytest
import yaml
from tests import postgres
from tests.e2e.conftest import running
from tests.e2e.load import loading
from tests.e2e.test_failover import ready
from tests.e2e.test_hanging_database import issued
from tests.e2e.test_running import cli, make_role, within
from tests.packaging.deployment import PATRONI_MACHINE
from tests.processes import free_port

pytestmark = pytest.mark.slow
_PROGRAMS = ("postgres", "initdb", "pg_basebackup", "pg_ctl", "pg_controldata", "pg_isready", "pg_rewind", "psql")
_SECONDS = 120.0
_PASSWORD = "of-the-test"


class PatroniCluster:
    """One etcd and two machines, each with Patroni and PostgreSQL."""

    def __init__(self, base: Path, stack: ExitStack) -> None:
        self._base = base
        self._identity: dict[str, Any] = {}
        installed = postgres._installed()
        if os.geteuid() == 0:
            user = postgres._unprivileged()
            self._identity = {"user": user.pw_uid, "group": user.pw_gid, "extra_groups": []}
            os.chown(base, user.pw_uid, user.pw_gid)
            installed = postgres._copy(installed, base / "programs", _PROGRAMS)
        self._bin = installed / "bin"
        shutil.copy(PATRONI_MACHINE.with_name("create_database.sh"), base)
        self._etcd = self._start_etcd(stack)
        self.names = ("one", "two")
        self.postgres_ports = {name: free_port() for name in self.names}
        self.api_ports = {name: free_port() for name in self.names}
        self.processes = {}
        for name in self.names:
            self.processes[name] = self._run(name)
            stack.callback(self.kill, name)
            self.wait(lambda: self.leader() is not None)
        self.wait(self._has_standby)

    @property
    def url(self) -> str:
        ports = ",".join(str(self.postgres_ports[name]) for name in self.names)
        return f"postgresql://daypass:{_PASSWORD}@/daypass?host=127.0.0.1,127.0.0.1&port={ports}&target_session_attrs=read-write"

    def _start_etcd(self, stack: ExitStack) -> int:
        client, peer = free_port(), free_port()
        program = shutil.which("etcd")
        assert program is not None
        urls = [f"http://127.0.0.1:{port}" for port in (client, peer)]
        command = [program, "--data-dir", str(self._base / "etcd"), "--listen-client-urls", urls[0]]
        command += ["--advertise-client-urls", urls[0], "--listen-peer-urls", urls[1], "--log-level", "error"]
        command += ["--initial-advertise-peer-urls", urls[1], "--initial-cluster", f"default={urls[1]}"]
        process = subprocess.Popen(command, **self._options())
        stack.callback(_end, process)
        return client

    def _options(self) -> dict[str, Any]:
        environment = {
            "PATH": f"{self._bin}:/usr/bin:/bin",
            "DAYPASS_DB_PASSWORD": _PASSWORD,
            "LC_ALL": "C",
            "TZ": "UTC",
            "HOME": str(self._base),
        }
        quiet = {"stdin": subprocess.DEVNULL, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
        return {"cwd": self._base, "env": environment, "start_new_session": True, **quiet, **self._identity}

    def _run(self, name: str) -> subprocess.Popen[bytes]:
        configuration = yaml.safe_load(PATRONI_MACHINE.read_text())
        configuration |= {"name": name, "etcd3": {"host": f"127.0.0.1:{self._etcd}"}}
        configuration["restapi"] = {"listen": f"127.0.0.1:{self.api_ports[name]}"}
        configuration["bootstrap"]["post_bootstrap"] = str(self._base / "create_database.sh")
        configuration["postgresql"] |= {
            "listen": f"127.0.0.1:{self.postgres_ports[name]}",
            "data_dir": str(self._base / name),
            "bin_dir": str(self._bin),
            "pgpass": str(self._base / f"{name}.pgpass"),
            "authentication": {
                "superuser": {"username": "postgres", "password": "super"},
                "replication": {"username": "replicator", "password": "replica"},
                "rewind": {"username": "postgres", "password": "super"},
            },
            "use_unix_socket": False,  # its user is that of the test, not postgres
        }
        configuration["postgresql"]["parameters"] |= {
            "unix_socket_directories": str(self._base),
            "shared_buffers": "32MB",
        }
        file = self._base / f"{name}.yaml"
        file.write_text(yaml.safe_dump(configuration))
        file.chmod(0o644)
        log = (self._base / f"{name}.log").open("wb")
        with log:
            options = {**self._options(), "stdout": log, "stderr": log}
            return subprocess.Popen(["patroni", str(file)], **options)

    def leader(self) -> str | None:
        """The name of the leader, as the machines that answer say."""
        for name in self.names:
            with contextlib.suppress(OSError), self._api(name, "/primary") as answer:
                if answer.status == 200:
                    return name
        return None

    def _api(self, name: str, path: str, body: Any = None) -> Any:
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{self.api_ports[name]}{path}", data=data)
        return urllib.request.urlopen(request, timeout=60)

    def _has_standby(self) -> bool:
        """Whether etcd names a synchronous standby: only that one may become the leader."""
        for name in self.names:
            with contextlib.suppress(OSError), self._api(name, "/sync") as answer:
                if answer.status == 200:
                    return True
        return False

    def switch_over(self) -> None:
        """A planned change of the leader, by Patroni's API."""
        leader = self.leader()
        assert leader is not None
        [other] = [name for name in self.names if name != leader]
        with self._api(leader, "/switchover", {"leader": leader, "candidate": other}) as answer:
            assert answer.status == 200
        self.wait(lambda: self.leader() == other)
        self.wait(self._has_standby)

    def kill_leader(self) -> None:
        """The machine of the leader dies: kill -9 of Patroni and PostgreSQL. The other one becomes the leader."""
        leader = self.leader()
        assert leader is not None
        self.kill(leader)
        self.wait(lambda: self.leader() not in (None, leader))

    def kill(self, name: str) -> None:
        process = self.processes[name]
        pidfile = self._base / name / "postmaster.pid"
        if process.poll() is None:
            process.kill()
            process.wait()
        with contextlib.suppress(OSError, ValueError, IndexError):
            pid = int(pidfile.read_text().split()[0])
            children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
            for each in (pid, *map(int, children)):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(each, signal.SIGKILL)
            pidfile.unlink()

    def wait(self, condition: Any) -> None:
        end = time.monotonic() + _SECONDS
        while not condition():
            logs = "".join((self._base / f"{name}.log").read_text()[-1500:] for name in self.processes)
            assert time.monotonic() < end, logs
            time.sleep(0.1)


def _end(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()


@contextmanager
def patroni() -> Iterator[PatroniCluster]:
    """A cluster, gone after the block. Skips the test where a program is missing."""
    for program, package in (("etcd", "etcd-server"), ("patroni", "patroni")):
        if shutil.which(program) is None:
            pytest.skip(f"{program} is not installed (Debian: {package})")
    if subprocess.run(["/usr/bin/python3", "-c", "import etcd"], capture_output=True, check=False).returncode:
        pytest.skip("Patroni cannot speak to etcd (Debian: python3-etcd)")
    with ExitStack() as stack:
        folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="daypass-patroni-", ignore_cleanup_errors=True))
        base = Path(folder)
        base.chmod(0o755)
        yield PatroniCluster(base, stack)


def test_patroni_switchover_and_death_of_the_leader_refuse_nothing_and_lose_nothing(tmp_path: Path) -> None:
    with patroni() as cluster, running(tmp_path / "data", environment={"DAYPASS_DATABASE__URL": cluster.url}) as server:
        role = make_role(server)
        with loading(role, [server], 2, 0.05) as load:
            load.wait_for(20)
            cluster.switch_over()
            load.wait_for(20)
            within(60, lambda: ready(server))
            cluster.kill_leader()
            load.wait_for(20)
            within(60, lambda: ready(server))
            load.wait_for(20)
        assert load.failed == []
        recorded = issued(cluster.url)
        assert {*load.issued} <= {*recorded}
        assert max(recorded.values()) == 1
        verified = cli("audit", "verify", "--url", cluster.url)
        assert verified.returncode == 0, verified.stdout + verified.stderr
