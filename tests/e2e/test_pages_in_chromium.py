"""The pages in a real browser: signing in for the command line, by keyboard, at 360 px, in light and dark, judged by axe-core.

DAYPASS_SCREENSHOTS names a folder that gets the pictures of the documentation.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser
from tests.chromium import chromium, judged, needs_chromium, page_of
from tests.e2e.conftest import OPERATOR, Server, running

PASSWORD = "Correct-horse-1"
pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "{url}"}
    with running(tmp_path_factory.mktemp("chromium"), environment=environment) as started:
        iam = started.client("iam")
        iam.create_user(UserName="ann")
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        yield started


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 360)])
def test_person_signs_in_for_the_command_line_by_keyboard(
    server: Server, chromium: Browser, tmp_path: Path, scheme: str, width: int
) -> None:
    page, said = page_of(chromium, scheme, width)
    clean = {name: value for name, value in os.environ.items() if not name.startswith(("AWS_", "DAYPASS_"))}
    environment = {**clean, "DAYPASS_HOME": str(tmp_path / "home")}
    command = [sys.executable, "-m", "daypass.cli.main"]
    login = [*command, "login", "--browser", "--no-browser", "--secret-store", "file", "--endpoint", server.url]
    with subprocess.Popen(login, env=environment, stderr=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stderr is not None
        address = next(found[0] for line in process.stderr if (found := re.search(r"http://\S+authorize\S+", line)))
        page.goto(address)
        judged(page, "sign-in")
        page.keyboard.type(OPERATOR)  # the first field has the focus
        page.keyboard.press("Tab")
        page.keyboard.type("ann")
        page.keyboard.press("Tab")
        page.keyboard.type("wrong")
        page.keyboard.press("Enter")
        page.wait_for_selector("[role=alert]")
        judged(page, "sign-in-refused")
        page.keyboard.type(PASSWORD)  # account and user name are kept, and the password has the focus
        page.keyboard.press("Enter")
        page.wait_for_selector("button[value=allow]")
        judged(page, "consent")
        page.focus("button[value=allow]")
        page.keyboard.press("Enter")
        page.wait_for_url("http://127.0.0.1:*/callback*")
        assert "Done" in page.content()
        output, _ = process.communicate(timeout=60)
    assert process.returncode == 0, output
    assert f"arn:aws:iam::{OPERATOR}:user/ann" in output
    page.goto(f"{server.url}/account")
    judged(page, "account")
    page.goto(f"{server.url}/device")
    judged(page, "device")
    page.goto(f"{server.url}/static/nothing")
    judged(page, "error")
    refused = [text for text in said if "Content Security Policy" in text or "Refused" in text]
    assert refused == []
    who = subprocess.run([*command, "whoami"], env=environment, capture_output=True, text=True, check=False, timeout=60)
    assert "user/ann" in who.stdout, who.stderr
    gone = subprocess.run(
        [*command, "logout"], env=environment, capture_output=True, text=True, check=False, timeout=60
    )
    assert "have ended" in gone.stdout, gone.stderr


def test_page_of_another_origin_cannot_frame_or_post_to_ours(server: Server, chromium: Browser) -> None:
    page, _ = page_of(chromium, "light", 800)
    page.route(
        "http://evil.example/**", lambda route: route.fulfill(body=_EVIL.format(server.url), content_type="text/html")
    )
    page.goto("http://evil.example/")
    page.wait_for_load_state("networkidle")
    assert [frame.url for frame in page.frames[1:]] == ["chrome-error://chromewebdata/"]
    page.click("button")
    page.wait_for_load_state()
    assert "does not come from the page" in page.content()


_EVIL = """<!doctype html><title>x</title><iframe src="{0}/login"></iframe>
<form method="post" action="{0}/login/password"><input name="account" value="1"><button>go</button></form>"""
