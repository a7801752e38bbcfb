"""The world that tests of IAM operations call into."""

from __future__ import annotations

import pytest
from tests.unit.iam.memory import World


@pytest.fixture
def world() -> World:
    return World()
