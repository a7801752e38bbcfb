"""The client's sessions: kept, held and shared."""

from __future__ import annotations

import json
import stat
import threading
from pathlib import Path
from typing import Any

import pytest
from tests.unit.client.servers import NOW, PROFILE, Clock, Script, actions, error, issued, parameters, result

from daypass.client.boto import CeilingReached, HeldSession
from daypass.client.credentials import AssumeRole
from daypass.client.errors import ClientError
from daypass.client.loopback import check_issuer
from daypass.client.profiles import Busy, LocalStateError, Unwritable, locked
from daypass.client.provider import CredentialProvider
from daypass.client.state import default_session_name, iso_time
from daypass.client.transport import ClientRequest, ClientResponse, LoginServer, NoAnswer

ROLE = AssumeRole("111122223333/deployer", "me")
AWAY = NoAnswer("connection refused", sent=False)


def provider(server: Script, cache: Path, role: AssumeRole = ROLE, **more: Any) -> CredentialProvider:
    """One process's view: nothing held but the files."""
    connection = server.connection(clock=more.get("clock", server.clock))
    return CredentialProvider(PROFILE, role, connect=lambda: connection, cache=cache, clock=connection.clock, **{
        name: value for name, value in more.items() if name != "clock"
    })  # fmt: skip


def files(cache: Path) -> list[Path]:
    return list(cache.glob("*.json"))


def test_get_asks_once_and_then_serves_the_cache(tmp_path: Path) -> None:
    server = Script(issued(1), issued(2))
    first = provider(server, tmp_path)
    assert first.get() == first.get() == provider(server, tmp_path).get()
    assert first.get().access_key_id == "ASIA0000000000000001"
    assert actions(server.sent) == ["AssumeRole"]


def test_get_cache_files_belong_to_their_owner_alone(tmp_path: Path) -> None:
    provider(Script(issued()), tmp_path / "cache").get()
    assert {stat.S_IMODE(p.stat().st_mode) for p in (tmp_path / "cache").iterdir()} == {0o600}
    assert stat.S_IMODE((tmp_path / "cache").stat().st_mode) == 0o700


def test_get_renews_ahead_of_expiry(tmp_path: Path) -> None:
    server = Script(issued(1), issued(2, "2027-01-15T10:00:00Z"))
    one = provider(server, tmp_path)
    one.get()
    server.clock.now = NOW + 3600 * 0.74
    assert one.get().access_key_id.endswith("1")
    server.clock.now = NOW + 3600 * 0.81
    assert one.get().access_key_id.endswith("2")


def test_get_renewal_moments_differ_between_processes(tmp_path: Path) -> None:
    shares = {provider(Script(issued()), tmp_path)._share for _ in range(20)}
    assert len(shares) == 20
    assert 0.2 <= min(shares) < max(shares) < 0.25


@pytest.mark.parametrize("failure", [AWAY, error("InternalFailure", "x", 500), error("Throttling", "x", 429)])
def test_a92_get_server_away_serves_the_cache_until_it_expires(
    tmp_path: Path, failure: ClientResponse | NoAnswer
) -> None:
    server = Script(issued(1), failure)
    provider(server, tmp_path).get()
    for minutes in (50, 55, 59):
        server.clock.now = NOW + 60 * minutes
        assert provider(server, tmp_path).get().access_key_id.endswith("1")
    server.clock.now = NOW + 3600
    with pytest.raises(ClientError):
        provider(server, tmp_path).get()


def test_a92_get_server_away_is_asked_for_a_short_time_and_then_left_in_peace(tmp_path: Path) -> None:
    server = Script(issued(1), AWAY)
    provider(server, tmp_path).get()
    server.clock.now = began = NOW + 3000
    provider(server, tmp_path).get()
    assert server.clock.now - began < 4
    asked = len(server.sent)
    provider(server, tmp_path).get()
    assert len(server.sent) == asked
    server.clock.now += 40
    provider(server, tmp_path).get()
    assert len(server.sent) > asked


