"""The SPIFFE Workload API of `daypass agent`, with py-spiffe as a stock client, and what it refuses."""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import grpc
import jwt
import pytest
from spiffe import JwtSource, SpiffeId, TrustDomain, WorkloadApiClient
from spiffe.errors import PySpiffeError
from tests.agent import RunningAgent, configured, running_agent
from tests.e2e.conftest import ADMIN_KEY, OPERATOR, Server, running

from daypass.client.agent.spiffe import Bundle, verified
from daypass.client.verifier.keys import Malformed
from daypass.protobuf import message

pytestmark = pytest.mark.slow
ID = f"spiffe://127.0.0.1/account/{OPERATOR}/role/app/orders"
AUDIENCE = "https://stock.example"


@dataclass
class World:
    server: Server
    agent: RunningAgent

    @property
    def socket(self) -> str:
        return self.agent.addresses["spiffe"]

    def call(self, name: str, body: bytes = b"", **headers: str) -> Any:
        """One call of this method, with these headers; its answer."""
        with grpc.insecure_channel(self.socket.replace("unix://", "unix:")) as channel:
            method = channel.unary_unary(f"/SpiffeWorkloadAPI/{name}")
            return method(body, timeout=20, metadata=[(key.replace("_", "."), value) for key, value in headers.items()])


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    folder = tmp_path_factory.mktemp("spiffe")
    shared = Path(tempfile.mkdtemp(prefix="daypass-spiffe-"))
    shared.chmod(0o755)
    with running(folder / "daypass", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        iam = server.client("iam")
        iam.enable_outbound_web_identity_federation()
        trust = document(Principal={"AWS": OPERATOR}, Action="sts:AssumeRole")
        config = ""
        for name, path, users in (
            ("orders", "/app/", ["nobody"]),
            ("silent", "/", ["daemon"]),
            ("a+b", "/", ["daemon"]),
        ):
            iam.create_role(RoleName=name, Path=path, AssumeRolePolicyDocument=trust)
            if name != "silent":
                policy = document(Action="sts:GetWebIdentityToken", Resource="*")
                iam.put_role_policy(RoleName=name, PolicyName="p", PolicyDocument=policy)
            if name == "orders" or os.geteuid() == 0:
                key = name.replace("+", "-")
                config += (
                    f'[roles.{key}]\narn = "arn:aws:iam::{OPERATOR}:role{path}{name}"\nusers = {json.dumps(users)}\n'
                )
        config += f'[spiffe]\nsocket = "{shared}/api.sock"\n'
        with running_agent(folder, configured(folder, config, server.url, ADMIN_KEY)) as agent:
            agent.until(lambda: agent.run("status").returncode == 0)
            yield World(server, agent)
    shutil.rmtree(shared)


def document(**statement: Any) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **statement}]})


def test_stock_client_gets_an_svid_and_verifies_it_with_the_bundle(world: World) -> None:
    with WorkloadApiClient(world.socket) as client:
        svid = client.fetch_jwt_svid({AUDIENCE}, SpiffeId(ID), timeout=20)
        assert (str(svid.spiffe_id), svid.audience) == (ID, {AUDIENCE})
        assert 0 < svid.expiry - time.time() <= 301
        assert client.fetch_jwt_svid({AUDIENCE}, SpiffeId(ID), timeout=20).token == svid.token  # kept until its half
        bundle = client.fetch_jwt_bundles(timeout=20).get_bundle_for_trust_domain(TrustDomain("127.0.0.1"))
        assert bundle is not None
        assert type(svid).parse_and_validate(svid.token, bundle, {AUDIENCE}).token == svid.token
        validated = client.validate_jwt_svid(svid.token, AUDIENCE, timeout=20)
        assert str(validated.spiffe_id) == ID
        other = client.fetch_jwt_svid({"b", "a"}, SpiffeId(ID), timeout=20)
        assert (other.audience, other.token == svid.token) == ({"a", "b"}, False)
    with JwtSource(socket_path=world.socket) as source:  # it keeps following the bundles
        assert source.get_bundle_for_trust_domain(TrustDomain("127.0.0.1")) is not None
    (event,) = (
        each["event"]
        for each in world.server.api("GET", "/audit/records", query={"type": "web_identity.issued"})["records"]
        if each["event"]["detail"]["audience"] == [AUDIENCE]
    )
    assert (event["operation"], event["detail"]["subject"]) == ("daypass:IssueJwtSvid", ID)
    assert svid.token not in json.dumps(event)


def test_svid_is_nothing_here(world: World) -> None:
    with WorkloadApiClient(world.socket) as client:
        token = client.fetch_jwt_svid({AUDIENCE}, SpiffeId(ID), timeout=20).token
    headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json"}
    asked = urllib.request.Request(f"{world.server.url}/access/v1/evaluation", b"{}", headers)
    with pytest.raises(urllib.error.HTTPError) as raised:
        urllib.request.urlopen(asked, timeout=20)
    assert raised.value.code == 401
    raised.value.close()


