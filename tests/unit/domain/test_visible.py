"""Text of others for people to read: what could deceive becomes an escape, and nothing else does."""

from __future__ import annotations

import pytest

from daypass.domain.visible import visible


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb\x1b[2J", "a\\u000ab\\u001b[2J"),
        ("safe\u202egpj", "safe\\u202egpj"),
        ("l\u200bee", "l\\u200bee"),
        ("lee\u3164", "lee\\u3164"),  # Hangul filler
        ("lee\u2800", "lee\\u2800"),  # blank pattern of Braille
        ("lee\ufe0f", "lee\\ufe0f"),  # variation selector
        ("lee\u034f", "lee\\u034f"),  # grapheme joiner
        ("lee\U000e0101", "lee\\ue0101"),
        ("l\u0435e", "l\\u0435e"),  # Cyrillic in a word of ASCII
        ("l\u0301\u0435", "l\u0301\\u0435"),
        ("\uff4cee", "\\uff4cee"),  # wide
        ("\U0001d5c5ee", "\\u1d5c5ee"),  # mathematical
        ("arn:aws:iam::111122223333:oidc-provider/idp.example:\u0430\u0441\u0435", None),
        ("e" + "\u0301" * 40, "e" + "\u0301" * 4 + "\\u0301" * 36),
    ],
)
def test_text_that_hides_covers_or_poses_is_escaped(text: str, shown: str | None) -> None:
    assert visible(text) == (shown or text[:-3] + "\\u0430\\u0441\\u0435")
    assert visible(visible(text)) == visible(text)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "Incident 42: orders are not written",
        "jürgen@example.com",
        "arn:aws:iam::111122223333:oidc-provider/idp.example:jürgen",
        "перезапуск nginx-сервера",
        "東京タワー",
        "שָׁלוֹם",
        "สวัสดีครับที่นี่",
        "1º, 50 µs, α = 2",
        "\U0001f525 production",
    ],
)
def test_text_of_any_language_is_shown_as_it_is(text: str) -> None:
    assert visible(text) == text
