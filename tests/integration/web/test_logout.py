"""RP-initiated logout: the person confirms, and returns to a registered address only."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import parse_qs, urlencode

import jwt
import pytest
from tests.attack.installation import ALPHA, Installation
from tests.browser import Browser, forms, refused, text
from tests.oauth import bearer, given, verified
from tests.oauth_client import Client, api
from tests.sign_in import CALLBACK, allowed, may_assume, redeemed, signed_in, target, user, web_client

from daypass.operations.notifications import deliver_due
from daypass.ports import OutboundFailed

PATH = "/oauth2/logout"
AFTER = "https://app.example/after"


@pytest.fixture(scope="module")
def client(site: Installation) -> Client:
    return web_client(site, post_logout_redirect_uris=[AFTER])


def address(**parameters: str) -> str:
    return f"{PATH}?{urlencode(parameters)}"


def test_logout_is_confirmed_and_returns_to_the_application(
    site: Installation, client: Client, browser: Browser
) -> None:
    hint = given(redeemed(client, allowed(browser, target(client))["code"]))["id_token"]
    page = browser.get(address(id_token_hint=hint, post_logout_redirect_uri=AFTER, state="a b"))
    assert "asks to sign you out" in text(page)
    assert "form-action 'self' https://app.example" in page.headers["content-security-policy"]
    assert browser.get("/account").status == 200  # the link alone has done nothing
    answer = browser.submit(page, f"{PATH}/confirm")
    assert (answer.status, answer.headers["location"]) == (303, f"{AFTER}?state=a+b")
    assert browser.get("/account").status == 303
    (record,) = site.records(answer.request_id)
    assert (record["operation"], record["detail"]["browser_session"]) == ("daypass:SignOut", "ended")
    again = browser.get(address(client_id=client.id, post_logout_redirect_uri=AFTER))
    assert again.headers["location"] == AFTER


def test_logout_without_parameters_ends_at_our_own_page(browser: Browser) -> None:
    answer = browser.submit(browser.get(PATH), f"{PATH}/confirm")
    assert answer.headers["location"] == "/login/signed-out"


def test_logout_as_a_form_of_another_site_is_the_same_request_by_get(site: Installation, client: Client) -> None:
    sent = [(b"content-type", b"application/x-www-form-urlencoded"), (b"origin", b"https://app.example")]
    answer = site.send("POST", sent, f"client_id={client.id}".encode(), path=PATH.encode())
    assert (answer.status, answer.headers["location"]) == (303, address(client_id=client.id))


@pytest.mark.parametrize(
    "uri", ["https://evil.example/", f"{AFTER}/", f"{AFTER}?x", "//evil.example", "javascript:alert(1)", CALLBACK]
)
@pytest.mark.parametrize("inside", [True, False])
def test_a66_logout_never_leads_to_an_address_that_is_not_registered(
    site: Installation, client: Client, name: str, uri: str, inside: bool
) -> None:
    browser = signed_in(site, name) if inside else Browser(site)
    answer = browser.get(address(client_id=client.id, post_logout_redirect_uri=uri))
    assert answer.status == 400
    assert "location" not in answer.headers
    assert site.records(answer.request_id)[-1]["error"] == "validation"


def test_logout_with_a_hint_of_another_person_or_client_is_refused(
    site: Installation, client: Client, browser: Browser
) -> None:
    hint = given(redeemed(client, allowed(browser, target(client))["code"]))["id_token"]
    other_client = web_client(site, post_logout_redirect_uris=[AFTER])
    changed = hint[:-6] + "AAAAAA"
    for wrong in (
        {"id_token_hint": hint, "client_id": other_client.id},
        {"id_token_hint": changed},
        {"id_token_hint": "nonsense"},
        {"post_logout_redirect_uri": AFTER},
        {"client_id": "DPCLAAAAAAAAAAAAAAAAA", "post_logout_redirect_uri": AFTER},
    ):
        answer = browser.get(address(**wrong))
        assert (answer.status, "location" in answer.headers) == (400, False), wrong
    other = user(site)
    may_assume(site, other)
    assert signed_in(site, other).get(address(id_token_hint=hint)).status == 400


def test_a88_logout_is_confirmed_by_the_browser_that_saw_the_page(
    site: Installation, client: Client, name: str
) -> None:
    first, second = signed_in(site, name), signed_in(site, name)
    page = first.get(address(client_id=client.id, post_logout_redirect_uri=AFTER))
    fields = forms(page)[f"{PATH}/confirm"].fields
    assert second.post(f"{PATH}/confirm", fields).status in (400, 403)
    of_second = forms(second.get(PATH))[f"{PATH}/confirm"].fields
    refused(site, second.post(f"{PATH}/confirm", {**of_second, "ticket": fields["ticket"]}), 400)
    assert first.post(f"{PATH}/confirm", {**fields, "csrf": ""}).status in (400, 403)
    assert first.post(f"{PATH}/confirm", fields, origin="https://app.example").status in (400, 403)
    assert first.get("/account").status == 200
    assert second.get("/account").status == 200
    answer = first.post(f"{PATH}/confirm", fields)
    assert answer.headers["location"] == AFTER
    assert "max-age=0" in answer.headers["set-cookie"].lower()


def test_a88_logout_is_confirmed_within_ten_minutes(site: Installation, browser: Browser) -> None:
    page = browser.get(PATH)
    site.wall.time += 600_000
    answer = browser.submit(page, f"{PATH}/confirm")
    refused(site, answer, 400)
    assert "has expired" in text(answer)
    assert browser.get("/account").status == 200


def test_logout_as_a_form_that_is_too_long_for_an_address_is_refused(site: Installation) -> None:
    sent = [(b"content-type", b"application/x-www-form-urlencoded")]
    answer = site.send("POST", sent, b"state=" + b"x" * 5_000, path=PATH.encode())
    assert (answer.status, "location" in answer.headers) == (400, False)


def test_client_with_an_unusable_address_after_logout_is_refused(site: Installation, client: Client) -> None:
    for uris in (["http://app.example/"], ["https://app.example/#x"], [AFTER, AFTER]):
        now = {"token_endpoint_auth_method": "none", "grant_types": ["authorization_code"], "redirect_uris": [CALLBACK]}
        answer = api(site, "PUT", client.path, {"settings": {**now, "post_logout_redirect_uris": uris}})
        assert answer.status == 400
        assert b"post_logout_redirect_uris" in answer.body


# --- Back-channel logout ---------------------------------------------------------------------------------------------


@dataclass
class Told:
    """The clients' endpoints: what they were told, and whether they answer."""

    site: Installation
    bodies: list[tuple[str, bytes]] = field(default_factory=list)
    down: bool = False

    async def post(self, url: str, body: bytes, headers: Mapping[str, str], **_: Any) -> bytes:
        assert headers["content-type"] == "application/x-www-form-urlencoded"
        if self.down:
            raise OutboundFailed("HTTP status 503")
        self.bodies.append((url, body))
        return b""

    def deliver(self) -> list[dict[str, Any]]:
        """The claims of the tokens that are due now, by another library."""
        self.bodies.clear()
        self.site.run(deliver_due(self.site.runtime.env, ALPHA))
        found = []
        for _, body in self.bodies:
            text = parse_qs(body.decode())["logout_token"][0]
            assert jwt.get_unverified_header(text)["typ"] == "logout+jwt"
            found.append(verified(self.site, text, jwt.decode(text, options={"verify_signature": False})["aud"]))
        return found


