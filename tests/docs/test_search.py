"""The site's search, in a browser: an error message that is pasted whole finds the section of its error."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from subprocess import run
from threading import Thread

import pytest
from playwright.sync_api import Browser
from tests.chromium import chromium, needs_chromium

pytestmark = [pytest.mark.slow, needs_chromium]
__all__ = ["chromium"]
ROOT = Path(__file__).resolve().parents[2]
_ROLE = "arn:aws:iam::123456789012:role/prod"
_CALL = "An error occurred ({}) when calling the AssumeRole operation: "


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    folder = tmp_path_factory.mktemp("site")
    run([sys.executable, "-m", "mkdocs", "build", "-q", "-d", folder], cwd=ROOT, check=True)
    with ThreadingHTTPServer(("127.0.0.1", 0), partial(SimpleHTTPRequestHandler, directory=folder)) as server:
        thread = Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join()


@pytest.mark.parametrize(
    ("message", "found"),
    [
        (f"User: arn:aws:iam::123456789012:user/ann is not authorized to perform: sts:AssumeRole on resource: {_ROLE}",
         "access_denied"),
        (f'botocore.exceptions.ClientError: {_CALL.format("AccessDenied")} "{_ROLE}" ~ -1', "access_denied"),
        (_CALL.format("ExpiredToken") + "The security token included in the request is expired",
         "expired_credentials"),
        ("MalformedPolicyDocument: Syntax errors in policy.", "malformed_policy"),
        (_CALL.format("InvalidClientTokenId") + "The security token included in the request is invalid.",
         "unknown_credentials"),
        ("The request was refused with expired_device_code, says the log", "expired_device_code"),
    ],
)  # fmt: skip
def test_pasted_error_message_finds_its_error(site: str, chromium: Browser, message: str, found: str) -> None:
    page = chromium.new_page()
    page.goto(f"{site}/index.html")
    field = page.locator("input[name=query]")
    field.click()
    page.keyboard.insert_text(message)
    section = page.locator(f".md-search-result__item a[href*='errors.html'][href$='#{found}']")
    section.first.wait_for(state="attached")
    links = page.locator(".md-search-result__item a[href*='errors.html']")
    sections = [link for link in (each.get_attribute("href") or "" for each in links.all()) if "#" in link]
    assert sections[0].endswith(f"#{found}"), "the first section"
    assert "errors.html" in (page.locator(".md-search-result__item a").first.get_attribute("href") or "")
    page.close()


def test_words_are_searched_as_they_are_typed(site: str, chromium: Browser) -> None:
    page = chromium.new_page()
    page.goto(f"{site}/index.html")
    page.locator("input[name=query]").click()
    page.keyboard.type("revoke sessions of a role")
    page.locator(".md-search-result__item a[href*='how-to/revoke.html']").first.wait_for(state="attached")
    assert page.locator("input[name=query]").input_value() == "revoke sessions of a role"
    page.close()
