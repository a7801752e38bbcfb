"""Reference pages are what the generator makes of the code, and the generator refuses what is not described."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from dataclasses import fields
from enum import StrEnum
from types import ModuleType
from typing import Any

import click
import pytest
from tests.packaging.machine import ROOT, tool

from daypass.cli.commands import COMMANDS
from daypass.config import Settings
from daypass.domain.errors import ErrorKind
from daypass.domain.events import EventType
from daypass.domain.policy.lint.finding import RULES
from daypass.domain.provider_settings import ProviderSettings
from daypass.observability.metrics import METRICS
from daypass.operations.management import ALSO
from daypass.wire.aws import sts


@pytest.fixture(scope="module")
def gen_docs() -> Iterator[ModuleType]:
    sys.path.insert(0, str(ROOT / "tools"))  # the modules beside it, which it imports
    yield tool("gen_docs")
    sys.path.remove(str(ROOT / "tools"))


class Odd(StrEnum):
    # First part
    WITH = "with"  # has a comment
    WITHOUT = "without"


_PAGES = (
    "../reference/oauth.md",
    "../threat-model.md",
    "../how-to/console-pages.md",
    "../../src/daypass/monitoring/help.json",
    *("cli.md", "errors.md", "events.md", "lint.md", "metrics.md", "operations.md", "routes.md", "settings.md"),
    *(
        f"../../deploy/monitoring/{name}"
        for name in ("prometheus.yml", "daypass.rules.yml", "alertmanager.yml", "runbooks.html")
    ),
    *(f"../../deploy/monitoring/grafana/daypass-{name}.json" for name in ("executive", "on-call", "debug")),
)


@pytest.mark.parametrize("name", _PAGES)
def test_page_is_up_to_date(gen_docs: ModuleType, name: str) -> None:
    assert not gen_docs.is_stale(name), "run `make docs-gen`"


def test_pages_generated_are_the_pages_tested(gen_docs: ModuleType) -> None:
    assert tuple(gen_docs.PAGES) == _PAGES


def test_page_names_everything_there_is() -> None:
    """The generator might lose a member; this counts with other means."""
    reference = ROOT / "docs/reference"
    expected: dict[str, list[str]] = {
        "errors.md": [f"`{kind}`" for kind in ErrorKind],
        "operations.md": [f"`{operation}`" for operation in (*sts.STS_OPERATIONS, *sts.IAM_OPERATIONS)],
        "events.md": [f"`{event}`" for event in EventType],
        "lint.md": [f"`{rule}`" for rule in RULES],
        "metrics.md": [f"`{metric.name}" for metric in METRICS],
        "cli.md": [f"- `daypass {name}" for name in COMMANDS],
        "provider-settings.md": [f"- `{field.name}`" for field in fields(ProviderSettings)],
        "settings.md": [f"- `{key}`" for s in Settings.model_fields.values() for key in type(s.default).model_fields],
    }
    for page, names in expected.items():
        text = (reference / page).read_text()
        assert [name for name in names if name not in text] == []


def test_members_without_a_comment_are_refused(gen_docs: ModuleType) -> None:
    found = gen_docs.members(Odd)
    assert next(found) == ("First part", "with", "has a comment")
    with pytest.raises(gen_docs.Undocumented, match="Odd without"):
        next(found)


def test_command_without_help_is_refused(gen_docs: ModuleType) -> None:
    def silent(**_: Any) -> None: ...

    command = click.Command("silent", callback=silent)
    with pytest.raises(gen_docs.Undocumented, match="daypass silent"):
        list(gen_docs._commands("daypass silent", command))


def test_table_escapes_cells(gen_docs: ModuleType) -> None:
    assert gen_docs.table(["a"], [["x|y\nz"]]) == "| a |\n| --- |\n| x\\|y z |\n"


def test_standard_that_is_not_served_is_refused(gen_docs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import gen_oauth  # beside gen_docs

    odd = gen_oauth.Standard("RFC 0", "nothing", "/oauth2/nowhere")
    monkeypatch.setattr(gen_oauth, "STANDARDS", (*gen_oauth.STANDARDS, odd))
    with pytest.raises(gen_docs.Undocumented, match="/oauth2/nowhere"):
        gen_docs.PAGES["../reference/oauth.md"]()


def test_grant_that_no_standard_names_is_refused(gen_docs: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    import gen_oauth  # beside gen_docs

    monkeypatch.setattr(gen_oauth, "STANDARDS", tuple(s for s in gen_oauth.STANDARDS if "device_code" not in s.served))
    with pytest.raises(gen_docs.Undocumented, match="named by no row of STANDARDS"):
        gen_docs.PAGES["../reference/oauth.md"]()


def test_adr_of_administration_names_every_further_permission() -> None:
    page = (ROOT / "docs/adr/0008-who-may-administer.md").read_text("utf-8")
    rows = [line for line in page.splitlines() if line.startswith("| `daypass:")]
    for action, permissions in ALSO.items():
        row = next((row for row in rows if f"`daypass:{action}`" in row), "")
        missing = [permission for permission in permissions if f"`{permission}`" not in row]
        assert row, action
        assert not missing, f"{action}: {missing}"
