"""The agent against local attackers: browsers, other users, other programs, and a hostile server behind it."""

from __future__ import annotations

import asyncio
import json
import os
import pwd
import socket
import subprocess
import sys
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import NOW, PROFILE, Clock, Script, issued

from daypass.cli.agent import _ask
from daypass.client.agent.answers import ContainerEndpoint, MetadataEndpoint, SocketEndpoint
from daypass.client.agent.config import AgentRole, Config
from daypass.client.agent.endpoints import Endpoints, FailoverConnection
from daypass.client.agent.files import put
from daypass.client.agent.keeper import Keeper
from daypass.client.agent.listener import MAX_HEAD, AgentListener, AgentRequest
from daypass.client.agent.run import Agent
from daypass.client.credentials import AssumeRole
from daypass.client.errors import ClientError
from daypass.client.profiles import LocalStateError, Profile
from daypass.client.provider import CredentialProvider

TOKEN = "t" * 43
SECRET = "issued-secret-1"


def keeper(tmp_path: Path, role: AgentRole, connect: Any = None) -> Keeper:
    script = Script(issued())
    request = AssumeRole(role.arn, "host")
    connect = connect or script.connection
    provider = CredentialProvider(PROFILE, request, connect=connect, cache=tmp_path / "cache", clock=lambda: NOW)
    return Keeper("app", role, provider, lambda *_: {}, clock=lambda: NOW)


@asynccontextmanager
async def listening(answer: Any, hosts: tuple[str, ...] | None = None) -> AsyncIterator[tuple[int, str]]:
    with socket.create_server(("127.0.0.1", 0)) as bound:
        port = bound.getsockname()[1]
        listener = AgentListener(answer, (f"127.0.0.1:{port}",) if hosts is None else hosts)
        async with await asyncio.start_server(listener, sock=bound, limit=MAX_HEAD):
            yield port, f"127.0.0.1:{port}"


