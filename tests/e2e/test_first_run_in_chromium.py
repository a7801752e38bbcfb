"""A new installation in browsers alone: administrator, groups, a colleague, a role, the first request and its approval."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Browser, Page
from tests.chromium import chromium, judged, needs_chromium, page_of
from tests.e2e.conftest import running
from tests.sign_in import PASSWORD

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium"]
ACCOUNT = "444455556666"
REASON = "The first request of all"


def signed_in_with_first_password(page: Page, base: str, user: str, password: str) -> None:
    page.goto(f"{base}/login")
    for field, value in (("account", ACCOUNT), ("user", user), ("password", password)):
        page.locator(f"form[action='/login/password'] [name={field}]").fill(value)
    page.get_by_role("button", name="Sign in", exact=True).click()
    page.locator("#password").fill(PASSWORD)
    page.locator("#repeated").fill(PASSWORD)
    page.get_by_role("button", name="Set the password and sign in").click()
    page.wait_for_url("**/console/")


@pytest.mark.parametrize("look", [("light", 1280), ("dark", 360), ("dark", 1280)])
def test_first_run_reaches_an_approved_request_in_browsers_alone(
    tmp_path: Path, chromium: Browser, look: tuple[str, int]
) -> None:
    suffix = "" if look[1] > 400 else "-narrow"
    with running(tmp_path / "data", "--setup", environment={"DAYPASS_BOOTSTRAP": ""}) as server:
        base = server.url.replace("127.0.0.1", "localhost")
        page, said = page_of(chromium, *look)
        page.goto(f"{base}/console/")
        page.wait_for_url("**/console/setup")
        judged(page, f"console-setup{suffix}")
        code = (server.data / "setup-code").read_text()
        for field, value in (("code", code), ("account", ACCOUNT), ("password", PASSWORD), ("repeated", PASSWORD)):
            page.locator(f"[name={field}]").fill(value)
        page.get_by_role("button", name="Create the administrator").click()
        page.wait_for_url("**/console/start")
        judged(page, f"console-first-steps{suffix}")
        page.get_by_role("button", name="Create both groups").click()
        judged(page, f"console-first-groups{suffix}")
        page.get_by_role("button", name="Cancel").click()
        page.get_by_role("button", name="Create both groups").click()
        page.get_by_role("button", name="Create the first groups").click()
        page.get_by_role("status").wait_for()
        page.get_by_label("User name").fill("lee")
        page.get_by_role("button", name="Create the user").click()
        page.get_by_role("button", name="Create a user who approves").click()
        password = page.locator("#once-3").inner_text()
        judged(page, f"console-first-colleague{suffix}")
        page.get_by_role("button", name="Create the role and its rule").click()
        judged(page, f"console-first-role{suffix}")
        page.get_by_role("button", name="Create the first role and its rule").click()
        page.wait_for_url("**/console/request?**")
        page.get_by_label("Reason").fill(REASON)
        page.get_by_role("button", name="Send the request").click()
        page.get_by_role("status").wait_for()
        request = page.url
        lee, said_to_lee = page_of(chromium, *look)
        signed_in_with_first_password(lee, base, "lee", password)
        lee.goto(request)
        lee.get_by_role("button", name="Approve", exact=True).click()
        lee.get_by_role("status").wait_for()
        page.goto(f"{base}/console/")
        page.get_by_role("link", name="Get credentials").first.click()
        page.get_by_role("button", name="Get credentials").click()
        assert "AWS_SECRET_ACCESS_KEY" in page.inner_text("#text-shell")
        refused = [text for text in (*said, *said_to_lee) if "Content Security Policy" in text or "Refused" in text]
        assert refused == []
        page.context.close()
        lee.context.close()
