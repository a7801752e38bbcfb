"""A verifier's decisions by a bundle of 10,000 roles: again for the same question, for a new resource, and for a new token; beside
cedarpy, which has the policy of the one role.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from statistics import quantiles
from typing import Any

import cedarpy

from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.partial_evaluation import PartialOutcome
from daypass.domain.policy_bundle import (
    BUCKETS,
    Held,
    PolicyRef,
    PolicySet,
    SignedContent,
    bucket_of,
    text_digest,
    text_of,
)

ACCOUNT = "111122223333"


def made(roles: int) -> PolicySet:
    """Roles with a policy of their own and one that all share."""
    shared = json.dumps(
        {"Version": "2012-10-17", "Statement": {"Effect": "Deny", "Action": "orders:Purge", "Resource": "*"}}
    )
    texts, principals = {text_digest(shared): shared}, []
    for number in range(roles):
        own = json.dumps(
            {
                "Version": "2012-10-17",
                "Statement": [
                    {
                        "Effect": "Allow",
                        "Action": ["orders:Read", "orders:List"],
                        "Resource": f"arn:aws:orders::{ACCOUNT}:team{number}/*",
                        "Condition": {"StringEquals": {"aws:PrincipalTag/team": f"team{number}"}},
                    }
                ],
            }
        )
        texts[text_digest(own)] = own
        refs = tuple(
            PolicyRef(name, PolicyKind.IDENTITY, text_digest(t)) for name, t in (("own", own), ("all", shared))
        )
        principals.append(Held(f"AROA{number:017}", f"role{number}", "/", (("team", f"team{number}"),), refs, None))
    sorted_in: list[list[Held]] = [[] for _ in range(BUCKETS)]
    for held in principals:
        sorted_in[bucket_of(held.id)].append(held)
    buckets = tuple(map(text_of, sorted_in))
    signed = SignedContent("https://x", ACCOUNT, "orders", 0, "e", 1, (), tuple(map(text_digest, buckets)))
    return PolicySet(signed, buckets, texts)


def claims(role: int, token: int) -> dict[str, Any]:
    session = {"account": ACCOUNT, "policies": []}
    return {"sub": f"AROA{role:017}:job", "jti": f"t{token}", "urn:daypass:session": session}


def timed(name: str, count: int, ask: Callable[[int], object]) -> None:
    spent = []
    for number in range(count):
        before = time.perf_counter_ns()
        ask(number)
        spent.append((time.perf_counter_ns() - before) / 1000)
    cuts = quantiles(spent, n=100)
    print(f"{name:44} p50 {cuts[49]:8.2f} µs   p99 {cuts[98]:8.2f} µs")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--roles", type=int, default=10_000)
    options = parser.parse_args()
    began = time.perf_counter()
    policies = made(options.roles)
    print(f"{options.roles} roles, ready in {time.perf_counter() - began:.1f} s")
    known = [claims(number * 7 % options.roles, number) for number in range(1_000)]
    resource = f"arn:aws:orders::{ACCOUNT}:team%d/7"

    def ask(number: int) -> PartialOutcome:
        return policies.outcome(known[number % 1_000], "orders:Read", resource % (number % 1_000 * 7 % options.roles))

    assert ask(3) is PartialOutcome.ALLOWED
    assert policies.outcome(known[3], "orders:Read", resource % 0) is PartialOutcome.DENIED
    timed("a new token", 1_000, ask)
    timed("the same question again", 100_000, ask)
    timed("a new resource", 20_000, lambda n: policies.outcome(known[5], "orders:Read", f"{resource % 35}/{n}"))
    cedar = 'permit(principal == Role::"r", action in [Action::"Read", Action::"List"], resource) when { principal.team == resource.team };'
    listed = [
        {"uid": {"type": t, "id": i}, "attrs": {"team": "t"}, "parents": []} for t, i in (("Role", "r"), ("Order", "7"))
    ]
    entities = cedarpy.Entities.from_json_str(json.dumps(listed))
    parsed = cedarpy.PolicySet.from_str(cedar)
    request = {"principal": 'Role::"r"', "action": 'Action::"Read"', "resource": 'Order::"7"', "context": {}}
    assert cedarpy.is_authorized(request, parsed, entities).allowed
    timed("cedarpy, one policy, parsed beforehand", 2_000, lambda _: cedarpy.is_authorized(request, parsed, entities))


if __name__ == "__main__":
    main()
