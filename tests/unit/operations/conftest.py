"""Accounts without anything in them, for tests of operations."""

from __future__ import annotations

import pytest
from tests.unit.operations.fakes import World


@pytest.fixture
def world() -> World:
    return World()
