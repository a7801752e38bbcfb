"""The example of each proxy with the real program: it asks the gateway, and nothing else reaches the application."""

from __future__ import annotations

import http.client
import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running
from tests.e2e.test_proxies import replaced
from tests.issuer import Issuer
from tests.oauth import EXCHANGE, ID_TOKEN
from tests.processes import bound, free_port

from daypass import sigv4
from daypass.client.http import post_form
from daypass.protobuf import contents, fields, message

pytestmark = pytest.mark.slow
EXAMPLES = Path(__file__).resolve().parents[2] / "deploy/proxy/gateway"
AUDIENCE, HOST = "https://orders.example", "orders.example"
ROUTES = [
    {"path": "/orders/{id}", "methods": ["GET"], "action": "orders:Read", "resource": "order/{id}"},
    {"path": "/orders/{id}", "action": "orders:Write", "resource": "order/{id}"},
    {"path": "/admin/**", "action": "orders:Administer", "resource": "admin/{rest}"},
]
POLICY = {
    "Version": "2012-10-17",
    "Statement": [
        {"Effect": "Allow", "Action": "orders:Read", "Resource": f"arn:aws:orders::{OPERATOR}:order/*"},
        {"Effect": "Allow", "Action": "daypass:GetAccessToken", "Resource": "*"},
    ],
}
CONFUSED = [
    b"/orders/7/../../admin/x",
    b"/orders/../admin/x",
    b"/orders/%2e%2e/admin/x",
    b"/orders/.%2e/admin/x",
    b"/orders/..%2fadmin%2fx",
    b"/orders/7%2f..%2f..%2fadmin",
    b"/orders/%252e%252e%252fadmin",
    b"/orders/..;/admin/x",
    b"/orders/7;/../../admin",
    b"/orders/..\\admin\\x",
    b"/orders/%5c..%5cadmin",
    b"/orders/7%00/../../admin",
    b"/orders/7%00",
    b"/orders//../admin/x",
    b"//admin/x",
    b"/orders/%c0%ae%c0%ae/admin",
    b"/orders/7%23/../../admin",
    b"/orders/7%3f/../../admin",
]


