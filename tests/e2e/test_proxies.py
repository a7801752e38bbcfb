"""The examples for nginx and HAProxy with the real programs: TLS, signatures, source addresses, streams, a server that ends."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import ssl
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from tests.e2e.conftest import ADMIN_KEY, Server, running
from tests.e2e.pki import Pki
from tests.processes import bound, free_port, until_listening

from daypass import sigv4
from daypass.client.errors import ClientError as DaypassError
from daypass.client.http import Connection
from daypass.client.profiles import Profile

pytestmark = pytest.mark.slow
PROXY = Path(__file__).resolve().parents[2] / "deploy/proxy"


def replaced(text: str, *pairs: tuple[str, str]) -> str:
    """The example with this test's addresses. The replaced text must be there."""
    for before, after in pairs:
        assert before in text, before
        text = text.replace(before, after)
    return text


def nginx(folder: Path, port: int, ports: list[int], pki: Pki) -> list[str]:
    """Writes the configuration; the command."""
    example = replaced(
        (PROXY / "nginx.conf").read_text(),
        ("listen 443 ssl", f"listen 127.0.0.1:{port} ssl"),
        ("10.0.0.11:8700", f"127.0.0.1:{ports[0]}"),
        ("10.0.0.12:8700", f"127.0.0.1:{ports[1]}"),
        ("/etc/ssl/daypass.pem", str(pki.server_cert)),
        ("/etc/ssl/daypass.key", str(pki.server_key)),
    )
    paths = "".join(
        f"{name}_temp_path {folder}/{name};\n" for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    around = f"daemon off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{example}}}\n"
    user = "user root;\n" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(user + around)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def haproxy(folder: Path, port: int, ports: list[int], pki: Pki) -> list[str]:
    """Writes the configuration; the command."""
    both = folder / "both.pem"
    both.write_bytes(pki.server_cert.read_bytes() + pki.server_key.read_bytes())
    example = replaced(
        (PROXY / "haproxy.cfg").read_text(),
        ("bind :443", f"bind 127.0.0.1:{port}"),
        ("10.0.0.11:8700", f"127.0.0.1:{ports[0]}"),
        ("10.0.0.12:8700", f"127.0.0.1:{ports[1]}"),
        ("/etc/ssl/daypass-with-key.pem", str(both)),
    )
    (folder / "haproxy.cfg").write_text(example)
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


@contextmanager
def proxied(name: str, folder: Path, servers: list[Server], pki: Pki) -> Iterator[str]:
    """The proxy in front of two servers; its URL."""
    program = shutil.which(name) or shutil.which(name, path="/usr/sbin:/usr/local/sbin")
    if program is None:
        pytest.skip(f"{name} is not installed")
    folder.mkdir()
    port = free_port()
    ports = [int(server.url.rpartition(":")[2]) for server in servers]
    command = {"nginx": nginx, "haproxy": haproxy}[name](folder, port, ports, pki)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(bound([program, *command[1:]]), stdout=log, stderr=log)
    try:
        until_listening(process, port)
        yield f"https://127.0.0.1:{port}"
    finally:
        process.terminate()
        process.wait(120)


def heartbeats(url: str, context: ssl.SSLContext, wanted: int) -> None:
    """Reads the stream of revocations until it has had so many heartbeats; they arrive as they are sent."""
    host = url.removeprefix("https://")
    signing = sigv4.SigningKey(ADMIN_KEY[0], ADMIN_KEY[1], "eu-central-1", "daypass")
    headers = sigv4.sign(signing, "GET", "/events/revocations", "", {"host": host}, b"", int(time.time() * 1000))
    with closing(http.client.HTTPSConnection(host, timeout=30, context=context)) as connection:
        connection.request("GET", "/events/revocations", headers=headers)
        with connection.getresponse() as answer:
            assert answer.status == 200
            while wanted:
                line = answer.readline()
                assert line
                wanted -= line == b"event: heartbeat\n"


@pytest.mark.parametrize("name", ["nginx", "haproxy"])
def test_example_serves_signed_requests_through_two_servers(name: str, tmp_path: Path) -> None:
    pki_folder = tmp_path / "pki"
    pki_folder.mkdir()
    pki = Pki(pki_folder)
    trusted = {"DAYPASS_SERVER__TRUSTED_PROXIES": "127.0.0.1/32"}
    data = tmp_path / "data"
    with ExitStack() as everything:
        one, two = (everything.enter_context(running(data, environment=trusted)) for _ in range(2))
        with proxied(name, tmp_path / name, [one, two], pki) as url:
            context = ssl.create_default_context(cafile=str(pki.ca))
            sts = Server(url, data, one.process, one.log).client("sts", verify=str(pki.ca))
            for _ in range(8):
                assert sts.get_caller_identity()["Account"]
            check_address(url, one, context)
            check_path(url, pki)
            with pytest.raises(urllib.error.HTTPError) as refused:
                urllib.request.urlopen(f"{url}/metrics", timeout=20, context=context)
            with refused.value:
                assert refused.value.code == 403
            heartbeats(url, context, 3)
            two.process.terminate()
            two.process.wait(60)
            in_a_row, end = 0, time.monotonic() + 60
            while in_a_row < 20:
                assert time.monotonic() < end
                try:
                    sts.get_caller_identity()
                    in_a_row += 1
                except Exception:  # noqa: BLE001 - one whose connection was just closed
                    in_a_row = 0


def check_address(url: str, server: Server, context: ssl.SSLContext) -> None:
    """The address on the record is the proxy's client, whatever the client claims."""
    claimed = {"X-Forwarded-For": "203.0.113.9", "X-Forwarded-Proto": "http"}
    request = urllib.request.Request(f"{url}/?Action=GetCallerIdentity&Version=2011-06-15", headers=claimed)
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request, timeout=20, context=context)
    with refused.value:
        request_id = refused.value.headers["x-amzn-requestid"]
    profile = Profile(server.url, *ADMIN_KEY, "", "eu-central-1")
    found = Connection(profile).api("GET", "/audit/records", {"request_id": request_id, "account": "*"})
    assert found["records"][0]["event"]["source"]["ip"] == "127.0.0.1", json.dumps(found)[:400]


def check_path(url: str, pki: Pki) -> None:
    """A path arrives as it was signed: the operation answers, not the check of the signature."""
    profile = Profile(url, *ADMIN_KEY, "", "eu-central-1", ca_bundle=str(pki.ca))
    with pytest.raises(DaypassError) as refused:
        Connection(profile).api("GET", "/event-streams/a%2Fb/events")
    assert "Signature" not in str(refused.value)
