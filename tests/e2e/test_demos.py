"""The demos, for real, as `make demo-…` runs them: each ends well, having shown what it is for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow
DEMO = Path(__file__).parents[2] / "demo"
SHOWN = {  # what must be told, in this order
    "incident": (
        r"Lee, who leads, has registered a passkey, with \w+",
        r"Ann, on call, without a request: AccessDenied",
        r"AccessDenied: .*user/ann is not authorized to perform: daypass:ApproveAccessRequest",
        r"Who: arn:aws:iam::111122223333:user/ann",
        r"Request as you have read it: [0-9a-f]{64}",
        r"the fix is applied by arn:aws:sts::111122223333:assumed-role/prod-orders/elevate",
        r"state +ended \(done\)",
        r"Ann again, without a new request: AccessDenied",
        r"1 active session ended",
        r"her session: ExpiredToken",
        r"access\.approved",
        r"session\.revoked",
        r"the record verifies",
    ),
    "etl": (
        r"111122223333: \d+ calls, 2 tokens, 0 refused",
        r"444455556666: \d+ calls, 2 tokens, 0 refused",
        r"\d+ orders moved",
        r"after the job: the job has ended",
        r"session\.issued",
    ),
    "chain": (
        r"hop by hop, without cache +[\d.]+ ms   hops: [\d.]+  [\d.]+  [\d.]+  [\d.]+",
        r"flattened, with cache",
        r"at the end: arn:aws:sts::444455556666:assumed-role/hop/job",
        r"4\. job \(AROA\w+\) in 444455556666",
        r"refused: ExpiredToken",
    ),
    "login": (
        r"boto3: arn:aws:iam::111122223333:user/ann",
        r"active sessions? ended",
        r"boto3: refused: .*ExpiredToken",
        r"renewal: refused: .*reauthenticate",
        r"session\.issued",
    ),
    "functions": (
        r"200 read the secret, 0 were refused",
        r"from cold to secret +\d+ +\d+",
        r"\d+ records in \d+ logs? verify",
    ),
    "remediation": (
        r"AccessDenied: nothing to do",
        r"fixed by arn:aws:sts::111122223333:assumed-role/restart-orders/ALERT-7",
        r"once more, later: .*AccessDenied: nothing to do",
        r"the fix ran once",
        r"fixed by \S+/ALERT-8",
        r"access\.requested",
        r"the record verifies",
    ),
    "agent": (
        r"assumed-role/agent-tasks/task-1",
        r"without the agent's own token: invalid_request: Not authorized",
        r"ListUsers: \d+ users",
        r"refused by the budget: AccessDenied",
        r"refused by the role: AccessDenied",
        r"acts +AROA\w+:agent",
        r"for +arn:aws:iam::111122223333:oidc-provider/login\.company\.example:ann",
        r"source +ann",
        r"3 active sessions ended",
        r"AWS credentials: refused: ExpiredToken",
        r"introspection: active False",
        r"another task: invalid_request",
        r"\d+ records in \d+ logs? verify",
    ),
    "ci": (
        r"assumed-role/deployer/run-8123456789",
        r"another branch: AccessDenied",
        r"a stranger: AccessDenied",
        r"a stale token: ExpiredToken",
        r"new key \w+",
        r"assumed-role/deployer/run-8123456789",
        r"\d+ records in \d+ logs? verify",
    ),
    "k8s": (
        r"AWS_ROLE_ARN=arn:aws:iam::111122223333:role/orders\n",
        r"write: written\n +read: \{\}\n +elsewhere: refused: AccessDenied",
        r"4\. A pod of another service account.*\n +refused: AccessDenied",
        r"5\. A pod is deleted.*\n +refused: \w+",
        r"s3:PutObject",
        r"\d+ records in \d+ logs? verify",
    ),
    "saml": (
        r"2\. .*\n +arn:aws:sts::111122223333:assumed-role/developer/ann",
        r"Choose a role",
        r"developer account 111122223333",
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
        r"\d+ records in \d+ logs? verify",
    ),
    "bridge": (
        r"there it is arn:aws:sts::444455556666:assumed-role/from-home/job",
        r"a token for another service: InvalidIdentityToken",
        r"the token: accepted: arn:aws:iam::111122223333:role/deploy",
        r"one for another service: refused: InvalidAudienceError",
        r"has a token for vault that cannot be revoked",
        r"the session: ExpiredToken",
        r"\d+ records in \d+ logs? verify",
    ),
    "service_to_service": (
        r"scope orders\.read",
        r"without the actor: invalid_request",
        r"for another service: invalid_request",
        r"the session +AROA\w+:ann\n +acts +AROA\w+:service-a\n +its proof +\S+:service-a\n +for +\S+:ann\n",
        r"altered: refused: InvalidSignatureError",
        r"signed by somebody else: refused: KeyError",
        r"A's own token: refused: InvalidAudienceError",
        r"5\. .*\n +invalid_request",
        r"assumed-role/service-a/service-a",
        r"introspection: active True",
        r"2 active sessions ended",
        r"introspection: active False",
        r"AWS credentials: refused: ExpiredToken",
        r"\d+ records in \d+ logs? verify",
    ),
    "gateway": (
        r"GET /orders/7: 200 order 7, for arn:aws:sts::111122223333:assumed-role/orders-reader/",
        r"GET /orders/7: 401",
        r"DELETE /orders/7: 403",
        r"GET /orders/7%2f\.\.%2f8: 403",
        r"active sessions? ended",
        r"GET /orders/7: 401",
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
        r"\d+ records in \d+ logs? verify",
    ),
}


SHOWN["incident --software"] = SHOWN["incident"]


@pytest.mark.parametrize(
    "name", ["stage", "assume_role", "faults", "connections", "cli", pytest.param("regions", marks=pytest.mark.slow)]
)
def test_demo_or_bench_beside_an_installation_in_the_environment_does_not_reach_it(name: str) -> None:
    """The tutorial has the reader export these; commands of a demo would change that installation, a bench would flood it."""
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "DAYPASS_DATABASE__URL", "DAYPASS_HOME")
    shown = f"import os, {name}; print([name for name in os.environ if name in {names}])"
    root = DEMO.parent
    path = os.pathsep.join(map(str, (DEMO, root / "bench", root)))
    environment = {**os.environ, **dict.fromkeys(names, "x"), "PYTHONPATH": path}
    done = subprocess.run([sys.executable, "-c", shown], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@pytest.mark.parametrize("name", SHOWN)
def test_demo_runs_to_its_end_and_shows_what_it_is_for(name: str) -> None:
    script, *arguments = name.split()
    ran = subprocess.run(
        [sys.executable, str(DEMO / f"{script}.py"), *arguments],
        env={**os.environ, "PYTHONPATH": str(DEMO.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=600,
    )
    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert "Traceback" not in ran.stderr
    if script == "incident":
        assert "waits for 1 × prod-orders/approval" in ran.stderr
    rest = ran.stdout
    for wanted in SHOWN[name]:
        found = re.search(wanted, rest)
        assert found, f"{wanted!r} is not in, or not in its place in:\n{ran.stdout}"
        rest = rest[found.end() :]
