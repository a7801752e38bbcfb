"""The heaviest requests of one tenant, and the two accounts of `fairness`: what the attackers send again and again."""

from __future__ import annotations

import base64
import json
import socket
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import boto3
from tests import saml_idp

from assume_role import ACCOUNT, KEY, SECRET, TRUST
from daypass import sigv4

OTHER, OTHER_KEY, OTHER_SECRET = "210987654321", "AKIAOTHEROTHEROTHER0", "otherotherotherotherotherotherotherother"
_VERSIONS = {"sts": "2011-06-15", "iam": "2010-05-08"}
_USER, _PASSWORD = "attacker", "Correct-Horse-Battery-1"
_AGENT = "b" * 12_000
_PATTERNS = [f"*?b{number}*" for number in range(190)]
_MOST_SAML = 100_000  # characters of base64
_SAML_ROLE, _SAML_PROVIDER = f"arn:aws:iam::{ACCOUNT}:role/saml", f"arn:aws:iam::{ACCOUNT}:saml-provider/bench"


@dataclass(frozen=True)
class Identity:
    """Who signs."""

    key: str
    secret: str
    token: str = ""

    def sign(self, host: str, service: str, method: str, path: str, body: bytes, more: Mapping[str, str]) -> bytes:
        kind = "application/json" if path != "/" else "application/x-www-form-urlencoded"
        headers = {"host": host, "content-type": kind, **more}
        if self.token:
            headers["x-amz-security-token"] = self.token
        signing = sigv4.SigningKey(self.key, self.secret, "us-east-1", service)
        sent = sigv4.sign(signing, method, *path.partition("?")[::2], headers, body, int(time.time() * 1000))
        return _raw(method, path, {**headers, **sent}, body)


def _raw(method: str, path: str, headers: Mapping[str, str], body: bytes) -> bytes:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items() if name.lower() != "content-length")
    return f"{method} {path} HTTP/1.1\r\n{lines}content-length: {len(body)}\r\n\r\n".encode("latin-1") + body


class Site:
    """A running server with two accounts, and requests for it."""

    def __init__(self, url: str) -> None:
        self.host = url.removeprefix("http://")
        self.url = url
        self.attacker = Identity(KEY, SECRET)
        self.victim = Identity(OTHER_KEY, OTHER_SECRET)
        self.session = self.attacker

    def form(self, who: Identity, service: str, action: str, agent: str = "", **parameters: str) -> bytes:
        body = urlencode({"Action": action, "Version": _VERSIONS[service], **parameters}).encode()
        return who.sign(self.host, service, "POST", "/", body, {"user-agent": agent} if agent else {})

    def api(self, who: Identity, path: str, content: Any) -> bytes:
        return who.sign(self.host, "daypass", "POST", path, json.dumps(content).encode(), {})

    def anonymous(self, connection: str = "keep-alive", **parameters: str) -> bytes:
        body = urlencode({"Version": _VERSIONS["sts"], **parameters}).encode()
        headers = {"host": self.host, "content-type": "application/x-www-form-urlencoded", "connection": connection}
        return _raw("POST", "/", headers, body)


def policy(patterns: list[str]) -> str:
    statement = {
        "Effect": "Allow",
        "Action": "*",
        "Resource": "*",
        "Condition": {"StringLike": {"aws:UserAgent": patterns}},
    }
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]}, separators=(",", ":"))


def _simulate(site: Site) -> bytes:
    actions = {f"ActionNames.member.{number}": f"s3:Get{number}" for number in range(1, 11)}
    policies = {f"PolicyInputList.member.{number}": policy(_PATTERNS) for number in range(1, 5)}
    keys = {
        "ContextEntries.member.1.ContextKeyName": "aws:UserAgent",
        "ContextEntries.member.1.ContextKeyType": "string",
        "ContextEntries.member.1.ContextKeyValues.member.1": _AGENT,
    }
    return site.form(site.attacker, "iam", "SimulateCustomPolicy", **actions, **policies, **keys)


def _explain(site: Site) -> bytes:
    content = {
        "actions": [f"s3:Get{number}" for number in range(10)],
        "resources": ["*"],
        "policies": [policy(_PATTERNS)] * 4,
        "context": {"aws:UserAgent": _AGENT[:2048]},
    }
    return site.api(site.attacker, "/api/v1/simulate", content)


def _lint(site: Site) -> bytes:
    statements = [
        {"Effect": "Allow", "Action": [f"s3:*{number}*{each}" for each in range(12)], "Resource": f"*{number}*"}
        for number in range(60)
    ]
    document = json.dumps({"Version": "2012-10-17", "Statement": statements}, separators=(",", ":"))
    return site.api(site.attacker, "/api/v1/lint", {"document": document})


