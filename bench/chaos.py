"""Breaks a server and its database at random moments under load, and checks that nothing acknowledged is lost.

For each database: AssumeRole at a steady rate against several workers, one fault after another, then the record: every
credential that a client received is there exactly once, every log verifies, and the credentials still work. The status
is 1 when anything is lost. `--seconds` is for each database; the default ends within three minutes. With `--kills` the
faults are kills only, so many for each database; most are of one of several workers, always of the one that has served
longest, so that kills can follow one another while the others serve.
"""

from __future__ import annotations

import argparse
import asyncio
import os
import random
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path

import boto3
from botocore.config import Config
from sqlalchemy import delete, select

from assume_role import ACCOUNT, KEY, SECRET, TRUST
from daypass.audit.stored import event_bytes
from daypass.audit.verify import BadRecord
from daypass.cli.record import OfflineRecord, PostgresRecord
from daypass.domain.events import decode
from daypass.stores.engine import open_database
from daypass.stores.records import audit_records
from faults import Daypass, Postgres, own_postgres
from forks import Forks
from steady import Load

_RECOVER_SECONDS = 60.0
_SAMPLE = 25
_VALID_SECONDS = 3_000.0  # a credential is valid for an hour; the check takes a while
_WORKER, _KILLED = "worker killed", "killed"
_WORKERS_IN_A_ROUND = 6  # kills of a worker for one of each other kind, in a run of kills


@dataclass
class Report:
    database: str
    seconds: float = 0.0
    faults: Counter[str] = field(default_factory=Counter)
    recoveries: dict[str, list[float]] = field(default_factory=dict)
    lost: list[str] = field(default_factory=list)
    twice: list[str] = field(default_factory=list)
    bad: list[str] = field(default_factory=list)
    dead: int = 0
    restarts: int = 0
    caught_up: float = 0.0

    @property
    def good(self) -> bool:
        return not (self.lost or self.twice or self.bad or self.dead)


