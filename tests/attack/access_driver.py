"""Random calls about access requests, by people who also lose, gain and share what decides about them, and a comparison of
each answer with the oracle of access_oracle.py.
"""

from __future__ import annotations

from xml.etree import ElementTree as ET

from tests.attack.access_cast import REQUESTERS, Issued, key_of
from tests.attack.access_oracle import Ask
from tests.attack.access_votes import Votes
from tests.integration.api.conftest import TENANT_ROOT, Answer

from daypass.operations.access_requests.follow import sweep


class Driver(Votes):
    """One history of calls."""

    # --- use and end

    async def use(self) -> None:
        granted = {ask.beneficiary for ask in self.asks if ask.granted_at and len(ask.ended) < len(ask.roles)}
        if not granted and self.random.random() < 0.9:
            await self.vote()
            return
        user = self.likely(REQUESTERS, lambda user: user in granted)
        role = self.random.choice(("prod", "prod", "prox"))
        mine = [ask for ask in self.asks if ask.granted_at]
        before = {ask.id: self.world.refusal(ask, role, user, self.now) for ask in mine}
        parameters = {"RoleArn": self.arn("role", role), "RoleSessionName": "shift"}
        key, mfa_at = self.key(user)
        answer = await self.place.server.query(key, "sts", "2011-06-15", "AssumeRole", **parameters)
        self.log.append(f"{self.now} use {role} by {user.name}: {answer.status} {before}")
        if answer.status != 200:
            if "" in before.values() and user.may_call(mfa_at):
                self.fail(f"a use was refused: {answer.body.decode()}")
            await self.synchronise()
            return
        ask = self.used_by(answer, mine)
        if before[ask.id] and self.world.refusal(ask, role, user, self.now):
            self.fail(f"{user.name} got a session of {role} by {ask}: {before[ask.id]}")
        ask.used_at.setdefault(role, self.now)
        ask.uses[role] = ask.uses.get(role, 0) + 1
        await self.synchronise()  # a void grant that came before this one has ended
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
        live = [ask for ask in self.asks if ask.granted_at and not self.over(ask)]
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
        """Access that a successful call has ended."""
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

    async def check_void(self) -> None:
        """After a sweep, what is void has ended."""
        await self.settle()
        for ask in self.asks:
            for role in ask.roles if ask.granted_at else ():
                why = self.world.refusal(ask, role, ask.beneficiary, self.now)
                swept = ("time", "the role or rule has changed") if role in ask.used_at else ("time",)
                if why in swept and role not in ask.ended:
                    self.fail(f"the grant of {role} to {ask.beneficiary.name} is open: {why}: {ask}")

    async def run(self, steps: int) -> None:
        await self.fill()
        weighted = {
            self.ask: 6, self.vote: 20, self.use: 10, self.pass_time: 4, self.change_person: 4, self.new_rule: 2,
            self.new_version: 4, self.prove_mfa: 3, self.lead: 2, self.shift: 2, self.accept: 3, self.extend: 3, self.end: 1,
            self.withdraw: 1, self.check_void: 2,
        }  # fmt: skip
        for step in self.random.choices(list(weighted), list(weighted.values()), k=steps):
            await step()
        await self.check_void()
        for name in list(self.world.rules):
            await self.place.server.api(TENANT_ROOT, "DELETE", f"/approval-rules/{self.full(name)}")
        await sweep(self.installation.runtime.env)
