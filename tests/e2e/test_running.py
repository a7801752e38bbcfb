"""Running it: several processes on one database, stopping and dying, TLS, settings, and the AWS command line."""

from __future__ import annotations

import asyncio
import base64
import http.client
import json
import os
import re
import secrets
import signal
import socket
import sqlite3
import ssl
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
import structlog
from botocore.exceptions import ClientError
from tests.e2e.conftest import ADMIN_KEY, BOOTSTRAP, OPERATOR, ROOT_KEYS, Server, running, session_key
from tests.e2e.pki import Pki
from tests.prepared import prepare_sqlite
from tests.processes import bound, free_port

from daypass import sigv4
from daypass.audit.stored import event_bytes
from daypass.cli.main import run
from daypass.client.http import Connection
from daypass.client.profiles import Profile
from daypass.config import Settings
from daypass.domain.events import decode
from daypass.operations.accounts import bootstrap, parse
from daypass.server import process
from daypass.server.runtime import Runtime
from daypass.stores.engine import open_database
from daypass.stores.records import audit_records, sessions

AWS = Path(sys.executable).parent / "aws"


def trusting(principal: str) -> str:
    statement = {"Effect": "Allow", "Principal": {"AWS": principal}, "Action": "sts:AssumeRole"}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


def make_role(server: Server, name: str = "ops") -> str:
    iam = server.client("iam")
    arn: str = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(OPERATOR))["Role"]["Arn"]
    iam.attach_role_policy(RoleName=name, PolicyArn="arn:aws:iam::aws:policy/AdministratorAccess")
    return arn


def within(seconds: float, what: Callable[[], bool]) -> float:
    """Waits until `what` holds; how long that took. Fails when it takes longer.

    A look every fiftieth of a second, and what looking takes: a machine that is busy with other things, and so with the
    server, comes to fewer than twenty-five looks a second, and has until it has made as many.
    """
    begun, looks = time.monotonic(), 0
    while not what():
        looks += 1
        assert time.monotonic() - begun < seconds or looks < 25 * seconds, "not in time"
        time.sleep(0.02)
    return time.monotonic() - begun


def code_of(call: Callable[[], Any]) -> str:
    try:
        call()
    except ClientError as error:
        return str(error.response["Error"]["Code"])
    return ""


def cli(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "daypass.cli.main", *arguments]
    return subprocess.run(
        command, env={**os.environ, **environment}, capture_output=True, text=True, timeout=300, check=False
    )


Serve = Callable[..., tuple[int, str]]


