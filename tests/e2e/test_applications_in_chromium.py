"""A single-page application in a real browser, by npm's openid-client: it gets tokens across origins, and signs people out."""

from __future__ import annotations

import functools
import http.server
import json
import threading
from collections.abc import Iterator
from typing import Any, ClassVar
from urllib.parse import quote

import pytest
from playwright.sync_api import Browser, Page
from tests.chromium import chromium, judged, needs_chromium, page_of
from tests.e2e.conftest import OPERATOR, Server, running
from tests.e2e.test_keyboard_in_chromium import walked
from tests.node import FOLDER

PASSWORD = "Correct-horse-1"
pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium"]


class Files(http.server.SimpleHTTPRequestHandler):
    extensions_map: ClassVar = {**http.server.SimpleHTTPRequestHandler.extensions_map, ".mjs": "text/javascript"}

    def log_message(self, *_: Any) -> None:
        """Nothing."""


@pytest.fixture(scope="module")
def origin() -> Iterator[str]:
    """The origin of the application's server."""
    handler = functools.partial(Files, directory=str(FOLDER))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as served:
        threading.Thread(target=served.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{served.server_address[1]}"
        served.shutdown()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("applications"), environment=environment) as started:
        iam = started.client("iam")
        iam.create_user(UserName="ann")
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        yield started


@pytest.fixture(scope="module")
def address(server: Server, origin: str) -> str:
    """The address at which a person opens the application."""
    page = f"{origin}/application.html"
    settings = {
        "token_endpoint_auth_method": "none",
        "grant_types": ["authorization_code", "refresh_token"],
        "redirect_uris": [page],
        "post_logout_redirect_uris": [page],
    }
    client = server.api("POST", "/clients", body={"name": "Notes", "settings": settings})["client_id"]
    return f"{page}#{quote(f'{server.url} {client}')}"


def sign_in(page: Page, address: str) -> None:
    """By keyboard, as far as the consent of the person."""
    page.goto(address)
    page.wait_for_selector("input[name=account]")
    for text in (OPERATOR, "ann", PASSWORD):
        page.keyboard.type(text)
        page.keyboard.press("Tab" if text != PASSWORD else "Enter")
    page.wait_for_selector("button[value=allow]")
    page.focus("button[value=allow]")
    page.keyboard.press("Enter")


def told(page: Page) -> str:
    """The application's text."""
    page.wait_for_function("document.querySelector('pre')?.textContent")
    return page.locator("pre").inner_text()


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 360)])
def test_openid_client_in_a_page_gets_tokens_and_signs_the_person_out_by_keyboard(
    server: Server, chromium: Browser, address: str, scheme: str, width: int
) -> None:
    page, said = page_of(chromium, scheme, width)
    page.emulate_media(reduced_motion="reduce")
    sign_in(page, address)
    page.wait_for_url("**/application.html?*")
    result = told(page)
    assert result.startswith("{"), (result, said)
    found = json.loads(result)
    assert (found["type"], found["renewed"], found["refused"]) == ("dpop", True, "invalid_grant")
    assert found["person"]["preferred_username"] == "ann"
    page.focus("a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/oauth2/logout?*")
    assert "Notes asks to sign you out" in page.locator("main").inner_text()
    judged(page, "logout")
    assert walked(page, "body") == []
    page.get_by_role("link", name="Stay signed in").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**/account")
    page.go_back()
    page.wait_for_url("**/oauth2/logout?*")
    page.focus("main button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/application.html?state=left")
    assert told(page) == "signed out"
    page.goto(f"{server.url}/account")
    assert "/login" in page.url
    assert [text for text in said if "Content Security Policy" in text] == []
    page.context.close()


@pytest.mark.parametrize(("scheme", "width"), [("dark", 1000), ("light", 360)])
def test_plain_link_to_logout_asks_and_ends_at_our_own_page(
    server: Server, chromium: Browser, address: str, scheme: str, width: int
) -> None:
    page, said = page_of(chromium, scheme, width)
    sign_in(page, address)
    page.wait_for_url("**/application.html?*")
    told(page)  # the application goes on until then, also without its page
    page.set_content(f'<a href="{server.url}/oauth2/logout">Sign out</a>')
    page.focus("a")
    page.keyboard.press("Enter")
    page.wait_for_url("**/oauth2/logout")
    assert "You are about to sign out" in page.locator("main").inner_text()
    judged(page, "logout-plain")
    page.focus("main button")
    page.keyboard.press("Enter")
    page.wait_for_url("**/login/signed-out")
    judged(page, "signed-out")
    page.goto(f"{server.url}/oauth2/logout")
    assert page.url.endswith("/login/signed-out")
    assert [text for text in said if "Content Security Policy" in text] == []
    page.context.close()


def test_a300_page_of_another_origin_reads_the_metadata_but_no_answer_for_the_client(
    server: Server, chromium: Browser, origin: str, address: str
) -> None:
    page, _ = page_of(chromium, "light", 1000)
    page.goto(f"{origin.replace('127.0.0.1', 'localhost')}/package.json")
    client = address.rpartition("%20")[2]
    called = """async ([url, client, credentials]) => {
        const body = new URLSearchParams({grant_type: "authorization_code", code: "x", client_id: client});
        try {
            const answer = await fetch(url, client ? {method: "POST", body, credentials, headers: {dpop: "x"}} : {});
            return (await answer.json()).error ?? answer.status;
        } catch (error) {
            return error.name;
        }
    }"""
    for path in ("openid-configuration", "oauth-authorization-server", "jwks.json"):
        assert page.evaluate(called, [f"{server.url}/.well-known/{path}", "", "omit"]) == 200
    for credentials in ("omit", "include"):
        for path in ("token", "revoke", "par", "introspect"):
            assert page.evaluate(called, [f"{server.url}/oauth2/{path}", client, credentials]) == "TypeError"
    assert page.evaluate(called, [f"{server.url}/oauth2/userinfo", client, "omit"]) == 401
    assert page.evaluate(called, [f"{server.url}/oauth2/userinfo", client, "include"]) == "TypeError"
    page.context.close()
