"""Roles that need approval, rules, and people, for tests of access requests."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from tests.integration.api.conftest import ROOT, TENANT, Answer, Key, Server, policy

from daypass.domain.directory import (
    AccessKey,
    Account,
    Group,
    InlinePolicy,
    KeyStatus,
    Membership,
    MfaDevice,
    Role,
    User,
)
from daypass.domain.events import Event, EventType
from daypass.domain.totp import code_at, step_at
from daypass.operations.iam.mfa import seal_seed
from daypass.operations.notifications import deliver_due, waiting_accounts
from daypass.ports import Env, Tx

REQUEST = policy("daypass:CreateAccessRequest", "daypass:BreakGlass", "sts:AssumeRole", "sts:SetSourceIdentity")
APPROVE = policy("daypass:ApproveAccessRequest", "daypass:DenyAccessRequest", "sts:AssumeRole")
RULE: dict[str, Any] = {
    "roles": ["role/prod"],
    "requesters": {"principals": ["group/engineers"]},
    "stages": [{"approvers": {"principals": ["group/leads"]}}],
}
REASON = "Incident 42: orders are not written"


def gated(account: str = TENANT, **condition: Any) -> str:
    """A trust policy that admits principals of the account with an approval alone."""
    wanted = {"Bool": {"daypass:Approved": "true"}, **condition}
    actions = ["sts:AssumeRole", "sts:SetSourceIdentity"]
    statement = {"Effect": "Allow", "Principal": {"AWS": f"arn:aws:iam::{account}:root"}, "Action": actions}
    return json.dumps({"Version": "2012-10-17", "Statement": [{**statement, "Condition": wanted}]})


async def deliver(env: Env) -> int:
    """Delivers what is due, and returns the number of attempts."""
    return sum([await deliver_due(env, account) for account in await waiting_accounts(env)])


class Place:
    """One account with engineers and leads, a role that needs approval, and a rule for it."""

    def __init__(self, server: Server, account: str = TENANT) -> None:
        self.server = server
        self.account = account
        self.users: dict[str, User] = {}
        self.keys: dict[str, Key] = {}
        self.groups: dict[str, Group] = {}
        self.roles: dict[str, Role] = {}

    async def fill(self, **rule: Any) -> None:
        entities = [
            *(self._group(name) for name in ("engineers", "leads")),
            *self._person("ann", REQUEST, "engineers"),
            *self._person("eve", REQUEST, "engineers"),
            *self._person("lee", APPROVE, "leads"),
            *self._person("lou", APPROVE, "leads"),
            *self._role("prod"),
        ]
        await self.server.write(*entities)  # one commit instead of a dozen: hundreds of tests begin with it
        await self.rule("prod", **rule)

    async def group(self, name: str) -> None:
        await self.server.write(self._group(name))

    def _group(self, name: str) -> Group:
        made = self.groups[name] = Group(self.server.runtime.env.ids.unique("AGPA"), self.account, name, "/", self.now)
        return made

    @property
    def now(self) -> int:
        return self.server.runtime.clock.now()

    async def change(self, *steps: Callable[[Tx], object]) -> None:
        """Changes the directory as an operation does, on the record."""

        def run(tx: Tx) -> tuple[None, Event]:
            for step in steps:
                step(tx)
            return None, Event(EventType.DIRECTORY_CHANGED, self.now, account=self.account)

        await self.server.runtime.env.journal.write(run)

    async def person(self, name: str, document: str, *groups: str) -> Key:
        await self.server.write(*self._person(name, document, *groups))
        return self.keys[name]

    def _person(self, name: str, document: str, *groups: str) -> list[Any]:
        user, key, entities = self.server.new_user(name, self.account, document)
        self.users[name], self.keys[name] = user, key
        return [*entities, *(Membership(self.account, self.groups[group].id, user.id, self.now) for group in groups)]

    async def role(self, name: str, trust: str = "", document: str = "") -> Role:
        await self.server.write(*self._role(name, trust, document))
        return self.roles[name]

    def _role(self, name: str, trust: str = "", document: str = "") -> list[Any]:
        ids = self.server.runtime.env.ids
        trust = trust or gated(self.account)
        made = Role(ids.unique("AROA"), self.account, name, "/", self.now, trust, max_session_seconds=43_200)
        self.roles[name] = made
        return [made, InlinePolicy(self.account, made.id, "p", document or policy("orders:*"), self.now)]

    async def rule(self, name: str, **changes: Any) -> None:
        document = json.dumps({**RULE, **changes})
        made = await self.operator("PUT", f"/approval-rules/{name}", {"document": document})
        assert made.status == 200, made.body

    async def operator(self, method: str, path: str, body: Any = None) -> Answer:
        """The answer to a call of the operator about this account."""
        return await self.server.api(ROOT, method, path, {"account": self.account}, body=body)

    async def revoke(self, subject: str, value: str, **more: Any) -> None:
        """Revokes sessions, as the operator."""
        body = {"subject": subject, "value": value, "account": self.account, "reason": "stolen", "force": True, **more}
        made = await self.server.api(ROOT, "POST", "/revocations", body=body)
        assert made.status == 201, made.body

    async def events(self, kind: str) -> list[dict[str, Any]]:
        """The events of a kind on the account's record, oldest first."""
        return [event for event in await self.server.events(self.account) if event["type"] == kind]

    async def ask(self, who: str, path: str, body: Any = None, method: str = "POST", query: Any = None) -> Any:
        """The answer to one call, which must succeed."""
        answer = await self.server.api(self.keys[who], method, path, query, body=body)
        assert answer.status < 300, answer.body
        return answer.json

    async def refused(self, who: str, path: str, body: Any = None, method: str = "POST") -> tuple[int, str, str]:
        answer = await self.server.api(self.keys[who], method, path, body=body)
        assert answer.status >= 400, answer.body
        return answer.status, answer.code, str(answer.json["error"]["message"])

    def wanted(self, *roles: str, **more: Any) -> dict[str, Any]:
        return {"roles": [self.roles[name].arn for name in roles or ("prod",)], "reason": REASON, **more}

    async def request(self, who: str = "ann", *roles: str, **more: Any) -> Any:
        return await self.ask(who, "/access-requests", self.wanted(*roles, **more))

    async def approve(self, who: str, request: Any, **more: Any) -> Any:
        seen = await self.ask(who, f"/access-requests/{request['id']}", method="GET")
        body = {"binding": seen["binding"], **more}
        return await self.ask(who, f"/access-requests/{request['id']}/approve", body)

    async def granted(self, who: str = "ann", **more: Any) -> Any:
        """An approved request."""
        request = await self.approve("lee", await self.request(who, **more))
        assert request["state"] == "approved"
        return request

    async def assume(self, who: str, role: str = "prod", **more: str) -> Key:
        return await self.server.assume(self.keys[who], self.roles[role].arn, **more)

    async def second_key(self, who: str) -> Key:
        """Another access key of the person, who keeps the first one."""
        user, env = self.users[who], self.server.runtime.env
        key = Key(env.ids.access_key("AKIA"), env.ids.secret())
        sealed = env.sealer.seal_secret(key.secret.encode(), self.account, user.id)
        await self.server.write(AccessKey(key.id, self.account, user.id, KeyStatus.ACTIVE, sealed, self.now, self.now))
        return key

    async def disable(self, who: str) -> None:
        """Disables the keys of the person."""

        def run(tx: Tx) -> None:
            for key in tx.find(AccessKey, owner_id=self.users[who].id):
                tx.replace(replace(key, status=KeyStatus.INACTIVE))

        await self.change(run)

    async def with_mfa(self, who: str) -> Key:
        """A session of the person with MFA, by a device that the person gets for it."""
        env, user = self.server.runtime.env, self.users[who]
        seed, name = env.ids.seed()[:20], f"{who}-{env.ids.unique('AIDA')}"
        serial = f"arn:aws:iam::{self.account}:mfa/{name}"
        sealed = seal_seed(env.sealer, seed, self.account, user.id, serial)
        await self.server.write(MfaDevice(self.account, serial, name, "/", self.now, sealed, user.id, self.now))
        code = code_at(seed, step_at(self.now))
        answer = await self.server.sts(self.keys[who], "GetSessionToken", SerialNumber=serial, TokenCode=code)
        parts = (answer.findtext(f".//{name}", "") for name in ("AccessKeyId", "SecretAccessKey", "SessionToken"))
        return Key(*parts)

    async def denied(self, who: str, role: str = "prod") -> str:
        """The message of a refusal to assume a role."""
        answer = await self.server.sts(
            self.keys[who], "AssumeRole", RoleArn=self.roles[role].arn, RoleSessionName="shift"
        )
        assert answer.tag == "ErrorResponse"
        assert answer.findtext(".//Code") == "AccessDenied"
        return answer.findtext(".//Message", "")


_ACCOUNTS = itertools.count(300_000_000_000)


async def own_place(server: Server) -> Place:
    """A place in an account of its own, for a test that shares its server with others."""
    made = Place(server, str(next(_ACCOUNTS)))
    await server.write(Account(made.account, made.account, operator=False, created_at=made.now))
    await made.fill()
    return made


@pytest.fixture
async def place(server: Server) -> Place:
    """For a test that has the server for itself."""
    made = Place(server)
    await made.fill()
    return made
