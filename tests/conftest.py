"""Rules for every test: unit tests open no network socket, and no test reaches beyond this machine.

Addresses other than the loopback's are refused for all tests (`--allow-hosts`, pyproject.toml). Tests under tests/unit may
not connect or listen at all; Unix sockets stay open, because event loops wake themselves through one.

And what makes a run short: tests that mostly wait for other processes begin first, beside those that compute, and there
are more workers than cores. So no test may count seconds of a machine that has nothing else to do.
"""

from __future__ import annotations

import gc
import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
from hypothesis import settings

# Settings and keys of an installation are not for the servers and clients that tests start.
for _name in filter(re.compile(r"AWS_|DAYPASS_(BOOTSTRAP|HOME)$|DAYPASS_.*__").match, [*os.environ]):
    del os.environ[_name]
settings.register_profile("daypass", deadline=None)  # a deadline is wall time; the number of examples bounds the work
settings.load_profile("daypass")

_HERE = Path(__file__).parent
_SLOW = re.compile(r"^pytestmark = .*\bpytest\.mark\.slow\b", re.MULTILINE)
_UNIT, _E2E = (f"{_HERE / name}{os.sep}" for name in ("unit", "e2e"))

gc.disable()  # until `pytest_runtestloop`: what is made while tests are collected stays


def pytest_xdist_auto_num_workers() -> int | None:
    """For `-n auto`, unless PYTEST_XDIST_AUTO_NUM_WORKERS says it. A third of the time of all tests together is waiting."""
    if "PYTEST_XDIST_AUTO_NUM_WORKERS" in os.environ:
        return None
    return len(os.sched_getaffinity(0)) * 3 // 2


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Modules whose tests are all slow are not imported for nothing: their libraries take a tenth of collecting."""
    if config.option.markexpr != "not slow" or collection_path.suffix != ".py":
        return None
    return _SLOW.search(collection_path.read_text("utf-8")) is not None or None


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if str(item.path).startswith(_UNIT):
            item.add_marker(pytest.mark.disable_socket)
    items.sort(key=lambda item: not str(item.path).startswith(_E2E))


def pytest_collection_finish() -> None:
    """The collected tests live to the end: the garbage collector need not go through them again and again, nor once."""
    gc.freeze()


@pytest.hookimpl(tryfirst=True)
def pytest_runtestloop() -> None:
    gc.set_threshold(
        20_000, 10, 10
    )  # ten times the default: a tenth of what a test with a server computes was collecting
    gc.enable()


@pytest.fixture(scope="session", autouse=True)
def _patience() -> Iterator[None]:
    from tests.heavy import pickle_work
    from tests.patience import be_patient, compile_once

    with pytest.MonkeyPatch.context() as patch:
        be_patient(patch)
        compile_once(patch)
        pickle_work(patch)
        yield


@pytest.fixture
def durable(monkeypatch: pytest.MonkeyPatch) -> None:
    """The databases of this test write to the disk as a server's do. Name it before the fixture that opens them."""
    from tests.patience import be_durable

    be_durable(monkeypatch)


@pytest.fixture(autouse=True)
def _plain_log() -> Iterator[None]:
    """As the server logs. Left alone, structlog paints every traceback, with all locals: that takes half a second.

    What a test configures ends with it: its standard error is closed then.
    """
    if not structlog.is_configured():
        structlog.configure(processors=[structlog.processors.format_exc_info, structlog.processors.JSONRenderer()])
    kept = structlog.get_config()
    yield
    structlog.configure(**kept)
