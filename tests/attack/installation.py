"""The whole application in this process, over real stores, without a socket; and what an attacker and a reader of its
record can see of it.
"""

from __future__ import annotations

import asyncio
import io
import json
import re
import sys
from collections import defaultdict
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import urlencode
from xml.etree import ElementTree as ET

import pytest
import structlog
from sqlalchemy import Connection, and_, false, not_, or_, select
from tests import asgi
from tests.asgi import Headers
from tests.heavy import IN_PROCESS
from tests.patience import PATIENT_JOURNAL
from tests.prepared import prepare_sqlite

from daypass import sigv4
from daypass.audit.stored import event_bytes
from daypass.config import Settings
from daypass.domain.events import decode
from daypass.observability import logs
from daypass.operations.accounts import bootstrap, parse
from daypass.ports.clock import Clock
from daypass.server import runtime as runtime_module
from daypass.server.application import build
from daypass.server.runtime import Runtime
from daypass.stores.engine import Database
from daypass.stores.records import audit_records

T = TypeVar("T")
Key = tuple[str, ...]

HOST = "daypass.test"
ALPHA, BETA = "111122223333", "444455556666"
ROOT: Key = ("AKIAROOTOFALPHA00000", "alpha-root-secret-canary-alpha-root-secr")
ROOT_OF_BETA: Key = ("AKIAROOTOFBETA000000", "beta-root-secret-canary-beta-root-secret")
ADMIN: Key = ("AKIAADMINOFALPHA0000", "alpha-admin-secret-canary-alpha-admin-se")
FIRST_KEYS = f"{':'.join(ROOT)}:{ALPHA},{':'.join(ROOT_OF_BETA)}:{BETA},{':'.join(ADMIN)}:{ALPHA}:admin"
VERSIONS = {"sts": "2011-06-15", "iam": "2010-05-08"}


class SetClock:
    """The wall clock of the installation: it goes on by a millisecond a reading, and wherever a test puts it.

    Time that passes is put into `time`; `error` is how far the wall clock alone is wrong, in ms.
    """

    def __init__(self, now: int = 1_800_000_000_000, error: int = 0) -> None:
        self.time = now
        self.error = error
        self._passed = now

    def __call__(self) -> int:
        self.time += 1
        return self.time + self.error

    def monotonic(self) -> float:
        self._passed = max(self._passed, self.time)
        return self._passed / 1000


@dataclass(frozen=True)
class Answer:
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def xml(self) -> ET.Element:
        return ET.fromstring(self.body)

    def text(self, name: str) -> str:
        """The text of the first element of this name, "" when there is none."""
        return next((e.text or "" for e in self.xml.iter() if e.tag.rpartition("}")[2] == name), "")

    @property
    def code(self) -> str:
        return self.text("Code") if self.status != 200 else ""

    @property
    def request_id(self) -> str:
        return self.headers["x-amzn-requestid"]

    @property
    def key(self) -> Key:
        return self.text("AccessKeyId"), self.text("SecretAccessKey"), self.text("SessionToken")