def _password(site: Site) -> bytes:
    user = Identity(*_OWN_KEY)
    return site.form(user, "iam", "ChangePassword", OldPassword=_PASSWORD, NewPassword=_PASSWORD)


def _session_policy(site: Site) -> bytes:
    return site.form(site.session, "iam", "ListRoles", agent=_AGENT)


def _assume(site: Site) -> bytes:
    role = f"arn:aws:iam::{ACCOUNT}:role/bench"
    parameters = {"RoleArn": role, "RoleSessionName": "fairness"}
    return site.form(site.session, "sts", "AssumeRole", agent=_AGENT, **parameters)


def _saml(site: Site) -> bytes:
    """The longest response that is allowed, signed by a provider that is there. It is verified each time, then refused as a replay."""
    now = int(time.time() * 1000)
    least, most = 1, _MOST_SAML // 40
    while most - least > 1:
        middle = (least + most) // 2
        least, most = (middle, most) if len(_response(now, middle)) <= _MOST_SAML else (least, middle)
    return site.anonymous(
        Action="AssumeRoleWithSAML",
        RoleArn=_SAML_ROLE,
        PrincipalArn=_SAML_PROVIDER,
        SAMLAssertion=_response(now, least),
    )


def _response(now: int, values: int) -> str:
    made = saml_idp.Response(
        roles=[f"{_SAML_ROLE},{_SAML_PROVIDER}"],
        now=now,
        assertion_id=f"_a{now}",
        attributes={"urn:bench:groups": ["x"] * values},
    )
    return made.encoded()


def _junk(site: Site, connection: str = "keep-alive") -> bytes:
    parameters = {"RoleArn": "x", "RoleSessionName": "x", "WebIdentityToken": "x" * 9}
    return site.anonymous(connection, Action="AssumeRoleWithWebIdentity", **parameters)


def _reconnecting(site: Site) -> bytes:
    """A new connection for each request, because the server holds the connections of a source that is over its rate."""
    return _junk(site, "close")


def _scim(site: Site) -> bytes:
    """A patch that takes all the work that one may take, and is then refused."""
    edits = {f"a{number}": 1 for number in range(20_000)}
    body = {"schemas": [_PATCH], "Operations": [{"op": "add", "value": edits}]}
    return _to_directory(site, "PATCH", f"/{_SCIM[1]}", body)


def _scim_filter(site: Site) -> bytes:
    """A search that no index serves, among two thousand users."""
    for number in range(2_000):
        name = {"givenName": f"given{number}", "familyName": "x" * 100}
        _answer(site, _to_directory(site, "POST", "", {"userName": f"user{number}", "name": name}, "close"))
    return _to_directory(site, "GET", "?filter=" + quote('name.givenName eq "nobody" and title eq "x"'), {})


def _to_directory(site: Site, method: str, path: str, body: Mapping[str, Any], connection: str = "keep-alive") -> bytes:
    headers = {"host": site.host, "content-type": "application/scim+json", "authorization": f"Bearer {_SCIM[0]}"}
    return _raw(method, f"/scim/v2/Users{path}", {**headers, "connection": connection}, json.dumps(body).encode())


def _par(site: Site) -> bytes:
    """An authorization request that is stored each time."""
    redirect = {"response_type": "code", "redirect_uri": _REDIRECT, "code_challenge_method": "S256"}
    body = urlencode({**redirect, "code_challenge": "x" * 43, "state": "s" * 500, "resource": PUBLIC_URL}).encode()
    secret = base64.b64encode(":".join(_CLIENT).encode()).decode()
    headers = {"host": site.host, "content-type": _FORM, "authorization": f"Basic {secret}"}
    return _raw("POST", "/oauth2/par", headers, body)


def _records(site: Site) -> bytes:
    """A page of a thousand records."""
    _, sts = _clients(site.url, (KEY, SECRET))
    for _ in range(1_000):
        sts.get_caller_identity()
    return site.attacker.sign(site.host, "daypass", "GET", "/api/v1/audit/records?limit=1000", b"", {})


def _writes(site: Site) -> bytes:
    """A change of one row."""
    return site.form(site.attacker, "iam", "UpdateRole", RoleName="bench", Description="changed")


