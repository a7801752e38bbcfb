from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.attack.installation import Installation
from tests.browser import Browser
from tests.sign_in import may_assume, signed_in, site_with_pages, user


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("web")) as made:
        yield made


@pytest.fixture(scope="module")
def name(site: Installation) -> str:
    """A user who may assume roles."""
    made = user(site)
    may_assume(site, made)
    return made


@pytest.fixture
def browser(site: Installation, name: str) -> Browser:
    return signed_in(site, name)
