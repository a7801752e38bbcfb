"""Random votes, some for a lesser role, compared with the oracle of access_oracle.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.attack.access_cast import CAST
from tests.attack.access_oracle import Ask, User, Vote
from tests.attack.access_requests import Requests
from tests.integration.api.conftest import Answer


class Votes(Requests):
    """Approvals and denials."""

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
        binding, bound = (await self.shown(ask))["binding"], self.read_by(ask)
        read = self.bindings.get(ask.id) if self.random.random() < 0.2 else None  # before, perhaps
        self.bindings[ask.id] = read or (binding, bound)
        vote = self.cast(ask, user, mfa_at, via)
        approve = self.random.random() < 0.9
        current = read is None or read[1] == bound
        if vote is None and not approve:  # what nobody can approve can be denied, by who has read that (attack A375)
            vote, current = (
                self.world.vote(self.remaining(ask), user, self.now, mfa_at, via),
                not self.bindings[ask.id][0],
            )
        expected = self.may_vote(ask, user, vote, self.now) and current
        body: dict[str, Any] = {"binding": self.bindings[ask.id][0]}
        body |= {} if approve else {"reason": "not today: a freeze"}
        changed, old = ask, self.random.choice(ask.roles)
        if approve and not ask.extends and self.random.random() < 0.25:
            other = "prox" if old == "prod" else "prod"
            body["substitutes"] = {self.arn("role", old): self.arn("role", other)}
            rules = self.instead(ask, old, other)
            changed = replace(ask, roles=[*rules], rules=rules)
            vote = self.cast(changed, user, mfa_at, via) if rules else None
            expected = expected and self.may_vote(changed, user, vote, self.now)
        if approve:
            expected = expected and (user.permitted or bool(via)) and self.within_rules(changed)
        answer = await self.api(key, f"/access-requests/{ask.id}/{'approve' if approve else 'deny'}", body)
        what = (
            f"vote {approve} by {user.name} {via} mfa {bool(mfa_at)} on {ask.id} {ask.roles} of {ask.beneficiary.name} "
            f"{body.get('substitutes', '')}"
        )
        if ask.extends and expected and answer.status in (400, 409):  # too long in all, or what it extends has ended
            self.log.append(f"{self.now} {what}: {answer.status} {answer.body.decode()[:200]}")
        elif self.compare(what, expected, answer, f"{vote}") and vote is not None:
            if changed is not ask:
                ask.roles, ask.rules, ask.made_under = changed.roles, changed.rules, world.bound(changed.rules)
                ask.votes.clear()
            self.voted(ask, vote, answer, approve=approve)

    def read_by(self, ask: Ask) -> object:
        """The versions that a vote names: of the roles, and of the lesser ones that their rules list."""
        world, listed = self.world, set[object]()
        for role, name in ask.rules.items():
            for other in world.rules.get(name, {}).get("substitutes", ()):
                short = other.removeprefix("role/")
                if short != role and (rule := world.rule_of(short, ask.beneficiary)):
                    listed.add(world.bound({short: rule}))
        return world.bound(ask.rules), listed

    def instead(self, ask: Ask, role: str, other: str) -> dict[str, str]:
        """The rules of the roles when an approver grants another one instead of a role; {}: that cannot be."""
        rule = self.world.rules.get(ask.rules[role], {})
        found = self.world.rule_of(other, ask.beneficiary)
        if other in ask.roles or f"role/{other}" not in rule.get("substitutes", ()) or not found:
            return {}
        return {**{name: ask.rules[name] for name in ask.roles if name != role}, other: found}

    def remaining(self, ask: Ask) -> Ask:
        """The request with only those of its rules that still apply to it."""
        rules, names = self.world.rules, ask.beneficiary.names
        return replace(
            ask,
            rules={
                role: name
                for role, name in ask.rules.items()
                if name in rules
                and self.world.includes(rules[name]["requesters"], names, None)
                and not self.world.superseded(replace(ask, rules={role: name}))
            },
        )

    def cast(self, ask: Ask, user: User, mfa_at: int, via: str = "") -> Vote | None:
        rules, names = self.world.rules, ask.beneficiary.names
        if self.world.superseded(ask) or self.world.revoked(ask) or self.is_lost(ask):
            return None
        for name in ask.rules.values():
            if name not in rules or not self.world.includes(rules[name]["requesters"], names, None):
                return None
        return self.world.vote(ask, user, self.now, mfa_at, via)

    def is_lost(self, ask: Ask) -> bool:
        """Whether the request cannot be approved now: a person of it is disabled, or what it extends is refused (A383)."""
        if not (ask.requester.able and ask.beneficiary.able):
            return True
        earlier, later = ask.extends, {"", "not started", "uses", "time"}
        return earlier is not None and any(
            self.world.refusal(earlier, role, ask.beneficiary, self.now) not in later
            for role in ask.roles
            if role not in earlier.ended
        )

    def may_vote(self, ask: Ask, user: User, vote: Vote | None, now: int) -> bool:
        own = bool(user.human & self.world.own(ask))
        return vote is not None and ask.accepted and now < ask.deadline and user.able and not own

    def within_rules(self, ask: Ask) -> bool:
        """Whether the request satisfies each rule that has changed since, and that rule tests nothing of the moment."""
        old = {each[3] for each in ask.made_under}
        changed = [rule for name in ask.rules.values() if repr(rule := self.world.rules[name]) not in old]
        return all(
            "condition" not in rule["requesters"]
            and "requester_mfa_seconds" not in rule
            and self.world.within(ask, rule, self.now)
            for rule in changed
        )

    def voted(self, ask: Ask, vote: Vote, answer: Answer, *, approve: bool) -> None:
        if not approve:
            ask.closed = "denied"
            return
        ask.votes[vote.voter] = vote
        complete = self.world.satisfied(ask, ask.rules.values(), vote.bound, now_eligible=True)
        granted = answer.json["state"] != "pending"
        if complete and not granted:
            self.fail(f"complete, and pending: {ask}: {answer.json['missing']}")
        if granted and not complete:
            self.fail(f"granted by votes that do not count: {ask}")
        if granted:
            self.grant(ask, answer, by_persons=True)
