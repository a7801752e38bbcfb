"""Findings in the Static Analysis Results Interchange Format, as code hosts show them beside the lines.

Source: OASIS SARIF 2.1.0.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any
from urllib.parse import quote

from daypass import __version__

_SCHEMA = "https://json.schemastore.org/sarif-2.1.0.json"


def report(found: Iterable[tuple[str, list[dict[str, Any]]]]) -> dict[str, Any]:
    """A log with one run. Findings are (where, finding as the linter gives it as JSON)."""
    results = [_result(where, finding) for where, findings in found for finding in findings]
    rules = {result["ruleId"]: result.pop("_title") for result in results}
    order = sorted(rules)
    for result in results:
        result["ruleIndex"] = order.index(result["ruleId"])
    driver = {
        "name": "daypass lint",
        "version": __version__,
        "rules": [_rule(rule, rules[rule]) for rule in order],
    }
    run = {"tool": {"driver": driver}, "columnKind": "unicodeCodePoints", "results": results}
    return {"$schema": _SCHEMA, "version": "2.1.0", "runs": [run]}


def _rule(rule: str, title: str) -> dict[str, Any]:
    """A rule with the members that GitHub's code scanning asks for in addition to those of the standard."""
    help_text = f"{title}. Each result says why that matters there, and how to mend it."
    return {
        "id": rule,
        "shortDescription": {"text": title},
        "fullDescription": {"text": f"{title}."},
        "help": {"text": help_text},
    }


def _result(where: str, finding: dict[str, Any]) -> dict[str, Any]:
    region = {"startLine": finding["line"], "startColumn": finding["column"]}
    if (finding["end_line"], finding["end_column"]) > (finding["line"], finding["column"]):
        region |= {"endLine": finding["end_line"], "endColumn": finding["end_column"]}
    place: dict[str, Any] = {"physicalLocation": {"artifactLocation": {"uri": _uri(where)}, "region": region}}
    if where.startswith("arn:"):  # nothing on disk: named as it is
        place = {"logicalLocations": [{"fullyQualifiedName": where}]}
    return {
        "ruleId": finding["id"],
        "level": finding["severity"],
        "message": {"text": f"{finding['why']} {finding['fix']}"},
        "locations": [place],
        "_title": finding["title"],
    }


def _uri(path: str) -> str:
    """A path as a relative reference, which code hosts resolve against the repository."""
    return quote(path.replace("\\", "/").removeprefix("./"))
