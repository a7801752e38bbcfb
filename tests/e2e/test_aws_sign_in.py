"""`aws login`: the requests of AWS's tools for a sign-in, and the stock `login` provider of botocore, which renews by itself."""

from __future__ import annotations

import base64
import hashlib
import json
import os
import re
import secrets
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

import boto3
import pytest
from botocore.exceptions import ClientError, LoginRefreshRequired
from botocore.utils import JSONFileCache, LoginTokenLoader
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from tests.e2e.conftest import OPERATOR, ROOT_KEYS, Server, running
from tests.e2e.test_sign_in_clients import PASSWORD, Person

from daypass.client.http import Connection
from daypass.client.profiles import Profile

SAME, CROSS = "arn:aws:signin:::devtools/same-device", "arn:aws:signin:::devtools/cross-device"
CALLBACK = "http://127.0.0.1:49153/oauth/callback"
ANN = f"arn:aws:iam::{OPERATOR}:user/ann"


def encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


@dataclass
class Tool:
    """The CLI: it has a key, asks for a code, and redeems it."""

    server: Server
    client_id: str = SAME
    redirect_uri: str = CALLBACK
    verifier: str = field(default_factory=lambda: secrets.token_urlsafe(48))
    state: str = field(default_factory=lambda: secrets.token_hex(16))
    key: ec.EllipticCurvePrivateKey = field(default_factory=lambda: ec.generate_private_key(ec.SECP256R1()))

    @property
    def address(self) -> str:
        asked = {
            "response_type": "code",
            "client_id": self.client_id,
            "state": self.state,
            "code_challenge_method": "SHA-256",
            "scope": "openid",
            "redirect_uri": self.redirect_uri,
            "code_challenge": encoded(hashlib.sha256(self.verifier.encode()).digest()),
        }
        return f"{self.server.url}/v1/authorize?{urlencode(asked)}"

    def proof(self, key: ec.EllipticCurvePrivateKey | None = None) -> str:
        key = key or self.key
        numbers = key.public_key().public_numbers()
        jwk = {"kty": "EC", "crv": "P-256"}
        jwk |= {name: encoded(getattr(numbers, name).to_bytes(32, "big")) for name in ("x", "y")}
        header = {"typ": "dpop+jwt", "alg": "ES256", "jwk": jwk}
        claims = {"htm": "POST", "htu": f"{self.server.url}/v1/token", "iat": int(time.time())}
        claims["jti"] = secrets.token_hex(8)
        text = ".".join(encoded(json.dumps(part).encode()) for part in (header, claims))
        r, s = decode_dss_signature(key.sign(text.encode(), ec.ECDSA(hashes.SHA256())))
        return f"{text}.{encoded(r.to_bytes(32, 'big') + s.to_bytes(32, 'big'))}"

    def code(self, person: Person | None = None) -> str:
        answered = dict(parse_qsl(urlsplit((person or Person(self.server)).consent(self.address)).query))
        assert answered["state"] == self.state
        return answered["code"]

    def redemption(self, code: str) -> dict[str, str]:
        members = {"clientId": self.client_id, "grantType": "authorization_code", "code": code}
        return {**members, "codeVerifier": self.verifier, "redirectUri": self.redirect_uri}

    def send(self, members: dict[str, Any], proof: str | None = None) -> tuple[int, str, dict[str, Any]]:
        """Status, exception and members of the answer. `proof`: "" for none."""
        headers = {"content-type": "application/json"}
        headers |= {"dpop": self.proof()} if proof is None else {"dpop": proof} if proof else {}
        request = urllib.request.Request(f"{self.server.url}/v1/token", json.dumps(members).encode(), headers)
        try:
            with urllib.request.urlopen(request, timeout=30) as answer:
                return answer.status, "", json.load(answer)
        except urllib.error.HTTPError as error:
            return error.code, error.headers["x-amzn-errortype"], json.load(error)

    def redeemed(self) -> dict[str, Any]:
        status, _, answer = self.send(self.redemption(self.code()))
        assert status == 200, answer
        return answer


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("sign-in"), environment=environment) as made:
        iam = made.client("iam")
        for name in ("ann", "eve"):
            iam.create_user(UserName=name)
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        yield made


def control(server: Server, credentials: dict[str, Any]) -> Any:
    """boto3's client for the operations that botocore sends to AWS's own address, whatever the endpoint is."""
    client = boto3.client(
        "signin",
        "us-east-1",
        endpoint_url=server.url,
        aws_access_key_id=credentials["accessKeyId"],
        aws_secret_access_key=credentials["secretAccessKey"],
        aws_session_token=credentials.get("sessionToken"),
    )

    def here(request: Any, **_: Any) -> None:
        request.url = server.url + urlsplit(request.url)._replace(scheme="", netloc="").geturl()

    client.meta.events.register("before-sign.signin", here)
    return client


