"""Passkeys in a real browser with a virtual authenticator: registered, used alone and as the second factor, on judged pages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, Page
from tests.chromium import chromium, judged, needs_chromium, page_of, virtual_authenticator
from tests.e2e.conftest import OPERATOR, Server, running

PASSWORD = "Correct-horse-1"
pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium"]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    environment = {"DAYPASS_SERVER__PUBLIC_URL": "http://localhost:{port}"}
    with running(tmp_path_factory.mktemp("passkeys"), environment=environment) as started:
        iam = started.client("iam")
        iam.create_user(UserName="ann")
        iam.create_login_profile(UserName="ann", Password=PASSWORD)
        yield started


def with_password(page: Page, base: str) -> None:
    page.goto(f"{base}/login?again=age")
    page.fill("#account", OPERATOR)
    page.fill("#user", "ann")
    page.fill("#password", PASSWORD)
    page.press("#password", "Enter")


@pytest.mark.parametrize(("scheme", "width"), [("light", 1000), ("dark", 360)])
def test_person_registers_a_passkey_and_signs_in_with_it(
    server: Server, chromium: Browser, scheme: str, width: int
) -> None:
    base = server.url.replace("127.0.0.1", "localhost")
    iam = server.client("iam")
    for device in iam.list_mfa_devices(UserName="ann")["MFADevices"]:  # of the run before
        iam.deactivate_mfa_device(UserName="ann", SerialNumber=device["SerialNumber"])
    page, said = page_of(chromium, scheme, width)
    present = virtual_authenticator(page)
    with_password(page, base)
    page.wait_for_url(f"{base}/console/")
    page.goto(f"{base}/account/devices")
    page.fill("#name", "laptop")
    page.click("#passkey button")
    page.wait_for_selector("text=/^Registered /")  # the hint names a laptop, too
    judged(page, "devices")
    assert [device["UserName"] for device in iam.list_mfa_devices(UserName="ann")["MFADevices"]] == ["ann"]
    page.goto(f"{base}/login?again=age")  # the passkey is taken by autofill, without a click
    page.wait_for_url(f"{base}/console/")
    present(False)
    page.goto(f"{base}/login?again=age")
    judged(page, "sign-in-passkey")
    present(True)
    page.click("text=Sign in with a passkey")
    page.wait_for_url(f"{base}/console/")
    page.goto(f"{base}/account")
    assert "passkey" in page.inner_text("main")
    page.goto(f"{base}/account/devices")
    page.click("text=Create new recovery codes")
    page.wait_for_selector("text=They are not shown again")
    judged(page, "recovery-codes")
    present(False)
    with_password(page, base)
    page.wait_for_selector("text=Use a passkey")
    present(True)
    judged(page, "second-factor")
    page.click("text=Use a passkey")
    page.wait_for_url(f"{base}/console/")
    assert [text for text in said if "Content Security Policy" in text or "Refused" in text] == []
    page.context.close()


def test_browser_without_the_passkey_says_so(server: Server, chromium: Browser) -> None:
    base = server.url.replace("127.0.0.1", "localhost")
    page, _ = page_of(chromium, "light", 800)
    virtual_authenticator(page)
    page.goto(f"{base}/login?again=age")
    page.click("text=Sign in with a passkey")
    page.wait_for_selector("[data-problem]:not([hidden])")
    assert "did not use a passkey" in page.inner_text("[data-problem]")
    page.context.close()
