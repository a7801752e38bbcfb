"""The command line signs in with a browser and with a device, renews its session, and logs out: against a server in this process."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from tests.attack.installation import ALPHA, Installation
from tests.browser import BASE, Browser
from tests.sign_in import signed_in, site_with_pages, user
from tests.unit.client.servers import Script, as_json

from daypass.client.errors import ClientError
from daypass.client.loopback import AuthorizationLogin, DeviceLogin, Session, renew, revoke
from daypass.client.profiles import LocalStateError, Profile, load_all, save
from daypass.client.transport import ClientRequest, ClientResponse, LoginServer
from daypass.client.usable import renewed, with_secret


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("login")) as made:
        yield made


@pytest.fixture
def server(site: Installation) -> LoginServer:
    def transport(request: ClientRequest, _: float) -> ClientResponse:
        headers = [(name.lower().encode(), value.encode()) for name, value in request.headers.items()]
        path, _, query = request.target.partition("?")
        answer = site.send(request.method, headers, request.body, path=path.encode(), query=query.encode())
        return ClientResponse(answer.status, answer.headers, answer.body)

    return LoginServer(BASE, transport=transport)


@pytest.fixture
def browser(site: Installation) -> Browser:
    return signed_in(site, user(site))


def caller(site: Installation, session: Session) -> str:
    found = session.credentials
    key = (found.access_key_id, found.secret_access_key, found.session_token)
    return site.call(key, "GetCallerIdentity").text("Arn")


def visit(address: str) -> int:
    try:
        with urllib.request.urlopen(address, timeout=60) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        error.close()
        return error.code


def consented(browser: Browser, address: str, decision: str = "allow") -> str:
    page = browser.get(address.removeprefix(BASE))
    return browser.submit(page, "/oauth2/authorize/consent", decision=decision).headers["location"]


def test_login_by_browser_gives_the_persons_session_and_renews_it(
    site: Installation, server: LoginServer, browser: Browser
) -> None:
    with AuthorizationLogin(server) as waiting:
        address = consented(browser, waiting.url)
        assert address.startswith(f"{waiting.redirect_uri}?")
        thread = threading.Thread(target=visit, args=(address,))
        thread.start()
        session = waiting.wait(60)
        thread.join()
    arn = caller(site, session)
    assert arn.startswith(f"arn:aws:iam::{ALPHA}:user/ann-")
    following = renew(server, session.refresh_token)
    assert following.refresh_token != session.refresh_token
    assert caller(site, following) == arn


def test_login_by_browser_takes_no_answer_of_another_login_or_server(server: LoginServer, browser: Browser) -> None:
    with AuthorizationLogin(server) as waiting:
        address = consented(browser, waiting.url)
        wrong = [
            address.replace("iss=", "iss=https%3A%2F%2Fevil.example&was="),
            address.replace(waiting.state, "x" * 32),
            address.replace("/callback", "/other"),
            f"{waiting.redirect_uri}?code=abc",
        ]
        statuses: list[int] = []
        threads = [threading.Thread(target=lambda a=a: statuses.append(visit(a))) for a in wrong]
        for thread in threads:
            thread.start()
        clock = iter([0.0, *([0.0] * len(wrong)), 1e9])
        with pytest.raises(LocalStateError, match="in time"):
            waiting.wait(20, monotonic=lambda: next(clock))
        for thread in threads:
            thread.join()
        assert statuses == [400] * len(wrong)


@pytest.mark.parametrize(
    ("member", "value"),
    [
        ("issuer", BASE),  # the person would sign in there, and the code would be sent here
        ("authorization_endpoint", "--gpu-launcher=sh -c id"),
        ("authorization_endpoint", "file:///etc/passwd"),
        ("authorization_endpoint", f"{BASE}/oauth2/authorize"),
        ("authorization_endpoint", "https://evil.example.attacker.example/authorize"),
    ],
)
def test_a438_login_at_a_server_that_leads_a_browser_elsewhere_is_refused_before_it_opens(
    member: str, value: str
) -> None:
    evil = "https://evil.example"
    metadata = {"issuer": evil, "authorization_endpoint": f"{evil}/oauth2/authorize", member: value}
    sent = Script(as_json(metadata))
    with pytest.raises((LocalStateError, ClientError)):
        AuthorizationLogin(LoginServer(evil, transport=sent))
    assert len(sent.sent) == 1


def test_login_by_browser_says_that_the_person_has_refused(server: LoginServer, browser: Browser) -> None:
    with AuthorizationLogin(server) as waiting:
        thread = threading.Thread(target=visit, args=(consented(browser, waiting.url, "deny"),))
        thread.start()
        with pytest.raises(ClientError) as failed:
            waiting.wait(60)
        thread.join()
    assert failed.value.code == "access_denied"


def test_login_by_device_waits_for_the_person(site: Installation, server: LoginServer, browser: Browser) -> None:
    waiting = DeviceLogin.begin(server)
    naps: list[float] = []

    def sleep(seconds: float) -> None:
        naps.append(seconds)
        site.wall.time += 5_000
        if len(naps) == 2:
            path = urlsplit(waiting.address)
            page = browser.submit(browser.get(f"{path.path}?{path.query}"), "/device/code")
            browser.submit(page, "/device/decision", decision="allow")

    session = waiting.wait(sleep=sleep, monotonic=lambda: 0.0)
    assert naps == [5.0, 5.0]
    assert caller(site, session).startswith(f"arn:aws:iam::{ALPHA}:user/")


@pytest.mark.parametrize("times", [(float("nan"), 600), (-1, 600), (0, 600), (5, float("inf")), (5, float("nan"))])
def test_a442_login_by_device_at_a_server_with_impossible_times_is_refused(times: tuple[float, float]) -> None:
    given = {"device_code": "c", "user_code": "u", "verification_uri_complete": f"{BASE}/device?user_code=u"}
    sent = Script(as_json({**given, "interval": times[0], "expires_in": times[1]}))
    with pytest.raises(ClientError, match="lacks a member"):
        DeviceLogin.begin(LoginServer(BASE, transport=sent))


def test_login_by_device_ends_when_the_person_refuses(
    site: Installation, server: LoginServer, browser: Browser
) -> None:
    waiting = DeviceLogin.begin(server)
    page = browser.submit(browser.get("/device"), "/device/code", user_code=waiting.user_code)
    browser.submit(page, "/device/decision", decision="deny")
    with pytest.raises(ClientError) as failed:
        waiting.wait(sleep=lambda _: None, monotonic=lambda: 0.0)
    assert failed.value.code == "access_denied"


# --- The stored profile


@pytest.fixture
def profile(
    site: Installation, server: LoginServer, browser: Browser, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> Profile:
    monkeypatch.setenv("DAYPASS_HOME", str(tmp_path))
    waiting = DeviceLogin.begin(server)
    page = browser.submit(browser.get("/device"), "/device/code", user_code=waiting.user_code)
    browser.submit(page, "/device/decision", decision="allow")
    session = waiting.wait(sleep=lambda _: None, monotonic=lambda: 0.0)
    found = session.credentials
    made = Profile(
        BASE,
        found.access_key_id,
        found.secret_access_key,
        found.session_token,
        expiration=found.expiration_text(),
        refresh_token=session.refresh_token,
        login="ab" * 16,
    )
    save("work", made)
    return made


def test_profile_is_renewed_shortly_before_its_session_ends_and_stored(
    site: Installation, server: LoginServer, profile: Profile, tmp_path: Path
) -> None:
    transport, now = server.transport, site.wall.time / 1000
    assert renewed(profile, transport=transport, clock=lambda: now) == profile
    site.wall.time += 3_400_000
    found = renewed(profile, transport=transport, clock=lambda: site.wall.time / 1000)
    assert found.access_key_id != profile.access_key_id
    assert load_all()["work"] == found
    assert (tmp_path / "profiles.json").stat().st_mode & 0o777 == 0o600
    again = renewed(profile, transport=transport, clock=lambda: site.wall.time / 1000)  # a process with the old one
    assert again == found


def test_profile_whose_login_was_revoked_says_how_to_log_in_again(
    site: Installation, server: LoginServer, profile: Profile
) -> None:
    revoke(server, profile.refresh_token)
    key = (profile.access_key_id, profile.secret_access_key, profile.session_token)
    assert site.call(key, "GetCallerIdentity").code == "ExpiredToken"
    site.wall.time += 3_600_000
    with pytest.raises(ClientError, match="daypass login --browser"):
        renewed(profile, transport=server.transport, clock=lambda: site.wall.time / 1000)


def test_profile_that_was_removed_is_not_renewed(site: Installation, server: LoginServer, profile: Profile) -> None:
    gone = replace(profile, login="cd" * 16)
    site.wall.time += 3_600_000
    with pytest.raises(LocalStateError, match="removed"):
        renewed(gone, transport=server.transport, clock=lambda: site.wall.time / 1000)


def test_profile_without_a_login_is_left_alone(profile: Profile) -> None:
    key = replace(profile, login="", refresh_token="", expiration="")
    assert with_secret(key) is key
