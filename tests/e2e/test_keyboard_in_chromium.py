"""Pages by keyboard alone: everything is reached, in the order of the page, with a focus that is seen; Enter and Escape."""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlencode
from urllib.request import urlopen

import pytest
from playwright.sync_api import Browser, Locator, Page
from tests.chromium import chromium, needs_chromium, page_of
from tests.e2e.conftest import OPERATOR, Server
from tests.e2e.test_console_in_chromium import TOUR, Person, server
from tests.sign_in import PASSWORD

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium", "server"]
MORE = {
    "home": "/console/",
    "inbox": "/console/inbox",
    "role-edit": "/console/role/edit?name=reader",
    "timeline": "/console/timeline?role=reader",
    "request": "/console/request",
    "approvals": "/console/approvals",
    "sessions": "/console/sessions",
    "roles": "/console/roles",
    "role": "/console/role?name=reader",
    "credentials": f"/console/credentials?role=arn:aws:iam::{OPERATOR}:role/reader",
    "revoke": "/console/revoke",
    "records": "/console/records",
    "simulator": "/console/simulator",
    "explain": "/console/explain",
    "dashboard": "/console/dashboard?view=debug&hours=1",
    "account": "/account",
    "devices": "/account/devices",
    "device": "/device",
}
_STOPS = """(root) => {
    const all = 'a[href], button, input:not([type=hidden]), select, textarea, summary, [tabindex="0"], .code-editor';
    window.stops = [...document.querySelectorAll(`${root} :is(${all})`)].filter(
        (each) => !each.disabled && (each.tabIndex >= 0 || each.shadowRoot) && each.checkVisibility({checkVisibilityCSS: true}));
    return window.stops.map((each) => each.outerHTML.slice(0, 120));
}"""
_FOCUSED = """() => {
    const at = document.activeElement, box = at.getBoundingClientRect(), style = getComputedStyle(at);
    const x = Math.min(Math.max(box.left + box.width / 2, 0), innerWidth - 1);
    const y = Math.min(Math.max(box.top + box.height / 2, 0), innerHeight - 1);
    const top = document.elementFromPoint(x, y);
    return {
        stop: window.stops.indexOf(at),
        inside: box.right > 0 && box.bottom > 0 && box.left < innerWidth && box.top < innerHeight,
        outlined: parseFloat(style.outlineWidth) >= 2 && style.outlineStyle !== "none",
        covered: !!top && !at.contains(top) && !top.contains(at),
        html: at.outerHTML.slice(0, 120),
    };
}"""
"""The place of the focus: among the stops, inside of the window, with an outline, below something else."""


def walked(page: Page, root: str) -> list[str]:
    """Presses Tab through a part of a page. Returns what is wrong."""
    stops, wrong, last = page.evaluate(_STOPS, root), list[str](), -1
    reached = set[int]()
    for _ in stops:
        page.keyboard.press("Tab")
        found: dict[str, Any] = page.evaluate(_FOCUSED)
        if found["stop"] < 0:
            break
        faults = {"order": found["stop"] < last, "outside": not found["inside"], "no outline": not found["outlined"]}
        faults["covered"] = found["covered"]
        wrong += [f"{fault}: {found['html']}" for fault, has in faults.items() if has]
        last = found["stop"]
        reached.add(last)
    return wrong + [f"missed: {html}" for number, html in enumerate(stops) if number not in reached]


