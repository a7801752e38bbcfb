"""The system's Chromium for tests of pages, and the rules of axe-core.

DAYPASS_SCREENSHOTS names a folder that gets a picture of every page, in both colour schemes (`make screenshots`).
"""

from __future__ import annotations

import base64
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from tests.node import FOLDER
from tests.patience import SECONDS

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
AXE = FOLDER / "node_modules/axe-core/axe.min.js"
needs_chromium = pytest.mark.skipif(
    not CHROMIUM or not AXE.exists(), reason="it needs Chromium and the JavaScript packages"
)


@pytest.fixture(scope="module")
def chromium() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield browser
        browser.close()


def judged(page: Page, name: str) -> None:
    """No violation of WCAG 2.2 AA, no sideways scrolling, no refused resource; and a picture for the documentation."""
    scheme = page.evaluate("matchMedia('(prefers-color-scheme: dark)').matches ? 'dark' : 'light'")
    wide = page.evaluate("document.documentElement.scrollWidth > document.documentElement.clientWidth")
    assert not wide, f"{name} scrolls sideways"
    page.emulate_media(reduced_motion="reduce")  # a note that rises has weaker colours until it stands
    page.evaluate(AXE.read_text("utf-8"))  # over the debugging protocol: the page's own policy allows no script
    found: dict[str, Any] = page.evaluate(
        "axe.run(document, {runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice']})"
    )
    violations = [
        (each["id"], each["nodes"][0]["html"], each["nodes"][0]["failureSummary"]) for each in found["violations"]
    ]
    assert not violations, f"{name}: {violations}"
    folder, window = os.environ.get("DAYPASS_SCREENSHOTS"), page.viewport_size or {"width": 1280}
    if folder and window["width"] > _NARROW:
        for look in ("light", "dark"):
            page.emulate_media(color_scheme=look, reduced_motion="reduce")  # type: ignore[arg-type]
            (Path(folder) / f"{name}-{look}.webp").write_bytes(_picture(page))
        page.emulate_media(color_scheme=scheme, reduced_motion="no-preference")


def _picture(page: Page) -> bytes:
    """The page as WebP, in a window that shows all of it, or `_TALLEST` pixels."""
    window = page.viewport_size or {"width": 1280, "height": 740}
    height = page.evaluate("document.documentElement.scrollHeight")
    page.set_viewport_size({"width": window["width"], "height": max(window["height"], min(height, _TALLEST))})
    session = page.context.new_cdp_session(page)  # never detached: that would remove the page's virtual authenticator
    made = session.send("Page.captureScreenshot", {"format": "webp", "quality": 60})
    page.set_viewport_size(window)
    return base64.b64decode(made["data"])


_TALLEST = 2_400
_NARROW = 400
"""Pictures of the documentation are of wider windows."""


def page_of(chromium: Browser, scheme: str, width: int) -> tuple[Page, list[str]]:
    """A page of a new browser profile, and what its console says."""
    context = chromium.new_context(color_scheme=scheme, viewport={"width": width, "height": 740})  # type: ignore[arg-type]
    context.set_default_timeout(SECONDS * 1000)
    page, said = context.new_page(), []
    page.on("console", lambda message: said.append(message.text))
    return page, said


def virtual_authenticator(page: Page) -> Callable[[bool], None]:
    """An authenticator of the browser that verifies its user without asking. The function says whether the user is there:
    where a page offers passkeys by autofill, one who is there takes the passkey at once.
    """
    session = page.context.new_cdp_session(page)
    session.send("WebAuthn.enable")
    options: dict[str, Any] = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    made = session.send("WebAuthn.addVirtualAuthenticator", {"options": options})["authenticatorId"]

    def present(there: bool) -> None:
        session.send("WebAuthn.setAutomaticPresenceSimulation", {"authenticatorId": made, "enabled": there})

    return present