KINDS: Mapping[str, Callable[[Site], bytes]] = {
    "simulate": _simulate,
    "explain": _explain,
    "lint": _lint,
    "password": _password,
    "session-policy": _session_policy,
    "assume": _assume,
    "saml": _saml,
    "anonymous": _junk,
    "reconnecting": _reconnecting,
    "records": _records,
    "writes": _writes,
    "scim": _scim,
    "scim-filter": _scim_filter,
    "par": _par,
}
_OWN_KEY: tuple[str, ...] = ()
_PATCH = "urn:ietf:params:scim:api:messages:2.0:PatchOp"
_FORM, _REDIRECT, PUBLIC_URL = (
    "application/x-www-form-urlencoded",
    "https://client.example/back",
    "https://bench.example",
)
_CLIENT: tuple[str, ...] = ()
_SCIM: tuple[str, str] = ("", "")  # a token, and the id of a user that the directory manages


def _clients(url: str, who: tuple[str, str]) -> tuple[Any, Any]:
    made = [
        boto3.client(
            name, endpoint_url=url, region_name="us-east-1", aws_access_key_id=who[0], aws_secret_access_key=who[1]
        )
        for name in ("iam", "sts")
    ]
    return made[0], made[1]


def _directory(site: Site) -> tuple[str, str]:
    """A SCIM token of the user, and the id of a user that is made with it."""
    token = _answer(site, site.api(Identity(*_OWN_KEY), "/api/v1/scim-tokens", {"name": "bench", "user": _USER}))[
        "token"
    ]
    headers = {"host": site.host, "content-type": "application/scim+json", "authorization": f"Bearer {token}"}
    made = _answer(site, _raw("POST", "/scim/v2/Users", headers, json.dumps({"userName": "provisioned"}).encode()))
    return token, made["id"]


def _answer(site: Site, request: bytes) -> Any:
    host, _, port = site.host.rpartition(":")
    with socket.create_connection((host, int(port))) as connection, connection.makefile("rb") as answer:
        connection.sendall(request)
        lines = iter(answer.readline, b"\r\n")
        length = max(int(line[15:]) for line in lines if line.lower().startswith(b"content-length:"))
        return json.loads(answer.read(length))


def set_up(site: Site) -> None:
    """A user with a password, a session with a policy of many patterns; a role in the other account."""
    global _CLIENT, _OWN_KEY, _SCIM  # noqa: PLW0603  # they exist only once the user does
    iam, sts = _clients(site.url, (KEY, SECRET))
    iam.create_role(RoleName="bench", AssumeRolePolicyDocument=TRUST)
    iam.create_saml_provider(Name="bench", SAMLMetadataDocument=saml_idp.metadata())
    trust = {
        "Effect": "Allow",
        "Action": "sts:AssumeRoleWithSAML",
        "Principal": {"Federated": _SAML_PROVIDER},
        "Condition": {"StringEquals": {"SAML:sub": "ann@example.com"}},
    }
    iam.create_role(
        RoleName="saml", AssumeRolePolicyDocument=json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    )
    iam.create_user(UserName=_USER)
    iam.put_user_policy(
        UserName=_USER,
        PolicyName="own",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        ),
    )
    iam.update_account_password_policy(PasswordReusePrevention=5)
    iam.create_login_profile(UserName=_USER, Password=_PASSWORD)
    key = iam.create_access_key(UserName=_USER)["AccessKey"]
    _OWN_KEY = (key["AccessKeyId"], key["SecretAccessKey"])
    _SCIM = _directory(site)
    settings = {
        "grant_types": ["authorization_code"],
        "redirect_uris": [_REDIRECT],
        "audiences": [PUBLIC_URL],
        "token_endpoint_auth_method": "client_secret_basic",
        "fapi_exceptions": ["bearer_tokens", "client_secret"],
    }
    made = _answer(site, site.api(site.attacker, "/api/v1/clients", {"name": "bench", "settings": settings}))
    secret = _answer(site, site.api(site.attacker, f"/api/v1/clients/{made['client_id']}/secrets", {}))
    _CLIENT = (made["client_id"], secret["client_secret"])
    text = policy(_PATTERNS)
    while len(text) > 2_048:
        _PATTERNS.pop()
        text = policy(_PATTERNS)
    _, sts = _clients(site.url, (_OWN_KEY[0], _OWN_KEY[1]))
    role = f"arn:aws:iam::{ACCOUNT}:role/bench"
    iam.put_role_policy(
        RoleName="bench",
        PolicyName="all",
        PolicyDocument=json.dumps(
            {"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "*", "Resource": "*"}]}
        ),
    )
    got = sts.assume_role(RoleArn=role, RoleSessionName="fairness", Policy=text)["Credentials"]
    site.session = Identity(got["AccessKeyId"], got["SecretAccessKey"], got["SessionToken"])
    other, _ = _clients(site.url, (OTHER_KEY, OTHER_SECRET))
    other.create_role(RoleName="idle", AssumeRolePolicyDocument=TRUST.replace(ACCOUNT, OTHER))