@dataclass
class Installation:
    runtime: Runtime
    application: Any
    runner: asyncio.Runner
    wall: SetClock
    data: Path
    log: io.StringIO
    answers: list[bytes] = field(default_factory=list)
    keep_answers: bool = False
    _about: dict[Any, list[tuple[int, str, int, dict[str, Any]]]] = field(default_factory=lambda: defaultdict(list))
    _read_to: dict[str, int] = field(default_factory=dict)  # the newest record of each log that was read

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    # --- asking

    def send(self, method: str = "POST", headers: Headers = (), body: bytes = b"", **more: Any) -> Answer:
        """One request as a server hands it over, whatever is in it; `path`, `query` and `chunks` as for `ask`."""
        return self.run(self.ask(method, headers, body, **more))

    async def ask(
        self,
        method: str = "POST",
        headers: Headers = (),
        body: bytes = b"",
        *,
        path: bytes = b"/",
        query: bytes = b"",
        chunks: int = 1,
    ) -> Answer:
        sent = await asgi.ask(self.application, asgi.scope(method, path, query, headers), body, chunks)
        shown: dict[str, str] = {}  # a repeated header, as set-cookie, has its values in lines
        for name, value in sent.headers:
            shown[name.decode()] = "\n".join(filter(None, (shown.get(name.decode(), ""), value.decode())))
        answer = Answer(sent.status, shown, sent.body)
        if self.keep_answers:
            self.answers.append(answer.body)
        return answer

    def now(self) -> int:
        return self.runtime.clock.now()

    def signed(self, key: Key, body: bytes, service: str = "sts", **more: Any) -> list[tuple[bytes, bytes]]:
        """The headers of a correctly signed POST to `/`; `now`, `method`, `region`, `path`, `query`, `extra` at will."""
        signing = sigv4.SigningKey(key[0], key[1], more.get("region", "eu-central-1"), service, *key[2:3])
        headers = {
            "host": HOST,
            "content-type": "application/x-www-form-urlencoded; charset=utf-8",
            **more.get("extra", {}),
        }
        now = more.get("now") or self.wall.time
        made = sigv4.sign(
            signing, more.get("method", "POST"), more.get("path", "/"), more.get("query", ""), headers, body, now
        )
        return [(name.lower().encode(), value.encode("utf-8")) for name, value in made.items()]

    def call(self, key: Key, action: str, params: Mapping[str, str] | None = None, **more: Any) -> Answer:
        """One operation, correctly signed. `service` is sts by default; parameters as the wire has them."""
        service = more.pop("service", "sts")
        body = form(action, params or {}, service)
        return self.send("POST", self.signed(key, body, service, **more), body)

    def iam(self, action: str, key: Key = ROOT, **params: str) -> Answer:
        answer = self.call(key, action, params, service="iam")
        assert answer.status == 200, answer.body
        return answer

    # --- the cast

    def user(self, name: str, account_root: Key = ROOT, policy: str = "") -> tuple[str, Key]:
        """A new user with a key (and an inline policy): its ARN and key."""
        arn = self.iam("CreateUser", account_root, UserName=name).text("Arn")
        if policy:
            self.iam("PutUserPolicy", account_root, UserName=name, PolicyName="p", PolicyDocument=policy)
        made = self.iam("CreateAccessKey", account_root, UserName=name)
        return arn, (made.text("AccessKeyId"), made.text("SecretAccessKey"))

    def role(self, name: str, trust: str, account_root: Key = ROOT, policy: str = "") -> str:
        """A new role (with an inline policy): its ARN."""
        arn = self.iam("CreateRole", account_root, RoleName=name, AssumeRolePolicyDocument=trust).text("Arn")
        if policy:
            self.iam("PutRolePolicy", account_root, RoleName=name, PolicyName="p", PolicyDocument=policy)
        return arn

    def assume(self, key: Key, role: str, name: str = "job", **params: str) -> Answer:
        return self.call(key, "AssumeRole", {"RoleArn": role, "RoleSessionName": name, **params})

    # --- metrics and the record

    def attempts(self, operation: str) -> dict[str, float]:
        """Attempts to get a session by an operation, by outcome, from the metrics."""
        text = self.runtime.render_metrics().decode()
        lines = re.findall(rf'^daypass_assume_total{{(.*operation="{operation}".*)}} (\S+)$', text, re.MULTILINE)
        found: dict[str, float] = {}
        for labels, count in lines:
            outcome = re.search(r'outcome="(\w+)"', labels)
            assert outcome is not None
            if float(count):  # series begin at zero
                found[outcome[1]] = found.get(outcome[1], 0) + float(count)
        return found

    def record_bytes(self) -> list[bytes]:
        def read(conn: Any) -> list[bytes]:
            c = audit_records.c
            rows = conn.execute(select(audit_records).order_by(c.at, c.log, c.seq)).all()
            data = event_bytes(conn, rows)
            return [data[row.log, row.seq] for row in rows]

        return self.runtime.database.read(read)

    def records(self, request_id: str) -> list[dict[str, Any]]:
        """The bodies of the records about one request. Records that were read before are not read again: a record does not change."""
        self.runtime.database.read(self._read_new_records)
        return [body for *_, body in sorted(self._about[request_id], key=lambda record: record[:3])]

    def _read_new_records(self, conn: Connection) -> None:
        c = audit_records.c
        known = [and_(c.log == log, c.seq <= seq) for log, seq in self._read_to.items()]
        rows = conn.execute(select(audit_records).where(not_(or_(false(), *known)))).all()
        data = event_bytes(conn, rows)
        for row in rows:
            body = decode(data[row.log, row.seq])
            self._about[body.get("request_id")].append((row.at, row.log, row.seq, body))
            self._read_to[row.log] = max(row.seq, self._read_to.get(row.log, 0))


def form(action: str, params: Mapping[str, str], service: str = "sts") -> bytes:
    pairs = {"Action": action, "Version": VERSIONS[service], **params}
    return urlencode(pairs, errors="surrogatepass").encode("ascii")


def document(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": [{"Effect": "Allow", **s} for s in statements]})


def trust(principal: str, **condition: Any) -> str:
    actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
    return document({"Principal": {"AWS": principal}, "Action": actions, **condition})


EVERYTHING = document({"Action": "*", "Resource": "*"})


@contextmanager
def installed(
    data: Path, wall: SetClock | None = None, *, first_keys: str = FIRST_KEYS, **settings: Mapping[str, Any]
) -> Iterator[Installation]:
    """A started installation in `data`; a second one on the same data finds what the first has left.

    Each refusal is recorded by itself, unless the settings say otherwise: tests look for theirs. A PostgreSQL server's clock
    shows the time of `wall` without its error: a server that is weeks behind would be a reason to refuse that time.
    """
    wall = wall or SetClock()
    server = {"data": str(data), "anonymous_refusals": 1_000_000, **settings.pop("server", {})}
    rates = {"failures_per_second": 0, **settings.pop("rates", {})}  # tests fail more often than any honest client
    journal = {**PATIENT_JOURNAL, **settings.pop("journal", {})}
    given = {"server": server, "rates": rates, "journal": journal, "heavy": IN_PROCESS, **settings}
    chosen = Settings.model_validate(given)
    prepare_sqlite(data / "daypass.db")
    log, real_stderr, of_database = io.StringIO(), sys.stderr, Database.clock
    sys.stderr = log
    logs.configure("debug", "json")
    sys.stderr = real_stderr

    def clock(**given: Any) -> Clock:
        return Clock(lambda: wall() * 1_000_000, monotonic=wall.monotonic, **given)

    def database_clock(database: Database, conn: Connection) -> int | None:
        return None if of_database(database, conn) is None else wall.time

    try:
        with pytest.MonkeyPatch.context() as patch, asyncio.Runner() as runner:
            patch.setattr(runtime_module, "Clock", clock)
            patch.setattr(Database, "clock", database_clock)
            runtime = Runtime(chosen)
            runner.run(runtime.start())
            try:
                if first_keys:
                    runner.run(bootstrap(runtime.env, parse(first_keys)))
                yield Installation(runtime, build(runtime), runner, wall, data, log)
            finally:
                runner.run(runtime.stop())
    finally:
        structlog.reset_defaults()
