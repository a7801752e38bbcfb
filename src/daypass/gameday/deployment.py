"""A throwaway deployment: a server, Prometheus, Alertmanager, a receiver of alerts, a probe, and load.

Everything is on loopback, in one directory, and ends with the context.
"""

from __future__ import annotations

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from http.server import ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Self

from daypass.client.errors import ClientError
from daypass.client.http import Connection
from daypass.client.probe import CheckRun, Probe, ProbeMetrics, metrics_server
from daypass.client.profiles import Profile
from daypass.client.serving import Handler
from daypass.client.transport import NoAnswer
from daypass.monitoring.dashboards import monitoring_files
from daypass.monitoring.rules import Places

if TYPE_CHECKING:
    from daypass.gameday.cluster import Cluster

ACCOUNT: Final = "111122223333"
PACE: Final = 0.02  # of what alerts wait
_START_SECONDS: Final = 120.0
_LOAD_PAUSE: Final = 0.05
_PROBE_SECONDS: Final = 1.0


class Tls(NamedTuple):
    """The files with which a server serves HTTPS, and the authority that clients trust."""

    certificate: Path
    key: Path
    ca: Path


class Missing(Exception):
    """A program that a game day needs is not installed."""


class Received(NamedTuple):
    """An alert that Alertmanager delivered. `receiver`: page, ticket, escalate or watchdog."""

    at: float
    receiver: str
    alert: str
    labels: Mapping[str, str]


def program(*names: str) -> str:
    """The path of a program, by the first of its names that is installed. Raises Missing."""
    found = next((path for name in names if (path := shutil.which(name))), None)
    if found is None:
        raise Missing(f"{names[0]} is not installed: apt-get install {names[-1]}")
    return found


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


class _Uncorrected(Connection):
    """A client that does not correct its clock."""

    def _correct_clock(self, headers: Mapping[str, str]) -> bool:  # noqa: ARG002  # what a client of another make does
        return False


