from __future__ import annotations

from collections.abc import Iterator

import pytest
from tests.attack.installation import Installation
from tests.sign_in import site_with_pages


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    with site_with_pages(tmp_path_factory.mktemp("web")) as made:
        yield made
