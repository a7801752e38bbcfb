"""The map of the domain names every module of the domain and every package of operations."""

from __future__ import annotations

import re

from tests.packaging.machine import ROOT

_SOURCE = ROOT / "src/daypass"
_NAMES = set(re.findall(r"`([a-z_.]+)`", (ROOT / "docs/domain-map.md").read_text("utf-8")))


def test_domain_map_names_every_module() -> None:
    domain = _SOURCE / "domain"
    modules = {
        path.stem for folder in (domain, domain / "policy", domain / "access") for path in folder.glob("*.py")
    } - {"__init__"}
    for package in ("directory", "oauth"):
        modules |= {f"{package}.{path.stem}" for path in (domain / package).glob("*.py") if path.stem != "__init__"}
    packages = {path.parent.name for path in domain.glob("*/__init__.py")}
    assert packages == {"access", "directory", "oauth", "policy"}
    operations = {path.stem for path in (_SOURCE / "operations").iterdir() if not path.name.startswith("__")}
    assert sorted((modules | operations) - _NAMES) == []


def test_domain_map_names_no_module_that_does_not_exist() -> None:
    rows = re.findall(
        r"^\| ((?:`[a-z_.]+`(?:, )?)+) \|", (ROOT / "docs/domain-map.md").read_text("utf-8"), re.MULTILINE
    )
    named = {name.replace(".", "/") for row in rows for name in re.findall(r"`([a-z_.]+)`", row)}
    roots = [_SOURCE / folder for folder in ("domain", "domain/policy", "domain/access", "operations")]
    assert len(named) > 50
    assert sorted(n for n in named if not any((r / n).is_dir() or (r / f"{n}.py").is_file() for r in roots)) == []