def to_main(page: Page) -> None:
    """By the link that skips the navigation."""
    page.locator("a.skip").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'main'")


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 360)])
def test_every_page_is_walked_by_tab_in_order_with_a_visible_focus(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    ada, wrong = Person(server, chromium, "ada", look), dict[str, list[str]]()
    page = ada.page
    page.emulate_media(reduced_motion="reduce")
    still = {"content_type": "text/event-stream", "body": "retry: 600000\n\n"}
    page.route(
        "**/console/dashboard/events?*", lambda route: route.fulfill(**still)
    )  # an event replaces what is walked
    wrong["all of the first page"] = walked(ada.open("/console/"), "body")
    for name, path in {**TOUR, **MORE}.items():
        ada.open(path)
        page.locator(".skeleton").first.wait_for(state="detached")
        page.locator("#findings:empty").wait_for(state="detached")  # the linter's answer moves what is below
        to_main(page)
        wrong[name] = walked(page, "main")
    assert {name: found for name, found in wrong.items() if found} == {}
    ada.close()


def test_escape_closes_the_menus_and_gives_the_focus_back(server: Server, chromium: Browser) -> None:
    ann = Person(server, chromium, "ann", ("light", 360))
    page = ann.page
    for opener, inside in (("button.menu", "#navigation a"), ("details.user summary", ".user-menu a")):
        page.locator(opener).focus()
        page.keyboard.press("Enter")
        page.locator(inside).first.focus()
        page.keyboard.press("Escape")
        assert not page.locator(inside).first.is_visible()
        assert page.evaluate("(opener) => document.activeElement.matches(opener)", opener)
    ann.close()


def test_letters_lead_through_rows_and_to_the_main_button_but_not_from_an_editor(
    server: Server, chromium: Browser
) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page, focused = ada.open("/console/roles"), "document.activeElement.textContent"
    names = page.locator("#list tbody a").all_inner_texts()
    for key, name in (("j", names[0]), ("j", names[1]), ("k", names[0])):
        page.keyboard.press(key)
        assert page.evaluate(focused) == name
    page.keyboard.press("Enter")
    page.wait_for_url(f"**name={names[0]}")
    page.keyboard.press("a")
    assert page.evaluate(focused) == "Get credentials"
    page = ada.open("/console/role/edit?name=reader")
    page.locator(".code-editor").click()
    page.keyboard.type("?gh")
    assert not page.locator("#keys").is_visible()
    assert page.url.endswith("/console/role/edit?name=reader")
    ada.close()


def test_enter_sends_the_form_of_its_field_and_a_problem_gets_the_focus(server: Server, chromium: Browser) -> None:
    ann = Person(server, chromium, "ann", ("dark", 1280))
    page = ann.open(f"/console/request?role=arn:aws:iam::{OPERATOR}:role/prod-orders")
    page.get_by_label("Ticket").focus()
    page.keyboard.press("Enter")
    assert page.url.endswith("role/prod-orders")  # the browser asks for the reason
    page.get_by_label("Reason").fill(".")
    page.get_by_label("Ticket").focus()
    page.keyboard.press("Enter")
    page.wait_for_function("document.activeElement.id === 'problem'")
    ann.said.clear()  # the browser reports the status 400
    ann.judge("request-refused")
    page = ann.open("/console/request")
    page.get_by_label("Action").fill("orders:PutItem")
    page.keyboard.press("Enter")
    page.get_by_role("link", name="Choose prod-orders").focus()
    page.keyboard.press("Enter")
    page.wait_for_url("**role=arn**")
    ann.close()


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 360)])
def test_device_and_application_are_allowed_by_keyboard(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    settings: dict[str, Any] = {"token_endpoint_auth_method": "none"}
    settings |= {"grant_types": ["urn:ietf:params:oauth:grant-type:device_code"]}
    settings["roles"] = ["*"]
    client = server.api("POST", "/clients", body={"name": "tool", "settings": settings})["client_id"]
    data = urlencode({"client_id": client, "scope": "openid"}).encode()
    with urlopen(f"{server.url}/oauth2/device_authorization", data) as answer:
        code = json.loads(answer.read())["user_code"]
    ada = Person(server, chromium, "ada", look)
    page = ada.open("/device")
    page.emulate_media(reduced_motion="reduce")
    page.locator("form[action^='/device'] input:not([type=hidden])").focus()
    page.keyboard.type(code)
    page.keyboard.press("Enter")
    page.locator("button[value=deny]").wait_for()
    ada.judge("device-consent")
    to_main(page)
    assert walked(page, "main") == []
    assert page.evaluate("document.activeElement.value") == "deny"
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    page.locator("button[value=deny]").wait_for(state="detached")
    ada.judge("device-done")
    ada.close()


class Keys:
    """A person who has no pointer: Tab, Enter and text."""

    def __init__(self, server: Server, chromium: Browser, name: str) -> None:
        self.page, _ = page_of(chromium, "light", 360)
        self.page.emulate_media(reduced_motion="reduce")
        self.base = server.url.replace("127.0.0.1", "localhost")
        self.page.goto(f"{self.base}/login?next=/console/")
        for field, value in (("account", OPERATOR), ("user", name), ("password", PASSWORD)):
            self.to(self.page.locator(f"form[action='/login/password'] [name={field}]"))
            self.page.keyboard.press("Control+A")
            self.page.keyboard.type(value)
        self.page.keyboard.press("Enter")
        self.page.wait_for_url("**/console/")

    def to(self, target: Locator) -> None:
        """By Tab; what has the focus must be seen."""
        target.first.wait_for()
        for _ in range(200):
            if target.first.evaluate("(each) => each === document.activeElement"):
                box = target.first.bounding_box()
                assert box is not None
                assert 0 <= box["x"] < 360
                return
            self.page.keyboard.press("Tab")
        raise AssertionError(f"{target} is not reached by Tab")

    def press(self, target: Locator) -> None:
        self.to(target)
        self.page.keyboard.press("Enter")

    def menu(self, name: str) -> None:
        """A page of the navigation, which is behind a button in a narrow window."""
        self.press(self.page.locator("button.menu"))
        self.press(self.page.locator("#navigation").get_by_role("link", name=name))


def test_access_is_requested_approved_used_and_revoked_by_keyboard_at_360_px(server: Server, chromium: Browser) -> None:
    ann, lee, ada = (Keys(server, chromium, name) for name in ("ann", "lee", "ada"))
    page = ann.page
    ann.menu("Request")
    ann.to(page.get_by_label("Action"))
    page.keyboard.type("orders:PutItem")
    page.keyboard.press("Enter")
    ann.press(page.get_by_role("link", name="Choose prod-orders"))
    page.wait_for_url("**role=arn**")
    for label, text in (("Reason", "Incident 7: orders are not written"), ("Ticket", "OPS-7")):
        ann.to(page.get_by_label(label))
        page.keyboard.type(text)
    ann.press(page.get_by_role("button", name="Send the request"))
    page.get_by_role("status").wait_for()
    lee.menu("Approvals")
    lee.page.wait_for_url("**/console/approvals")
    for key in ("j", "Enter"):
        lee.page.keyboard.press(key)
    approve = lee.page.get_by_role("button", name="Approve", exact=True)
    lee.page.wait_for_url("**/console/access-request?*")
    lee.page.keyboard.press("a")
    lee.press(approve)
    lee.page.get_by_role("status").wait_for()
    page.goto(f"{ann.base}/console/")
    ann.press(page.get_by_role("link", name=re.compile("credentials", re.IGNORECASE)))
    ann.to(page.get_by_label("Session name"))
    page.keyboard.press("Control+A")
    page.keyboard.type("by-keyboard")
    ann.press(page.get_by_role("button", name="Get credentials"))
    page.locator("#text-shell").wait_for()
    ada.menu("Sessions")
    ada.press(ada.page.get_by_role("link", name="by-keyboard"))
    ada.press(ada.page.get_by_role("link", name="Revoke", exact=True))
    ada.press(ada.page.get_by_role("button", name="Revoke 1 session"))
    ada.page.get_by_role("status").wait_for()
    for each in (ann, lee, ada):
        each.page.context.close()
