"""A person signs in with npm `oidc-provider` in Chromium, and an application gets their ID token."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest
from playwright.sync_api import sync_playwright
from tests.chromium import AXE, CHROMIUM, judged
from tests.e2e.conftest import OPERATOR, running
from tests.e2e.pki import Pki
from tests.e2e.test_oidc_provider import CLIENT, RealIssuer, configure, role_for
from tests.node import why_not

from daypass.operations.sign_in.provider import callback_path

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        not CHROMIUM or not AXE.exists() or bool(why_not()), reason="it needs Chromium and npm packages"
    ),
]


def test_person_of_a_real_provider_signs_in_with_the_role_that_trusts_them(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        url = f"https://127.0.0.1:{free.getsockname()[1]}"
    pki = Pki(tmp_path)
    pem = tmp_path / "both.pem"
    pem.write_bytes(pki.server_key.read_bytes() + pki.server_cert.read_bytes())
    arn = f"arn:aws:iam::{OPERATOR}:oidc-provider/{url.removeprefix('https://')}"
    with running(tmp_path / "data", environment={"DAYPASS_SERVER__PUBLIC_URL": "{url}"}) as server:
        issuer = RealIssuer(url, pem, pki.ca, back=server.url + callback_path(arn))
        try:
            server.client("iam").create_open_id_connect_provider(Url=url, ClientIDList=[CLIENT["client_id"]])
            roles = [role_for(server, issuer, subject) for subject in ("bob", "ann")]
            configure(server, issuer, sign_in={**CLIENT, "roles": roles})
            with sync_playwright() as playwright:
                browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
                page = browser.new_context(ignore_https_errors=True).new_page()
                page.goto(f"{server.url}/login?next=%2Fdevice")
                page.fill("#account", OPERATOR)
                page.click("text=Use an identity provider")
                judged(page, "providers")
                page.click(f"text={url.removeprefix('https://')}")
                page.wait_for_url(f"{server.url}/device")
                page.goto(f"{server.url}/account")
                shown = page.text_content("main") or ""
                page.goto(
                    f"{server.url}/login?again=mfa"
                )  # the browser remembers the account, so its provider is a button
                assert page.input_value("#account") == OPERATOR
                assert page.get_by_role("link", name=f"Sign in with {url.removeprefix('https://')}").is_visible()
                browser.close()
        finally:
            issuer.stop()
    assert f"assumed-role/{roles[1].rpartition('/')[2]}/ann" in shown
    assert re.search(r"127\.0\.0\.1:\d+:ann", shown)
