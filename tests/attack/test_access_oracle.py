"""Access requests against an independent oracle: no session without the approvals that the documentation asks for, at the
time of use, and no refusal of what should work (rows A211, A213, A214, A254 and A262).
"""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.attack.access_cast import FIRST_KEYS
from tests.attack.access_driver import Driver
from tests.attack.installation import installed


def drive(data: Path, seeds: range, steps: int) -> None:
    with installed(data, first_keys=FIRST_KEYS, access={"sweep_seconds": 300}) as installation:
        for seed in seeds:
            installation.run(Driver(installation, seed).run(steps))


def test_random_histories_of_access_requests_agree_with_the_oracle(tmp_path: Path) -> None:
    drive(tmp_path, range(101, 102), 120)


@pytest.mark.slow
@pytest.mark.parametrize(
    "seeds", [range(102, 103), *(range(first, first + 10) for first in range(110, 150, 10))], ids=lambda seeds: seeds[0]
)
def test_random_histories_of_access_requests_agree_with_the_oracle_over_many_histories(
    tmp_path: Path, seeds: range
) -> None:
    drive(tmp_path, seeds, 120)
