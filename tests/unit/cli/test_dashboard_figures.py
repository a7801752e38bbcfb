"""The figures that `daypass dashboard` computes itself."""

from __future__ import annotations

from daypass.cli import dashboard


def test_active_grants_of_which_one_is_refused_counts_the_others() -> None:
    series = {name: [0] for name in ("issued", "refused", "requested", "approved", "high_risk")}
    summary = {"since": 0, "until": 0, "complete": True, "success": None}
    grants = [{"refused": ""}, {"refused": "The role or its policies have changed since the approval."}]
    figures = dashboard._figures({**summary, "approval_ms": 0, "series": series}, grants)
    assert figures["active grants"] == "1"