async def spoken(port: int, text: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(text)
    try:
        return await reader.read()
    finally:
        writer.close()


HEAD = "GET /roles/app HTTP/1.1\r\nhost: {host}\r\nauthorization: {token}\r\n"
REFUSED = {
    "another Host (DNS rebinding)": (HEAD.replace("{host}", "evil.example") + "\r\n", 403),
    "Host with another port": (HEAD.replace("{host}", "127.0.0.1:1") + "\r\n", 403),
    "no Host": ("GET /roles/app HTTP/1.1\r\nauthorization: {token}\r\n\r\n", 403),
    "two Hosts": (HEAD + "Host: {host}\r\n\r\n", 400),
    "through a proxy": (HEAD + "X-Forwarded-For: 10.0.0.1\r\n\r\n", 403),
    "through a proxy, standard": (HEAD + "Forwarded: for=10.0.0.1\r\n\r\n", 403),
    "through a proxy, via": (HEAD + "via: 1.1 squid\r\n\r\n", 403),
    "page of a browser": (HEAD + "Origin: http://evil.example\r\n\r\n", 403),
    "image of a browser": (HEAD + "Sec-Fetch-Site: cross-site\r\n\r\n", 403),
    "absolute target": (HEAD.replace("/roles", "http://evil/roles") + "\r\n", 400),
    "POST": (HEAD.replace("GET", "POST") + "\r\n", 400),
    "body": (HEAD + "content-length: 5\r\n\r\nhello", 400),
    "chunks": (HEAD + "transfer-encoding: chunked\r\n\r\n0\r\n\r\n", 403),
    "folded header": (HEAD + "x: a\r\n b\r\n\r\n", 400),
    "space before the colon": (HEAD + "x : a\r\n\r\n", 400),
    "bare line feeds": (HEAD.replace("\r\n", "\n") + "\r\n\r\n", 400),
    "wrong token": (HEAD.replace("{token}", "u" * 43) + "\r\n", 401),
    "no token": ("GET /roles/app HTTP/1.1\r\nhost: {host}\r\n\r\n", 401),
    "token of another role": (HEAD.replace("/app", "/other") + "\r\n", 401),
    "dot segments": (HEAD.replace("/roles/app", "/roles/../roles/app") + "\r\n", 401),
    "encoded name": (HEAD.replace("/app", "/%61pp") + "\r\n", 401),
}


async def test_a540_container_endpoint_answers_only_the_holder_of_the_token_on_this_machine(tmp_path: Path) -> None:
    kept = keeper(tmp_path, AgentRole(arn="111122223333/app"))
    kept.keep()
    endpoint = ContainerEndpoint({"app": kept, "other": kept}, {"app": TOKEN, "other": "o" * 43}, {})
    async with listening(endpoint) as (port, host):
        good = await spoken(port, (HEAD + "\r\n").format(host=host, token=TOKEN).encode())
        assert good.startswith(b"HTTP/1.1 200 ")
        assert SECRET.encode() in good
        assert b"cache-control: no-store" in good
        for name, (text, status) in REFUSED.items():
            answer = await spoken(port, text.format(host=host, token=TOKEN).encode())
            assert (name, answer[9:12]) == (name, str(status).encode())
            assert SECRET.encode() not in answer
        assert await spoken(port, b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n") == b""


async def test_a541_metadata_endpoint_has_no_version_1_and_no_token_for_a_proxy(tmp_path: Path) -> None:
    kept = keeper(tmp_path, AgentRole(arn="111122223333/app"))
    kept.keep()
    clock = Clock()
    path = "/latest/meta-data/iam/security-credentials/app"
    async with listening(MetadataEndpoint(kept, "eu-central-1", clock)) as (port, host):

        async def ask(method: str, target: str, *headers: str) -> bytes:
            return await spoken(
                port, "\r\n".join([f"{method} {target} HTTP/1.1", f"host: {host}", *headers, "", ""]).encode()
            )

        ttl = "X-aws-ec2-metadata-token-ttl-seconds: 60"
        issued_token = (await ask("PUT", "/latest/api/token", ttl)).rpartition(b"\r\n\r\n")[2].decode()
        given = f"x-aws-ec2-metadata-token: {issued_token}"
        assert SECRET.encode() in await ask("GET", path, given)
        ends, _, signature = issued_token.partition(".")
        refused = {
            "version 1": ("GET", path, 401),
            "forged": ("GET", path, "x-aws-ec2-metadata-token: " + "0" * len(issued_token), 401),
            "longer": ("GET", path, f"x-aws-ec2-metadata-token: {int(ends) + 1}.{signature}", 401),
            "not ASCII digits": ("GET", path, f"x-aws-ec2-metadata-token: -1.{signature}", 401),
            "token by a proxy": ("PUT", "/latest/api/token", ttl, "X-Forwarded-For: 1.2.3.4", 403),
            "token by GET": ("GET", "/latest/api/token", ttl, 403),
            "no lifetime": ("PUT", "/latest/api/token", 400),
            "too long": ("PUT", "/latest/api/token", ttl.replace("60", "21601"), 400),
            "never": ("PUT", "/latest/api/token", ttl.replace("60", "0"), 400),
        }
        for name, (method, target, *headers, status) in refused.items():
            answer = await ask(str(method), str(target), *map(str, headers))
            assert (name, answer[9:12], SECRET.encode() in answer) == (name, str(status).encode(), False)
        clock.now += 61
        assert (await ask("GET", path, given))[9:12] == b"401"


async def test_a542_metadata_endpoint_gives_a_role_to_its_users_alone(tmp_path: Path) -> None:
    """The kernel's table says who is at the other end of the connection."""
    for users, status in (((str(os.geteuid()),), b"200"), (("65534",), b"403")):
        kept = keeper(tmp_path, AgentRole(arn="111122223333/app", users=users))
        async with listening(MetadataEndpoint(kept, "eu-central-1")) as (port, host):
            text = f"PUT /latest/api/token HTTP/1.1\r\nhost: {host}\r\nx-aws-ec2-metadata-token-ttl-seconds: 60\r\n\r\n"
            assert (await spoken(port, text.encode()))[9:12] == status


async def test_a91_socket_gives_each_user_their_roles(tmp_path: Path) -> None:
    kept = keeper(tmp_path, AgentRole(arn="111122223333/app", users=("12345",)))
    kept.keep()
    endpoint = SocketEndpoint({"app": kept}, lambda: {"endpoints": []})
    for uid, status in ((12345, 200), (os.geteuid(), 200), (54321, 403), (-1, 403)):
        assert ((await endpoint(AgentRequest("GET", "/roles/app", {}, uid))).status, uid) == (status, uid)
    foreign = json.loads((await endpoint(AgentRequest("GET", "/status", {}, 54321))).body)
    assert foreign == {"roles": []}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become another user")
def test_a91_socket_of_another_user_is_not_asked(tmp_path: Path) -> None:
    """A user who runs a false agent could give out sessions of their own, and get what is written with them."""
    nobody = pwd.getpwnam("nobody").pw_uid
    folder = Path("/tmp") / f"daypass-agent-{os.getpid()}"
    folder.mkdir(mode=0o777)
    folder.chmod(0o777)
    program = (
        "import os, socket, sys\nos.setuid(int(sys.argv[2]))\ns = socket.socket(socket.AF_UNIX)\ns.bind(sys.argv[1])\n"
        "s.listen()\nprint('ready', flush=True)\ns.accept()\n"
    )
    path = str(folder / "agent.sock")
    command = [sys.executable, "-c", program, path, str(nobody)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "ready\n"
        with pytest.raises(LocalStateError, match="run by another user"):
            _ask(path, "/roles/app", "")
        process.kill()
    for each in folder.iterdir():
        each.unlink()
    folder.rmdir()


def test_a543_file_is_not_written_through_a_link_and_not_over_a_users_own(tmp_path: Path) -> None:
    (tmp_path / "etc").mkdir()
    (tmp_path / "home").symlink_to(tmp_path / "etc")
    access = (-1, -1, 0o600)
    with pytest.raises(LocalStateError, match="cannot be written"):
        put(str(tmp_path / "home/cron"), "text", access, lambda _: True)
    target = tmp_path / "passwd"
    target.write_text("root")
    (tmp_path / "etc/credentials").symlink_to(target)
    put(str(tmp_path / "etc/credentials"), "text", access, lambda _: True)
    assert (target.read_text(), (tmp_path / "etc/credentials").read_text()) == ("root", "text")
    (tmp_path / "etc/own").write_text("[default]\naws_access_key_id = mine\n")
    with pytest.raises(LocalStateError, match="not written by the agent"):
        put(str(tmp_path / "etc/own"), "text", access, lambda before: before.startswith("# Written"))
    os.mkfifo(tmp_path / "etc/pipe")
    put(str(tmp_path / "etc/pipe"), "text", access, lambda _: True)  # it does not wait for a reader
    assert (tmp_path / "etc/pipe").read_text() == "text"


# --- A hostile server behind the agent

_LATER = "<Expiration>2999-01-01T00:00:00Z</Expiration>"


def _endless(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.end_headers()
    while True:
        handler.wfile.write(b"<a>" * 100_000)


def _trickle(handler: BaseHTTPRequestHandler) -> None:
    handler.send_response(200)
    handler.send_header("content-length", "1000")
    handler.end_headers()
    for _ in range(1000):
        handler.wfile.write(b" ")
        time.sleep(0.05)


def _says(body: bytes, status: int = 200, **headers: str) -> Callable[[BaseHTTPRequestHandler], None]:
    def answer(handler: BaseHTTPRequestHandler) -> None:
        handler.send_response(status)
        for name, value in headers.items():
            handler.send_header(name, value)
        handler.send_header("content-length", str(len(body)))
        handler.end_headers()
        handler.wfile.write(body)

    return answer


HOSTILE = {
    "huge": _endless,
    "slow": _trickle,
    "bomb of entities": _says(b'<!DOCTYPE a [<!ENTITY b "bbbb">]><a>&b;</a>'),
    "nothing": _says(b""),
    "JSON for XML": _says(b"{}"),
    "no secret": _says(b"<R><AssumeRoleResult><AccessKeyId>A</AccessKeyId></AssumeRoleResult></R>"),
    "no time": _says(b"<R><AssumeRoleResult><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
                     b"<SessionToken>t</SessionToken><Expiration>soon</Expiration></AssumeRoleResult></R>"),
    "redirect": _says(b"", 302, location="http://169.254.169.254/"),
    "terminal codes": _says(b"<E><Error><Code>\xc2\x9b31m</Code><Message>\xc2\x9b2J</Message></Error></E>", 400),
}  # fmt: skip


@pytest.fixture
def hostile() -> Iterator[Callable[[Callable[[BaseHTTPRequestHandler], None]], str]]:
    servers = []

    def start(behave: Callable[[BaseHTTPRequestHandler], None]) -> str:
        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                self.rfile.read(int(self.headers["content-length"]))
                with suppress(OSError):
                    behave(self)

            def log_message(self, *_: object) -> None:
                pass

        server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        server.daemon_threads, server.block_on_close = True, False
        threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        servers.append(server)
        return f"http://127.0.0.1:{server.server_port}"

    yield start
    for server in servers:
        server.shutdown()
        server.server_close()


@pytest.mark.parametrize("name", HOSTILE)
def test_a544_hostile_server_leaves_the_valid_session_and_ends_by_the_deadline(
    name: str, tmp_path: Path, hostile: Callable[[Any], str]
) -> None:
    profile = Profile(hostile(HOSTILE[name]), "AKIAEXAMPLE000000000", "secret")
    endpoints = Endpoints([profile.endpoint])
    bad = FailoverConnection(profile, deadline=1.0, endpoints=endpoints)
    with pytest.raises(ClientError):
        bad.sts("AssumeRole", RoleArn="arn:aws:iam::111122223333:role/app", RoleSessionName="host").iter()
        CredentialProvider(profile, AssumeRole("arn:x"), connect=lambda: bad, cache=tmp_path).get()

    now = [NOW]
    good = Script(issued()).connection()
    connections = iter([good, bad])
    provider = CredentialProvider(
        PROFILE,
        AssumeRole("111122223333/app", "host"),
        connect=lambda: next(connections),
        cache=tmp_path / "c",
        clock=lambda: now[0],
    )
    kept = Keeper("app", AgentRole(arn="111122223333/app"), provider, lambda *_: {}, clock=lambda: now[0])
    kept.keep()
    provider._connected = None
    now[0] += 3000  # five sixths of the hour: a renewal is due
    kept.keep()
    held = kept.held
    assert held is not None
    assert held.secret_access_key == SECRET
    now[0] += 700  # it has expired: it is never given out
    kept.keep()
    assert kept.held is None
    assert kept.why
    assert kept.why.isprintable() or name == "terminal codes"


def test_a545_configuration_that_would_open_the_agent_is_refused(tmp_path: Path) -> None:
    from daypass.client.agent.config import load

    role = '[roles.app]\narn = "app"\n'
    file = role + '[[roles.app.file]]\npath = "/x/y"\nform = "env"\n'
    cases = {
        'listen = "0.0.0.0:8710"\n' + role: "loopback",
        'listen = "10.0.0.1:8710"\n' + role: "loopback",
        'listen = "[::]:8710"\n' + role: "loopback",
        'listen = "localhost:8710"\n' + role: "localhost",
        'endpoints = ["http://user:password@x"]\n' + role: "form",
        'colour = "red"\n' + role: "colour",
        role + 'users = ["no-such-user"]\n': "no user",
        role + 'token_file = "relative"\n': "absolute",
        file + 'mode = "0644"\n': "every user",
        file + 'mode = "rw"\n': "mode",
        file + 'template = "/t"\n': "template",
        file.replace("env", "jwt"): "audience",
        file.replace("env", "exe"): "form",
        file.replace("/x/y", "y"): "absolute",
        role + '[metadata]\nrole = "other"\n': "not configured",
        role + '[source]\nprofile = "a"\nweb_identity_token_file = "/t"\n': "not both",
        "": "there is none",
        "roles = 1": "roles",
        "[roles": "agent.toml",
    }  # fmt: skip
    path = tmp_path / "agent.toml"
    for text, why in cases.items():
        path.write_text(text)
        with pytest.raises(LocalStateError, match=why):
            load(str(path))
    path.write_text(role)
    path.chmod(0o666)
    with pytest.raises(LocalStateError, match="cannot be used"):
        load(str(path))


def test_a545_key_of_the_cache_that_others_may_write_is_refused(tmp_path: Path) -> None:
    key = tmp_path / "key"
    key.write_text("A" * 43 + "=")
    config = Config(roles={"app": AgentRole(arn="arn:x")}, endpoints=("http://127.0.0.1:1",), seal_key_file=str(key))
    key.chmod(0o666)
    environ = {"AWS_ACCESS_KEY_ID": "AKIAEXAMPLE000000000", "AWS_SECRET_ACCESS_KEY": "s"}
    with pytest.MonkeyPatch.context() as patch:
        for name, value in {**environ, "DAYPASS_HOME": str(tmp_path)}.items():
            patch.setenv(name, value)
        with pytest.raises(LocalStateError, match="key of the cache"):
            Agent(config)