class Application(ThreadingHTTPServer):
    """The application behind the proxy: it answers with what it received, and remembers it."""

    daemon_threads = True

    def __init__(self) -> None:
        self.seen: list[dict[str, Any]] = []
        super().__init__(("127.0.0.1", 0), _Handler)
        threading.Thread(target=self.serve_forever, daemon=True).start()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.rfile.read(int(self.headers.get("content-length") or 0))
        received = {"path": self.path, "headers": [(k.lower(), v) for k, v in self.headers.items()]}
        assert isinstance(self.server, Application)
        self.server.seen.append(received)
        body = json.dumps(received).encode()
        self.send_response(200)
        self.send_header("content-length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    do_DELETE = do_GET  # noqa: N815  # a name of http.server

    def log_message(self, *_: Any) -> None:
        pass


@dataclass
class World:
    server: Server
    application: Application
    issuer: Issuer
    role: str
    key: tuple[str, ...] = field(default=())

    def token(self, audience: str = AUDIENCE) -> str:
        subject = self.issuer.token(int(time.time() * 1000), sub="ann")
        asked = {"grant_type": EXCHANGE, "subject_token": subject, "subject_token_type": ID_TOKEN, "role": self.role,
                 "audience": audience}  # fmt: skip
        return str(json.loads(post_form(self.server.url, "/oauth2/token", asked).body)["access_token"])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    environment = {
        "DAYPASS_SERVER__PUBLIC_URL": "{url}",
        "DAYPASS_SERVER__TRUSTED_PROXIES": "127.0.0.1/32",
        "DAYPASS_SERVER__EXT_AUTHZ_PORT": str(free_port()),
    }
    application = Application()
    with running(tmp_path_factory.mktemp("gateway"), environment=environment) as server:
        issuer, iam = Issuer("idp.example.com", "ES256"), server.client("iam", ADMIN_KEY)
        made = iam.create_open_id_connect_provider(Url=issuer.issuer, ClientIDList=["daypass"])
        settings = {"settings": {"static_jwks": json.dumps(issuer.jwks())}}
        server.api("PUT", f"/providers/oidc/{issuer.url}/settings", body=settings)
        statement = {
            "Effect": "Allow",
            "Principal": {"Federated": made["OpenIDConnectProviderArn"]},
            "Action": "sts:AssumeRoleWithWebIdentity",
            "Condition": {"StringEquals": {f"{issuer.url}:aud": "daypass"}},
        }
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = iam.create_role(RoleName="orders", AssumeRolePolicyDocument=trust)["Role"]["Arn"]
        iam.put_role_policy(RoleName="orders", PolicyName="p", PolicyDocument=json.dumps(POLICY))
        body = {"name": "orders", "settings": {"routes": ROUTES}}
        server.api("PUT", "/resource-servers/https%3A%2F%2Forders.example", body=body)
        iam.create_user(UserName="job")
        iam.put_user_policy(UserName="job", PolicyName="p", PolicyDocument=json.dumps(POLICY))
        key = iam.create_access_key(UserName="job")["AccessKey"]
        yield World(server, application, issuer, role, (key["AccessKeyId"], key["SecretAccessKey"]))
    application.shutdown()
    application.server_close()


# --- The proxies


def changed(name: str, world: World, port: int, listen: tuple[str, str]) -> str:
    """The example with this test's addresses."""
    return replaced(
        (EXAMPLES / name).read_text(),
        ("127.0.0.1:8700", world.server.url.removeprefix("http://")),
        ("127.0.0.1:8080", f"127.0.0.1:{world.application.server_port}"),
        (listen[0], listen[1].format(port=port)),
    )


def nginx(folder: Path, world: World, port: int) -> list[str]:
    example = changed("nginx.conf", world, port, ("listen 80", "listen 127.0.0.1:{port}"))
    paths = "".join(f"{n}_temp_path {folder}/{n};\n" for n in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi"))
    # A cache for everything, with a key that has not even the path: the answer must not be stored (poisoned cache).
    cache = f"proxy_cache_path {folder}/cache keys_zone=all:1m;\nproxy_cache all;\nproxy_cache_key x;\n"
    example = example.replace("        internal;\n", "        internal;\n        proxy_cache_valid 200 1m;\n")
    user = "user root;\n" if os.geteuid() == 0 else ""
    text = f"{user}daemon off;\npid {folder}/pid;\nerror_log stderr warn;\nevents {{}}\nhttp {{\naccess_log off;\n{paths}{cache}{example}}}\n"
    (folder / "nginx.conf").write_text(text)
    return ["nginx", "-p", str(folder), "-c", str(folder / "nginx.conf")]


def caddy(folder: Path, world: World, port: int) -> list[str]:
    example = changed("Caddyfile", world, port, ("http://orders.example", "http://orders.example:{port}"))
    (folder / "Caddyfile").write_text(f"{{\n\tadmin off\n\tstorage file_system {folder}\n}}\n{example}")
    return ["caddy", "run", "--config", str(folder / "Caddyfile")]


def traefik(folder: Path, world: World, port: int) -> list[str]:
    (folder / "orders.yaml").write_text(changed("traefik.yaml", world, port, ("", "")))
    return ["traefik", f"--entrypoints.web.address=127.0.0.1:{port}", f"--providers.file.filename={folder}/orders.yaml"]


def haproxy(folder: Path, world: World, port: int) -> list[str]:
    example = changed("haproxy.cfg", world, port, ("bind :80", "bind 127.0.0.1:{port}"))
    (folder / "haproxy.cfg").write_text(replaced(example, ("/etc/haproxy/daypass.lua", str(EXAMPLES / "daypass.lua"))))
    return ["haproxy", "-db", "-f", str(folder / "haproxy.cfg")]


def apache2(folder: Path, world: World, port: int) -> list[str]:
    modules = Path("/usr/lib/apache2/modules")
    names = ("mpm_event", "authz_core", "lua", "proxy", "proxy_http")
    if not Path("/usr/share/lua/5.4/socket.lua").exists():
        pytest.skip("lua-socket is not installed")
    load = "".join(f"LoadModule {name}_module {modules}/mod_{name}.so\n" for name in names)
    script = replaced(
        (EXAMPLES / "daypass-apache.lua").read_text(), ("127.0.0.1:8700", world.server.url.removeprefix("http://"))
    )
    (folder / "daypass.lua").write_text(script)
    example = replaced(
        (EXAMPLES / "apache.conf").read_text(),
        ("127.0.0.1:8080", f"127.0.0.1:{world.application.server_port}"),
        ("/etc/apache2/daypass-apache.lua", str(folder / "daypass.lua")),
        ("*:80", f"127.0.0.1:{port}"),
    )
    user = "User daemon\nGroup daemon\n" if os.geteuid() == 0 else ""
    around = (
        f"ServerRoot {folder}\nListen 127.0.0.1:{port}\nPidFile {folder}/pid\nErrorLog {folder}/errors\nServerName x\n"
    )
    (folder / "apache.conf").write_text(f"{load}{user}{around}{example}")
    for one in (folder, *folder.parents):
        if one.is_relative_to(tempfile.gettempdir()) and one != Path(tempfile.gettempdir()):
            one.chmod(0o711)  # the workers of a root server are another user
    return ["apache2", "-X", "-f", str(folder / "apache.conf")]


def envoy(folder: Path, world: World, port: int) -> list[str]:
    return _envoy(folder, world, port, "envoy.yaml", ("8700", world.server.url.rpartition(":")[2]))


def envoy_grpc(folder: Path, world: World, port: int) -> list[str]:
    asked = world.server.settings["DAYPASS_SERVER__EXT_AUTHZ_PORT"]
    return _envoy(folder, world, port, "envoy-grpc.yaml", ("8701", asked))


def _envoy(folder: Path, world: World, port: int, name: str, asked: tuple[str, str]) -> list[str]:
    example = replaced(
        (EXAMPLES / name).read_text(),
        (f"port_value: {asked[0]}", f"port_value: {asked[1]}"),
        ("port_value: 8080", f"port_value: {world.application.server_port}"),
        ("address: 0.0.0.0, port_value: 80}", f"address: 127.0.0.1, port_value: {port}}}"),
    )
    (folder / "envoy.yaml").write_text(example)
    return ["envoy", "-c", str(folder / "envoy.yaml"), "--concurrency", "1", "--base-id", str(port), "-l", "warn"]


PROXIES: dict[str, Callable[[Path, World, int], list[str]]] = {
    each.__name__: each for each in (nginx, caddy, traefik, haproxy, apache2, envoy, envoy_grpc)
}


@contextmanager
def started(name: str, folder: Path, world: World) -> Iterator[int]:
    own = f"{Path(sys.executable).parent}:{os.environ['PATH']}:/usr/sbin:/usr/local/sbin"
    program = shutil.which(name.partition("_")[0], path=own)
    if program is None:
        pytest.skip(f"{name} is not installed")
    folder.mkdir()
    port = free_port()
    command = PROXIES[name](folder, world, port)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(bound([program, *command[1:]]), stdout=log, stderr=log)
    try:
        end = time.monotonic() + 60
        while True:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < end, (folder / "log").read_text()
            try:
                if ask(port, b"GET", b"/orders/7")[0] == 401:
                    break
            except OSError:
                pass
            time.sleep(0.05)
        yield port
    finally:
        process.terminate()
        process.wait(120)


def ask(port: int, method: bytes, target: bytes, *lines: bytes) -> tuple[int, dict[str, str], bytes]:
    """One request, byte for byte; http.client reads the answer. (0, …) for a connection that is closed."""
    head = b"\r\n".join([b"%b %b HTTP/1.1" % (method, target), b"Host: orders.example", *lines, b"", b""])
    with closing(socket.create_connection(("127.0.0.1", port), 20)) as connection:
        connection.sendall(head)
        answer = http.client.HTTPResponse(connection, method=method.decode())
        try:
            answer.begin()
        except http.client.HTTPException:
            return 0, {}, b""
        return answer.status, {k.lower(): v for k, v in answer.getheaders()}, answer.read()


@pytest.fixture(scope="module", params=PROXIES)
def port(request: pytest.FixtureRequest, world: World, tmp_path_factory: pytest.TempPathFactory) -> Iterator[int]:
    with started(request.param, tmp_path_factory.mktemp("proxy") / request.param, world) as found:
        yield found


# --- What they do


def bearer(token: str) -> bytes:
    return b"Authorization: Bearer " + token.encode()


def test_request_passes_with_a_proof_and_a_permission_alone(port: int, world: World) -> None:
    token = world.token()
    status, _, body = ask(port, b"GET", b"/orders/7?a=b", bearer(token))
    assert status == 200
    received = json.loads(body)
    headers = dict(received["headers"])
    assert received["path"] == "/orders/7?a=b"
    assert headers["x-daypass-account"] == OPERATOR
    assert headers["x-daypass-subject"].startswith("AROA")
    world.application.seen.clear()
    status, shown, _ = ask(port, b"GET", b"/orders/7")
    assert (status, shown["www-authenticate"]) == (401, 'Bearer realm="daypass"')
    assert ask(port, b"GET", b"/orders/7", bearer(token + "x"))[0] == 401
    assert ask(port, b"GET", b"/orders/7", bearer(world.token("https://other.example")))[0] == 401
    assert ask(port, b"DELETE", b"/orders/7", bearer(token))[0] == 403
    assert ask(port, b"GET", b"/admin/x", bearer(token))[0] == 403
    assert ask(port, b"GET", b"/nowhere", bearer(token))[0] == 403
    assert world.application.seen == []


def signed(world: World, path: str, **other: str) -> list[bytes]:
    service, host = other.get("service", "orders"), other.get("host", HOST)
    signing = sigv4.SigningKey(world.key[0], world.key[1], "eu-central-1", service)
    made = sigv4.sign(signing, "GET", path, "", {"host": host}, b"", int(time.time() * 1000))
    return [f"{name}: {value}".encode() for name, value in made.items() if name.lower() != "host"]


def test_signed_request_passes_if_it_is_signed_for_this_service(port: int, world: World) -> None:
    status, _, body = ask(port, b"GET", b"/orders/7", *signed(world, "/orders/7"))
    assert (status, dict(json.loads(body)["headers"])["x-daypass-arn"]) == (200, f"arn:aws:iam::{OPERATOR}:user/job")
    for lines in (
        signed(world, "/orders/8"),
        signed(world, "/orders/7", service="sts"),
        signed(world, "/orders/7", host="other.example"),
    ):
        assert ask(port, b"GET", b"/orders/7", *lines)[0] == 401


@pytest.mark.parametrize(
    "line",
    [
        b"X-Daypass-Subject: admin",
        b"x_daypass_subject: admin",
        b"X-Daypass_Subject: admin",
        b"X-Daypass-Role: admin",
        b"Connection: close, X-Daypass-Subject",
        b"Connection: X-Forwarded-Uri, X-Forwarded-Method",
        b"X-Forwarded-Uri: /orders/7",
        b"X-Forwarded-Method: GET",
        b"X-HTTP-Method-Override: DELETE",
        b"X-Original-URL: /orders/7",
    ],
)
def test_a530_header_smuggling_gives_no_identity_and_no_other_request(port: int, world: World, line: bytes) -> None:
    """A client's headers neither name an identity nor another target, and do not remove what the proxy sets."""
    token = world.token()
    world.application.seen.clear()
    ask(port, b"GET", b"/orders/7", bearer(token), line)
    for received in world.application.seen:
        named = [(k, v) for k, v in received["headers"] if "daypass" in k]
        assert next(v for k, v in named if k == "x-daypass-subject").startswith("AROA")
        assert not [k for k, v in named if v == "admin" or "_" in k]
        assert not [k for k, _ in received["headers"] if k in ("x-http-method-override", "x-original-url")]
    world.application.seen.clear()
    ask(port, b"DELETE", b"/admin/x", bearer(token), line)
    assert ask(port, b"GET", b"/orders/7", line)[0] in (400, 401, 403)
    assert world.application.seen == []


@pytest.mark.parametrize("path", CONFUSED)
def test_a531_ambiguous_path_does_not_reach_the_application(port: int, world: World, path: bytes) -> None:
    world.application.seen.clear()
    status, *_ = ask(port, b"GET", path, bearer(world.token()))
    assert status in (0, 400, 403, 404, 301, 302, 307, 308)
    assert world.application.seen == []


def test_a532_stored_answer_serves_nobody_else_and_ends_with_its_session(port: int, world: World) -> None:
    """nginx has a cache here whose key is the same for all requests: Daypass's answers are not stored."""
    token = world.token()
    assert ask(port, b"GET", b"/orders/7", bearer(token))[0] == 200
    assert ask(port, b"GET", b"/orders/7")[0] == 401
    assert ask(port, b"DELETE", b"/orders/7", bearer(token))[0] == 403
    session = dict(json.loads(ask(port, b"GET", b"/orders/7", bearer(token))[2])["headers"])["x-daypass-session"]
    world.server.api("POST", "/revocations", body={"subject": "session", "value": session})
    assert ask(port, b"GET", b"/orders/7", bearer(token))[0] == 401


def test_a608_check_that_is_no_check_is_refused(world: World) -> None:
    """Envoy refuses a request whose check ends in an error."""

    def check(*attributes: bytes, audience: str = AUDIENCE) -> tuple[str, bytes]:
        address = f"127.0.0.1:{world.server.settings['DAYPASS_SERVER__EXT_AUTHZ_PORT']}"
        metadata = [("daypass-audience", each) for each in audience.split()]
        with grpc.insecure_channel(address) as channel:
            call = channel.unary_unary("/envoy.service.auth.v3.Authorization/Check")
            try:
                return "", bytes(call(message(*((1, each) for each in attributes)), metadata=metadata, timeout=30))
            except grpc.RpcError as error:
                return error.code().name, b""

    def attributes(*http: tuple[int, str | bytes]) -> bytes:
        return message((4, message((2, message(*http)))))

    header = (3, message((1, "authorization"), (2, f"Bearer {world.token()}")))
    whole = (2, "GET"), header, (4, "/orders/7"), (5, HOST)
    failed, answer = check(attributes(*whole))
    assert (failed, status_of(answer)) == ("", 0)
    assert b"x-daypass-subject" in answer
    for sent, audience in (
        ((), AUDIENCE),
        ((attributes(*whole), attributes(*whole)), AUDIENCE),
        ((attributes(*whole),), ""),
        ((attributes(*whole),), f"{AUDIENCE} https://other.example"),
        ((attributes((2, "GET /orders/7 HTTP/1.1"), *whole[1:]),), AUDIENCE),
        ((attributes(*whole, (3, message((1, b"x-daypass-\xff"), (2, "admin")))),), AUDIENCE),
        ((attributes(*whole, (3, message((1, "x"), (2, "y\r\nX-Daypass-Subject: admin")))),), AUDIENCE),
        ((attributes(*whole[:2]),), AUDIENCE),
        ((attributes(*whole, (4, "/admin/x")),), AUDIENCE),
        ((attributes(*whole, (2, "DELETE")),), AUDIENCE),
        ((attributes((2, "OPTIONS"), (4, "*")),), AUDIENCE),
        ((attributes((2, "GET"), (4, "/\N{SNOWMAN}")),), AUDIENCE),
        ((b"\x22\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff",), AUDIENCE),
        ((b"\x22\x05x",), AUDIENCE),
    ):
        assert check(*sent, audience=audience) == ("INVALID_ARGUMENT", b"")
    assert check(attributes(*whole, (11, "x" * 70_000))) == ("RESOURCE_EXHAUSTED", b"")
    for refused in (
        check(attributes(*whole), audience="https://other.example"),
        check(attributes(*whole), audience="../../oauth2/token"),
        check(attributes((2, "DELETE"), *whole[1:])),
        check(attributes(*whole, (3, message((1, "X-Daypass-Subject"), (2, "admin"))))),
        check(
            attributes(
                *whole, (3, message((1, ":path"), (2, "/orders/7"))), (3, message((1, "x-rewrite-url"), (2, "/")))
            )
        ),
        check(attributes(*whole[:2], (4, "/orders/../admin/x"), (5, HOST))),
        check(attributes(whole[0], *whole[2:])),
    ):
        assert refused[0] == ""
        assert status_of(refused[1]) in (7, 16)


def status_of(answer: bytes) -> int:
    """The code of google.rpc.Status in a CheckResponse."""
    (status,) = contents(answer, 1)
    return next(int(value) for number, value in fields(status) if number == 1)