def test_login_provider_of_botocore_renews_until_the_session_is_revoked(
    server: Server, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pytest.importorskip("awscrt")
    tool = Tool(server)
    first = tool.redeemed()
    claims = json.loads(base64.urlsafe_b64decode(first["idToken"].split(".")[1] + "=="))
    assert (claims["sub"], first["tokenType"], first["expiresIn"] <= 900) == (ANN, "aws_sigv4", True)
    pem = tool.key.private_bytes(Encoding.PEM, PrivateFormat.TraditionalOpenSSL, NoEncryption()).decode()
    expired = {**first["accessToken"], "accountId": OPERATOR, "expiresAt": "2026-01-01T00:00:00Z"}
    kept = {**first, "accessToken": expired, "clientId": SAME, "dpopKey": pem}
    cache = LoginTokenLoader(JSONFileCache(str(tmp_path)))
    cache.save_token(ANN, kept)
    (tmp_path / "config").write_text(f"[default]\nregion = us-east-1\nlogin_session = {ANN}\n")
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "none"))
    monkeypatch.setenv("AWS_LOGIN_CACHE_DIRECTORY", str(tmp_path))
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    sts = boto3.Session().client("sts")
    assert sts.get_caller_identity()["Arn"] == ANN
    renewed = cache.load_token(ANN)
    assert renewed["refreshToken"] != first["refreshToken"]

    sign_in = control(server, renewed["accessToken"])
    [session] = [each for each in sign_in.list_sessions(status="ACTIVE")["items"] if each["principalArn"] == ANN][-1:]
    assert sign_in.get_session(sessionArn=session["sessionArn"])["clientId"] == SAME
    unknown = f"{session['sessionArn'].rpartition('/')[0]}/00000000-0000-0000-0000-000000000000"
    answer = sign_in.batch_revoke_sessions(sessionArns=[session["sessionArn"], unknown])
    assert [each["sessionArn"] for each in answer["revokedSessions"]] == [session["sessionArn"]]
    assert [each["code"] for each in answer["errors"]] == ["ResourceNotFoundException"]
    with pytest.raises(ClientError, match="ExpiredToken"):
        sts.get_caller_identity()
    renewed["accessToken"]["expiresAt"] = "2026-01-01T00:00:00Z"
    cache.save_token(ANN, renewed)
    with pytest.raises(LoginRefreshRequired):
        boto3.Session().client("sts").get_caller_identity()


def cli_with_login() -> str:
    """The AWS CLI on PATH that has `aws login`; version 1 and Debian's version 2 do not."""
    for folder in os.environ["PATH"].split(os.pathsep):
        program = Path(folder) / "aws"
        if program.is_file():
            shown = subprocess.run(
                [program, "--version"], capture_output=True, text=True, timeout=60, check=False
            ).stdout
            found = re.match(r"aws-cli/2\.(\d+)", shown)
            if found and int(found[1]) >= 32:
                return str(program)
    pytest.skip("AWS CLI 2.32 or later is not on PATH")


