"""Whatever is remembered between requests changes no answer, no refusal and no event.

The same random installation gets the same random requests and changes twice: once it remembers what it likes, once it
has forgotten everything before each request.
"""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs
from tests.unit.operations.fakes import ALPHA, BETA, Credentials, World, assume_role, named, policy

from daypass.domain.directory import KeyStatus, User
from daypass.domain.errors import DaypassError
from daypass.domain.events import encode
from daypass.domain.policy.document import PolicyKind
from daypass.domain.trust import admit
from daypass.operations import authorize as module
from daypass.ports import KeyView, PrincipalView
from daypass.wire.aws.sts import get_scoped_credentials, get_session_token

# In some of these it shows if one account's conditions, the role's tags, variables in resources, or changes are forgotten.
SEEDS = (8, 10, 17, 18, 21, 44)
USERS = (("ann", ALPHA), ("bob", ALPHA), ("eve", BETA))
ROLES = (("ops", ALPHA), ("red", ALPHA), ("far", BETA))
TEAMS = ("red", "ops")
KEYS = ("team", "Team", "dept")
NAMING = ("aws:PrincipalTag/team", "sts:RoleSessionName", "sts:ExternalId", "aws:RequestTag/team")
CONDITIONS: tuple[tuple[str, str, tuple[Any, ...]], ...] = (
    ("IpAddress", "aws:SourceIp", ("192.0.2.0/24",)),
    ("NotIpAddress", "aws:SourceIp", ("198.51.100.0/24",)),
    ("StringEquals", "aws:RequestTag/team", ("${aws:PrincipalTag/team}", "red", "${iam:ResourceTag/team}")),
    ("StringNotEquals", "aws:RequestTag/team", ("red",)),
    ("StringEquals", "aws:PrincipalTag/team", ("red", "${aws:ResourceTag/team}", "${aws:RequestTag/team, 'blue'}")),
    ("StringEqualsIfExists", "aws:ResourceTag/team", ("${aws:PrincipalTag/team}", "red")),
    ("ForAllValues:StringEquals", "aws:TagKeys", ("team", "dept")),
    ("ForAnyValue:StringEquals", "aws:TagKeys", ("team",)),
    ("ForAnyValue:StringEquals", "sts:TransitiveTagKeys", ("team", "dept")),
    ("ForAllValues:StringEquals", "sts:TransitiveTagKeys", ("team",)),
    ("StringEquals", "sts:SourceIdentity", ("ann", "${aws:username}")),
    ("StringEquals", "aws:SourceIdentity", ("ann",)),
    ("StringEquals", "sts:ExternalId", ("x", "${aws:ResourceTag/team}", "${aws:PrincipalTag/team}")),
    ("Null", "sts:ExternalId", ("true", "false")),
    ("StringLike", "sts:RoleSessionName", ("${aws:username}*", "s?", "${aws:PrincipalTag/team}*", "${iam:ResourceTag/team}")),
    ("Bool", "aws:MultiFactorAuthPresent", ("true", "false")),
    ("BoolIfExists", "aws:MultiFactorAuthPresent", ("true", "false")),
    ("NumericLessThan", "aws:MultiFactorAuthAge", ("300",)),
    ("DateLessThan", "aws:CurrentTime", ("2025-11-24T16:30:00Z", "2025-11-24T17:00:00Z")),
    ("DateGreaterThan", "aws:TokenIssueTime", ("2025-11-24T16:20:00Z",)),
    ("StringLike", "aws:UserAgent", ("tests", "${aws:PrincipalTag/team}*")),
    ("NumericLessThan", "daypass:ChainDepth", ("1",)),
    ("StringEquals", "aws:PrincipalAccount", ("${aws:ResourceAccount}",)),
    ("ArnLike", "aws:PrincipalArn", (f"arn:aws:iam::{ALPHA}:user/*", "arn:aws:iam::*:role/${aws:PrincipalTag/team}")),
    ("StringNotLike", "aws:userid", ("*:s1",)),
)  # fmt: skip


