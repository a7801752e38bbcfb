"""Two regions and a link that is cut and restored: what each region still does, and what reaches the other.

Region A has the primary of PostgreSQL, region B its streaming standby. The server of B reads the standby and writes to the
primary over the link. While the link is cut, B issues into its spool, also for roles that it has not loaded before; a
revocation made in either region reaches the other by the standby, by the stream between the servers, or, when all of it
is cut, after the link is restored. At the end every credential that was received is on the record once. The status is 1
when any step fails.
"""

from __future__ import annotations

import base64
import secrets
import sys
import tempfile
import time
import urllib.request
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from tests.e2e.conftest import Server, running, session_key
from tests.e2e.load import loading
from tests.e2e.test_hanging_database import issued
from tests.e2e.test_peers import code, listed, spools
from tests.e2e.test_running import cli, make_role
from tests.replication import Cluster, replicated
from tests.stalling import StallingServer, stalling

import alone  # noqa: F401  # before all that reads the environment
from daypass.client.errors import ClientError

_SECONDS = 60.0


def say(text: str) -> None:
    print(text, flush=True)


def until(what: str, condition: Callable[[], bool]) -> None:
    """Waits for a condition, and says how long it took."""
    began = time.monotonic()
    while not condition():
        if time.monotonic() - began > _SECONDS:
            raise SystemExit(f"not within {_SECONDS:g} s: {what}")
        time.sleep(0.05)
    say(f"  {what}: {time.monotonic() - began:.2f} s")


def expect(what: str, found: object, expected: object) -> None:
    if found != expected:
        raise SystemExit(f"{what}: {found!r} instead of {expected!r}")
    say(f"  {what}: yes")


class Regions:
    """Both regions, with a link between B and the primary and one between the servers."""

    def __init__(self, everything: ExitStack, folder: Path, cluster: Cluster) -> None:
        self.cluster = cluster
        self.link: StallingServer = everything.enter_context(stalling(cluster.primary.url()))
        key = base64.b64encode(secrets.token_bytes(32)).decode()
        shared = {"DAYPASS_KEYS__ENCRYPTION_KEY": key, "DAYPASS_DATABASE__ANSWER_SECONDS": "3"}
        at_a = {**shared, "DAYPASS_DATABASE__URL": cluster.primary.url()}
        self.a: Server = everything.enter_context(running(folder / "a", environment=at_a))
        host, port = self.a.url.removeprefix("http://").split(":")
        self.servers: StallingServer = everything.enter_context(stalling(f"postgresql://{host}:{port}/"))
        peer = "http://" + self.servers.url.rpartition("@")[2].rstrip("/")
        databases = {"DAYPASS_DATABASE__URL": self.link.url, "DAYPASS_DATABASE__READ_URL": cluster.standby.url()}
        at_b = {**shared, **databases, "DAYPASS_PEERS__URLS": peer}
        self.b: Server = everything.enter_context(running(folder / "b", environment=at_b))
        self.role, self.other = make_role(self.a), make_role(self.a, name="never-loaded-in-b")
        until("B knows the role", lambda: not self.code(self.b, self.role))
        until("B has read the standby", lambda: self.standby_reads() > 0)

    def code(self, server: Server, role: str) -> str:
        """The error of an AssumeRole; "" for none."""
        return code(self._assume(server), RoleArn=role, RoleSessionName="looked-up")

    def standby_reads(self) -> float:
        with urllib.request.urlopen(f"{self.b.url}/metrics", timeout=_SECONDS) as answer:
            lines = answer.read().decode().splitlines()
        return sum(float(line.split()[-1]) for line in lines if line.startswith("daypass_standby_reads_total"))

    def _assume(self, server: Server) -> Any:
        return server.client("sts", read_timeout=20).assume_role

    def session(self, server: Server) -> tuple[str, str, str]:
        return session_key(self._assume(server)(RoleArn=self.role, RoleSessionName="to-be-revoked"))

    def revoke(self, server: Server, key: tuple[str, ...]) -> str:
        body = {"subject": "access_key", "value": key[0], "force": True}
        return str(server.api("POST", "/revocations", body=body)["id"])

    def refused(self, server: Server, key: tuple[str, ...]) -> bool:
        return code(server.client("sts", key, read_timeout=20).get_caller_identity) == "ExpiredToken"


