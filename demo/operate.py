"""An incident from break to report: a real Prometheus, Alertmanager and load; the page; the runbook's commands; recovery.

make demo-operate                       a trust policy is changed by mistake
make demo-operate ARGS="server-gone"    another scenario of `daypass gameday ls`
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from daypass.gameday.deployment import Missing
from daypass.gameday.run import run
from daypass.gameday.scenarios import SCENARIOS


def main() -> int:
    """The exit status: 0 if the incident was found and repaired."""
    names = sys.argv[1:] or ["trust-policy"]
    chosen = [each for each in SCENARIOS if each.name in names or names == ["all"]]
    if not chosen:
        sys.exit(f"the scenarios are: {', '.join(each.name for each in SCENARIOS)}")
    passed = True
    for scenario in chosen:
        print(f"\n{scenario.name}: {scenario.summary}", flush=True)
        with tempfile.TemporaryDirectory(prefix="daypass-demo-") as directory:
            try:
                outcome = run(scenario, Path(directory), lambda line: print(f"   {line}", flush=True))
            except Missing as error:
                sys.exit(str(error))
        print(f"\n{outcome.report}", flush=True)
        passed = passed and outcome.passed
    return 0 if passed else 1


if __name__ == "__main__":
    sys.exit(main())