@pytest.fixture
def serve(monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Iterator[Serve]:
    """`daypass serve` in this process, for what it must refuse before it listens: exit status and all output."""
    monkeypatch.setattr(process, "_run", lambda *_: pytest.fail("it was about to serve"))

    def call(*arguments: str, **environment: str) -> tuple[int, str]:
        for name, value in environment.items():
            monkeypatch.setenv(name, value)
        status = run(["serve", *arguments])
        return status, "".join(capfd.readouterr())

    yield call
    structlog.reset_defaults()


def test_a242_serve_where_a_process_may_open_few_files_does_not_start_and_says_why(
    serve: Serve, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(process, "raise_file_limit", lambda: 128)
    status, output = serve("--data", str(tmp_path / "data"))
    assert status == 6
    assert "only 128 files" in output
    assert "LimitNOFILE" in output
    assert not (tmp_path / "data").exists()


def raw_assume(server: Server, role: str, name: str, key: tuple[str, ...] = ADMIN_KEY) -> tuple[dict[str, str], bytes]:
    """Headers and body of one signed AssumeRole, for clients that are not SDKs."""
    form = {"Action": "AssumeRole", "Version": "2011-06-15", "RoleArn": role, "RoleSessionName": name}
    body = urlencode(form).encode()
    signing = sigv4.SigningKey(key[0], key[1], "eu-central-1", "sts")
    host = server.url.partition("//")[2]
    return sigv4.sign(signing, "POST", "/", "", {"host": host}, body, int(time.time() * 1000)), body


# --- Several processes -------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_second_process_on_the_same_data_sees_writes_and_revocations_within_a_second(server: Server) -> None:
    name, one = f"ann-{secrets.token_hex(4)}", server
    with running(one.data, environment=one.settings) as two:
        role = make_role(one, f"ops-{secrets.token_hex(4)}")
        made = one.client("iam").create_user(UserName=name)
        key = one.client("iam").create_access_key(UserName=name)["AccessKey"]
        ann = key["AccessKeyId"], key["SecretAccessKey"]
        assert two.client("sts", ann).get_caller_identity()["Arn"] == made["User"]["Arn"], "at once: a miss polls"
        sts = two.client("sts", ann)
        assert code_of(lambda: sts.assume_role(RoleArn=role, RoleSessionName="job")) == "AccessDenied"
        admin = "arn:aws:iam::aws:policy/AdministratorAccess"
        one.client("iam").attach_user_policy(UserName=name, PolicyArn=admin)
        answer = sts.assume_role(RoleArn=role, RoleSessionName="job")
        on_one, on_two = (s.client("sts", session_key(answer)) for s in (one, two))
        assert on_one.get_caller_identity()["Arn"] == on_two.get_caller_identity()["Arn"]

        one.client("iam").detach_user_policy(UserName=name, PolicyArn=admin)
        within(1.0, lambda: code_of(lambda: sts.assume_role(RoleArn=role, RoleSessionName="job")) == "AccessDenied")

        connection = Connection(Profile(one.url, *ROOT_KEYS[OPERATOR]))
        connection.api("POST", "/revocations", body={"subject": "access_key", "value": ann[0]})
        assert code_of(on_one.get_caller_identity) == "ExpiredToken"
        within(1.0, lambda: code_of(on_two.get_caller_identity) == "ExpiredToken")

        one.client("iam").update_access_key(UserName=name, AccessKeyId=ann[0], Status="Inactive")
        within(1.0, lambda: code_of(sts.get_caller_identity) == "InvalidClientTokenId")


@pytest.mark.slow
def test_health_port_of_several_workers_serves_health_and_metrics(tmp_path: Path) -> None:
    port = free_port()
    with running(tmp_path, "--workers", "2", environment={"DAYPASS_SERVER__HEALTH_PORT": str(port)}) as server:
        for path, base in (
            ("healthz", port),
            ("readyz", port),
            ("metrics", port),
            ("healthz", server.url.rpartition(":")[2]),
        ):
            with urllib.request.urlopen(f"http://127.0.0.1:{base}/{path}", timeout=60) as answer:
                assert answer.status == 200
        with pytest.raises(urllib.error.HTTPError, match="404") as refused:
            urllib.request.urlopen(f"{server.url}/metrics", timeout=60)
        refused.value.close()


@pytest.mark.slow
def test_workers_share_the_port_and_the_record_and_end_with_their_parent(tmp_path: Path) -> None:
    with running(tmp_path, "--workers", "2") as server:
        role = make_role(server)
        for at in range(20):  # each on a connection of its own
            headers, body = raw_assume(server, role, f"job-{at}")
            with urllib.request.urlopen(urllib.request.Request(server.url, body, headers), timeout=60) as answer:
                assert answer.status == 200
        count = 'daypass_requests_total{code="OK",operation="sts:AssumeRole"} 20.0'
        # A request is counted when its answer has been sent: the other worker may be asked a moment earlier.
        within(5, lambda: count in urllib.request.urlopen(f"{server.url}/metrics", timeout=60).read().decode())
        children = Path(f"/proc/{server.process.pid}/task/{server.process.pid}/children")
        workers = children.read_text().split()
        assert len(workers) >= 2
        server.process.kill()
        within(5, lambda: _refuses(("127.0.0.1", int(server.url.rpartition(":")[2]))))
    assert cli("audit", "verify", "--data", str(tmp_path)).returncode == 0


@pytest.mark.slow
def test_workers_that_cannot_start_end_the_server_at_once_and_in_failure(tmp_path: Path) -> None:
    settings = Settings.model_validate({"server": {"data": str(tmp_path)}})
    prepare_sqlite(tmp_path / "daypass.db")
    with asyncio.Runner() as runner:  # the database is there, with its key
        runtime = Runtime(settings)
        runner.run(runtime.start())
        runner.run(bootstrap(runtime.env, parse(BOOTSTRAP)))
        runner.run(runtime.stop())
    (tmp_path / "master.key").write_bytes(base64.b64encode(bytes(32)))  # not the one of this database
    ended = cli("serve", "--workers", "2", "--port", "0", "--data", str(tmp_path))
    assert ended.returncode == 1
    assert "the key-encryption key is not the one of this database" in ended.stderr


# --- Stopping and dying ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("workers", ["1", pytest.param("2", marks=pytest.mark.slow)])
def test_sigterm_lets_a_request_in_flight_complete_and_refuses_new_connections(tmp_path: Path, workers: str) -> None:
    with running(tmp_path, "--workers", workers) as server:
        role = make_role(server)
        headers, body = raw_assume(server, role, "last")
        head = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
        address = ("127.0.0.1", int(server.url.rpartition(":")[2]))
        with socket.create_connection(address, 10) as connection:
            begun = f"POST / HTTP/1.1\r\n{head}content-length: {len(body)}\r\n\r\n".encode() + body[:10]
            connection.sendall(begun)
            time.sleep(0.3)
            server.process.send_signal(signal.SIGTERM)
            within(5, lambda: _refuses(address))
            assert server.process.poll() is None, "it waits for the request"
            connection.sendall(body[10:])
            answer = http.client.HTTPResponse(connection)
            answer.begin()
            assert answer.status == 200
            assert b"<SessionToken>" in answer.read()
        assert server.process.wait(120) == 0
    assert cli("audit", "verify", "--data", str(tmp_path)).returncode == 0
    with sqlite3.connect(tmp_path / "daypass.db") as database:
        closed = "SELECT count(*) FROM audit_records WHERE type = 'log.closed'"
        opened = "SELECT count(*) FROM audit_logs"
        assert database.execute(closed).fetchone() == database.execute(opened).fetchone()
    database.close()


def _refuses(address: tuple[str, int]) -> bool:
    try:
        socket.create_connection(address, 1).close()
    except OSError:
        return True
    return False


@pytest.mark.slow
def test_kill_under_load_loses_no_acknowledged_session(tmp_path: Path) -> None:
    """kill -9 while eight clients assume a role: whatever was answered is on the record, which verifies, and still works."""
    with running(tmp_path) as server:
        role = make_role(server)
        acknowledged: list[tuple[str, bytes]] = []
        threads = [threading.Thread(target=_load, args=(server, role, at, acknowledged)) for at in range(8)]
        for thread in threads:
            thread.start()
        within(20, lambda: len(acknowledged) > 100)
        server.process.kill()
        for thread in threads:
            thread.join(10)
        assert server.process.wait(120) == -signal.SIGKILL
    with running(tmp_path) as server:
        newest = acknowledged[-1][1].decode()
        key = tuple(
            newest.partition(f"<{n}>")[2].partition("<")[0] for n in ("AccessKeyId", "SecretAccessKey", "SessionToken")
        )
        assert server.client("sts", key).get_caller_identity()["Account"] == OPERATOR
    verified = cli("audit", "verify", "--data", str(tmp_path))
    assert verified.returncode == 0, verified.stdout + verified.stderr
    records, indexed = _sessions_on_record(tmp_path / "daypass.db")
    assert {request_id for request_id, _ in acknowledged} <= set(records.values())
    assert records.keys() == indexed


def _sessions_on_record(file: Path) -> tuple[dict[tuple[str, int], str], set[tuple[str, int]]]:
    """The request ids of the events of issued sessions by log and sequence number, and those that the index names."""
    database = open_database(f"sqlite:///{file}")
    try:
        stored = database.read(lambda conn: event_bytes(conn, conn.execute(audit_records.select()).all()))
        indexed = database.read(lambda conn: {(row.log, row.seq) for row in conn.execute(sessions.select())})
    finally:
        database.close()
    events = {place: decode(data) for place, data in stored.items()}
    return {place: e["request_id"] for place, e in events.items() if e["type"] == "session.issued"}, indexed


def _load(server: Server, role: str, number: int, acknowledged: list[tuple[str, bytes]]) -> None:
    host = server.url.partition("//")[2]
    connection = http.client.HTTPConnection(host, timeout=60)
    try:
        for at in range(10_000):
            headers, body = raw_assume(server, role, f"load-{number}-{at}")
            connection.request("POST", "/", body, {**headers, "Content-Length": str(len(body))})
            answer = connection.getresponse()
            content = answer.read()
            if answer.status == 200:
                acknowledged.append((answer.headers["x-amzn-RequestId"], content))
    except (OSError, http.client.HTTPException):
        pass
    finally:
        connection.close()


# --- TLS ---------------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_tls_serves_those_whom_the_client_ca_vouches_for(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    ours = ssl.create_default_context(cafile=str(pki.ca))
    ours.load_cert_chain(pki.client_cert, pki.client_key)
    options = ("--tls-cert", str(pki.server_cert), "--tls-key", str(pki.server_key), "--client-ca", str(pki.ca))
    with running(tmp_path / "data", *options, tls=ours) as server:
        port = server.url.rpartition(":")[2]
        identity = server.client("sts", client_cert=(str(pki.client_cert), str(pki.client_key)), verify=str(pki.ca))
        assert identity.get_caller_identity()["Account"] == OPERATOR
        without = ssl.create_default_context(cafile=str(pki.ca))
        foreign = ssl.create_default_context(cafile=str(pki.ca))
        foreign.load_cert_chain(pki.foreign_cert, pki.foreign_key)
        for context in (without, foreign):
            with pytest.raises((ssl.SSLError, OSError)):
                urllib.request.urlopen(f"{server.url}/healthz", timeout=60, context=context).close()
        with pytest.raises((urllib.error.URLError, http.client.HTTPException, OSError)):
            urllib.request.urlopen(f"http://127.0.0.1:{port}/healthz", timeout=60).close()
        old = ssl.create_default_context(cafile=str(pki.ca))
        old.load_cert_chain(pki.client_cert, pki.client_key)
        old.set_ciphers("ALL:@SECLEVEL=0")
        old.maximum_version = ssl.TLSVersion.TLSv1_2
        urllib.request.urlopen(f"{server.url}/healthz", timeout=60, context=old).close()


@pytest.mark.slow
def test_tls_client_that_keeps_its_connection_does_not_hold_up_a_stop(tmp_path: Path) -> None:
    pki = Pki(tmp_path)
    context = ssl.create_default_context(cafile=str(pki.ca))
    options = ("--tls-cert", str(pki.server_cert), "--tls-key", str(pki.server_key))
    drain = {"DAYPASS_SERVER__DRAIN_SECONDS": "600"}  # what a client that holds it up would make it wait
    with running(tmp_path / "data", *options, environment=drain, tls=context) as server:
        keeping = server.client("sts", verify=str(pki.ca))
        assert keeping.get_caller_identity()["Account"] == OPERATOR
        server.process.terminate()
        assert server.process.wait(120) == 0


@pytest.mark.parametrize("missing", ["--tls-cert", "--tls-key"])
def test_tls_half_configured_refuses_start(tmp_path: Path, missing: str, serve: Serve) -> None:
    pki = Pki(tmp_path)
    given = {"--tls-cert": pki.server_cert, "--tls-key": pki.server_key}
    del given[missing]
    options = [str(part) for pair in given.items() for part in pair]
    status, said = serve("--port", "0", "--data", str(tmp_path), *options)
    assert status not in (0, 1)
    assert "tls_cert and server.tls_key go together" in said
    assert "Traceback" not in said


# --- Settings ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("environment", "says"),
    [
        ({"DAYPASS_SERVER__PROT": "1"}, "'prot' is not a setting"),
        ({"DAYPASS_DATABASE__URL": "mysql://u:canary@h/d"}, "database.url"),
        ({"DAYPASS_BOOTSTRAP": f"{'A' * 16}:canary:111122223333,{'B' * 16}:canary:1"}, "entry 2: an account id"),
        ({"DAYPASS_BOOTSTRAP": f"{'A' * 16}:canary:111122223333:a/b"}, "not a user name"),
    ],
)
def test_serve_unusable_setting_refused_without_showing_it(
    tmp_path: Path, environment: dict[str, str], says: str, serve: Serve
) -> None:
    status, said = serve("--port", "0", "--data", str(tmp_path / "data"), **environment)
    assert status not in (0, 1)
    assert says in said
    assert "canary" not in said
    assert "Traceback" not in said


@pytest.mark.slow
def test_serve_key_that_is_none_refused_without_showing_it(tmp_path: Path) -> None:
    """Found only when it starts to serve, after everything else."""
    refused = cli("serve", "--port", "0", "--data", str(tmp_path / "data"), DAYPASS_KEYS__ENCRYPTION_KEY="canary")
    assert refused.returncode not in (0, 1, -signal.SIGKILL)
    assert "key" in refused.stderr
    assert "canary" not in refused.stdout + refused.stderr
    assert "Traceback" not in refused.stderr


def test_serve_unknown_setting_in_the_file_refused(tmp_path: Path, serve: Serve) -> None:
    (tmp_path / "daypass.toml").write_text("[server]\nprot = 1")
    status, said = serve("--config", str(tmp_path / "daypass.toml"), "--data", str(tmp_path))
    assert status not in (0, 1)
    assert "'prot' is not a setting" in said
    assert "Traceback" not in said


@pytest.mark.slow
@pytest.mark.parametrize("workers", ["1", "2"])
def test_serve_start_that_fails_does_not_say_that_it_listens(tmp_path: Path, workers: str) -> None:
    with running(tmp_path, "--workers", workers) as server:
        within(60, lambda: f"Daypass listens on {server.url}\n" in server.log.read_text())
    (tmp_path / "master.key").unlink()
    command = [sys.executable, "-m", "daypass.cli.main", "serve", "--port", "0", "--data", str(tmp_path)]
    environment = {name: text for name, text in os.environ.items() if name != "DAYPASS_BOOTSTRAP"}
    failed = subprocess.run(
        bound([*command, "--workers", workers]),
        env=environment,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert failed.returncode != 0
    assert "master.key is missing" in failed.stderr
    assert "listens" not in failed.stdout + failed.stderr


@pytest.mark.slow
def test_serve_kubernetes_variables_and_second_bootstrap_change_nothing(tmp_path: Path) -> None:
    """A Service of our name injects DAYPASS_PORT; a bootstrap is for a new database alone. A key id may be long."""
    long_id = "x_" + "Y9" * 63
    first = f"{long_id}:{'s' * 40}:{OPERATOR},{':'.join(ADMIN_KEY)}:{OPERATOR}:admin"
    injected = {"DAYPASS_PORT": "tcp://10.0.0.1:80", "DAYPASS_SERVICE_HOST": "10.0.0.1"}
    with running(tmp_path, environment={**injected, "DAYPASS_BOOTSTRAP": first}) as server:
        arn = server.client("sts", (long_id, "s" * 40)).get_caller_identity()["Arn"]
        assert arn == f"arn:aws:iam::{OPERATOR}:root"
        assert server.client("sts").get_caller_identity()["Arn"].endswith(":user/admin")
    assert first != BOOTSTRAP
    with running(tmp_path) as server:
        assert code_of(server.client("sts", ROOT_KEYS[OPERATOR]).get_caller_identity) == "InvalidClientTokenId"
        assert server.client("sts", (long_id, "s" * 40)).get_caller_identity()["Arn"] == arn
    for file in tmp_path.glob("server-*.log"):
        assert "s" * 40 not in file.read_text()


# --- The AWS command line ----------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a108_bytes_that_are_not_http_are_on_the_record_of_a_running_server(tmp_path: Path) -> None:
    with running(tmp_path) as server:
        port = int(server.url.rpartition(":")[2])
        for _ in range(3):
            with socket.create_connection(("127.0.0.1", port)) as sock:
                sock.sendall(b"\x16\x03\x01 no HTTP\r\n\r\n")
                assert sock.recv(1000).startswith(b"HTTP/1.1 400")
    database = open_database(f"sqlite:///{tmp_path}/daypass.db")
    try:
        stored = database.read(lambda conn: event_bytes(conn, conn.execute(audit_records.select()).all()))
    finally:
        database.close()
    [counted] = [body for body in map(decode, stored.values()) if body["type"] == "request.repeated"]
    assert (counted["error"], counted["detail"]["count"]) == ("malformed_request", 3)


def test_a448_request_before_junk_in_one_packet_is_answered_then_400(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=120) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\n\r\n" * 2 + b"\x16\x03\x01 junk\r\n\r\n")
        got = b"".join(iter(lambda: client.recv(65_536), b""))
    assert re.findall(rb"HTTP/1.1 ([0-9]+)", got) == [b"200", b"200", b"400"]


def test_request_with_a_header_of_a_megabyte_is_answered_431(server: Server) -> None:
    with socket.create_connection(("127.0.0.1", int(server.url.rsplit(":", 1)[1])), timeout=120) as client:
        client.sendall(b"GET /readyz HTTP/1.1\r\nHost: h\r\nX: " + b"a" * 1_000_000 + b"\r\n\r\n")
        got = b"".join(iter(lambda: client.recv(65_536), b""))
    assert got.startswith(b"HTTP/1.1 431 ")
    assert b"connection: close" in got