def test_a92_get_role_by_name_needs_no_server_while_the_cache_is_good(tmp_path: Path) -> None:
    identity = result("GetCallerIdentity", "<Account>111122223333</Account>")
    server = Script(identity, issued(1), AWAY)
    role = AssumeRole("deployer", "me")
    provider(server, tmp_path, role).get()
    assert parameters(server.sent[1])["RoleArn"] == "arn:aws:iam::111122223333:role/deployer"
    assert provider(server, tmp_path, role).get().access_key_id.endswith("1")
    assert len(server.sent) == 2


def test_get_refused_is_not_answered_from_the_cache(tmp_path: Path) -> None:
    server = Script(issued(1), error("AccessDenied", "no", 403))
    provider(server, tmp_path).get()
    server.clock.now = NOW + 3000
    with pytest.raises(ClientError, match="no"):
        provider(server, tmp_path).get()


def test_get_fresh_asks_whatever_the_cache_holds(tmp_path: Path) -> None:
    server = Script(issued(1), issued(2))
    provider(server, tmp_path).get()
    assert provider(server, tmp_path).get(fresh=True).access_key_id.endswith("2")
    assert provider(server, tmp_path).get().access_key_id.endswith("2")


@pytest.mark.parametrize(
    "content",
    ["", "{", "[]", "null", "[" * 100_000, '{"access_key_id": "x"}', "BAD expiration", "BAD secret_access_key",
     "BAD offset", "BAD session_token"],
)  # fmt: skip
def test_get_corrupt_cache_asks_anew(tmp_path: Path, content: str) -> None:
    server = Script(issued(1), issued(2))
    provider(server, tmp_path).get()
    (file,) = files(tmp_path)
    if content.startswith("BAD "):
        name = content.removeprefix("BAD ")
        content = json.dumps({**json.loads(file.read_text()), name: [] if name.startswith("s") else "soon"})
    file.write_text(content)
    assert provider(server, tmp_path).get().access_key_id.endswith("2")


@pytest.mark.parametrize(
    "other",
    [AssumeRole("111122223333/other", "me"), AssumeRole("111122223333/deployer", "you"),
     AssumeRole("111122223333/deployer", "me", policy="{}"), AssumeRole("111122223333/deployer", "me", duration=900),
     AssumeRole("111122223333/deployer", "me", tags=(("a", "b"),))],
)  # fmt: skip
def test_get_other_request_has_its_own_credentials(tmp_path: Path, other: AssumeRole) -> None:
    server = Script(issued(1), issued(2))
    provider(server, tmp_path).get()
    assert provider(server, tmp_path, other).get().access_key_id.endswith("2")


@pytest.mark.parametrize("wrong_by", [-7200, 7200])
def test_get_our_clock_wrong_credentials_are_judged_by_the_servers(tmp_path: Path, wrong_by: int) -> None:
    clock = Clock(NOW + wrong_by)
    skewed = error("SignatureDoesNotMatch", "Signature expired: …", 403, date="Fri, 15 Jan 2027 08:00:00 GMT")
    server = Script(skewed, issued(1), issued(2))
    assert provider(server, tmp_path, clock=clock).get().access_key_id.endswith("1")
    assert provider(server, tmp_path, clock=clock).get().access_key_id.endswith("1")
    clock.now += 3400
    assert provider(server, tmp_path, clock=clock).get().access_key_id.endswith("2")


def test_get_lock_held_by_a_stuck_process_gives_up(tmp_path: Path) -> None:
    one = provider(Script(issued()), tmp_path, lock_deadline=0.05)
    with locked(one.file.with_suffix(".lock"), 0), pytest.raises(Busy):
        one.get()


def test_get_lock_held_by_another_serves_what_is_still_good(tmp_path: Path) -> None:
    server = Script(issued(1), issued(2))
    provider(server, tmp_path).get()
    server.clock.now = NOW + 3000
    late = provider(server, tmp_path)
    with locked(late.file.with_suffix(".lock"), 0):
        assert late.get().access_key_id.endswith("1")
    assert late._connection.deadline == 20


