"""Compares the evaluator with the reference on as many random cases as you like: `make fuzz`.

Prints a line for every 100,000 cases and, at the first difference, the case and the seed that leads to it.
"""

import argparse
import json
import random
import sys
import time
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "src")]

from tests.reference import policy_cases as cases  # noqa: E402
from tests.reference import policy_reference as reference  # noqa: E402

from daypass.domain.policy.evaluate import evaluate  # noqa: E402

CHUNK = 5_000
"""Cases from one pool of policies before another is drawn."""


def run(total: int, seed: int) -> int:
    started, done = time.monotonic(), 0
    while done < total:
        pool = cases.Pool(random.Random(seed))
        for _ in range(min(CHUNK, total - done)):
            case = pool.case()
            wanted = reference.decide(case)
            found = cases.answer(evaluate(*cases.to_query(case)))
            if found != wanted:
                print(json.dumps(case, indent=1))
                print(f"seed {seed}: the reference says {wanted}, the evaluator says {found}")
                return 1
            done += 1
        seed += 1
        if done % 100_000 < CHUNK:
            print(f"{done:,} cases agree, {done / (time.monotonic() - started):,.0f}/s", flush=True)
    print(f"{done:,} cases agree")
    return 0


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--cases", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=1)
    arguments = parser.parse_args()
    sys.exit(run(arguments.cases, arguments.seed))
