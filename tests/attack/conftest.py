"""The installation under attack: one for each test module."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from tests.attack.installation import Answer, Installation, installed


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """The whole application over a SQLite database."""
    with installed(tmp_path_factory.mktemp("site")) as made:
        yield made


@pytest.fixture
def refused(site: Installation) -> Callable[..., dict[str, object]]:
    """Holds an answer against what every refusal must be: its code, in the protocol's form, on the record, and silent."""

    def check(answer: Answer, code: str, status: int, kind: str = "") -> dict[str, object]:
        assert (answer.code, answer.status) == (code, status), answer.body
        assert answer.text("RequestId") == answer.request_id
        records = site.records(answer.request_id)
        assert len(records) == 1
        assert records[0]["error"]
        assert not kind or records[0]["type"] == kind
        return records[0]

    return check
