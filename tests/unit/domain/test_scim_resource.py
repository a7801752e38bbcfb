"""The attributes of a user that a directory may send."""

from __future__ import annotations

import pytest

from daypass.domain.scim.errors import ScimError
from daypass.domain.scim.resource import user_of


@pytest.mark.parametrize("name", ["ann", "Ann.Lee+x=1,2@a.example-b_c", "a" * 64])
def test_user_of_a_name_of_iam_is_kept_and_active(name: str) -> None:
    assert user_of({"userName": name}) == {"userName": name, "active": True}


@pytest.mark.parametrize("name", ["", "a" * 65, "ann lee", "änne", "a/b"])
def test_user_of_another_name_is_refused(name: str) -> None:
    with pytest.raises(ScimError):
        user_of({"userName": name})
