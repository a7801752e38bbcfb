"""What holds for every test: unit tests open no network socket, and no test reaches beyond this machine.

Addresses other than the loopback's are refused for all tests (`--allow-hosts`, pyproject.toml). Tests under tests/unit may
not connect or listen at all; Unix sockets stay open, because event loops wake themselves through one.
"""

from __future__ import annotations

from pathlib import Path

import pytest

_UNIT = Path(__file__).parent / "unit"


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if _UNIT in item.path.parents:
            item.add_marker(pytest.mark.disable_socket)
