"""Random calls about access requests, by people who also lose, gain and share what decides about them, and a comparison of
each answer with the oracle of access_oracle.py.
"""

from __future__ import annotations

from typing import Any
from xml.etree import ElementTree as ET

from tests.attack.access_cast import CAST, REQUESTERS, Cast, Issued, key_of
from tests.attack.access_oracle import Ask, User, Vote, fresh, holds
from tests.integration.api.access import REASON
from tests.integration.api.conftest import TENANT_ROOT, Answer

from daypass.operations.broker.sweep import sweep

STEPS = (5, 30, 61, 130, 301, 600, 901, 1800)


class Driver(Cast):
    """One history of calls."""

    async def pass_time(self) -> None:
        self.installation.wall.time += self.random.choice(STEPS) * 1000
        await self.settle()

    # --- requests

    async def ask(self) -> None:
        pick, world = self.random.choice, self.world
        user = self.likely(REQUESTERS, lambda user: user.able and world.rule_of("prod", user, self.as_named(user), 1))
        key, mfa_at = self.key(user)
        roles = pick((["prod"], ["prod"], ["prox"], ["prod", "prox"]))
        other = self.some_user(("ann", "eve")) if self.random.random() < 0.15 else user
        own = {role: world.rule_of(role, user, self.as_named(user), mfa_at) for role in roles}
        rules = own if other is user else {role: world.rule_of(role, other) for role in roles}
        made = Ask("", user, other, roles, rules, world.bound(rules), pick((300, 900, 1800)), self.now, 0)
        made.starts_at = pick((0, 0, 0, self.now + 400_000))
        made.emergency = other is user and not made.starts_at and self.random.random() < 0.15
        body: dict[str, Any] = {"roles": [self.arn("role", role) for role in roles], "reason": REASON}
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
            ask.seconds <= rule["max_seconds"] and fresh(mfa_at, rule, self.now, "requester_mfa_seconds")
            for rule in rules
        ) and (ask.beneficiary is user or all(rule["on_behalf"] for rule in both))

    def as_named(self, user: User) -> User:
        """The user with the name that conditions see."""
        return User(self.full(user.name), 0)

    def may_break(self, rule: Any, user: User, mfa_at: int) -> bool:
        glass = rule.get("break_glass")
        return bool(glass and self.world.includes(glass["people"], user.names, None) and fresh(mfa_at, glass, self.now))

    def automatic(self, rule: Any, user: User, mfa_at: int) -> bool:
        return any(
            fresh(mfa_at, each, self.now) and holds(each["condition"], self.as_named(user), mfa_at)
            for each in rule.get("automatic", ())
        )

    def granted_at_once(self, ask: Ask, user: User, mfa_at: int, answer: Answer) -> None:
        rules = [self.world.rules[name] for name in ask.rules.values()]
        persons = ask.extends is not None and (ask.extends.by_persons or bool(ask.extends.more))
        by_rule = (
            ask.starts_at <= self.now and all(self.automatic(rule, user, mfa_at) for rule in rules) and not persons
        )
        granted = answer.json["state"] in ("approved", "ended")
        if granted != (by_rule or ask.emergency):
            self.fail(f"granted at once: {granted}; automatic {by_rule}, emergency {ask.emergency}")
        if granted:
            self.grant(ask, answer, by_persons=False)

    def grant(self, ask: Ask, answer: Answer, *, by_persons: bool) -> None:
        self.log.append(f"{self.now} granted {ask.roles} of {ask.beneficiary.name}, by persons: {by_persons}")
        ask.granted_at, ask.by_persons, ask.granted = self.now, by_persons, self.world.bound(ask.rules)
        if (earlier := ask.extends) is not None:
            ask.closed = "done"
            earlier.more += [ask] if by_persons else []
            for role in ask.roles:
                if role not in earlier.ended:
                    earlier.limit[role] += ask.seconds
            return
        for grant in answer.json["grants"]:
            role = grant["role"].rpartition("/")[2].partition("-")[0]
            ask.limit[role] = grant["seconds"]
            if grant["seconds"] > ask.seconds or (grant["approvers"] and not by_persons):
                self.fail(f"the grant {grant} of {ask}")

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
            and self.now < ask.deadline
            and not self.world.superseded(ask)
        )
        for rule in rules:
            expected = expected and rule is not None and self.world.within(ask, rule)
            expected = expected and fresh(mfa_at, rule or {}, self.now, "requester_mfa_seconds")
            expected = expected and self.world.includes(
                (rule or {})["requesters"], user.names, self.as_named(user), mfa_at
            )
        answer = await self.api(key, f"/access-requests/{ask.id}/accept")
        if self.compare(f"accept {ask.id} by {user.name}", bool(expected), answer):
            ask.accepted, ask.made_under = True, self.world.bound(ask.rules)
            ask.human |= user.human
            self.granted_at_once(ask, user, mfa_at, answer)
            await self.settle()  # a sweep escalates what was accepted late

    async def extend(self) -> None:
        user = self.likely(
            REQUESTERS, lambda user: any(ask.granted_at and ask.beneficiary is user for ask in self.asks)
        )
        mine = [
            ask for ask in self.asks if ask.granted_at and not ask.extends and user in (ask.requester, ask.beneficiary)
        ]
        if not mine:
            return
        ask, (key, mfa_at) = self.random.choice(mine), self.key(user)
        live = not self.over(ask)
        rules = [self.world.rules.get(name) for name in ask.rules.values()]
        expected = live and user.may_call(mfa_at) and user is ask.beneficiary
        for rule in rules:
            expected = expected and rule is not None and rule["max_seconds"] >= 300
            expected = expected and fresh(mfa_at, rule or {}, self.now, "requester_mfa_seconds")
            requesters = (rule or {}).get("requesters", {"principals": ()})
            expected = expected and self.world.includes(requesters, user.names, self.as_named(user), mfa_at)
        body = {"seconds": 300, "reason": REASON}
        answer = await self.api(key, f"/access-requests/{ask.id}/extend", body)
        self.log.append(f"{self.now} extend {ask.id} by {user.name}: {answer.status} {answer.body.decode()[:200]}")
        if answer.status >= 300:
            return
        if not expected:
            self.fail(f"extend of {ask} succeeded")
        made = Ask(answer.json["id"], user, user, ask.roles, ask.rules, self.world.bound(ask.rules), 300, self.now, 0)
        made.deadline = self.now + min(rule["pending_seconds"] for rule in rules if rule) * 1000
        made.human, made.extends, made.max_uses = user.human, ask, answer.json["max_uses"]
        self.asks.append(made)
        self.granted_at_once(made, user, mfa_at, answer)

    # --- votes

    async def vote(self) -> None:
        world, waiting = self.world, [ask for ask in self.asks if not ask.closed and not ask.granted_at]
        if not waiting:
            await self.ask()
            return
        begun = [ask for ask in waiting if ask.votes]
        ask = self.random.choice(begun if begun and self.random.random() < 0.8 else waiting)
        others = [name for name in CAST if self.world.users[name] not in ask.votes]
        user = self.likely(others, lambda user: self.may_vote(ask, user, self.cast(ask, user, self.now), self.now))
        lasts = user in self.via and self.now < self.via[user][1] + 3_000_000
        via = "leading" if lasts and self.random.random() < 0.5 else ""
        key, mfa_at = (self.via[user][0], 0) if via else self.key(user)
        binding, bound = (await self.shown(ask))["binding"], world.bound(ask.rules)
        read = self.bindings.get(ask.id) if self.random.random() < 0.2 else None  # before, perhaps
        self.bindings[ask.id] = read or (binding, bound)
        vote = self.cast(ask, user, mfa_at, via)
        approve = self.random.random() < 0.9
        expected = self.may_vote(ask, user, vote, self.now) and (read is None or read[1] == bound)
        if approve:
            expected = expected and (user.permitted or bool(via)) and self.within_rules(ask)
        body = {"binding": self.bindings[ask.id][0], **({} if approve else {"reason": "not today: a freeze"})}
        answer = await self.api(key, f"/access-requests/{ask.id}/{'approve' if approve else 'deny'}", body)
        what = (
            f"vote {approve} by {user.name} {via} mfa {bool(mfa_at)} on {ask.id} {ask.roles} of {ask.beneficiary.name}"
        )
        if ask.extends and expected and answer.status in (400, 409):  # too long in all, or what it extends has ended
            self.log.append(f"{self.now} {what}: {answer.status} {answer.body.decode()[:200]}")
        elif self.compare(what, expected, answer, f"{vote}") and vote is not None:
            self.voted(ask, vote, answer, approve=approve)

    def cast(self, ask: Ask, user: User, mfa_at: int, via: str = "") -> Vote | None:
        rules, names = self.world.rules, ask.beneficiary.names
        if self.world.superseded(ask):
            return None
        for name in ask.rules.values():
            if name not in rules or not self.world.includes(rules[name]["requesters"], names, None):
                return None
        return self.world.vote(ask, user, self.now, mfa_at, via)

    def may_vote(self, ask: Ask, user: User, vote: Vote | None, now: int) -> bool:
        own = bool(user.human & self.world.own(ask))
        return vote is not None and ask.accepted and now < ask.deadline and user.able and not own

    def within_rules(self, ask: Ask) -> bool:
        """Whether the request satisfies each rule that has changed since, and that rule tests nothing of the moment."""
        old = {each[2]: each[3] for each in ask.made_under}
        changed = [self.world.rules[name] for name in ask.rules.values() if old[name] != repr(self.world.rules[name])]
        return all(
            "condition" not in rule["requesters"]
            and "requester_mfa_seconds" not in rule
            and self.world.within(ask, rule)
            for rule in changed
        )

    def voted(self, ask: Ask, vote: Vote, answer: Answer, *, approve: bool) -> None:
        if not approve:
            ask.closed = "denied"
            return
        ask.votes[vote.voter] = vote
        complete = self.world.satisfied(ask, ask.rules.values(), vote.bound, now_eligible=False)
        granted = answer.json["state"] != "pending"
        if complete and not granted:
            self.fail(f"complete, and pending: {ask}: {answer.json['missing']}")
        if granted and not self.world.enough(ask, vote.bound):
            self.fail(f"granted by votes for older versions: {ask}")
        if granted:  # if it is not complete by what is known of the persons now, the use shows it
            self.grant(ask, answer, by_persons=True)

    # --- use and end

    async def use(self) -> None:
        granted = {ask.beneficiary for ask in self.asks if ask.granted_at and len(ask.ended) < len(ask.roles)}
        if not granted and self.random.random() < 0.9:
            await self.vote()
            return
        user = self.likely(REQUESTERS, lambda user: user in granted)
        role = self.random.choice(("prod", "prod", "prox"))
        mine = [ask for ask in self.asks if ask.granted_at and not ask.extends]
        before = {ask.id: self.world.refusal(ask, role, user, self.now) for ask in mine}
        parameters = {"RoleArn": self.arn("role", role), "RoleSessionName": "shift"}
        answer = await self.place.server.query(self.key(user)[0], "sts", "2011-06-15", "AssumeRole", **parameters)
        self.log.append(f"{self.now} use {role} by {user.name}: {answer.status} {before}")
        if answer.status != 200:
            if "" in before.values():
                self.fail(f"a use was refused: {answer.body.decode()}")
            await self.synchronise()
            return
        ask = self.used_by(answer, mine)
        if before[ask.id] and self.world.refusal(ask, role, user, self.now):
            self.fail(f"{user.name} got a session of {role} by {ask}: {before[ask.id]}")
        ask.used_at.setdefault(role, self.now)
        ask.uses[role] = ask.uses.get(role, 0) + 1
        made = key_of(ET.fromstring(answer.body))
        self.sessions.append(Issued(made, ask, role))
        if self.random.random() < 0.3:
            parameters["RoleArn"] = self.arn("role", "next")
            further = await self.place.server.query(made, "sts", "2011-06-15", "AssumeRole", **parameters)
            if further.status == 200:
                self.sessions.append(Issued(key_of(ET.fromstring(further.body)), ask, role))

    def used_by(self, answer: Answer, asks: list[Ask]) -> Ask:
        headers = {name.lower(): value for name, value in answer.headers.items()}
        for body in self.installation.records(headers["x-amzn-requestid"]):
            found = body.get("detail", {}).get("grant")
            if found:
                return next(ask for ask in asks if ask.id == found["request"])
        self.fail("a session of a role that needs approval without a grant")
        raise AssertionError

    def over(self, ask: Ask) -> bool:
        return all(role in ask.ended for role in ask.roles)

    async def end(self) -> None:
        live = [ask for ask in self.asks if not ask.closed and not (ask.granted_at and self.over(ask))]
        if not live:
            return
        ask = self.random.choice(live)
        who = self.random.choice((ask.beneficiary, self.some_user()))
        key, mfa_at = self.key(who)
        if not ask.granted_at:
            answer = await self.api(key, f"/access-requests/{ask.id}/cancel")
            mine = who.may_call(mfa_at) and who in (ask.requester, ask.beneficiary) and self.now < ask.deadline
            if self.compare(f"cancel {ask.id} by {who.name}", mine, answer):
                ask.closed = "cancelled"
            return
        if self.random.random() < 0.5:
            answer = await self.api(key, f"/access-requests/{ask.id}/done")
            self.log.append(f"{self.now} done {ask.id} by {who.name}: {answer.status}")
            if answer.status < 300 and who not in (ask.requester, ask.beneficiary):
                self.fail("done by somebody else")
        else:
            shown = await self.shown(ask)
            grant = self.random.choice(shown["grants"])
            answer = await self.api(TENANT_ROOT, f"/grants/{grant['id']}/end")
            self.log.append(f"{self.now} end {grant['role']} of {ask.id}: {answer.status}")
        await self.learn(ask, "ended by a call")

    async def withdraw(self) -> None:
        """A denial after the approval."""
        live = [ask for ask in self.asks if ask.granted_at and not ask.extends and not self.over(ask)]
        if not live:
            return
        ask, user = self.random.choice(live), self.some_user()
        key, mfa_at = self.key(user)
        bound = self.world.bound(ask.rules)
        vote = self.world.vote(ask, user, self.now, mfa_at) if bound else None
        shown = await self.shown(ask)
        body = {"binding": shown["binding"], "reason": "not any more, because of the freeze"}
        answer = await self.api(key, f"/access-requests/{ask.id}/deny", body)
        self.log.append(f"{self.now} withdraw {ask.id} by {user.name}: {answer.status} {answer.body.decode()[:200]}")
        if answer.status < 300:
            if vote is None or not user.able:
                self.fail(f"{user.name} denied {ask}")
            await self.learn(ask, "denied")

    async def learn(self, ask: Ask, why: str) -> None:
        """What has ended by a call that succeeded."""
        for grant in (await self.shown(ask))["grants"]:
            role = grant["role"].rpartition("/")[2].partition("-")[0]
            if grant["state"] == "ended":
                ask.ended.setdefault(role, why)
        await self.check_sessions()

    async def new_version(self) -> None:
        """A role changes, if possible one that somebody has voted on, and more votes follow."""
        await self.change_role()
        for _ in range(3):
            await self.vote()

    async def new_rule(self) -> None:
        await self.change_rule()
        if any("escalation" in rule for rule in self.world.rules.values()):
            await self.settle()  # a sweep escalates what waits already

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
                    gone = [user for user in (ask.requester, ask.beneficiary) if not (user.alive and user.active)]
                    if self.now < ask.deadline and not gone:
                        self.fail(f"{ask} is {shown['state']} {shown['end_reason']}")
                    ask.closed = shown["state"]
                continue
            for grant in shown["grants"]:
                role = grant["role"].rpartition("/")[2].partition("-")[0]
                why = self.world.refusal(ask, role, ask.beneficiary, self.now)
                if grant["state"] == "ended" and role not in ask.ended:
                    if why in ("", "not started", "uses") and not self.world.superseded(ask):
                        self.fail(f"the grant of {role} to {ask.beneficiary.name} ended ({grant['end_reason']}): {ask}")
                    ask.ended[role] = grant["end_reason"]
        await self.check_sessions()

    async def check_void(self) -> None:
        """After a sweep, what is void has ended."""
        await self.settle()
        for ask in self.asks:
            for role in ask.roles if ask.granted_at and not ask.extends else ():
                why = self.world.refusal(ask, role, ask.beneficiary, self.now)
                blocked = ask.beneficiary.blocked
                if why and role not in ask.ended and why not in ("not started", "uses") and not blocked:
                    self.fail(f"the grant of {role} to {ask.beneficiary.name} is open: {why}: {ask}")

    async def run(self, steps: int) -> None:
        await self.fill()
        weighted = {
            self.ask: 6, self.vote: 20, self.use: 10, self.pass_time: 4, self.change_person: 4, self.new_rule: 2,
            self.new_version: 4, self.prove_mfa: 3, self.lead: 2, self.accept: 3, self.extend: 3, self.end: 1,
            self.withdraw: 1, self.check_void: 2,
        }  # fmt: skip
        for step in self.random.choices(list(weighted), list(weighted.values()), k=steps):
            await step()
        await self.check_void()
        for name in list(self.world.rules):
            await self.place.server.api(TENANT_ROOT, "DELETE", f"/approval-rules/{self.full(name)}")
        await sweep(self.installation.runtime.env)