@pytest.fixture
def told(site: Installation, monkeypatch: pytest.MonkeyPatch) -> Told:
    made = Told(site)
    monkeypatch.setattr(site.runtime.env.outbound, "post", made.post)
    return made


def signed_in_to(browser: Browser, *clients: Client) -> list[dict[str, Any]]:
    """The claims of the ID tokens."""
    site = browser.site
    return [
        verified(site, given(redeemed(each, allowed(browser, target(each))["code"]))["id_token"], each.id)
        for each in clients
    ]


BACK = "https://app.example/backchannel"


def by_logout(site: Installation, name: str, browser: Browser) -> None:
    browser.submit(browser.get("/oauth2/logout"), "/oauth2/logout/confirm")


def by_revocation(site: Installation, name: str, browser: Browser) -> None:
    api(site, "POST", "/revocations", {"subject": "principal", "value": name, "reason": "test"})


def by_new_password(site: Installation, name: str, browser: Browser) -> None:
    site.iam("UpdateLoginProfile", UserName=name, Password="Another-horse-2")


def by_offboarding(site: Installation, name: str, browser: Browser) -> None:
    assert api(site, "POST", "/offboardings", {"user": name, "reason": "left"}).status < 300


@pytest.mark.parametrize("end", [by_logout, by_revocation, by_new_password, by_offboarding])
def test_clients_that_registered_for_it_are_told_of_the_end_of_a_browser_session(
    site: Installation, told: Told, end: Callable[[Installation, str, Browser], None]
) -> None:
    client, silent = web_client(site, backchannel_logout_uri=BACK), web_client(site)
    name = user(site)
    browser = signed_in(site, name)
    ours, _ = signed_in_to(browser, client, silent)
    signed_in_to(browser, client)
    assert told.deliver() == []
    end(site, name, browser)
    [claims] = told.deliver()
    assert told.bodies[0][0] == BACK
    assert (claims["aud"], claims["sub"], claims["sid"]) == (client.id, ours["sub"], ours["sid"])
    assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert "nonce" not in claims
    assert 0 < claims["exp"] - claims["iat"] <= 120
    assert told.deliver() == []


def test_client_that_does_not_answer_is_told_again_later(site: Installation, told: Told) -> None:
    client = web_client(site, backchannel_logout_uri=BACK, id_token_signed_response_alg="RS256")
    browser = signed_in(site, user(site))
    signed_in_to(browser, client)
    told.down = True
    by_logout(site, "", browser)
    assert told.deliver() == []
    told.down = False
    assert told.deliver() == []
    site.wall.time += 15_000
    [claims] = told.deliver()
    assert claims["aud"] == client.id
    assert claims["iat"] == site.wall.time // 1000


def test_logout_token_is_neither_an_access_token_nor_an_id_token(site: Installation, told: Told) -> None:
    client = web_client(site, backchannel_logout_uri=BACK)
    browser = signed_in(site, user(site))
    signed_in_to(browser, client)
    by_logout(site, "", browser)
    told.deliver()
    text = parse_qs(told.bodies[0][1].decode())["logout_token"][0]
    assert site.send("GET", [bearer(text)], path=b"/oauth2/userinfo").status == 401
    hinted = urlencode({"id_token_hint": text, "client_id": client.id})
    assert Browser(site).get(f"/oauth2/logout?{hinted}").status == 400


@pytest.mark.parametrize("uri", ["http://app.example/back", "https://app.example/back#x", "javascript:x"])
def test_backchannel_logout_uri_that_cannot_be_called_is_refused(site: Installation, uri: str) -> None:
    with pytest.raises(AssertionError, match="backchannel_logout_uri"):
        web_client(site, backchannel_logout_uri=uri)
