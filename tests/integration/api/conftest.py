"""The whole server in this process and loop, with signed calls of the management API and of STS."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple
from urllib.parse import quote, urlencode
from xml.etree import ElementTree as ET

import pytest
import pytest_asyncio
from tests import asgi
from tests.heavy import IN_PROCESS
from tests.patience import PATIENT_JOURNAL
from tests.prepared import prepare_sqlite

from daypass import sigv4
from daypass.cli import output
from daypass.config import Settings
from daypass.domain.directory import AccessKey, InlinePolicy, KeyStatus, Role, User
from daypass.domain.events import Event, EventType
from daypass.operations.accounts import bootstrap, parse
from daypass.ports import Tx
from daypass.server.application import build
from daypass.server.runtime import Runtime

OPERATOR, TENANT = "111111111111", "222222222222"


class Key(NamedTuple):
    id: str
    secret: str
    token: str = ""


ROOT = Key("AKIAOPERATORROOT0000", "operator-root-secret")
TENANT_ROOT = Key("AKIATENANTROOT000000", "tenant-root-secret")
BOOTSTRAP = f"{ROOT.id}:{ROOT.secret}:{OPERATOR},{TENANT_ROOT.id}:{TENANT_ROOT.secret}:{TENANT}"


class Answer(NamedTuple):
    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    @property
    def code(self) -> str:
        return str(self.json["error"]["code"])


def _key_in(answer: ET.Element) -> Key:
    return Key(*(answer.findtext(f".//{n}", "") for n in ("AccessKeyId", "SecretAccessKey", "SessionToken")))


_ASKED = frozenset({"since", "until"})  # these repeat what was asked


def _times_of_zero(value: Any) -> Iterator[str]:
    """The names of times in an answer that are 0. Events on record are as they were written."""
    if isinstance(value, list):
        for each in value:
            yield from _times_of_zero(each)
    elif isinstance(value, dict):
        for name, member in value.items():
            if output.is_time(name) and name not in _ASKED and member == 0 and member is not False:
                yield name
            elif name != "event":
                yield from _times_of_zero(member)


def policy(*actions: str, resource: str = "*", effect: str = "Allow") -> str:
    statement = {"Effect": effect, "Action": list(actions), "Resource": resource}
    return json.dumps({"Version": "2012-10-17", "Statement": [statement]})


@dataclass
class Server:
    runtime: Runtime
    application: Any

    async def send(
        self, method: str, path: str, query: str = "", headers: dict[str, str] | None = None, body: bytes = b""
    ) -> Answer:
        """One request as it is, signed or not."""
        raw = quote(path, safe="/-_.~%:*@!$&'()+,;=").encode()
        names = [(n.lower().encode(), v.encode("latin-1")) for n, v in (headers or {}).items()]
        sent = await asgi.ask(self.application, asgi.scope(method, raw, query.encode(), names, "192.0.2.9"), body)
        return Answer(sent.status, {n.decode(): v.decode() for n, v in sent.headers}, sent.body)

    async def api(
        self,
        key: Key,
        method: str,
        path: str,
        query: dict[str, Any] | str | None = None,
        body: Any = None,
        *,
        service: str = "daypass",
        content_type: str = "application/json",
    ) -> Answer:
        """A signed call of the management API. `body`: JSON content, or bytes as they are."""
        raw = query if isinstance(query, str) else urlencode(query or {}, quote_via=quote)
        data = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
        headers = {"Host": "daypass.test", **({"Content-Type": content_type} if data else {})}
        full = quote(f"/api/v1{path}", safe="/-_.~%:*@!$&'()+,;=")
        signing = sigv4.SigningKey(key.id, key.secret, "eu-central-1", service, key.token)
        signed = sigv4.sign(signing, method, full, raw, headers, data, self.runtime.clock.now())
        answer = await self.send(method, f"/api/v1{path}", raw, {**headers, **signed}, data)
        if answer.headers.get("content-type") == "application/json" and answer.body:
            assert not (zero := list(_times_of_zero(answer.json))), f"{method} {path}: 0 is no time: {zero}"
        return answer

    async def query(self, key: Key, service: str, version: str, action: str, **parameters: str) -> Answer:
        """A signed call of AWS's query protocol."""
        body = urlencode({"Action": action, "Version": version, **parameters}).encode()
        headers = {"Host": "daypass.test", "Content-Type": "application/x-www-form-urlencoded"}
        signing = sigv4.SigningKey(key.id, key.secret, "eu-central-1", service, key.token)
        signed = sigv4.sign(signing, "POST", "/", "", headers, body, self.runtime.clock.now())
        return await self.send("POST", "/", "", {**headers, **signed}, body)

    async def sts(self, key: Key, action: str, **parameters: str) -> ET.Element:
        answer = await self.query(key, "sts", "2011-06-15", action, **parameters)
        return ET.fromstring(answer.body.replace(b' xmlns="https://sts.amazonaws.com/doc/2011-06-15/"', b""))

    async def iam(self, key: Key, action: str, **parameters: str) -> None:
        answer = await self.query(key, "iam", "2010-05-08", action, **parameters)
        assert answer.status == 200, answer.body

    async def assume(self, key: Key, role_arn: str, **more: str) -> Key:
        answer = await self.sts(key, "AssumeRole", RoleArn=role_arn, RoleSessionName="shift", **more)
        assert answer.tag == "AssumeRoleResponse", ET.tostring(answer)
        return _key_in(answer)

    async def session_token(self, key: Key) -> Key:
        """A user's own session."""
        return _key_in(await self.sts(key, "GetSessionToken"))

    async def works(self, key: Key) -> bool:
        """Whether these credentials still authenticate."""
        answer = await self.sts(key, "GetCallerIdentity")
        if answer.tag == "GetCallerIdentityResponse":
            return True
        assert answer.findtext(".//Code") in ("ExpiredToken", "InvalidClientTokenId")  # revoked; its principal is gone
        return False

    async def write(self, *entities: Any) -> None:
        def change(tx: Tx) -> tuple[None, Event]:
            for entity in entities:
                tx.insert(entity)
            return None, Event(EventType.DIRECTORY_CHANGED, self.runtime.clock.now(), account=OPERATOR)

        await self.runtime.env.journal.write(change)

    def new_user(self, name: str, account: str, document: str = "") -> tuple[User, Key, list[Any]]:
        """A user and a key, and the entities to `write` for them."""
        env, now = self.runtime.env, self.runtime.clock.now()
        user = User(env.ids.unique("AIDA"), account, name, "/", now)
        key = Key(env.ids.access_key("AKIA"), env.ids.secret())
        sealed = env.sealer.seal_secret(key.secret.encode(), account, user.id)
        granted = [InlinePolicy(account, user.id, "p", document, now)] if document else []
        return user, key, [user, AccessKey(key.id, account, user.id, KeyStatus.ACTIVE, sealed, now, now), *granted]

    async def user(self, name: str, account: str, document: str = "") -> tuple[User, Key]:
        user, key, entities = self.new_user(name, account, document)
        await self.write(*entities)
        return user, key

    async def role(self, name: str, account: str, trusts: str, document: str = "") -> Role:
        """A role that the account `trusts` may assume."""
        env, now = self.runtime.env, self.runtime.clock.now()
        principal = {"AWS": f"arn:aws:iam::{trusts}:root"}
        statement = {"Effect": "Allow", "Principal": principal, "Action": ["sts:AssumeRole", "sts:SetSourceIdentity"]}
        trust = json.dumps({"Version": "2012-10-17", "Statement": [statement]})
        role = Role(env.ids.unique("AROA"), account, name, "/", now, trust)
        granted = [InlinePolicy(account, role.id, "p", document, now)] if document else []
        await self.write(role, *granted)
        return role

    async def events(self, account: str = "*") -> list[dict[str, Any]]:
        """Everything on the record, or on that of an account, oldest first."""
        answer = await self.api(ROOT, "GET", "/audit/records", {"account": account, "limit": 1000})
        assert answer.status == 200, answer.body
        return [record["event"] for record in reversed(answer.json["records"])]

    async def session_of(self, key: Key) -> dict[str, Any]:
        answer = await self.api(ROOT, "GET", "/sessions", {"account": "*"})
        return next(s for s in answer.json["sessions"] if s["access_key_id"] == key.id)


