"""Microseconds per decision at 1, 10, 50 and 500 statements, next to cedarpy with a set of the same meaning.

Statement i allows one action on one department's orders to principals with that department's tag; the request is the
last statement's, so whoever goes through them in order goes through them all. Both sides are parsed beforehand. Every
shape is measured: `one action` (all statements share it, resources differ) and `many actions` (both differ).

    python bench/evaluator.py [--seconds 0.5]
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parents[1] / "src"))

from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.evaluate import evaluate
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, PrincipalFacts

SIZES = (1, 10, 50, 500)
ACCOUNT = "111111111111"
USER = f"arn:aws:iam::{ACCOUNT}:user/alice"


def action_of(index: int, *, many: bool) -> str:
    return f"Read{index}" if many else "Read"


def aws_statement(index: int, *, many: bool) -> dict[str, object]:
    return {
        "Effect": "Allow",
        "Action": f"orders:{action_of(index, many=many)}",
        "Resource": f"arn:aws:orders:eu-west-1:{ACCOUNT}:department{index}/*",
        "Condition": {"StringEquals": {"aws:PrincipalTag/department": f"d{index}"}},
    }


def ours(count: int, *, many: bool) -> Callable[[], bool]:
    last = count - 1
    document = {"Version": "2012-10-17", "Statement": [aws_statement(i, many=many) for i in range(count)]}
    policy = NamedPolicy("bench", parse(json.dumps(document), PolicyKind.IDENTITY))
    query = AccessQuery(
        PrincipalFacts("User", ACCOUNT, ((USER, "AIDAALICE"),)),
        f"orders:{action_of(last, many=many)}",
        f"arn:aws:orders:eu-west-1:{ACCOUNT}:department{last}/7",
        {"aws:principaltag/department": f"d{last}"},
    )
    layers = Layers(same_account=True, identity=(policy,))
    return lambda: evaluate(query, layers).allowed


def cedar(count: int, *, many: bool) -> Callable[[], bool] | None:
    """The same with cedarpy: a department is the resource's parent. None when cedarpy is not installed."""
    try:
        import cedarpy
    except ImportError:
        return None
    last = count - 1
    policies = cedarpy.PolicySet.from_str(
        "\n".join(
            f'permit(principal, action == Action::"{action_of(i, many=many)}", resource in Department::"{i}") '
            f'when {{ principal has department && principal.department == "d{i}" }};'
            for i in range(count)
        )
    )
    entities = cedarpy.Entities.from_json_str(
        json.dumps(
            [
                {"uid": {"type": "User", "id": "alice"}, "attrs": {"department": f"d{last}"}, "parents": []},
                {
                    "uid": {"type": "Order", "id": "7"},
                    "attrs": {},
                    "parents": [{"type": "Department", "id": str(last)}],
                },
            ]
        )
    )
    request = {
        "principal": 'User::"alice"',
        "action": f'Action::"{action_of(last, many=many)}"',
        "resource": 'Order::"7"',
        "context": {},
    }
    return lambda: bool(cedarpy.is_authorized(request, policies, entities).allowed)


def microseconds(decide: Callable[[], bool], seconds: float) -> float:
    """The best of five rounds, so that what else the machine does counts least."""
    if not decide():
        raise SystemExit("the benchmark's request should be allowed")
    started = time.perf_counter()
    decide()
    rounds = max(10, int(seconds / 5 / max(time.perf_counter() - started, 1e-6)))
    best = float("inf")
    for _ in range(5):
        started = time.perf_counter()
        for _ in range(rounds):
            decide()
        best = min(best, (time.perf_counter() - started) / rounds)
    return best * 1e6


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=0.5, help="time for each figure")
    seconds = parser.parse_args().seconds
    print(f"{'statements':>10}  {'shape':<14}{'daypass µs':>12}{'cedarpy µs':>12}")
    peer = None
    for many in (False, True):
        for count in SIZES:
            peer = cedar(count, many=many)
            theirs = f"{microseconds(peer, seconds):12.1f}" if peer is not None else f"{'-':>12}"
            shape = "many actions" if many else "one action"
            print(f"{count:>10}  {shape:<14}{microseconds(ours(count, many=many), seconds):12.1f}{theirs}")
    if peer is not None:
        print(f"cedarpy {version('cedarpy')}, policies and entities parsed beforehand")


if __name__ == "__main__":
    main()