class Load:
    """Assumes a role again and again on a thread, directly and from a session that it holds. `skew` is added to its clock."""

    def __init__(self, profile: Profile, role: str, chained_role: str) -> None:
        self._profile = profile
        self._role, self._chained_role = role, chained_role
        self.skew = 0.0
        self.served = self.refused = 0
        self.row = 0  # attempts that were served, one after another
        self._held: Profile | None = None
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._thread.join(30)

    def use(self, profile: Profile) -> None:
        """Goes on with another key."""
        self._profile = profile
        self.renew()

    def renew(self) -> None:
        """Forgets the session that is held, as a restart of the workload does."""
        self._held = None

    def _run(self) -> None:
        while not self._ended.wait(_LOAD_PAUSE):
            for attempt in (self._assume, self._chain):
                try:
                    attempt()
                except (ClientError, NoAnswer):
                    self.refused += 1
                    self.row = 0
                else:
                    self.served += 1
                    self.row += 1

    def _connection(self, profile: Profile) -> Connection:
        return _Uncorrected(profile, deadline=5.0, clock=lambda: time.time() + self.skew, sleep=lambda _: None)

    def _assume(self) -> Profile:
        answer = self._connection(self._profile).sts("AssumeRole", RoleArn=self._role, RoleSessionName="load")
        key, secret, token = (
            answer.findtext(f"Credentials/{name}", "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        session = Profile(self._profile.endpoint, key, secret, token, ca_bundle=self._profile.ca_bundle)
        self._held = self._held or session
        return session

    def _chain(self) -> None:
        if self._held is not None:
            self._connection(self._held).sts("AssumeRole", RoleArn=self._chained_role, RoleSessionName="chained")


class Deployment:
    """A separate deployment. Use it as a context. `authority`: issues the certificate with which the server
    serves HTTPS; None: it serves HTTP. `cluster`: the PostgreSQL that it uses; None: SQLite.
    """

    def __init__(self, directory: Path, authority: Any = None, cluster: Cluster | None = None) -> None:
        self.directory = directory
        self.cluster = cluster
        self.data = directory / "data"
        self.authority = authority
        self._tls: Tls | None = authority.issue(60) if authority is not None else None
        self._ports = {name: free_port() for name in ("server", "prometheus", "alertmanager", "cluster")}
        self.url = f"{'https' if self._tls else 'http'}://127.0.0.1:{self._ports['server']}"
        self.prometheus_url = f"http://127.0.0.1:{self._ports['prometheus']}"
        self.received: list[Received] = []
        self.root = self._profile("AKIA" + secrets.token_hex(8).upper())
        self.user = self.root
        self.server: subprocess.Popen[bytes] | None = None
        self.programs: dict[str, subprocess.Popen[bytes]] = {}
        self._closing = ExitStack()
        self.last_checks: list[CheckRun] = []
        self.notes: dict[str, int] = {}
        """State of a scenario from its fault to its repair."""

    def _profile(self, key_id: str, secret: str = "") -> Profile:
        bundle = str(self._tls.ca) if self._tls else ""
        return Profile(self.url, key_id, secret or secrets.token_hex(20), ca_bundle=bundle)

    def __enter__(self) -> Self:
        with self._closing:
            self.data.mkdir(parents=True)
            self.start_server()
            self._closing.callback(self.stop_server)
            self._make_cast()
            self._probe = Probe(self.user, self.arn("work"), self.arn("closed"), revoke=True)
            self.load = Load(self.user, self.arn("work"), self.arn("chained"))
            self.load.start()
            self._closing.callback(self.load.stop)
            self._start_monitoring()
            self._closing = self._closing.pop_all()
        return self

    def __exit__(self, *_: object) -> None:
        self._closing.close()

    # --- the server

    def start_server(self) -> None:
        """Starts the server and waits until it is ready. Raises Missing if it does not become ready."""
        bootstrap = f"{self.root.access_key_id}:{self.root.secret_access_key}:{ACCOUNT}"
        settings = {"DAYPASS_BOOTSTRAP": bootstrap, "DAYPASS_LOG__LEVEL": "error", "DAYPASS_SPOOL__AFTER_SECONDS": "1"}
        settings["DAYPASS_SERVER__METRICS_ACCOUNTS"] = f"game-day={ACCOUNT}"
        if self.cluster is not None:
            settings["DAYPASS_DATABASE__URL"] = self.cluster.url
        arguments = ["serve", "--port", str(self._ports["server"]), "--data", str(self.data)]
        if self._tls:
            arguments += ["--tls-cert", str(self._tls.certificate), "--tls-key", str(self._tls.key)]
        self.server = self._start("server", [sys.executable, "-m", "daypass.cli.main", *arguments], settings)
        self._wait("the server", self.ready)

    def stop_server(self) -> None:
        """Ends the server."""
        if self.server is not None:
            self.server.terminate()
            self.server.wait(60)

    def ready(self) -> bool:
        """Whether the server says that it can serve."""
        run = next(Probe(Profile(self.url, "", "", ca_bundle=self.root.ca_bundle)).run())
        return not run.why

    def _start(self, name: str, command: Sequence[str], settings: Mapping[str, str] | None = None) -> Any:
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DAYPASS_", "AWS_", "PROMETHEUS_"))}
        with (self.directory / f"{name}.log").open("ab") as log:
            return subprocess.Popen(command, env={**kept, **(settings or {})}, stdout=log, stderr=log)

    def _wait(self, what: str, ready: Callable[[], bool]) -> None:
        ends = time.monotonic() + _START_SECONDS
        while not ready():
            if time.monotonic() > ends:
                raise Missing(f"{what} does not become ready; see the logs in {self.directory}")
            time.sleep(0.1)

    # --- who is in it

    def arn(self, role: str) -> str:
        return f"arn:aws:iam::{ACCOUNT}:role/{role}"

    def trust(self, *principals: str) -> str:
        """A trust policy."""
        arns = [f"arn:aws:iam::{ACCOUNT}:{each}" for each in principals]
        statement = {"Effect": "Allow", "Principal": {"AWS": arns}, "Action": "sts:AssumeRole"}
        return json.dumps({"Version": "2012-10-17", "Statement": [statement]})

    def _make_cast(self) -> None:
        root = Connection(self.root)
        root.iam("CreateUser", UserName="worker")
        may = {"Effect": "Allow", "Action": ["sts:AssumeRole", "daypass:RevokeSession"], "Resource": "*"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [may]})
        root.iam("PutUserPolicy", UserName="worker", PolicyName="p", PolicyDocument=document)
        self.user = self._new_key()
        for name, principal in (("work", "user/worker"), ("chained", "role/work"), ("closed", "user/nobody-else")):
            if name == "closed":
                root.iam("CreateUser", UserName="nobody-else")
            root.iam("CreateRole", RoleName=name, AssumeRolePolicyDocument=self.trust(principal))
        root.iam("PutRolePolicy", RoleName="work", PolicyName="p", PolicyDocument=document)

    def _new_key(self) -> Profile:
        key = Connection(self.root).iam("CreateAccessKey", UserName="worker")
        key_id, secret = (key.findtext(f"AccessKey/{name}", "") for name in ("AccessKeyId", "SecretAccessKey"))
        return self._profile(key_id, secret)

    def replace_key(self) -> None:
        """Gives the load and the probe a new key."""
        self.user = self._new_key()
        self.load.use(self.user)
        self._probe.profile = self.user

    @property
    def watched(self) -> bool:
        """Whether alerts arrive, and checks run and pass."""
        arrived = any(each.alert == "DaypassWatchdog" for each in self.received)
        return arrived and bool(self.last_checks) and not any(each.why for each in self.last_checks)

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Runs a command of `daypass` as a person would."""
        profile = self.root
        settings = {
            "DAYPASS_HOME": str(self.directory / "home"),
            "AWS_ENDPOINT_URL": profile.endpoint,
            "AWS_ACCESS_KEY_ID": profile.access_key_id,
            "AWS_SECRET_ACCESS_KEY": profile.secret_access_key,
            **({"AWS_CA_BUNDLE": profile.ca_bundle} if profile.ca_bundle else {}),
        }
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("DAYPASS_", "AWS_"))}
        command = [sys.executable, "-m", "daypass.cli.main", *arguments]
        return subprocess.run(
            command, env={**kept, **settings}, capture_output=True, text=True, check=False, timeout=60
        )

    # --- monitoring

    def _start_monitoring(self) -> None:
        prometheus = program("prometheus")
        alertmanager = program("alertmanager", "prometheus-alertmanager")
        receiver = _receiver(self.received)
        self._serve(receiver)
        metrics = ProbeMetrics("main")
        probed = metrics_server(metrics, "127.0.0.1", 0)
        self._serve(probed)
        self._start_probe(metrics)
        hooks = f"http://127.0.0.1:{receiver.server_address[1]}"
        places = Places(
            targets=(self.url.partition("//")[2],),
            probes=(f"127.0.0.1:{probed.server_address[1]}",),
            alertmanager=f"127.0.0.1:{self._ports['alertmanager']}",
            **{name: f"{hooks}/{name}" for name in ("page", "ticket", "escalate", "watchdog")},  # type: ignore[arg-type]  # all texts
            pace=PACE,
        )
        for name, text in monitoring_files(places).items():
            path = self.directory / "monitoring" / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text.replace("job_name: daypass\n", self._scheme(), 1), "utf-8")
        at = self.directory / "monitoring"
        address = f"127.0.0.1:{self._ports['alertmanager']}"
        self._run("alertmanager", alertmanager, f"--config.file={at}/alertmanager.yml", f"--storage.path={at}/alerts",
                  f"--web.listen-address={address}", "--cluster.listen-address=")  # fmt: skip
        self._wait("Alertmanager", lambda: self._answers(f"http://{address}/-/ready"))
        own = f"127.0.0.1:{self._ports['prometheus']}"
        self._run("prometheus", prometheus, f"--config.file={at}/prometheus.yml", f"--storage.tsdb.path={at}/series",
                  f"--web.listen-address={own}", "--rules.alert.resend-delay=1s")  # fmt: skip
        self._wait("Prometheus", lambda: bool(self.query('up{job="daypass"} == 1')))

    def _scheme(self) -> str:
        tls = f"    scheme: https\n    tls_config:\n      ca_file: {self._tls.ca}\n" if self._tls else ""
        return f"job_name: daypass\n{tls}"

    def _run(self, name: str, *command: str) -> None:
        process = self.programs[name] = self._start(name, command)

        def end() -> None:
            process.terminate()
            process.wait(60)

        self._closing.callback(end)

    def _serve(self, server: ThreadingHTTPServer) -> None:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        self._closing.callback(server.server_close)
        self._closing.callback(server.shutdown)

    def _start_probe(self, metrics: ProbeMetrics) -> None:
        probe = self._probe
        ended = threading.Event()

        def follow() -> None:
            while not ended.wait(_PROBE_SECONDS):
                self.last_checks = list(probe.run())
                metrics.note(self.last_checks)

        thread = threading.Thread(target=follow, daemon=True)
        thread.start()
        self._closing.callback(thread.join, 60)
        self._closing.callback(ended.set)

    def _answers(self, url: str) -> bool:
        try:
            urllib.request.urlopen(url, timeout=5).close()
        except OSError:
            return False
        return True

    def query(self, expr: str) -> list[Any]:
        """The result of an instant query; empty while Prometheus does not answer."""
        url = f"{self.prometheus_url}/api/v1/query?{urllib.parse.urlencode({'query': expr})}"
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                found: list[Any] = json.load(answer)["data"]["result"]
        except urllib.error.HTTPError as error:
            if error.code < 500:
                raise ValueError(f"{expr}: {error.read().decode()}") from None
            return []
        except OSError:
            return []
        return found


def _receiver(received: list[Received]) -> ThreadingHTTPServer:
    class Receiver(Handler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["content-length"])))
            for alert in body["alerts"]:
                if alert["status"] == "firing":
                    labels = alert["labels"]
                    received.append(Received(time.time(), self.path[1:], labels["alertname"], labels))
            self.answer(200)

    return ThreadingHTTPServer(("127.0.0.1", 0), Receiver)
