"""Synthetic checks: each must fail when the server does the wrong thing, not only pass when it does the right one."""

from __future__ import annotations

from urllib.parse import parse_qs

import pytest
from tests.unit.client.servers import NOW, PROFILE, error, result

from daypass.client.http import signed_request
from daypass.client.probe import CheckRun, Probe
from daypass.client.profiles import Profile
from daypass.client.transport import Answer, NoAnswer, Request

ROLE, OTHER = "arn:aws:iam::111122223333:role/probe", "arn:aws:iam::111122223333:role/other"
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
    "other role is refused",
)


class Server:
    """A server that does what it must, except for what is broken: "down", "hangs", "open", "wide", "forged"."""

    def __init__(self, broken: str = "") -> None:
        self.broken = broken

    def __call__(self, request: Request, seconds: float) -> Answer:
        assert 0 < seconds <= 10
        if self.broken == "hangs":
            raise NoAnswer("no answer in time")
        if request.target == "/readyz":
            return Answer(503 if self.broken == "down" else 200, {}, b"")
        headers = {name.lower(): value for name, value in request.headers.items()}
        asked = parse_qs(request.body.decode())
        token = headers.get("x-amz-security-token", "")
        if asked["Action"] == ["AssumeRole"]:
            if asked["RoleArn"] == [OTHER] and self.broken != "wide":
                return error("AccessDenied", "no", 403)
            return result("AssumeRole", SESSION)
        if token:
            if token != TOKEN and self.broken != "forged":
                return error("InvalidClientTokenId", "no", 403)
            return result("GetCallerIdentity", "<Arn>arn:aws:sts::1:assumed-role/probe/daypass-probe</Arn>")
        content = headers["content-type"]
        right = signed_request(
            PROFILE, "POST", "/", "", request.body, content_type=content, service="sts", now=NOW
        ).headers
        if {**right}.items() <= {**request.headers}.items() or self.broken == "open":
            return result("GetCallerIdentity", "<Arn>arn:aws:iam::1:user/probe</Arn>")
        return error("SignatureDoesNotMatch", "no", 403)


def run(broken: str = "", profile: Profile = PROFILE, role: str = ROLE, denied: str = OTHER) -> dict[str, CheckRun]:
    probe = Probe(profile, role, denied, Server(broken), clock=lambda: NOW, monotonic=lambda: 1.0)
    return {each.name: each for each in probe.run()}


def test_run_against_a_server_that_does_what_it_must_passes_all() -> None:
    runs = run()
    assert tuple(runs) == NAMES
    assert {each.why for each in runs.values()} == {""}


@pytest.mark.parametrize(
    ("broken", "failed"),
    [
        ("down", {"ready"}),
        ("open", {"unknown key is refused", "wrong secret is refused"}),
        ("wide", {"other role is refused"}),
        ("forged", {"role gives a session"}),
        pytest.param("hangs", set(NAMES), marks=pytest.mark.slow),
    ],
)
def test_run_against_a_broken_server_fails_the_checks_of_what_is_broken(broken: str, failed: set[str]) -> None:
    runs = run(broken)
    assert {name for name, each in runs.items() if each.why} == failed
    assert PROFILE.secret_access_key not in str(runs)


def test_run_without_credentials_checks_what_needs_none() -> None:
    assert tuple(run(profile=Profile(PROFILE.endpoint, "", ""), role="", denied="")) == NAMES[:2]