_AS_OTHER = """
import sys
from spiffe import WorkloadApiClient
with WorkloadApiClient(sys.argv[1]) as client:
    print(*(each.spiffe_id for each in client.fetch_jwt_svids({"x"}, timeout=20)))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be other users")
def test_a605_user_gets_svids_of_its_own_roles_alone(world: World) -> None:
    """The kernel says who asks, whatever the client claims. A role without the permission, or no SPIFFE ID, gets none."""

    def of(user: str) -> subprocess.CompletedProcess[str]:
        command = ["setpriv", f"--reuid={user}", "--regid=nogroup", "--clear-groups", sys.executable, "-c", _AS_OTHER]
        return subprocess.run([*command, world.socket], capture_output=True, text=True, check=False, cwd="/")

    found = of("nobody")
    if found.returncode in (126, 127):
        pytest.skip("other users cannot run this interpreter: its directory is closed to them")
    assert found.stdout == f"{ID}\n", found.stderr
    assert "PERMISSION_DENIED" in of("daemon").stderr or "not authorized" in of("daemon").stderr
    assert "no identity issued" in of("games").stderr


def test_a606_call_without_the_header_or_in_another_form_is_refused(world: World) -> None:
    header = {"workload_spiffe_io": "true"}
    asked = message((1, "x"), (2, ID))
    refused = {
        "no header": ("FetchJWTSVID", asked, {}),
        "another header": ("FetchJWTSVID", asked, {"workload_spiffe_io": "1"}),
        "no audience": ("FetchJWTSVID", b"", header),
        "an empty audience": ("FetchJWTSVID", message((1, "")), header),
        "eleven audiences": ("FetchJWTSVID", message(*((1, str(n)) for n in range(11))), header),
        "a message that is cut short": ("FetchJWTSVID", b"\x0a\x05x", header),
        "no UTF-8": ("FetchJWTSVID", b"\x0a\x01\xff", header),
        "an endless number": ("FetchJWTSVID", b"\x0a" + b"\xff" * 11, header),
        "a group": ("FetchJWTSVID", b"\x0b\x0c", header),
        "another's name": ("FetchJWTSVID", message((1, "x"), (2, "spiffe://127.0.0.1/admin")), header),
        "an empty SVID": ("ValidateJWTSVID", message((1, "x"), (2, "")), header),
        "X.509": ("FetchX509SVID", b"", header),
        "no method": ("Fetch", b"", header),
    }
    codes = {}
    for why, (name, body, headers) in refused.items():
        with pytest.raises(grpc.RpcError) as raised:
            world.call(name, body, **headers)
        codes[why] = raised.value.code().name
    assert {why: code for why, code in codes.items() if code != "INVALID_ARGUMENT"} == {
        "another's name": "PERMISSION_DENIED",
        "X.509": "UNIMPLEMENTED",
        "no method": "UNIMPLEMENTED",
    }
    assert world.call("FetchJWTSVID", asked, **header)


def test_a612_idle_connections_of_a_user_are_bounded(world: World) -> None:
    address = world.socket.removeprefix("unix://")
    idle = [socket.socket(socket.AF_UNIX) for _ in range(80)]
    try:
        for each in idle:
            each.settimeout(20)
            each.connect(address)
        for each in idle[64:]:
            with suppress(ConnectionResetError):
                while each.recv(4096):
                    pass
        assert idle[0].recv(9)[3] == 4  # HTTP/2 SETTINGS
        with pytest.raises(grpc.RpcError):
            world.call("FetchJWTSVID", message((1, "x")), workload_spiffe_io="true")
    finally:
        for each in idle:
            each.close()
    world.agent.until(lambda: answered(world))


def answered(world: World) -> bool:
    try:
        return bool(world.call("FetchJWTSVID", message((1, "x")), workload_spiffe_io="true"))
    except grpc.RpcError:
        return False


def test_a607_svid_that_is_forged_old_or_for_others_is_not_validated(world: World) -> None:
    with WorkloadApiClient(world.socket) as client:
        good = client.fetch_jwt_svid({"x"}, SpiffeId(ID), timeout=20).token
        head, body, signature = good.split(".")
        claims = jwt.decode(good, options={"verify_signature": False})
        own = jwt.encode(
            {**claims, "sub": ID}, "k" * 32, "HS256", headers={"kid": jwt.get_unverified_header(good)["kid"]}
        )
        key = world.server.client("sts").assume_role(
            RoleArn=ID.replace(f"spiffe://127.0.0.1/account/{OPERATOR}/", f"arn:aws:iam::{OPERATOR}:"),
            RoleSessionName="job",
        )["Credentials"]
        sts = world.server.client("sts", (key["AccessKeyId"], key["SecretAccessKey"], key["SessionToken"]))
        ours = sts.get_web_identity_token(Audience=["x"], SigningAlgorithm="ES256")["WebIdentityToken"]
        assert client.validate_jwt_svid(good, "x", timeout=20)
        for token, audience in (
            (good, "y"),
            (f"{head}.{body}.{signature[:-4]}AAAA", "x"),
            (own, "x"),
            (ours, "x"),  # of the same issuer and keys, and no SVID
            ("a.b.c", "x"),
        ):
            with pytest.raises(PySpiffeError):
                client.validate_jwt_svid(token, audience, timeout=20)
    made = world.server.api("GET", "/jwt-bundle")
    bundle = Bundle(made["trust_domain"], json.loads(made["jwks"]), 0.0)
    assert verified(good, bundle, "x", claims["exp"] - 1)["sub"] == ID
    for elsewhere, now in ((bundle, claims["exp"]), (bundle._replace(trust_domain="other.example"), 0)):
        with pytest.raises(Malformed):
            verified(good, elsewhere, "x", now)
