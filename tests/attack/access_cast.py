"""The people, roles and rules of a random history of access requests, in Daypass and in the oracle."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree as ET

from tests.attack.access_oracle import Ask, Role, User, World
from tests.attack.installation import Installation
from tests.integration.api.access import Place, gated
from tests.integration.api.conftest import BOOTSTRAP, TENANT, TENANT_ROOT, Answer, Key, Server, policy

from daypass.domain.directory import MfaDevice

FIRST_KEYS = BOOTSTRAP
GROUPS = ("engineers", "leads", "security")
CAST = {
    "ann": ("engineers",),
    "eve": ("engineers",),
    "bob": ("engineers", "leads"),
    "lee": ("leads",),
    "lou": ("leads", "security"),
    "sam": ("security",),
    "dep": (),
    "chief": (),
    "ann2": ("leads",),
    "lee2": ("leads", "security"),
}
TAGS = {"ann": "a", "ann2": "a", "lee": "l", "lee2": "l"}
REQUESTERS = ("ann", "eve", "bob")
TO_REQUEST = policy("daypass:CreateAccessRequest", "daypass:BreakGlass", "sts:AssumeRole", "daypass:DenyAccessRequest")
IF_CALLED = {"Bool": {"daypass:OnCall": "true"}}
EVERYTHING = policy("daypass:*", "sts:AssumeRole")


class Disagreement(AssertionError):
    """Daypass and the oracle differ. The message has the calls until then."""


@dataclass
class Issued:
    """Credentials of a granted session, or of one that was made from it."""

    key: Key
    ask: Ask
    role: str


def key_of(answer: ET.Element) -> Key:
    """The credentials in an answer of STS."""
    texts = {each.tag.rpartition("}")[2]: each.text or "" for each in answer.iter()}
    return Key(texts["AccessKeyId"], texts["SecretAccessKey"], texts["SessionToken"])


class Cast:
    """People, roles and rules of one history, and how they change."""

    def __init__(self, installation: Installation, seed: int) -> None:
        self.installation, self.random, self.seed = installation, random.Random(seed), seed
        self.place = Place(Server(installation.runtime, installation.application))
        self.world = World()
        self.log: list[str] = []
        self.asks: list[Ask] = []
        self.sessions: list[Issued] = []
        self.mfa: dict[User, Key] = {}
        self.keys: dict[User, Key] = {}
        self.via: dict[User, tuple[Key, int]] = {}  # and since when
        self.blocks: dict[User, str] = {}
        self.bindings: dict[str, tuple[str, Any]] = {}
        self.count = 0

    # --- the cast

    def full(self, name: str) -> str:
        """The name in the directory of what the oracle calls `name`."""
        return f"{name}-{self.seed}"

    def arn(self, kind: str, name: str) -> str:
        return f"arn:aws:iam::{TENANT}:{kind}/{self.full(name)}"

    async def fill(self) -> None:
        for name in GROUPS:
            await self.place.group(self.full(name))
        for name in CAST:
            await self.create_user(name)
        for name in ("prod", "prox"):
            await self.place.role(self.full(name))
            self.world.roles[name] = Role(name)
        open_to_all = gated().replace('"true"', '"false"')
        await self.place.role(self.full("leading"), open_to_all, EVERYTHING)
        await self.place.role(
            self.full("next"), gated().replace('"Bool"', '"BoolIfExists"').replace('"true"', '"false"')
        )
        for name in ("prod", "prox"):
            await self.put_rule(name)
            await self.shift()
        self.installation.runtime.env.schedules.on_call = self.on_call  # type: ignore[method-assign]

    async def on_call(self, kind: str, source: str, now: int, *, owner: str) -> frozenset[str]:
        """Whom the calendar file of a rule names."""
        del kind, now, owner
        return frozenset(self.world.on_call.get(source.removesuffix(".ics"), ()))

    async def shift(self) -> None:
        """Somebody else is on call by the schedule of one rule."""
        rule, name = self.random.choice(("prod", "prox", "general")), self.random.choice(("ann", "eve", "bob"))
        self.world.on_call[rule] = {self.full(name)}
        self.log.append(f"{self.now} on call by {rule}: {name}")

    async def create_user(self, name: str) -> User:
        self.count += 1
        full = self.full(name)
        groups = CAST[name] if not self.world.users else self.random.choice((CAST[name], ()))
        self.keys[user := User(name, self.count, set(groups))] = await self.place.person(
            full, EVERYTHING, *(self.full(group) for group in groups)
        )
        self.world.users[name] = user
        if name in TAGS and self.random.random() < 0.6:
            await self.link(user)
        return user

    async def link(self, user: User) -> None:
        tag = {"Tags.member.1.Key": "daypass:person", "Tags.member.1.Value": f"{TAGS[user.name]}{self.seed}"}
        await self.iam("TagUser", UserName=self.full(user.name), **tag)
        user.tag = TAGS[user.name]

    async def iam(self, action: str, **parameters: str) -> None:
        await self.place.server.iam(TENANT_ROOT, action, **parameters)

    def some_user(self, names: Iterable[str] = CAST) -> User:
        return self.world.users[self.random.choice(list(names))]

    def likely(self, names: Iterable[str], fits: Callable[[User], object]) -> User:
        """Somebody; mostly somebody who fits."""
        fitting = [name for name in names if fits(self.world.users[name])]
        return self.some_user(fitting if fitting and self.random.random() < 0.85 else names)

    def key(self, user: User, *, mfa: float = 0.5) -> tuple[Key, int]:
        """Credentials of a user, with the time of their MFA."""
        if user in self.mfa and self.random.random() < mfa:
            return self.mfa[user], user.mfa_at
        return self.keys[user], 0

    @property
    def now(self) -> int:
        return self.installation.wall.time

    # --- comparing

    def fail(self, what: str) -> None:
        raise Disagreement(f"seed {self.seed}: {what}\n" + "\n".join(self.log))

    def compare(self, what: str, expected: bool, answer: Answer, why: str = "") -> bool:
        done = answer.status < 300
        said = "" if done else answer.body.decode()[:300]
        self.log.append(f"{self.now} {what}: {answer.status} {said if not expected else ''}")
        if done and not expected:
            self.fail(f"{what} succeeded: {why}")
        if expected and not done:
            self.fail(f"{what} was refused: {said}")
        return done

    async def api(self, key: Key, path: str, body: Any = None, method: str = "POST") -> Answer:
        return await self.place.server.api(key, method, path, None, body)

    async def shown(self, ask: Ask) -> Any:
        return (await self.api(TENANT_ROOT, f"/access-requests/{ask.id}", method="GET")).json

    async def check_sessions(self) -> None:
        """No session of a grant that has ended works."""
        for each in list(self.sessions):
            if each.role in each.ask.ended:
                if await self.place.server.works(each.key):
                    self.fail(f"a session of {each.role} works: {each.ask}")
                self.sessions.remove(each)

    # --- rules and roles

    def document(self, name: str) -> dict[str, Any]:
        pick, ann = self.random.choice, {"aws:username": self.full("ann")}
        group = lambda *names: {"principals": [pick(names)]}  # noqa: E731
        stages = [
            {
                "name": f"s{number}",
                "approvers": group("group/leads", "group/leads", "group/security", "role/leading", "user/lou"),
                "threshold": pick((1, 1, 2)),
                **pick(({}, {}, {"mfa_seconds": 300})),
            }
            for number in range(pick((0, 1, 1, 1, 1, 1, 1, 2)))
        ]
        made: dict[str, Any] = {
            "roles": ["role/pro*" if name == "general" else f"role/{name}"],
            "requesters": {
                "principals": pick((["group/engineers"], ["group/engineers"], ["user/ann", "user/bob"])),
                **pick(({}, {}, {}, {}, {}, {}, {"condition": IF_CALLED}, {"condition": {"StringEquals": ann}})),
            },
            "stages": stages,
            "max_seconds": pick((900, 1800)),
            "claim_seconds": pick((600, 1800)),
            "pending_seconds": pick((900, 3600)),
            "on_behalf": pick((True, False)),
        }
        optional: tuple[dict[str, Any], ...] = (
            {"max_uses": 2},
            {"requester_mfa_seconds": 900},
            {"automatic": [{"name": "a", "condition": {"StringEquals": ann}}]},
            {"windows": [self.window()]},
            {"automatic": [{"name": "m", "condition": {}, "mfa_seconds": 300, "seconds": 300}]},
            {"break_glass": {"people": group("group/engineers", "user/bob"), "seconds": 600, "mfa_seconds": 900}},
            {"escalation": {"after_seconds": 120, "approvers": {"principals": ["user/chief"]}}},
        )
        for more in optional:
            made |= more if self.random.random() < 0.15 else {}
        if not stages and not {"automatic", "break_glass"} & set(made):
            made |= optional[2]
        made |= {"automatic": [{"name": "o", "condition": IF_CALLED}]} if self.random.random() < 0.3 else {}
        if self.random.random() < 0.7:
            made["on_call"] = {"calendar": f"{name}.ics"}
        return made

    def window(self) -> dict[str, str]:
        """From some minutes ago to some minutes from now, or to the end of the day."""
        minute = self.now // 60_000 % 1440
        begin, until = max(0, minute - 10), minute + self.random.choice((15, 45))
        return {
            "begin": f"{begin // 60:02}:{begin % 60:02}",
            "until": f"{until // 60:02}:{until % 60:02}" if until < 1440 else "24:00",
        }

    async def put_rule(self, name: str) -> None:
        document = self.document(name)
        text = json.dumps(document)
        for kind, names in (("user", CAST), ("group", GROUPS), ("role", ("prod", "prox", "leading"))):
            for each in names:
                text = text.replace(f'"{kind}/{each}"', f'"{kind}/{self.full(each)}"')
        text = text.replace('"role/pro*"', f'"role/pro*-{self.seed}"')
        path = f"/approval-rules/{self.full(name)}"
        made = await self.place.server.api(TENANT_ROOT, "PUT", path, body={"document": text})
        assert made.status == 200, made.body
        self.world.rules[name] = document
        self.log.append(f"{self.now} rule {name}: {json.dumps(document)}")

    async def change_rule(self) -> None:
        name = self.random.choice(("prod", "prox", "general"))
        if name in self.world.rules and self.random.random() < 0.3:
            path = f"/approval-rules/{self.full(name)}"
            made = await self.place.server.api(TENANT_ROOT, "DELETE", path)
            assert made.status < 300, made.body
            del self.world.rules[name]
            self.log.append(f"{self.now} no rule {name}")
        else:
            await self.put_rule(name)

    async def change_role(self) -> None:
        waiting = [ask for ask in self.asks if ask.votes and not ask.granted_at and not ask.closed]
        role = self.world.roles[self.random.choice([role for ask in waiting for role in ask.roles] or ["prod", "prox"])]
        role.policy = 1 - role.policy
        document = policy("orders:*" if not role.policy else "orders:Get")
        await self.iam("PutRolePolicy", RoleName=self.full(role.name), PolicyName="p", PolicyDocument=document)
        self.log.append(f"{self.now} role {role.name}: policy {role.policy}")

    # --- people change

    async def change_person(self) -> None:
        user = self.some_user()
        change = self.random.choice(
            (self.regroup, self.regroup, self.permit, self.activate, self.block, self.recreate, self.tag)
        )
        await change(user)
        self.log.append(f"{self.now} {change.__name__} {user.name}: {user}")

    async def regroup(self, user: User) -> None:
        group = self.random.choice(GROUPS)
        action = "RemoveUserFromGroup" if group in user.groups else "AddUserToGroup"
        await self.iam(action, UserName=self.full(user.name), GroupName=self.full(group))
        user.groups ^= {group}

    async def permit(self, user: User) -> None:
        user.permitted = not user.permitted
        document = EVERYTHING if user.permitted else TO_REQUEST
        await self.iam("PutUserPolicy", UserName=self.full(user.name), PolicyName="p", PolicyDocument=document)

    async def activate(self, user: User) -> None:
        user.active = not user.active
        status = "Active" if user.active else "Inactive"
        named = {"UserName": self.full(user.name), "AccessKeyId": self.keys[user].id}
        await self.iam("UpdateAccessKey", Status=status, **named)

    async def block(self, user: User) -> None:
        if user in self.blocks:
            answer = await self.api(TENANT_ROOT, f"/revocations/{self.blocks.pop(user)}/lift", {"reason": "back"})
            assert answer.status < 300, answer.body
            user.blocked = False
            return
        body = {"subject": "principal", "value": self.arn("user", user.name), "block": True, "reason": "stolen"}
        answer = await self.api(TENANT_ROOT, "/revocations", {**body, "account": TENANT, "force": True})
        assert answer.status == 201, answer.body
        self.blocks[user] = answer.json["id"]
        user.blocked, user.revoked_at = True, self.now
        self.forget(user)

    def forget(self, user: User) -> None:
        """The sessions of the user have ended."""
        self.mfa.pop(user, None)
        self.via.pop(user, None)
        user.mfa_at = 0
        self.sessions = [each for each in self.sessions if each.ask.beneficiary is not user]

    async def recreate(self, user: User) -> None:
        name = self.full(user.name)
        if user in self.blocks:
            await self.block(user)
        devices = await self.installation.runtime.directory.read(
            lambda tx: tx.find(MfaDevice, owner_id=self.place.users[name].id), account=""
        )
        for device in devices:
            await self.iam("DeactivateMFADevice", UserName=name, SerialNumber=device.serial)
        for group in user.groups:
            await self.iam("RemoveUserFromGroup", UserName=name, GroupName=self.full(group))
        await self.iam("DeleteAccessKey", UserName=name, AccessKeyId=self.keys[user].id)
        await self.iam("DeleteUserPolicy", UserName=name, PolicyName="p")
        await self.iam("DeleteUser", UserName=name)
        user.alive, user.groups = False, set()
        self.forget(user)
        await self.create_user(user.name)

    async def tag(self, user: User) -> None:
        if user.name in TAGS:
            await self.link(user)

    async def prove_mfa(self) -> None:
        user = self.some_user()
        if user.able:
            self.mfa[user] = await self.place.with_mfa(self.full(user.name))
            user.mfa_at = self.now
            self.log.append(f"{self.now} mfa {user.name}")

    async def lead(self) -> None:
        user = self.some_user(("lee", "ann2", "bob", "sam", "dep"))
        if user.able:
            key = await self.place.server.assume(self.keys[user], self.arn("role", "leading"))
            self.via[user] = key, self.now
