"""User agents in words."""

from __future__ import annotations

import pytest

from daypass.wire.web.render import user_agent_name

WEBKIT = "AppleWebKit/537.36 (KHTML, like Gecko)"


@pytest.mark.parametrize(
    ("text", "name"),
    [
        ("Mozilla/5.0 (X11; Linux x86_64; rv:128.0) Gecko/20100101 Firefox/128.0", "Firefox 128 on Linux"),
        (f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/131.0.0.0 Safari/537.36", "Chrome 131 on Windows"),
        (
            f"Mozilla/5.0 (Windows NT 10.0; Win64; x64) {WEBKIT} Chrome/131.0.0.0 Safari/537.36 Edg/131.0.2903.86",
            "Edge 131 on Windows",
        ),
        (f"Mozilla/5.0 (Linux; Android 10; K) {WEBKIT} Chrome/131.0.0.0 Mobile Safari/537.36", "Chrome 131 on Android"),
        (f"Mozilla/5.0 (X11; Linux x86_64) {WEBKIT} HeadlessChrome/131.0.0.0 Safari/537.36", "Chrome 131 on Linux"),
        (
            "Mozilla/5.0 (Macintosh; Intel Mac OS X 10_15_7) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.1 Safari/605.1.15",
            "Safari 18 on macOS",
        ),
        (
            (
                "Mozilla/5.0 (iPhone; CPU iPhone OS 18_1 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) "
                "Version/18.1 Mobile/15E148 Safari/604.1"
            ),
            "Safari 18 on iOS",
        ),
        ("aws-cli/2.22.4 md/awscrt#0.22.0 ua/2.0 os/linux#6.8", "aws-cli 2.22.4"),
        ("Boto3/1.35.71 md/Botocore#1.35.71 ua/2.0 os/linux#6.8", "Boto3 1.35.71"),
        ("Mozilla/5.0", "Mozilla/5.0"),
        ("ours", "ours"),
        ("", ""),
    ],
)
def test_user_agent_name_of_common_clients_is_product_and_system(text: str, name: str) -> None:
    assert user_agent_name(text) == name


def test_user_agent_name_of_a_long_text_is_bounded() -> None:
    assert len(user_agent_name("x" * 10_000)) == 512
