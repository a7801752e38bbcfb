"""The demos, for real, as `make demo-…` runs them: each ends well, within half a minute, having shown what it is for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
DEMO = Path(__file__).parents[2] / "demo"
SHOWN = {  # what must be told, in this order
    "ci": (
        r"assumed-role/deployer/run-8123456789",
        r"another branch: AccessDenied",
        r"a stranger: AccessDenied",
        r"a stale token: ExpiredToken",
        r"new key \w+",
        r"assumed-role/deployer/run-8123456789",
        r"\d+ records in \d+ logs verify",
    ),
    "k8s": (
        r"write: written\n +read: \{\}\n +elsewhere: refused: AccessDenied",
        r"3\. A pod of another service account is refused\n +refused: AccessDenied",
        r"4\. A pod is deleted.*\n +refused: \w+",
        r"s3:PutObject",
        r"\d+ records in \d+ logs verify",
    ),
    "saml": (
        r"2\. .*\n +arn:aws:sts::111122223333:assumed-role/developer/ann",
        r"Choose a role",
        r"developer account 111122223333 \[Take it\]",
        r"Your credentials",
        r"export AWS_SESSION_TOKEN=",
        r"boto3 with these: arn:aws:sts::111122223333:assumed-role/developer/ann",
        r"Logged in as arn:aws:sts::111122223333:assumed-role/developer/ann",
        r"the same response again: InvalidIdentityToken: .*used before",
        r"altered on the way: InvalidIdentityToken: Response signature invalid",
        r"signed with a stranger's key: InvalidIdentityToken: Response signature invalid",
        r"a role of another account: AccessDenied",
        r"a role that Ann's team may not have: AccessDenied",
        r"wanted +release\n +found +shop",
        r"signed with the new key: InvalidIdentityToken",
        r"after the update: arn:aws:sts::111122223333:assumed-role/developer/ann",
        r"\d+ records in \d+ logs verify",
    ),
    "x509": (
        r"who: arn:aws:sts::111122223333:assumed-role/press/[0-9a-f]{30,40}",
        r"get-role press: AROA",
        r"list-users: AccessDenied",
        r"refused: 403: Not authorized to perform sts:AssumeRole",
        r"wanted +press-1\n +found +lathe-7",
        r"refused: 403: Untrusted certificate",
        r"on record: certificate [0-9a-f]+ is revoked",
        r"refused: ExpiredToken",
        r"\d+ records in \d+ logs verify",
    ),
}


@pytest.mark.parametrize("name", SHOWN)
def test_demo_runs_to_its_end_and_shows_what_it_is_for(name: str) -> None:
    environment = {k: v for k, v in os.environ.items() if not k.startswith(("AWS_", "DAYPASS_"))}
    started = time.monotonic()
    ran = subprocess.run(
        [sys.executable, str(DEMO / f"{name}.py")],
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    took = time.monotonic() - started
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    rest = ran.stdout
    for wanted in SHOWN[name]:
        found = re.search(wanted, rest)
        assert found, f"{wanted!r} is not in, or not in its place in:\n{ran.stdout}"
        rest = rest[found.end() :]
    busy = os.getloadavg()[0] / (os.cpu_count() or 1)  # others at work on this machine
    assert took < 30 * max(1.0, busy)