def primary_away(regions: Regions) -> None:
    """The server of B reaches neither the primary nor the other server. The standby goes on."""
    say("The server of B reaches neither the primary nor the server of A. Its standby still receives.")
    of_b = regions.session(regions.b)
    regions.servers.hang()
    regions.link.hang()
    until("B has events in its spool", lambda: spools(regions.b))
    regions.revoke(regions.a, of_b)
    until("B refuses a session that was revoked in A", lambda: regions.refused(regions.b, of_b))
    regions.servers.go_on()


def link_cut(regions: Regions) -> str:
    """Nothing of the database reaches B, the servers reach one another. Returns a revocation that was made in B."""
    say("The standby receives nothing any more. The servers reach one another again.")
    of_a, of_b = regions.session(regions.a), regions.session(regions.b)
    regions.cluster.cut()
    until("B issues for a role that it loads from the standby", lambda: not regions.code(regions.b, regions.other))
    regions.revoke(regions.a, of_b)
    until("B refuses a session that was revoked in A", lambda: regions.refused(regions.b, of_b))
    made = regions.revoke(regions.b, of_a)
    until("B refuses a session that was revoked in B", lambda: regions.refused(regions.b, of_a))
    try:
        regions.b.client("iam", read_timeout=20).create_user(UserName="impossible")
        raise SystemExit("B has changed the directory without the database")
    except Exception as error:  # noqa: BLE001 - 503, or no answer in time
        say(f"  B refuses a change of the directory: {type(error).__name__}")
    return made


def all_cut(regions: Regions) -> tuple[str, str, str]:
    """Nothing passes between the regions. Returns a session that was revoked in A meanwhile."""
    say("The stream between the servers is cut as well.")
    key = regions.session(regions.a)
    regions.servers.hang()
    regions.revoke(regions.a, key)
    until("A refuses a session that was revoked in A", lambda: regions.refused(regions.a, key))
    return key


def restored(regions: Regions, made: str, key: tuple[str, str, str]) -> None:
    say("Everything is restored.")
    began = time.monotonic()
    regions.link.go_on()
    regions.servers.go_on()
    regions.cluster.mend()
    until("B refuses what was revoked in A", lambda: regions.refused(regions.b, key))
    until("the spool of B is empty", lambda: not spools(regions.b))
    until("what was revoked in B is in the database, and so at A", lambda: made in listed(regions.a))
    say(f"  all of it: {time.monotonic() - began:.2f} s")


def run() -> int:
    with ExitStack() as everything:
        folder = Path(everything.enter_context(tempfile.TemporaryDirectory(prefix="daypass-regions-")))
        cluster = everything.enter_context(replicated(synchronous=False))
        regions = Regions(everything, folder, cluster)
        with loading(regions.role, [regions.b], 2, 0.1) as load:
            load.wait_for(10)
            primary_away(regions)
            made = link_cut(regions)
            key = all_cut(regions)
            load.wait_for(20)
            restored(regions, made, key)
            load.wait_for(10)
        expect("every request to B was answered", load.failed, [])
        recorded = issued(cluster.primary.url())
        expect("every credential is on the record once", Counter(load.issued) - recorded, Counter())
        expect("and none twice", max(recorded.values()), 1)
        until("the standby has the record", lambda: issued(cluster.standby.url()) == issued(cluster.primary.url()))
        verified = cli("audit", "verify", "--url", cluster.primary.url())
        expect("every log verifies", verified.returncode, 0)
        say(f"{load.answered} requests to B were answered.")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(run())
    except ClientError as error:
        sys.exit(str(error))