def test_get_threads_share_one_renewal_and_none_waits_for_it(tmp_path: Path) -> None:
    renewing, go_on = threading.Event(), threading.Event()

    def slowly(_: ClientRequest) -> ClientResponse:
        renewing.set()
        assert go_on.wait(60)
        return issued(2, "2027-01-15T10:00:00Z")

    server = Script(issued(1), slowly)
    one = provider(server, tmp_path)
    one.get()
    server.clock.now = NOW + 3000
    renewer = threading.Thread(target=one.get)
    renewer.start()
    assert renewing.wait(60)
    assert one.get().access_key_id.endswith("1")
    go_on.set()
    renewer.join(10)
    assert one.get().access_key_id.endswith("2")
    assert len(server.sent) == 2


@pytest.mark.parametrize(
    "body", ["", "<Credentials/>", ("<Credentials><AccessKeyId>A</AccessKeyId><SecretAccessKey>s</SecretAccessKey>"
             "<SessionToken>t</SessionToken><Expiration>soon</Expiration></Credentials>")]
)  # fmt: skip
def test_get_answer_without_credentials_is_a_client_error(tmp_path: Path, body: str) -> None:
    with pytest.raises(ClientError, match="no credentials"):
        provider(Script(result("AssumeRole", body)), tmp_path).get()
    assert not files(tmp_path)


@pytest.mark.parametrize("fresh", [False, True])
def test_get_cache_that_cannot_be_written_serves_a_session_and_says_why(tmp_path: Path, fresh: bool) -> None:
    (tmp_path / "file").write_text("")
    server = Script(issued(1), issued(2))
    one = provider(server, tmp_path / "file")
    assert one.get(fresh=fresh).session_token == "token-1"
    assert one.get().session_token == "token-1"
    assert "cannot be written" in one.uncached
    assert provider(server, tmp_path / "file").get(fresh=fresh).session_token == "token-2"


