"""Random votes, compared with the oracle of access_oracle.py."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tests.attack.access_cast import CAST
from tests.attack.access_oracle import Ask, User, Vote
from tests.attack.access_requests import Requests
from tests.integration.api.conftest import Answer

from daypass.domain.directory import Grant


class Votes(Requests):
    """Approvals and denials."""

    async def vote(self) -> None:
        await self.settle()  # a sweep escalates
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
        current = read is None or read[1] == bound
        if vote is None and not approve:  # what nobody can approve can be denied, by who has read that (attack A375)
            vote, current = (world.vote(self.remaining(ask), user, self.now, mfa_at, via), not self.bindings[ask.id][0])
        expected = self.may_vote(ask, user, vote, self.now) and current
        body: dict[str, Any] = {"binding": self.bindings[ask.id][0]}
        if approve:
            expected = expected and (user.permitted or bool(via))
        else:
            body["reason"] = "not today: a freeze"
        answer = await self.api(key, f"/access-requests/{ask.id}/{'approve' if approve else 'deny'}", body)
        what = (
            f"vote {approve} by {user.name} {via} mfa {bool(mfa_at)} on {ask.id} {ask.roles} of {ask.beneficiary.name}"
        )
        if self.compare(what, expected, answer, f"{vote}") and vote is not None:
            await self.voted(ask, vote, answer, approve=approve)

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
                and not self.world.superseded(ask, role)
            },
        )

    def cast(self, ask: Ask, user: User, mfa_at: int, via: str = "") -> Vote | None:
        """The vote of the user on a request that can be approved."""
        rules, names = self.world.rules, ask.beneficiary.names
        if self.world.superseded(ask) or self.world.revoked(ask) or not (ask.requester.able and ask.beneficiary.able):
            return None
        made_under = {each[3] for each in ask.made_under}
        for name in ask.rules.values():
            if name not in rules or not self.world.includes(rules[name]["requesters"], names, None):
                return None
            if repr(rules[name]) not in made_under:
                return None
        return self.world.vote(ask, user, self.now, mfa_at, via)

    def may_vote(self, ask: Ask, user: User, vote: Vote | None, now: int) -> bool:
        own = bool(user.human & self.world.own(ask))
        return vote is not None and ask.accepted and now < ask.deadline and user.able and not own

    async def voted(self, ask: Ask, vote: Vote, answer: Answer, *, approve: bool) -> None:
        if not approve:
            ask.closed = "denied"
            return
        ask.votes[vote.voter] = vote
        complete, granted = self.world.complete(ask, vote.bound), answer.json["state"] != "pending"
        if complete and not granted:
            self.fail(f"complete, and pending: {ask}: {answer.json['missing']}")
        if granted and not complete:
            self.fail(f"granted by votes that do not count: {ask}")
        if granted:
            self.grant(ask, answer, by_persons=True)
            await self.learn_approvers(ask)

    async def learn_approvers(self, ask: Ask) -> None:
        """The votes that Daypass has stored as those that counted fill the places of each role's rule."""
        voted = {self.place.users[self.full(vote.voter.name)].id: vote for vote in ask.votes.values()}
        grants = await self.installation.runtime.directory.read(
            lambda tx: tx.find(Grant, request_id=ask.id), account=""
        )
        for grant in grants:
            role = grant.role_arn.rpartition("/")[2].partition("-")[0]
            ask.approvers[role] = votes = [voted[each] for each in grant.approvers]
            if not self.world.filled([ask.rules[role]], votes):
                self.fail(f"{grant} names votes that do not fill the stages of its rule: {ask}")
