"""Synthetic checks: each must fail when the server does the wrong thing, not only pass when it does the right one."""

from __future__ import annotations

import base64
import itertools
import json
from urllib.parse import parse_qs

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from prometheus_client.parser import text_string_to_metric_families
from tests.unit.client.servers import NOW, PROFILE, error, result

from daypass.client.http import signed_request
from daypass.client.probe import CheckRun, OwnIssuer, Probe, ProbeMetrics
from daypass.client.profiles import Profile
from daypass.client.transport import ClientRequest, ClientResponse, NoAnswer

ROLE, OTHER = "arn:aws:iam::111122223333:role/probe", "arn:aws:iam::111122223333:role/other"
PARTNER = "arn:aws:iam::111122223333:role/partner"
KEY = ec.generate_private_key(ec.SECP256R1())
TOKEN = "T" * 40
SESSION = (
    "<Credentials><AccessKeyId>ASIAPROBE0000000000</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
    f"<SessionToken>{TOKEN}</SessionToken></Credentials>"
)
NAMES = (
    "ready",
    "unknown key is refused",
    "credentials work",
    "wrong secret is refused",
    "role gives a session",
    "session is renewed",
    "changed token is refused",
    "revoked session is refused",
    "other role is refused",
    "external id gives a session",
    "wrong external id is refused",
    "web identity gives a session",
    "expired token is refused",
    "foreign key is refused",
)


class Server:
    """A server that does what it must, except for what is broken: "down", "hangs", "open", "wide", "forged", "kept" (a
    revoked session), "external" (any external id will do), "tokens" (any token will do).
    """

    def __init__(self, broken: str = "") -> None:
        self.broken = broken
        self.number = 0
        self.revoked: set[str] = set()

    def __call__(self, request: ClientRequest, seconds: float) -> ClientResponse:
        assert 0 < seconds <= 10
        if self.broken == "hangs":
            raise NoAnswer("no answer in time")
        if request.target == "/readyz":
            return ClientResponse(503 if self.broken == "down" else 200, {}, b"")
        headers = {name.lower(): value for name, value in request.headers.items()}
        if request.target == "/api/v1/revocations":
            self.revoked.add(json.loads(request.body)["value"])
            return ClientResponse(201, {}, b"{}")
        asked = parse_qs(request.body.decode())
        token = headers.get("x-amz-security-token", "")
        if asked["Action"] == ["AssumeRole"]:
            if asked["RoleArn"] == [OTHER] and self.broken != "wide":
                return error("AccessDenied", "no", 403)
            if asked["RoleArn"] == [PARTNER] and asked["ExternalId"] != ["e"] and self.broken != "external":
                return error("AccessDenied", "no", 403)
            self.number += 1
            return result("AssumeRole", SESSION.replace("0000000000", f"{self.number:010}"))
        if asked["Action"] == ["AssumeRoleWithWebIdentity"]:
            refusal = "" if self.broken == "tokens" else why_not(asked["WebIdentityToken"][0])
            return error(refusal, "no", 400) if refusal else result("AssumeRoleWithWebIdentity", SESSION)
        if token:
            if token != TOKEN and self.broken != "forged":
                return error("InvalidClientTokenId", "no", 403)
            key = headers["authorization"].partition("Credential=")[2].partition("/")[0]
            if key in self.revoked and self.broken != "kept":
                return error("ExpiredToken", "no", 403)
            return result("GetCallerIdentity", "<Arn>arn:aws:sts::1:assumed-role/probe/daypass-probe</Arn>")
        content = headers["content-type"]
        right = signed_request(
            PROFILE, "POST", "/", "", request.body, content_type=content, service="sts", now=NOW
        ).headers
        if {**right}.items() <= {**request.headers}.items() or self.broken == "open":
            return result("GetCallerIdentity", "<Arn>arn:aws:iam::1:user/probe</Arn>")
        return error("SignatureDoesNotMatch", "no", 403)


