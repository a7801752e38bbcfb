"""Random requests, and what Daypass does by itself, compared with the oracle of access_oracle.py."""

from __future__ import annotations

import itertools
from typing import Any

from tests.attack.access_cast import REQUESTERS, Cast
from tests.attack.access_oracle import Ask, User, fresh, holds, in_window
from tests.integration.api.access import REASON
from tests.integration.api.conftest import Answer

from daypass.operations.access_requests.follow import sweep

_numbers = itertools.count()  # a request with the reason of one that waits is that one
STEPS = (5, 30, 61, 130, 301, 600, 901, 1800)


class Requests(Cast):
    """Requests, acceptances and extensions."""

    async def pass_time(self) -> None:
        self.installation.wall.time += self.random.choice(STEPS) * 1000
        await self.settle()

    # --- requests

    async def ask(self) -> None:
        pick, world = self.random.choice, self.world
        user = self.likely(REQUESTERS, lambda user: user.able and world.rule_of("prod", user, self.as_named(user), 1))
        key, mfa_at = self.key(user)
        roles = pick((["prod"], ["prod"], ["prox"], ["prod", "prox"], ["prod", "prox"]))
        other = self.some_user(("ann", "eve")) if self.random.random() < 0.15 else user
        own = {role: world.rule_of(role, user, self.as_named(user), mfa_at) for role in roles}
        rules = own if other is user else {role: world.rule_of(role, other) for role in roles}
        made = Ask("", user, other, roles, rules, world.bound(rules), pick((300, 900, 1800)), self.now, 0)
        made.starts_at = pick((0, 0, 0, self.now + 400_000))
        made.emergency = other is user and not made.starts_at and self.random.random() < 0.15
        body: dict[str, Any] = {
            "roles": [self.arn("role", role) for role in roles],
            "reason": f"{REASON}, {next(_numbers)}",
        }
        body |= {"seconds": made.seconds, "starts_at": made.starts_at}
        body |= {"beneficiary": self.arn("user", other.name)} if other is not user else {}
        body |= {"break_glass": True, "confirmation": self.full(roles[0])} if made.emergency else {}
        expected = self.may_ask(made, own, mfa_at)
        answer = await self.api(key, "/access-requests", body)
        what = f"ask {user.name} for {other.name} {roles} mfa {bool(mfa_at)} {body} {rules}"
        if not self.compare(what, expected, answer):
            return
        made.id, made.max_uses, made.created_at = answer.json["id"], answer.json["max_uses"], self.now
        made.seconds = min(made.seconds, answer.json["seconds"])
        waits = min(world.rules[name]["pending_seconds"] for name in rules.values())
        made.deadline = max(self.now, made.starts_at) + waits * 1000
        made.human, made.accepted = user.human | other.human, other is user
        self.asks.append(made)
        if made.accepted:
            self.granted_at_once(made, user, mfa_at, answer)

    def may_ask(self, ask: Ask, own: dict[str, str], mfa_at: int) -> bool:
        user, world = ask.requester, self.world
        if not (user.may_call(mfa_at) and all(own.values()) and all(ask.rules.values())):
            return False
        rules = [world.rules[name] for name in ask.rules.values()]
        if ask.emergency:
            return all(self.may_break(rule, user, mfa_at) for rule in rules)
        both = [*rules, *(world.rules[name] for name in own.values())]
        return all(
            ask.seconds <= rule["max_seconds"]
            and fresh(mfa_at, rule, self.now, "requester_mfa_seconds")
            and in_window(rule, self.now)
            for rule in rules
        ) and (ask.beneficiary is user or all(rule["on_behalf"] for rule in both))

    def as_named(self, user: User) -> User:
        """The user with the name that conditions see."""
        return User(self.full(user.name), 0)

    def may_break(self, rule: Any, user: User, mfa_at: int) -> bool:
        glass = rule.get("break_glass")
        return bool(glass and self.world.includes(glass["people"], user.names, None) and fresh(mfa_at, glass, self.now))

    def automatic(self, name: str, user: User, mfa_at: int) -> bool:
        person = self.as_named(user)
        called = self.world.calls(name, person)
        return any(
            fresh(mfa_at, each, self.now) and holds(each["condition"], person, mfa_at, called)
            for each in self.world.rules[name].get("automatic", ())
        )

    def granted_at_once(self, ask: Ask, user: User, mfa_at: int, answer: Answer) -> None:
        by_rule = ask.starts_at <= self.now and all(self.automatic(name, user, mfa_at) for name in ask.rules.values())
        granted = answer.json["state"] == "approved"
        if granted != (by_rule or ask.emergency):
            self.fail(f"granted at once: {granted}; automatic {by_rule}, emergency {ask.emergency}")
        if granted:
            self.grant(ask, answer, by_persons=False)

    def grant(self, ask: Ask, answer: Answer, *, by_persons: bool) -> None:
        self.log.append(f"{self.now} granted {ask.roles} of {ask.beneficiary.name}, by persons: {by_persons}")
        ask.granted_at, ask.granted = self.now, self.world.bound(ask.rules)
        ask.starts_at = max(self.now, ask.starts_at)
        if by_persons and (earlier := ask.extends) is not None:
            ends = [
                at + earlier.limit[role] * 1000 for role, at in earlier.used_at.items() if role not in earlier.ended
            ]
            ask.starts_at = max([ask.starts_at, *ends])
        for grant in answer.json["grants"]:
            role = grant["role"].rpartition("/")[2].partition("-")[0]
            ask.limit[role] = grant["seconds"]
            ask.claim_by[role] = ask.starts_at + self.world.rules[ask.rules[role]]["claim_seconds"] * 1000
            if grant["seconds"] > ask.seconds or bool(grant["approvers"]) != by_persons:
                self.fail(f"the grant {grant} of {ask}")

    def may_request(self, rule: str, user: User, mfa_at: int) -> bool:
        """Whether the rule includes the user, with its conditions as they are now."""
        person = self.as_named(user)
        people = self.world.rules[rule]["requesters"]
        return self.world.includes(people, user.names, person, mfa_at, self.world.calls(rule, person))

    async def accept(self) -> None:
        drafts = [ask for ask in self.asks if not ask.accepted and not ask.closed]
        if not drafts:
            return
        ask = self.random.choice(drafts)
        user = ask.beneficiary if self.random.random() < 0.8 else self.some_user()
        key, mfa_at = self.key(user)
        rules = [self.world.rules.get(name) for name in ask.rules.values()]
        expected = (
            user is ask.beneficiary
            and user.may_call(mfa_at)
            and ask.requester.able
            and user.able
            and self.now < ask.deadline
            and not self.world.superseded(ask)
            and not self.world.revoked(ask)
        )
        for name, rule in zip(ask.rules.values(), rules, strict=True):
            expected = expected and rule is not None and self.world.within(ask, rule, self.now)
            expected = expected and fresh(mfa_at, rule or {}, self.now, "requester_mfa_seconds")
            expected = expected and self.may_request(name, user, mfa_at)
        answer = await self.api(key, f"/access-requests/{ask.id}/accept")
        if self.compare(f"accept {ask.id} by {user.name}", bool(expected), answer):
            ask.accepted, ask.made_under = True, self.world.bound(ask.rules)
            ask.accepted_at = self.now
            ask.human |= user.human
            self.granted_at_once(ask, user, mfa_at, answer)
            await self.settle()  # a sweep escalates what was accepted late

    async def extend(self) -> None:
        user = self.likely(
            REQUESTERS, lambda user: any(ask.granted_at and ask.beneficiary is user for ask in self.asks)
        )
        mine = [ask for ask in self.asks if ask.granted_at and user in (ask.requester, ask.beneficiary)]
        if not mine:
            return
        ask, (key, mfa_at) = self.random.choice(mine), self.key(user)
        own = {role: self.world.rule_of(role, user, self.as_named(user), mfa_at) for role in ask.roles}
        made = Ask("", user, user, ask.roles, own, self.world.bound(own), 300, self.now, 0, extends=ask)
        expected = not self.over(ask) and user is ask.beneficiary and self.may_ask(made, own, mfa_at)
        body = {"seconds": 300, "reason": f"{REASON}, {next(_numbers)}"}
        answer = await self.api(key, f"/access-requests/{ask.id}/extend", body)
        if not self.compare(f"extend {ask.id} by {user.name}", expected, answer):
            return
        made.id, made.max_uses = answer.json["id"], answer.json["max_uses"]
        made.deadline = self.now + min(self.world.rules[name]["pending_seconds"] for name in own.values()) * 1000
        made.human = set(user.human)
        self.asks.append(made)
        self.granted_at_once(made, user, mfa_at, answer)

    # --- what ends by itself

    def over(self, ask: Ask) -> bool:
        return all(role in ask.ended for role in ask.roles)

    async def settle(self) -> None:
        await sweep(self.installation.runtime.env)
        await self.synchronise()

    async def synchronise(self) -> None:
        """Compares what Daypass has ended by itself with what should have ended."""
        for ask in self.asks:
            if ask.closed:
                continue
            shown = await self.shown(ask)
            if not ask.granted_at:
                if shown["state"] not in ("pending", "draft"):
                    if self.now < ask.deadline:
                        self.fail(f"{ask} is {shown['state']} {shown['end_reason']}")
                    ask.closed = shown["state"]
                continue
            for grant in shown["grants"]:
                role = grant["role"].rpartition("/")[2].partition("-")[0]
                why = self.world.refusal(ask, role, ask.beneficiary, self.now)
                if grant["state"] == "ended" and role not in ask.ended:
                    if why in ("", "not started", "uses", "the person may not request"):
                        self.fail(f"the grant of {role} to {ask.beneficiary.name} ended ({grant['end_reason']}): {ask}")
                    ask.ended[role] = grant["end_reason"]
        await self.check_sessions()