def test_get_cache_of_another_user_is_a_local_failure(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("daypass.client.state.owners", lambda *_: {4711})
    server = Script(issued())
    with pytest.raises(LocalStateError, match="belongs to another user"):
        provider(server, tmp_path).get()
    assert not server.sent


def test_get_revoked_session_in_a_cache_that_cannot_be_written_is_replaced(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    server = Script(issued(1), error("ExpiredToken", "no", 403), issued(2))
    provider(server, tmp_path).get()

    def refuse(*_: object, **__: object) -> None:
        raise Unwritable("read-only")

    monkeypatch.setattr("daypass.client.provider.locked", refuse)
    monkeypatch.setattr("daypass.client.provider.write_private", refuse)
    server.clock.now += 60
    found = provider(server, tmp_path, check=5.0)
    assert (found.get().session_token, found.uncached) == ("token-2", "read-only")


def test_credentials_never_show_their_secrets(tmp_path: Path) -> None:
    found = provider(Script(issued()), tmp_path).get()
    assert "issued-secret" not in repr(found)
    assert "token" not in repr(found)
    assert found.expiration_text() == "2027-01-15T09:00:00Z"


@pytest.mark.parametrize(
    ("role", "arn"),
    [("arn:aws:iam::111122223333:role/x", "arn:aws:iam::111122223333:role/x"), ("444455556666/team/x", "arn:aws:iam::444455556666:role/team/x"),
     ("team/x", "arn:aws:iam::111122223333:role/team/x"), ("４４４４55556666/x", "arn:aws:iam::111122223333:role/４４４４55556666/x")],
)  # fmt: skip
def test_role_is_an_arn_a_name_or_an_account_and_a_name(tmp_path: Path, role: str, arn: str) -> None:
    def answer(request: ClientRequest) -> ClientResponse:
        if parameters(request)["Action"] == "AssumeRole":
            return issued()
        return result("GetCallerIdentity", "<Account>111122223333</Account>")

    server = Script(answer)
    provider(server, tmp_path, AssumeRole(role, "me")).get()
    assert parameters(server.sent[-1])["RoleArn"] == arn


@pytest.mark.parametrize(
    ("user", "name"), [("anna", "anna"), ("a", "a-session"), ("Zoë K", "Zo--K"), ("x" * 90, "x" * 48)]
)
def test_default_session_name_is_always_a_valid_one(monkeypatch: pytest.MonkeyPatch, user: str, name: str) -> None:
    monkeypatch.setenv("USER", user)
    monkeypatch.delenv("LOGNAME", raising=False)
    assert default_session_name() == name


def test_default_session_name_without_a_login_name_tells_users_and_hosts_apart(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("USER", raising=False)
    monkeypatch.delenv("LOGNAME", raising=False)
    monkeypatch.setattr("os.getuid", lambda: 1000)
    one = default_session_name()
    monkeypatch.setattr("os.getuid", lambda: 1001)
    assert (one[:9], default_session_name()[:9]) == ("uid-1000@", "uid-1001@")


# --- A cached session that was revoked

REVOKED = error("ExpiredToken", "The security token included in the request is expired", 403)
WHO = result("GetCallerIdentity", "<Account>111122223333</Account>")


@pytest.mark.parametrize("answer", [REVOKED, error("InvalidClientTokenId", "no", 403)])
def test_get_revoked_session_in_the_cache_is_replaced_once(tmp_path: Path, answer: ClientResponse) -> None:
    server = Script(issued(1), answer, issued(2))
    provider(server, tmp_path, check=5.0).get()
    server.clock.now += 6
    assert provider(server, tmp_path, check=5.0).get().access_key_id.endswith("2")
    assert actions(server.sent) == ["AssumeRole", "GetCallerIdentity", "AssumeRole"]
    assert "ASIA0000000000000001" in str(server.sent[1].headers)
    assert provider(server, tmp_path, check=5.0).get().access_key_id.endswith("2")


def test_get_revoked_session_and_no_new_one_gives_out_none(tmp_path: Path) -> None:
    server = Script(issued(1), REVOKED, error("AccessDenied", "blocked", 403))
    provider(server, tmp_path, check=5.0).get()
    server.clock.now += 6
    for _ in range(2):
        with pytest.raises(ClientError, match="blocked"):
            provider(server, tmp_path, check=5.0).get()
    assert files(tmp_path) == []


def test_get_session_is_checked_once_in_a_while(tmp_path: Path) -> None:
    server = Script(issued(1), WHO)
    for _ in range(3):
        provider(server, tmp_path, check=5.0).get()
    assert actions(server.sent) == ["AssumeRole"]
    server.clock.now += 6
    for _ in range(3):
        assert provider(server, tmp_path, check=5.0).get().access_key_id.endswith("1")
    assert actions(server.sent) == ["AssumeRole", "GetCallerIdentity"]


def test_a92_get_server_away_at_the_check_serves_the_cache_and_is_left_in_peace(tmp_path: Path) -> None:
    server = Script(issued(1), AWAY)
    provider(server, tmp_path, check=5.0).get()
    server.clock.now = began = NOW + 60
    assert provider(server, tmp_path, check=5.0).get().access_key_id.endswith("1")
    assert server.clock.now - began < 2.5
    asked = len(server.sent)
    server.clock.now += 10
    assert provider(server, tmp_path, check=5.0).get().access_key_id.endswith("1")
    assert len(server.sent) == asked
    server.clock.now += 40
    provider(server, tmp_path, check=5.0).get()
    assert len(server.sent) > asked


# --- MFA

WITH_MFA = AssumeRole("111122223333/deployer", "me", serial_number="arn:aws:iam::111122223333:mfa/me")


def test_get_with_mfa_asks_for_a_code_once_for_each_session(tmp_path: Path) -> None:
    server = Script(issued(1), issued(2, "2027-01-15T10:00:00Z"))
    codes = iter(["111111", "222222"])
    asked = provider(server, tmp_path, WITH_MFA, code=lambda: next(codes))
    asked.get()
    server.clock.now = NOW + 3600 * 0.9
    assert provider(server, tmp_path, WITH_MFA, code=lambda: next(codes)).get().access_key_id.endswith("1")
    server.clock.now = NOW + 3600
    assert provider(server, tmp_path, WITH_MFA, code=lambda: next(codes)).get().access_key_id.endswith("2")
    sent = [parameters(request) for request in server.sent]
    assert [(p["SerialNumber"], p["TokenCode"]) for p in sent] == [
        (WITH_MFA.serial_number, "111111"),
        (WITH_MFA.serial_number, "222222"),
    ]


def test_get_with_mfa_and_nobody_to_ask_is_refused_before_a_call(tmp_path: Path) -> None:
    server = Script(issued())
    with pytest.raises(LocalStateError, match="needs a code"):
        provider(server, tmp_path, WITH_MFA).get()
    assert server.sent == []


@pytest.mark.parametrize(
    ("endpoint", "issuer", "same"),
    [
        ("http://127.0.0.1:8700", "http://localhost:8700", True),
        ("http://127.0.0.1:8700/", "http://127.0.0.1:8700", True),
        ("http://127.0.0.1:8700", "http://localhost:8701", False),
        ("http://127.0.0.1:8700", "http://localhost:8700.example.com", False),
        ("http://127.0.0.1:8700@example.com", "http://localhost:8700", False),
        ("http://localhost:8700", "http://127.0.0.1:8700", False),
        ("https://127.0.0.1:8700", "https://localhost:8700", False),
        ("http://10.0.0.1:8700", "http://localhost:8700", False),
    ],
)
def test_login_is_sent_to_the_server_of_that_name_alone(endpoint: str, issuer: str, *, same: bool) -> None:
    server = LoginServer(endpoint, "")
    if same:
        return check_issuer(server, issuer)
    with pytest.raises(LocalStateError, match="must not be sent to another address"):
        check_issuer(server, issuer)
    return None


# --- test_held


REQUEST = AssumeRole("111122223333/etl", "job", 3600)


def held(tmp_path: Path, server: Script, ceiling: float) -> HeldSession:
    connection = server.connection()

    def make(*given: Any) -> CredentialProvider:
        return CredentialProvider(*given, connect=lambda: connection, cache=tmp_path, clock=server.clock)

    return HeldSession(PROFILE, REQUEST, ceiling, make=make, clock=server.clock)


def server_that_issues() -> Script:
    clock, count = Clock(), iter(range(1, 100))

    def issue(request: ClientRequest) -> ClientResponse:
        return issued(next(count), iso_time(clock.now + float(parameters(request)["DurationSeconds"])))

    return Script(issue, clock=clock)


def test_job_is_never_without_a_session_until_the_ceiling_and_then_for_good(tmp_path: Path) -> None:
    server = server_that_issues()
    session = held(tmp_path, server, 9_000)
    began = server.clock.now
    while server.clock.now < began + 9_000:
        found = session.get()
        assert found.expiration > server.clock.now + 5
        assert found.expiration <= began + 9_000 + 900
        server.clock.now += 97
    durations = [int(parameters(request)["DurationSeconds"]) for request in server.sent]
    assert durations[0] == 3600
    assert durations[-1] < 3600
    assert session.renewals == len(durations) - 1
    with pytest.raises(CeilingReached, match="ceiling"):
        session.get()
    session.close()
    server.clock.now = began
    with pytest.raises(CeilingReached):
        session.get()


def test_job_goes_on_with_a_valid_session_while_renewals_fail_and_is_told_why_when_it_ends(tmp_path: Path) -> None:
    server = server_that_issues()
    session = held(tmp_path, server, 40_000)
    first = session.get()
    server.steps = [NoAnswer("connection refused", sent=False)]
    server.clock.now += 3_000
    session._kept = True  # a thread renews: `get` itself does not
    sent = len(server.sent)
    assert session.get() == first
    assert len(server.sent) == sent
    server.clock.now += 700
    with pytest.raises(ClientError, match="connection refused"):
        session.get()


def test_session_that_is_refused_at_the_start_is_an_error_at_once(tmp_path: Path) -> None:
    with pytest.raises(ClientError, match="no trust"):
        held(tmp_path, Script(error("AccessDenied", "no trust", 403)), 900).get()
    with pytest.raises(ValueError, match="900"):
        held(tmp_path, Script(issued()), 899)