class Chaos:
    """One database and one server under load."""

    def __init__(self, daypass: Daypass, database: Postgres | None, dice: random.Random) -> None:
        self.daypass, self.database, self.dice = daypass, database, dice
        self.patience = _RECOVER_SECONDS  # how long the next answer after a fault may take
        self.report = Report("postgresql" if database is not None else "sqlite")
        common: dict[str, Callable[[], None]] = {"server killed": self._kill_server, _WORKER: self._kill_worker}
        if database is None:
            self.faults = {**common, "disk full": self._sqlite_disk, "server killed, torn spool": self._kill_torn}
        else:
            self.faults = {
                **common,
                "database killed": self._kill_database,
                "database and server killed": self._kill_both,
                "database paused": self._pause,
                "database slow": self._slow,
                "database read-only": self._read_only,
                "no connections": self._connections,
                "database disk full": self._postgres_disk,
                "server killed in an outage, torn spool": self._kill_torn,
            }

    def _pause_seconds(self) -> None:
        time.sleep(self.dice.uniform(0.3, 2.5))

    def _kill_server(self) -> None:
        self.daypass.kill()
        self.daypass.run()

    def _kill_worker(self) -> None:
        until = time.monotonic() + self.patience
        while not self.daypass.kill_worker():  # the server itself is starting
            if time.monotonic() > until:
                raise SystemExit(f"no worker in {self.patience:.0f} s\n{self.daypass.log()}")
            time.sleep(0.05)

    def _kill_torn(self) -> None:
        """Killed while it writes to the spool; the end of its write-ahead log is torn."""
        if self.database is not None:
            self.database.pause()
            self._pause_seconds()
        else:
            self.daypass.limit_files(self._limit())
            self._pause_seconds()
        self.daypass.kill()
        for log in (self.daypass.data / "spool").glob("*.db-wal"):
            with log.open("ab") as file:
                file.write(os.urandom(self.dice.randrange(1, 9000)))
        if self.database is not None:
            self.database.resume()
        self.daypass.run()

    def _kill_database(self) -> None:
        assert self.database is not None
        self.database.kill()
        self._pause_seconds()
        self.database.start()

    def _kill_both(self) -> None:
        assert self.database is not None
        self.database.kill()
        self._pause_seconds()
        self.daypass.kill()
        self.database.start()
        self.daypass.run()

    def _pause(self) -> None:
        assert self.database is not None
        self.database.pause()
        self._pause_seconds()
        self.database.resume()

    def _slow(self) -> None:
        """It runs for a fiftieth of the time."""
        assert self.database is not None
        until = time.monotonic() + self.dice.uniform(1.0, 2.5)
        while time.monotonic() < until:
            self.database.pause()
            time.sleep(0.2)
            self.database.resume()
            time.sleep(0.004)

    def _read_only(self) -> None:
        assert self.database is not None
        self.database.be_read_only(on=True)
        self._pause_seconds()
        self.database.be_read_only(on=False)

    def _connections(self) -> None:
        assert self.database is not None
        self.database.take_connections()
        self._pause_seconds()
        self.database.give_connections()

    def _postgres_disk(self) -> None:
        assert self.database is not None
        self.database.fill_disk()
        self._pause_seconds()
        self.database.empty_disk()
        if self.database.ended():
            self.database.start()

    def _limit(self) -> int:
        """Beyond what the spool needs, below the size of the database: only the database cannot grow."""
        database = self.daypass.data / "daypass.db"
        return max(database.stat().st_size, 1_000_000)

    def _sqlite_disk(self) -> None:
        self.daypass.limit_files(self._limit())
        self._pause_seconds()
        self.daypass.limit_files(-1)

    # --- The run

    def _round(self, kills: int) -> list[str]:
        """The next faults, in random order."""
        names = sorted(self.faults)
        if kills and _WORKER in self.faults:
            names += [_WORKER] * (_WORKERS_IN_A_ROUND - 1)
        return self.dice.sample(names, len(names))

    async def run(self, rate: float, seconds: float, kills: int = 0) -> Load:
        load = Load(self.daypass.url, rate)
        began = time.monotonic()
        running = asyncio.create_task(load.run())
        await asyncio.sleep(1.0)
        queue: list[str] = []
        while time.monotonic() - began < seconds and not 0 < kills <= self.report.faults.total():
            queue = queue or self._round(kills)
            name = queue.pop()
            await asyncio.sleep(self.dice.uniform(0.2, 1.5))
            await asyncio.to_thread(self.faults[name])
            self.report.faults[name] += 1
            self.report.recoveries.setdefault(name, []).append(await self._recovered(load, name))
        load.stop()
        await running
        self.report.seconds = time.monotonic() - began
        return load

    async def _recovered(self, load: Load, name: str) -> float:
        """Seconds from the end of the fault to the next answer. A server that has ended by itself is started again, as
        systemd does.
        """
        began = time.monotonic()
        while time.monotonic() - began < self.patience:
            if load.credentials and load.credentials[-1].at > began:
                return load.credentials[-1].at - began
            if self.daypass.ended():
                self.report.restarts += 1
                self.daypass.run()
            await asyncio.sleep(0.01)
        self.report.bad.append(f"no answer {self.patience:.0f} s after {name}")
        return self.patience

    async def settle(self) -> None:
        """Waits until every spool is drained."""
        began = time.monotonic()
        while time.monotonic() - began < _RECOVER_SECONDS:
            status, body = await asyncio.to_thread(self.daypass.health_of, "/readyz")
            if status == 200 and '"ready"' in body:
                break
            await asyncio.sleep(0.1)
        self.report.caught_up = time.monotonic() - began

    def lose(self) -> None:
        """Removes the newest session's record, as a database does that loses what it has confirmed."""
        url = self.daypass.database or f"sqlite:///{self.daypass.data / 'daypass.db'}"
        with closing(open_database(url)) as database, database.write_transaction() as conn:
            c = audit_records.c
            newest = select(c.log, c.seq).where(c.type == "session.issued").order_by(c.at.desc()).limit(1)
            log, seq = conn.execute(newest).one()
            conn.execute(delete(audit_records).where(c.log == log, c.seq >= seq))

    def check(self, load: Load) -> None:
        """Compares what clients received with the record."""
        report, url = self.report, self.daypass.database or f"sqlite:///{self.daypass.data / 'daypass.db'}"
        query = select(audit_records).where(audit_records.c.type == "session.issued")
        with closing(open_database(url)) as database:
            found = database.read(lambda conn: event_bytes(conn, conn.execute(query).all()), seconds=600)
        recorded = Counter(decode(data)["detail"]["access_key_id"] for data in found.values())
        report.lost = [each.key for each in load.credentials if not recorded[each.key]]
        report.twice = [key for key, count in recorded.items() if count > 1]
        source = PostgresRecord(url) if self.daypass.database else OfflineRecord(self.daypass.data / "daypass.db")
        report.bad += [
            f"{fault.log} {fault.seq}: {fault.why}" for fault in source.verified() if isinstance(fault, BadRecord)
        ]
        valid = [each for each in load.credentials if time.monotonic() - each.at < _VALID_SECONDS]
        for each in self.dice.sample(valid, min(_SAMPLE, len(valid))):
            sts = boto3.client(
                "sts",
                endpoint_url=self.daypass.url,
                region_name="us-east-1",
                aws_access_key_id=each.key,
                aws_secret_access_key=each.secret,
                aws_session_token=each.token,
                config=Config(retries={"max_attempts": 3, "mode": "standard"}),
            )
            try:
                sts.get_caller_identity()
            except Exception:  # noqa: BLE001 - whatever it is, the credential does not work
                report.dead += 1


