"""The attributes of a user that a directory may send."""

from __future__ import annotations

import re

import pytest

from daypass.domain.scim import ScimError, user_name, user_of


@pytest.mark.parametrize("name", ["ann", "Ann.Lee+x=1,2@a.example-b_c", "a" * 64])
def test_user_of_a_name_of_iam_is_kept_and_active(name: str) -> None:
    assert user_of({"userName": name}) == {"userName": name, "active": True}


@pytest.mark.parametrize("name", ["a" * 65, "ann lee", "änne", "a/b", "\u0410dmin", "山田太郎", "ß" * 256])
def test_user_of_another_name_has_a_name_of_iam_that_is_derived_and_stable(name: str) -> None:
    derived = user_name(name)
    assert re.fullmatch(r"[a-z0-9+=,.@_-]{1,40}-[0-9a-f]{20}", derived)
    assert derived == user_name(name.upper()) == user_name(f" {name}")
    assert user_of({"userName": name})["userName"] == name


def test_user_name_in_another_form_of_a_character_is_that_name() -> None:
    assert user_name("ａdmin") == user_name("admin ") == "admin", "it is refused as taken where there is an admin"


@pytest.mark.parametrize("name", ["", "a" * 257, "ad\u202emin"])
def test_user_of_an_unusable_name_is_refused(name: str) -> None:
    with pytest.raises(ScimError):
        user_of({"userName": name})
