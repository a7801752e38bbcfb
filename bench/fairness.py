"""What one tenant's heaviest requests cost the others: eight attackers of one account, a caller and an administrator of another.

For each kind of attacker: p50 and p99 of the other account's GetCallerIdentity, beside those of the same seconds without
attackers, and the longest time that a revocation took. Targets: p99 below three times the idle one, revocation below 0.5 s.
Server and load share the machine's cores, so figures of one run alone can be compared.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import urlencode

import boto3
from tests import saml_idp

from assume_role import ACCOUNT, KEY, SECRET, TRUST, free_port, started
from daypass import sigv4

OTHER, OTHER_KEY, OTHER_SECRET = "210987654321", "AKIAOTHEROTHEROTHER0", "otherotherotherotherotherotherotherother"
ATTACKERS = 8
MOST_TIMES, MOST_REVOCATION = 3.0, 0.5
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
        sent = sigv4.sign(signing, method, path, "", headers, body, int(time.time() * 1000))
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

    def anonymous(self, **parameters: str) -> bytes:
        body = urlencode({"Version": _VERSIONS["sts"], **parameters}).encode()
        return _raw("POST", "/", {"host": self.host, "content-type": "application/x-www-form-urlencoded"}, body)


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


def _junk(site: Site) -> bytes:
    return site.anonymous(
        Action="AssumeRoleWithWebIdentity", RoleArn="x", RoleSessionName="x", WebIdentityToken="x" * 9
    )


_KINDS: Mapping[str, Callable[[Site], bytes]] = {
    "simulate": _simulate,
    "explain": _explain,
    "lint": _lint,
    "password": _password,
    "session-policy": _session_policy,
    "assume": _assume,
    "saml": _saml,
    "anonymous": _junk,
}
_OWN_KEY: tuple[str, ...] = ()


# --- Load ------------------------------------------------------------------------------------------------------------


@dataclass
class Measured:
    """Seconds of each request of the other account, and what the attackers were answered."""

    calls: list[float] = field(default_factory=list)
    revocations: list[float] = field(default_factory=list)
    attacks: Counter[int] = field(default_factory=Counter)

    def at(self, share: float) -> float:
        """Milliseconds."""
        ordered = sorted(self.calls)
        return ordered[min(len(ordered) - 1, int(len(ordered) * share))] * 1000


class Client:
    """One connection, one request at a time."""

    def __init__(self, host: str) -> None:
        self._host, _, port = host.rpartition(":")
        self._port = int(port)
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    async def send(self, request: bytes) -> tuple[int, bytes]:
        if self._streams is None:
            self._streams = await asyncio.open_connection(self._host, self._port, limit=1 << 24)
        reader, writer = self._streams
        writer.write(request)
        head = await reader.readuntil(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")), 0
        )
        body = await reader.readexactly(length)
        if b"connection: close" in head.lower():
            self.close()
        return int(head[9:12]), body

    def close(self) -> None:
        if self._streams is not None:
            self._streams[1].close()
            self._streams = None


async def _attack(site: Site, request: bytes, until: float, seen: Counter[int]) -> None:
    client = Client(site.host)
    while time.monotonic() < until:
        try:
            status, _ = await asyncio.wait_for(client.send(request), max(0.1, until - time.monotonic()))
        except (OSError, asyncio.IncompleteReadError, TimeoutError):
            status = 0
            client.close()
        seen[status] += 1
        if status in (0, 429, 503):
            await asyncio.sleep(0.05)
    client.close()


async def _calls(site: Site, until: float, found: list[float]) -> None:
    client = Client(site.host)
    request = site.form(site.victim, "sts", "GetCallerIdentity")
    while time.monotonic() < until:
        began = time.perf_counter()
        status, body = await client.send(request)
        found.append(time.perf_counter() - began)
        if status != 200:
            raise SystemExit(f"GetCallerIdentity: {status} {body[:200]!r}")
        await asyncio.sleep(0.005)
    client.close()


async def _revocations(site: Site, until: float, found: list[float]) -> None:
    client = Client(site.host)
    while time.monotonic() < until:
        request = site.api(site.victim, "/api/v1/revocations", {"subject": "role", "value": "idle"})
        began = time.perf_counter()
        status, body = await client.send(request)
        found.append(time.perf_counter() - began)
        if status != 201:
            raise SystemExit(f"RevokeSession: {status} {body[:200]!r}")
        await asyncio.sleep(0.4)
    client.close()


async def measure(site: Site, kind: str, seconds: float) -> Measured:
    found = Measured()
    tasks: list[Any] = []
    request = _KINDS[kind](site) if kind else b""
    if request:
        status, body = await Client(site.host).send(request)  # starts what starts on first use
        print(f"    {kind}: {status} {body[:120]!r}", file=sys.stderr) if status not in (200, 201) else None
    until = time.monotonic() + seconds
    if request:
        tasks += [_attack(site, request, until, found.attacks) for _ in range(ATTACKERS)]
    tasks += [_calls(site, until, found.calls), _revocations(site, until, found.revocations)]
    await asyncio.gather(*tasks)
    return found


def _clients(url: str, who: tuple[str, str]) -> tuple[Any, Any]:
    made = [
        boto3.client(
            name, endpoint_url=url, region_name="us-east-1", aws_access_key_id=who[0], aws_secret_access_key=who[1]
        )
        for name in ("iam", "sts")
    ]
    return made[0], made[1]


def set_up(site: Site) -> None:
    """A user with a password, a session with a policy of many patterns; a role in the other account."""
    global _OWN_KEY  # noqa: PLW0603  # it exists only once the user does
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


@contextmanager
def site(environment: Mapping[str, str]) -> Iterator[Site]:
    with tempfile.TemporaryDirectory() as data:
        url = f"http://127.0.0.1:{free_port()}"
        command = [sys.executable, "-m", "daypass.cli.main", "serve", "--port", url.rsplit(":", 1)[1], "--data", data]
        keys = f"{OTHER_KEY}:{OTHER_SECRET}:{OTHER},{KEY}:{SECRET}:{ACCOUNT}:bench"
        more = {"DAYPASS_BOOTSTRAP": keys, "DAYPASS_LOG__LEVEL": "error", **environment}
        with started(command, url, "/readyz", set(os.sched_getaffinity(0)), more):
            made = Site(url)
            set_up(made)
            yield made


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=5.0, help="for each kind")
    parser.add_argument("--only", default="", help=f"kinds, separated by commas: {', '.join(_KINDS)}")
    parser.add_argument("--set", action="append", default=[], help="a setting for the server, as NAME=VALUE")
    args = parser.parse_args()
    kinds = [kind for kind in _KINDS if not args.only or kind in args.only.split(",")]
    failed = False
    with site(dict(each.split("=", 1) for each in args.set)) as made, suppress(KeyboardInterrupt):
        for kind in kinds:
            asyncio.run(measure(made, "", 1.0))
            idle = asyncio.run(measure(made, "", args.seconds))
            loaded = asyncio.run(measure(made, kind, args.seconds))
            times, longest = loaded.at(0.99) / idle.at(0.99), max(loaded.revocations)
            good = times < MOST_TIMES and longest < MOST_REVOCATION
            failed = failed or not good
            print(
                f"{kind:16} p50 {idle.at(0.5):6.1f} -> {loaded.at(0.5):6.1f}  p99 {idle.at(0.99):6.1f} -> "
                f"{loaded.at(0.99):6.1f} ms ({times:4.1f}x)  revocation at most {longest * 1000:6.0f} ms  "
                f"{'' if good else 'MISSED '} attackers answered {dict(loaded.attacks)}",
                flush=True,
            )
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