def make_role(url: str) -> None:
    iam = boto3.client(
        "iam", endpoint_url=url, region_name="us-east-1", aws_access_key_id=KEY, aws_secret_access_key=SECRET
    )
    iam.create_role(RoleName="bench", AssumeRolePolicyDocument=TRUST)
    assert iam.get_role(RoleName="bench")["Role"]["Arn"].startswith(f"arn:aws:iam::{ACCOUNT}")


def run_one(database: Postgres | None, options: argparse.Namespace, forks: Forks | None) -> bool:
    with tempfile.TemporaryDirectory(prefix="daypass-chaos-") as directory:
        data = Path(directory)
        daypass = Daypass(data, database.url if database is not None else "", options.workers)
        daypass.forks = forks
        daypass.start()
        chaos = Chaos(daypass, database, random.Random(options.seed))
        chaos.patience = options.patience
        words = (options.faults, _KILLED if options.kills else "")
        chaos.faults = {name: fault for name, fault in chaos.faults.items() if all(word in name for word in words)}
        if options.workers == 1:
            chaos.faults.pop(_WORKER, None)
        try:
            make_role(daypass.url)
            load = asyncio.run(_all(chaos, options))
            if options.lose:
                chaos.lose()
            chaos.check(load)
        finally:
            daypass.stop()
        print_report(chaos.report, load)
        if not chaos.report.good:
            sys.stdout.write(daypass.log() + "\n")
        return chaos.report.good


async def _all(chaos: Chaos, options: argparse.Namespace) -> Load:
    load = await chaos.run(options.rate, options.seconds, options.kills)
    await chaos.settle()
    return load


def print_report(report: Report, load: Load) -> None:
    write = sys.stdout.write
    others = {name: count for name, count in load.outcomes.most_common() if name != "200"}
    write(f"\n{report.database}: {report.seconds:.0f} s, {report.faults.total()} faults\n")
    write(
        f"  load            {load.sent / report.seconds:.0f}/s sent, {load.answered / report.seconds:.0f}/s answered\n"
    )
    write(f"  not answered    {sum(others.values())} of {load.sent}: {others}\n")
    for name, count in sorted(report.faults.items()):
        times = report.recoveries[name]
        write(f"  {name:<40} {count:>4} times; next answer after {max(times):.2f} s at most\n")
    write(f"  started again   {report.restarts} times, because the server had ended by itself\n")
    write(f"  caught up       {report.caught_up:.1f} s after the load ended\n")
    write(f"  credentials     {len(load.credentials)} received; on the record exactly once: ")
    write("all\n" if not report.lost and not report.twice else f"{len(report.lost)} lost, {len(report.twice)} twice\n")
    write(f"  logs            {'all verify' if not report.bad else f'faults: {report.bad[:5]}'}\n")
    write(f"  they work       {'yes' if not report.dead else f'{report.dead} of {_SAMPLE} do not'}\n")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=45.0, help="of load at most, for each database")
    parser.add_argument("--kills", type=int, default=0, help="only kills, and end after so many of each database")
    parser.add_argument("--rate", type=float, default=100.0, help="requests a second")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--seed", type=int, default=int(time.time()))
    parser.add_argument("--faults", default="", help="only faults with this word in their name, for example killed")
    parser.add_argument(
        "--patience", type=float, default=_RECOVER_SECONDS, help="seconds to the next answer after a fault"
    )
    parser.add_argument("--lose", action="store_true", help="remove a record before the check, which must say so")
    parser.add_argument("--only", choices=("sqlite", "postgresql"), default="")
    parser.add_argument(
        "--fork", action="store_true", help="one process; a start is a fork of one that has imported it"
    )
    options = parser.parse_args()
    sys.stdout.write(f"seed {options.seed}\n")
    good = True
    with ExitStack() as stack:
        forks = None
        if options.fork:
            forks, options.workers = stack.enter_context(closing(Forks())), 1
        if options.only != "postgresql":
            good = run_one(None, options, forks)
        if options.only != "sqlite":
            good = run_one(stack.enter_context(own_postgres()), options, forks) and good
    return 0 if good else 1


if __name__ == "__main__":
    raise SystemExit(main())