class Plan:
    """Random policies, requests and changes, as values that no world is in yet."""

    def __init__(self, seed: int) -> None:
        self.random = random.Random(seed)

    def often(self, share: float) -> bool:
        return self.random.random() < share

    def conditions(self, share: float) -> dict[str, Any]:
        if not self.often(share):
            return {}
        found: dict[str, Any] = {}
        for operator, key, values in self.random.sample(CONDITIONS, self.random.choice((1, 1, 2))):
            some = self.random.sample(values, self.random.randint(1, len(values)))
            found.setdefault(operator, {})[key] = some
        return {"Condition": found}

    def statement(self, share: float) -> dict[str, Any]:
        action = self.random.choice(
            ("*", "sts:*", "sts:AssumeRole", ["sts:AssumeRole", "sts:TagSession"], "sts:Assume*")
        )
        resource = self.random.choice(
            ("*", "*", "*", f"arn:aws:iam::{ALPHA}:role/*", *(f"arn:aws:iam::*:role/${{{key}}}" for key in NAMING))
        )
        effect = "Deny" if self.often(0.2) else "Allow"
        return {
            "Effect": effect,
            "NotAction" if self.often(0.05) else "Action": action,
            "NotResource" if self.often(0.05) else "Resource": resource,
            **self.conditions(0.9 if effect == "Deny" else share),
        }

    def policy(self, share: float = 0.4) -> str:
        plain = {"Effect": "Allow", "Action": "sts:*", "Resource": "*"}
        more = (self.statement(share) for _ in range(self.random.randrange(3)))
        return policy(*([plain] if self.often(0.8) else [self.statement(share)]), *more)

    def trusts(self) -> str:
        actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        wide = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": actions, **self.conditions(0.5)}
        return policy(wide, *(self._trust(0.7) for _ in range(self.random.randrange(3))))

    def _trust(self, share: float) -> dict[str, Any]:
        whom = self.random.choice(
            ("*", *(f"arn:aws:iam::{a}:root" for a in (ALPHA, ALPHA, BETA)), *(f"arn:aws:iam::{a}:user/{n}" for n, a in USERS),
             *(f"arn:aws:iam::{a}:role/{n}" for n, a in ROLES), f"arn:aws:sts::{ALPHA}:assumed-role/ops/s1")
        )  # fmt: skip
        deny = self.often(0.15)
        actions = ["sts:AssumeRole", "sts:TagSession", "sts:SetSourceIdentity"]
        return {
            "Effect": "Deny" if deny else "Allow",
            "NotPrincipal" if deny and self.often(0.4) else "Principal": {"AWS": whom},
            "Action": self.random.choice((actions, actions, "sts:AssumeRole", "sts:*")),
            **self.conditions(0.8 if deny else share),
        }

    def tags(self) -> tuple[tuple[str, str], ...]:
        return ((self.random.choice(KEYS[:2]), self.random.choice(TEAMS)),) if self.often(0.6) else ()

    def request(self) -> tuple[dict[str, Any], dict[str, Any]]:
        """Parameters of AssumeRole, and what is about the request."""
        name, account = self.random.choice(ROLES)
        asked: dict[str, Any] = {
            "RoleArn": f"arn:aws:iam::{account}:role/{name}",
            "RoleSessionName": self.random.choice(("s1", "s1", "ann-1", "red", "ops")),
        }
        if self.often(0.3):
            keys = self.random.sample(KEYS[1:], self.random.randint(1, 2))
            asked["Tags"] = [{"Key": key.lower(), "Value": self.random.choice(TEAMS)} for key in keys]
            asked["TransitiveTagKeys"] = [key.lower() for key in keys if self.often(0.4)]
        if self.often(0.2):
            asked["SourceIdentity"] = self.random.choice(("ann", "bob"))
        if self.often(0.6):
            asked["ExternalId"] = self.random.choice(("x", "red", "ops"))
        if self.often(0.1):
            asked["Policy"] = self.policy()
        facts = {
            "source_ip": self.random.choice(("192.0.2.7", "192.0.2.8", "198.51.100.1")),
            "user_agent": self.random.choice(("tests", "tests", "redder")),
        }
        return asked, facts

    def again(self, asked: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        """Another request to the same role for the same permissions."""
        others, facts = self.request()
        for name in ("RoleSessionName", "ExternalId", "Tags", "SourceIdentity"):
            if self.often(0.5) and name in others and (name in asked or name == "ExternalId"):
                asked = {**asked, name: others[name]}
        if "Tags" in asked:
            asked = {**asked, "TransitiveTagKeys": [tag["Key"] for tag in asked["Tags"] if self.often(0.4)]}
        return asked, facts


class Life:
    """One installation, and what becomes of it."""

    def __init__(self, plan: Plan, *, remembers: bool) -> None:
        self.world = world = World()
        self.remembers = remembers
        self.told: list[Any] = []
        self.users = {
            name: world.user(name, account, policies=[plan.policy()], tags=plan.tags()) for name, account in USERS
        }
        for name, account in ROLES:
            world.role(name, account, trusts=[], policies=[plan.policy(0.2)], tags=plan.tags())
        for name, _ in ROLES:
            self._trust(name, plan.trusts())
        self.keys = {name: world.key(user) for name, user in self.users.items()}
        self.sessions: list[Credentials] = []

    def _trust(self, name: str, text: str) -> None:
        directory = self.world.directory
        bindings = self.world._bindings()
        for id_, view in directory.roles.items():
            if view.role.name == name:
                directory.roles[id_] = structs.replace(
                    view, trust=named(text, PolicyKind.TRUST, "trust"), bindings=bindings
                )

    def forget(self) -> None:
        directory = self.world.directory
        for views in (directory.keys, directory.users):
            for view in views.values():
                view.__dict__.clear()
        for role in directory.roles.values():
            role.decisions.clear()
            role.principal.__dict__.clear()

    async def ask(self, operation: Callable[..., Any], who: Credentials, params: dict[str, Any], **facts: Any) -> None:
        if not self.remembers:
            self.forget()
        try:
            answer = await self.world.call(operation, who, params, **facts)
        except DaypassError as error:
            self.told.append((error.kind, error.public, self.world.message))
            return
        self.told.append(answer)
        self.sessions.append(Credentials.of(answer))

    async def step(self, plan: Plan) -> None:
        await (self._request(plan) if plan.often(0.92) else self._change(plan))

    async def _request(self, plan: Plan) -> None:
        asked, facts = plan.request()
        who = self.keys[plan.random.choice(("ann", "ann", "bob", "eve"))]
        if plan.often(0.4) and self.sessions:
            who = self.sessions[-1 - plan.random.randrange(min(6, len(self.sessions)))]
        kind = plan.random.random()
        if kind < 0.05:
            await self.ask(get_session_token, who, {})
        elif kind < 0.1 and self.sessions:
            await self._vouched(self.sessions[-1])
        elif kind < 0.13:
            await self.ask(get_scoped_credentials, who, {"Policy": plan.policy()})
        else:
            await self.ask(assume_role, who, asked, **facts)
            for _ in range(plan.random.randrange(7)):
                asked, facts = plan.again(asked)
                await self.ask(assume_role, who, asked, **facts)

    async def _vouched(self, who: Credentials) -> None:
        """Another session of the same user, with MFA."""
        sealer = self.world.sealer
        claims = await sealer.open(who.token, who.access_key_id)
        token = sealer.seal(structs.replace(claims, mfa_at=self.world.clock.time))
        self.sessions.append(replace(who, token=token))

    async def _change(self, plan: Plan) -> None:
        directory, user_name = self.world.directory, plan.random.choice(USERS)[0]
        kind, key = plan.random.randrange(9), directory.keys[self.keys[user_name].access_key_id]
        view = directory.users.get(self.users[user_name].id)
        if kind == 0:
            self._trust(plan.random.choice(ROLES)[0], plan.trusts())
        elif kind == 1:
            directory.users[self.users[user_name].id] = PrincipalView(
                self.users[user_name], (named(plan.policy(), PolicyKind.IDENTITY),), None
            )
        elif kind == 2 and view is not None:
            directory.users[view.entity.id] = structs.replace(
                view, boundary=(named(plan.policy(), PolicyKind.IDENTITY, "b"),)
            )
        elif kind == 3:
            self._put(replace(self.users[user_name], tags=plan.tags()))
        elif kind == 4:
            self.world.account(plan.random.choice((ALPHA, BETA)), *(plan.policy(0.5) for _ in range(2)))
        elif kind == 5:
            self.world.account(ALPHA)
            role = plan.random.choice(list(directory.roles.values()))
            directory.roles[role.role.id] = structs.replace(role, role=replace(role.role, tags=plan.tags()))
        elif kind == 6:
            status = KeyStatus.INACTIVE if plan.often(0.3) else KeyStatus.ACTIVE
            directory.keys[key.key.id] = KeyView(replace(key.key, status=status), key.secret, key.user)
        elif kind == 7:
            self.world.clock.time += plan.random.choice((1, 60_000, 600_000))
        else:  # gone, and another of that name comes with a key of its own
            directory.users.pop(self.users[user_name].id, None)
            directory.keys[key.key.id] = KeyView(key.key, key.secret, None)
            name, account = self.users[user_name].name, self.users[user_name].account
            self.users[user_name] = self.world.user(name, account, policies=[plan.policy()], tags=plan.tags())
            self.keys[user_name] = self.world.key(self.users[user_name])

    def _put(self, user: User) -> None:
        directory = self.world.directory
        self.users[user.name] = user
        if user.id in directory.users:
            directory.users[user.id] = structs.replace(directory.users[user.id], entity=user)
        key = directory.keys[self.keys[user.name].access_key_id]
        directory.keys[key.key.id] = KeyView(key.key, key.secret, user)


async def live(seed: int, steps: int, *, remembers: bool) -> tuple[list[Any], list[bytes]]:
    """The answer, and the record."""
    plan = Plan(seed)
    life = Life(plan, remembers=remembers)
    for _ in range(steps):
        await life.step(plan)
    return life.told, [encode(event) for event in life.world.journal.events]


async def test_what_is_remembered_changes_no_answer_and_no_event(monkeypatch: pytest.MonkeyPatch) -> None:
    decided = 0

    def watched(*args: Any) -> Any:
        nonlocal decided
        decided += 1
        return real(*args)

    real = admit
    monkeypatch.setattr(module, "admit", watched)
    without = {seed: await live(seed, 50, remembers=False) for seed in SEEDS}
    everything, decided = decided, 0
    for seed in SEEDS:
        assert await live(seed, 50, remembers=True) == without[seed]
    assert everything - decided > 100  # so many were admitted by what was remembered
    kinds = [json.loads(event)["type"] for _, events in without.values() for event in events]
    assert min(kinds.count("session.issued"), kinds.count("request.denied")) > 100
