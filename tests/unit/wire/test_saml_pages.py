from __future__ import annotations

import pytest

from daypass.wire.saml_pages import STYLE, error_page


@pytest.mark.parametrize("code", ["InvalidIdentityToken", "ExpiredToken", "IDPRejectedClaim"])
def test_refused_response_says_where_to_begin_again(code: str) -> None:
    page = error_page(code, "It has been used before.", "request-1", "").decode()
    assert "<h1>This login did not succeed</h1>" in page
    assert "start at your identity provider" in page
    assert "daypass explain" not in page


def test_denied_choice_shows_the_command_that_explains_it_and_promises_nothing() -> None:
    page = error_page("AccessDenied", "Not authorized", "request-1", "ABC_def").decode()
    assert "<code>daypass explain ABC_def</code>" in page
    assert "start at your identity provider" not in page


def test_page_that_is_not_there_is_not_called_a_login() -> None:
    page = error_page("NotFound", "This page does not exist.", "request-1", "").decode()
    assert "<title>Nothing is here · Daypass</title>" in page
    assert "This login" not in page


def test_error_page_escapes_whatever_it_is_told() -> None:
    page = error_page("<b>", "<script>\u202e", '"><i>', "<u>").decode()
    assert not any(mark in page for mark in ("<b>", "<script", "<i>", "<u>", "\u202e"))


def test_long_names_and_boxes_stay_within_a_narrow_screen() -> None:
    rules = dict(line.split(" { ", 1) for line in STYLE.splitlines() if " { " in line)
    assert "overflow-wrap: anywhere" in rules["h1, p"]
    assert "overflow-x: auto" in rules["pre"]
