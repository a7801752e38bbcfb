"""Changes without a reload: finding by keyboard, the inbox, and open pages of two people at once."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.chromium import chromium, needs_chromium
from tests.console import REASON
from tests.e2e.conftest import OPERATOR, Server
from tests.e2e.test_console_in_chromium import Person, server

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium", "server"]
AWS = Path(sys.executable).with_name("aws")
LOOKS = [("light", 1280), ("dark", 360)]


@pytest.mark.parametrize("look", LOOKS)
def test_anything_is_found_by_keyboard_and_what_was_opened_is_offered_again(
    server: Server, chromium: Browser, look: tuple[str, int]
) -> None:
    ada = Person(server, chromium, "ada", look)
    page = ada.open("/console/roles")
    page.keyboard.press("Control+k")
    page.keyboard.type("prod-ord")
    page.locator("#found a", has_text="prod-orders").wait_for()
    ada.judge("find")
    page.keyboard.press("ArrowDown")
    page.keyboard.press("Enter")
    page.wait_for_url("**/console/role?name=prod-orders")
    page.keyboard.press("Control+k")
    page.locator("#found h2", has_text="Recent").wait_for()
    assert page.locator("#found a").first.inner_text().startswith("prod-orders")
    page.keyboard.press("Escape")
    page.locator("#find[open]").wait_for(state="detached")
    page.keyboard.press("?")
    page.locator("#keys[open]").wait_for()
    ada.judge("keys")
    page.get_by_label("Single-letter shortcuts in this browser").uncheck()
    page.get_by_role("button", name="Close").click()
    page.keyboard.press("?")  # switched off; the next key shows that this one was heard
    page.keyboard.press("Control+k")
    page.locator("#find[open]").wait_for()
    assert page.locator("#keys[open]").count() == 0
    ada.close()


@pytest.mark.parametrize("look", LOOKS)
def test_inbox_and_home_change_by_themselves(server: Server, chromium: Browser, look: tuple[str, int]) -> None:
    ann, lee = Person(server, chromium, "ann", look), Person(server, chromium, "lee", look)
    inbox = lee.open("/console/inbox")
    before = inbox.locator(".cards > li").count()
    page = ann.open(f"/console/request?role=arn:aws:iam::{OPERATOR}:role/prod-orders")
    page.get_by_label("Reason").fill(f"{REASON}, live {look[0]}")
    page.get_by_role("button", name="Send the request").click()
    page.get_by_role("status").wait_for()
    home = ann.open("/console/")
    inbox.get_by_text(f"live {look[0]}").wait_for()  # nobody has loaded the page again
    inbox.wait_for_function("(before) => document.title.startsWith(`(${before + 1}) Inbox`)", arg=before)
    lee.judge("inbox")
    inbox.locator(".card", has_text=f"live {look[0]}").get_by_role("link", name=re.compile("Decide")).click()
    inbox.get_by_role("button", name="Approve", exact=True).click()
    inbox.get_by_role("status").wait_for()
    home.get_by_text("Ready for").first.wait_for()
    home.get_by_role("button", name=re.compile("Done with")).first.click()
    home.get_by_role("status").wait_for()
    for person in (ann, lee):
        person.close()


def test_new_approval_shows_a_desktop_notification_a_toast_and_a_badge_on_any_page(
    server: Server, chromium: Browser
) -> None:
    ann, lee = Person(server, chromium, "ann", LOOKS[0]), Person(server, chromium, "lee", LOOKS[0])
    lee.page.context.grant_permissions(["notifications"], origin=lee.base)
    lee.page.add_init_script(
        "self.told = []; self.Notification = class extends Notification {"
        "constructor(title, more) { super(title, more); told.push([title, more.body, this]); } }"
    )
    page = lee.open("/console/approvals")
    page.wait_for_function("() => Object.keys(localStorage).some((key) => key.startsWith('daypass-inbox'))")
    before = int(page.locator("#badge").inner_text() or 0)
    sent = ann.open(f"/console/request?role=arn:aws:iam::{OPERATOR}:role/prod-orders")
    sent.get_by_label("Reason").fill(f"{REASON}, told")
    sent.get_by_role("button", name="Send the request").click()
    sent.get_by_role("status").wait_for()
    page.wait_for_function("() => told.length > 0")  # nobody has loaded the page again
    assert page.evaluate("told.map((each) => each.slice(0, 2))") == [["Daypass", "ann asks for prod-orders"]]
    assert page.locator("#badge").inner_text() == str(before + 1)
    assert page.locator(".toast-note a").get_attribute("href") == page.evaluate("told[0][2].tag")
    lee.judge("toast")
    page.get_by_role("button", name="Dismiss the message").click()
    page.wait_for_function(f"() => document.title.startsWith('({before + 1}) ')")  # htmx sets it, then the inbox
    page.evaluate("told[0][2].onclick()")
    page.wait_for_url("**/console/access-request?id=*")
    for person in (ann, lee):
        person.close()


def test_last_step_of_the_first_run_is_done_by_the_aws_cli(server: Server, chromium: Browser) -> None:
    ada = Person(server, chromium, "ada", ("light", 1280))
    page = ada.open("/console/start")
    assert page.locator("#by-cli.done").count() == 0
    done = page.locator("#progress").evaluate("(bar) => bar.value")
    lines = page.locator("#cli-text").inner_text().splitlines()
    shown, command = dict(pair.split("=") for pair in lines[0].split()[1:]), lines[-1].split()
    key = server.client("iam").create_access_key(UserName="ada")["AccessKey"]
    keys = {"AWS_ACCESS_KEY_ID": key["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": key["SecretAccessKey"]}
    own = {name: value for name, value in os.environ.items() if not name.startswith("AWS_")}
    environment = {**own, **shown, **keys, "AWS_PAGER": ""}
    arn = f"arn:aws:iam::{OPERATOR}:role/reader"  # the others need an approval
    command = [str(AWS), *(arn if word.startswith("arn:") else word for word in command[1:])]
    ran = subprocess.run(command, env=environment, check=False, capture_output=True, text=True, timeout=60)
    assert ran.returncode == 0, ran.stderr
    page.locator("#by-cli.done").wait_for()  # nobody has loaded the page again
    assert page.locator("#progress").evaluate("(bar) => bar.value") == done + 1
    ada.close()
