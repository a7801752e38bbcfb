"""Pages that people write keep their promises: links lead somewhere, examples are valid, attacks have tests."""

from __future__ import annotations

import re
from pathlib import Path
from textwrap import dedent

import pytest
import yaml
from tests.packaging.machine import ROOT

from daypass.domain.policy.document import PolicyKind, parse

_PAGES = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
_LINK = re.compile(r"\[[^\]]*\]\(([^)#\s]+)[^)]*\)")
_JSON = re.compile(r"```json\n(.*?)```", re.DOTALL)
_YAML = re.compile(r"^ *```yaml\n(.*?)^ *```", re.DOTALL | re.MULTILINE)
# Surfaces that this version has. The threat model names every known attack on them, tested or not.
_ATTACKS = (
    2,
    4,
    5,
    6,
    7,
    8,
    9,
    10,
    11,
    14,
    15,
    16,
    18,
    19,
    21,
    22,
    23,
    24,
    25,
    26,
    28,
    29,
    30,
    31,
    32,
    33,
    38,
    42,
    43,
    44,
    45,
    46,
    48,
    49,
    50,
    51,
    53,
    54,
    55,
    56,
    58,
    60,
    61,
    62,
    76,
    87,
    88,
    99,
    100,
    106,
)


def name(path: Path) -> str:
    return str(path.relative_to(ROOT))


@pytest.mark.parametrize("page", _PAGES, ids=name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = [t for t in _LINK.findall(page.read_text()) if not t.startswith(("http:", "https:", "mailto:"))]
    assert [t for t in targets if not (page.parent / t).exists()] == []


def test_trust_policy_examples_are_accepted() -> None:
    pages = ("docs/how-to/trust-policies.md", "docs/how-to/tokens.md", "docs/how-to/saml.md", "docs/how-to/x509.md")
    examples = [example for page in pages for example in _JSON.findall((ROOT / page).read_text())]
    assert len(examples) >= 5
    for example in examples:
        assert parse(example, PolicyKind.TRUST).principals()


def test_threat_model_names_every_attack_on_the_surfaces_there_are() -> None:
    cells = re.findall(r"^\| (A\d+(?:, A\d+)*) \|", (ROOT / "docs/threat-model.md").read_text(), re.MULTILINE)
    rows = re.findall(r"\d+", " ".join(cells))
    assert set(_ATTACKS) <= {int(row) for row in rows}
    assert len(rows) == len(set(rows))


def test_readme_names_commands_that_make_has() -> None:
    targets = set(re.findall(r"^([a-z0-9-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))
    for page in ("README.md", "CONTRIBUTING.md", "docs/how-to/develop.md"):
        assert set(re.findall(r"`?make ([a-z0-9-]+)", (ROOT / page).read_text())) <= targets


@pytest.mark.parametrize("page", _PAGES, ids=name)
def test_page_names_no_place_on_one_machine(page: Path) -> None:
    text = page.read_text()
    assert not re.search(r"(?<![\w.])/(home|root|work|Users)/", text)


@pytest.mark.parametrize("page", _PAGES, ids=name)
def test_tables_are_whole(page: Path) -> None:
    """An empty line within a table makes text of the rows below it."""
    lines = re.sub(r"^ *```.*?^ *```", "", page.read_text(), flags=re.DOTALL | re.MULTILINE).splitlines()
    starts = [
        i for i, line in enumerate(lines) if line.lstrip().startswith("|") and not lines[i - 1].lstrip().startswith("|")
    ]
    assert [lines[i] for i in starts if not re.fullmatch(r"\s*\|[\s:|-]+\|", lines[i + 1])] == []


@pytest.mark.parametrize("page", _PAGES, ids=name)
def test_tests_that_a_page_names_exist(page: Path) -> None:
    assert [each for each in re.findall(r"\btests/[\w/]+\.py\b", page.read_text()) if not (ROOT / each).exists()] == []


def test_no_page_holds_the_marks_of_a_merge() -> None:
    marks = re.compile(r"^(<<<<<<<|=======|>>>>>>>)( |$)", re.MULTILINE)
    assert [page.name for page in _PAGES if marks.search(page.read_text())] == []


def test_yaml_examples_can_be_pasted() -> None:
    found = [yaml.safe_load(dedent(text)) for page in _PAGES for text in _YAML.findall(page.read_text())]
    assert all(isinstance(example, dict) for example in found)
    workflow = next(example for example in found if "jobs" in example)
    assert set(workflow) == {True, "permissions", "env", "jobs"}  # `on` is a truth value to YAML 1.1
    assert workflow["permissions"]["id-token"] == "write"
    job = next(example["deploy"] for example in found if "deploy" in example)
    assert {"id_tokens", "variables", "script"} <= set(job)


def test_no_page_installs_daypass_from_a_public_index() -> None:
    """The name there is not ours."""
    install = re.compile(
        r"""(?:pip3? install|pipx (?:install|run)|uv (?:add|tool install|tool run)|uvx)[^`\n]*[ '"]daypass(?![-.\w*/])"""
    )
    assert install.search("pip install -U 'daypass[agent]'")
    assert install.search("uvx daypass login")
    files = [*_PAGES, *(ROOT / "man").glob("*"), *(ROOT / "src/daypass/cli").glob("*.py")]
    assert not [f"{path}: {line}" for path in files for line in path.read_text().splitlines() if install.search(line)]