@pytest.mark.slow
def test_aws_cli_logs_in_with_a_browser_renews_and_logs_out(server: Server, tmp_path: Path) -> None:
    program = cli_with_login()
    browser = tmp_path / "browser"
    browser.write_text('#!/bin/sh\necho "$1" >"$0.address"\n')
    browser.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**kept, "HOME": str(tmp_path), "BROWSER": f"{browser} %s", "AWS_ENDPOINT_URL": server.url}
    environment |= {"AWS_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true"}

    def aws(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [program, *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)

    with subprocess.Popen([program, "login"], env=environment, stdin=subprocess.DEVNULL) as login:
        asked = tmp_path / "browser.address"
        for _ in range(600):  # only a failure waits so long
            if login.poll() is not None or (asked.exists() and asked.read_text().endswith("\n")):
                break
            time.sleep(0.05)
        urllib.request.urlopen(Person(server).consent(asked.read_text().strip()), timeout=30).close()
        assert login.wait(60) == 0
    assert aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text").stdout.strip() == ANN
    (cached,) = (tmp_path / ".aws/login/cache").iterdir()
    first = json.loads(cached.read_text())
    first["accessToken"]["expiresAt"] = "2026-01-01T00:00:00Z"
    cached.write_text(json.dumps(first))
    assert aws("sts", "get-caller-identity", "--query", "Arn", "--output", "text").stdout.strip() == ANN
    assert json.loads(cached.read_text())["refreshToken"] != first["refreshToken"]
    assert aws("logout").returncode == 0
    assert aws("sts", "get-caller-identity").returncode != 0


def test_code_for_another_device_is_shown_and_redeemed(server: Server) -> None:
    tool = Tool(server, CROSS, f"{server.url}/v1/sessions/confirmation")
    person = Person(server)
    _, page = person.visit(person.consent(tool.address))
    shown = page.decode().partition('class="once">')[2].partition("<")[0]
    answered = dict(parse_qsl(base64.b64decode(shown).decode()))
    assert answered["state"] == tool.state
    status, _, answer = tool.send(tool.redemption(answered["code"]))
    assert (status, answer["tokenType"]) == (200, "aws_sigv4")


@pytest.mark.parametrize(
    ("changes", "proof", "expected"),
    [
        ({}, "", (400, "ValidationException")),
        ({}, "x.y.z", (400, "ValidationException")),
        ({"codeVerifier": "A" * 43}, None, (403, "AccessDeniedException")),
        ({"redirectUri": "http://127.0.0.1:1/oauth/callback"}, None, (403, "AccessDeniedException")),
        ({"clientId": CROSS}, None, (403, "AccessDeniedException")),
        ({"clientId": "DPCL0000000000DAYPASS"}, None, (400, "ValidationException")),
        ({"grantType": "client_credentials"}, None, (400, "ValidationException")),
        ({"code": 7}, None, (400, "ValidationException")),
    ],
)
def test_a547_code_is_redeemed_by_the_tool_that_asked_for_it_alone(
    server: Server, changes: dict[str, Any], proof: str | None, expected: tuple[int, str]
) -> None:
    tool, connection = Tool(server), Connection(Profile(server.url, *ROOT_KEYS[OPERATOR]))
    code = tool.code()
    status, exception, answer = tool.send({**tool.redemption(code), **changes}, proof)
    assert (status, exception) == expected, answer
    assert code not in json.dumps(answer)
    events = connection.api("GET", "/audit/records", {"operation": "signin:CreateOAuth2Token", "account": "*"})[
        "records"
    ]
    assert events[0]["event"]["error"]
    assert code not in json.dumps(events)


def test_a547_refresh_token_is_useless_without_its_key_and_ends_its_family_when_used_again(server: Server) -> None:
    tool = Tool(server)
    first = tool.redeemed()
    use = {"clientId": SAME, "grantType": "refresh_token", "refreshToken": first["refreshToken"]}
    stranger = Tool(server)
    assert stranger.send(use)[:2] == (403, "AccessDeniedException")
    proof = tool.proof()
    status, _, second = tool.send(use, proof)
    assert status == 200
    replayed = {**use, "refreshToken": second["refreshToken"]}
    assert tool.send(replayed, proof)[0] >= 400  # the proof was used
    third = tool.send(replayed)[2]
    assert tool.send({**use, "refreshToken": first["refreshToken"]})[2]["error"] == "TOKEN_EXPIRED"
    assert tool.send({**use, "refreshToken": third["refreshToken"]})[2]["error"] == "TOKEN_EXPIRED"


def test_a548_sessions_of_others_are_seen_and_revoked_by_permission_alone(server: Server) -> None:
    credentials = Tool(server).redeemed()["accessToken"]
    session = control(server, credentials).list_sessions()["items"][-1]["sessionArn"]
    key = server.client("iam").create_access_key(UserName="eve")["AccessKey"]
    eve = control(server, {"accessKeyId": key["AccessKeyId"], "secretAccessKey": key["SecretAccessKey"]})
    assert eve.list_sessions()["items"] == []
    with pytest.raises(ClientError) as caught:
        eve.get_session(sessionArn=session)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 404
    assert eve.batch_revoke_sessions(sessionArns=[session])["revokedSessions"] == []
    for principal in (ANN, f"arn:aws:iam::{OPERATOR}:*"):
        with pytest.raises(ClientError, match="signin:ListSessions"):
            eve.list_sessions(principalArn=principal)
    allow = {"Effect": "Allow", "Action": "signin:*", "Resource": "*"}
    document = json.dumps({"Version": "2012-10-17", "Statement": allow})
    server.client("iam").put_user_policy(UserName="eve", PolicyName="all", PolicyDocument=document)
    revoked = eve.batch_revoke_sessions(principalArn=ANN, sessionArns=[session], reason="left")["revokedSessions"]
    assert [each["sessionArn"] for each in revoked] == [session]


def test_token_for_a_resource_is_issued_to_a_signed_caller_introspected_and_revoked(server: Server) -> None:
    tool = Tool(server)
    made = tool.redeemed()
    sign_in = control(server, made["accessToken"])
    token = sign_in.create_oauth2_token_with_iam(grantType="client_credentials", resource="https://x.example")
    found = sign_in.introspect_oauth2_token_with_iam(token=token["accessToken"])
    assert (found["active"], found["aud"], found["tokenType"]) == (True, "https://x.example", "access_token")
    sign_in.revoke_oauth2_token_with_iam(token=made["refreshToken"])
    with pytest.raises(ClientError):
        sign_in.introspect_oauth2_token_with_iam(token=token["accessToken"])