def why_not(token: str) -> str:
    """The code with which a server refuses a token; "" for one that it takes."""
    head, body, signature = (base64.urlsafe_b64decode(part + "==") for part in token.split("."))
    public = KEY.public_key()
    der = encode_dss_signature(int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big"))
    try:
        public.verify(der, token.rpartition(".")[0].encode(), ec.ECDSA(SHA256()))
    except InvalidSignature:
        return "InvalidIdentityToken"
    claims = json.loads(body)
    assert (json.loads(head)["alg"], claims["iss"], claims["aud"]) == ("ES256", "https://probe", "daypass-probe")
    return "ExpiredTokenException" if claims["exp"] <= NOW else ""


def probe_of(broken: str, profile: Profile, role: str = ROLE, denied: str = OTHER) -> Probe:
    ticks = itertools.count()
    probe = Probe(profile, role, denied, Server(broken), lambda: NOW, lambda: next(ticks) / 1e3, lambda _: None)
    if role:
        pem = KEY.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        probe.revoke, probe.external_role, probe.external_id = True, PARTNER, "e"
        probe.issuer, probe.issuer_role = OwnIssuer("https://probe", "daypass-probe", pem), ROLE
    return probe


def run(broken: str = "", profile: Profile = PROFILE, role: str = ROLE, denied: str = OTHER) -> dict[str, CheckRun]:
    return {each.name: each for each in probe_of(broken, profile, role, denied).run()}


def test_run_against_a_server_that_does_what_it_must_passes_all() -> None:
    runs = run()
    assert tuple(runs) == NAMES
    assert {each.why for each in runs.values()} == {""}


@pytest.mark.parametrize(
    ("broken", "failed", "accepted"),
    [
        ("down", {"ready"}, False),
        ("open", {"unknown key is refused", "wrong secret is refused"}, True),
        ("wide", {"other role is refused"}, True),
        ("forged", {"changed token is refused"}, True),
        ("kept", {"revoked session is refused"}, True),
        ("external", {"wrong external id is refused"}, True),
        ("tokens", {"expired token is refused", "foreign key is refused"}, True),
        pytest.param("hangs", set(NAMES), False, marks=pytest.mark.slow),
    ],
)
def test_run_against_a_broken_server_fails_the_checks_of_what_is_broken(
    broken: str, failed: set[str], accepted: bool
) -> None:
    runs = run(broken)
    assert {name for name, each in runs.items() if each.why} == failed
    assert {name for name, each in runs.items() if each.accepted} == (failed if accepted else set())
    assert all(each.forbidden is name.endswith("refused") for name, each in runs.items())
    assert PROFILE.secret_access_key not in str(runs)


def test_run_without_credentials_checks_what_needs_none() -> None:
    assert tuple(run(profile=Profile(PROFILE.endpoint, "", ""), role="", denied="")) == NAMES[:2]


def test_session_of_an_earlier_run_is_refused_when_it_has_expired() -> None:
    now = [NOW]
    probe = probe_of("", PROFILE)
    probe.clock = lambda: now[0]
    assert "expired session is refused" not in {each.name for each in probe.run()}
    now[0] += 902
    assert {each.name: each.accepted for each in probe.run()}["expired session is refused"], "this server ends none"
    assert "expired session is refused" not in {each.name for each in probe.run()}, "a new session was kept"


def test_metrics_begin_at_zero_and_count_each_round() -> None:
    metrics = ProbeMetrics('eu"1')
    metrics.note(run("wide").values())
    metrics.note(run().values())
    text = metrics.text()
    other = 'region="eu\\"1",check="other role is refused",cause="trust_policy",expects="refusal",outcome='
    assert f'daypass_checks_total{{{other}"accepted"}} 1\n' in text
    assert f'daypass_checks_total{{{other}"passed"}} 1\n' in text
    assert f'daypass_checks_total{{{other}"failed"}} 0\n' in text
    assert [sample.name for family in text_string_to_metric_families(text) for sample in family.samples]
