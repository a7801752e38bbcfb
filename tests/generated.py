"""Requests that schemathesis makes from a description, good and bad, the same in each run."""

from __future__ import annotations

from typing import Any

from hypothesis import HealthCheck, Phase, given, settings


def cases(description: dict[str, Any], examples: int) -> list[Any]:
    """Up to so many cases for each operation."""
    import schemathesis

    found: list[Any] = []
    for result in schemathesis.openapi.from_dict(description).get_all_operations():
        positive = result.ok().as_strategy(generation_mode=schemathesis.GenerationMode.POSITIVE)
        negative = result.ok().as_strategy(generation_mode=schemathesis.GenerationMode.NEGATIVE)

        @given(case=positive | negative)
        @settings(
            max_examples=examples,
            database=None,
            deadline=None,
            phases=[Phase.generate],
            derandomize=True,
            suppress_health_check=list(HealthCheck),
        )
        def collect(case: Any) -> None:
            found.append(case)

        collect()
    return found