UNTOUCHED: Final = pytest.mark.asyncio(loop_scope="module")
"""The mark of tests that take `untouched` or `shared`."""


@pytest.fixture
async def server(tmp_path: Path) -> AsyncIterator[Server]:
    async with started(tmp_path) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def untouched(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for the tests of a module whose calls are all refused or read only."""
    async with started(tmp_path_factory.mktemp("untouched")) as made:
        yield made


@pytest_asyncio.fixture(scope="module", loop_scope="module")
async def shared(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Server]:
    """One server for the tests of a module, of which each has an account of its own: see `own_place`."""
    async with started(tmp_path_factory.mktemp("shared")) as made:
        yield made


@asynccontextmanager
async def started(folder: Path) -> AsyncIterator[Server]:
    settings = Settings.model_validate(
        {
            "server": {"data": str(folder)},
            "events": {"streams": 5, "per_account": 3, "heartbeat_seconds": 0.2},
            "journal": PATIENT_JOURNAL,
            "heavy": IN_PROCESS,
            "access": {"sweep_seconds": 300},  # tests sweep and deliver themselves
        }
    )
    prepare_sqlite(folder / "daypass.db")
    runtime = Runtime(settings)
    await runtime.start()
    await bootstrap(runtime.env, parse(BOOTSTRAP))
    yield Server(runtime, build(runtime))
    await runtime.stop()
