"""The access that the documentation of requests and rules promises, computed from the history of calls alone.

An approval is a recorded fact: when it is decided, the votes that counted are stored. Each use compares what was approved
with what is there now; the persons are asked about once, at the first use.

Written from docs/how-to/access-requests.md, approval-rules.md, on-call.md and break-glass.md. It shares no code with Daypass.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

Document = Mapping[str, Any]
Bound = tuple[Any, ...]  # the versions of roles and rules that an approval is for


@dataclass(eq=False)
class User:
    """One user: one that is created again with the same name is another. Times are in ms."""

    name: str
    serial: int
    groups: set[str] = field(default_factory=set)
    tag: str = ""  # daypass:person
    alive: bool = True
    active: bool = True  # has an active key
    blocked: bool = False
    revoked_at: int = 0
    permitted: bool = True  # has daypass:ApproveAccessRequest
    mfa_at: int = 0

    @property
    def names(self) -> set[str]:
        return {f"user/{self.name}", *(f"group/{group}" for group in self.groups)} if self.alive else set()

    @property
    def human(self) -> set[str]:
        return {f"user:{self.serial}", *((f"tag:{self.tag}",) if self.tag and self.alive else ())}

    @property
    def able(self) -> bool:
        return self.alive and self.active and not self.blocked

    def may_call(self, mfa_at: int) -> bool:
        """Whether its credentials work. Sessions outlive the key that they were made with; a block stops both."""
        return self.alive and not self.blocked and (self.active or bool(mfa_at))


@dataclass
class Role:
    name: str
    version: int = 0
    policy: int = 0

    @property
    def now(self) -> tuple[int, int]:
        return self.version, self.policy


@dataclass
class Vote:
    voter: User
    at: int
    mfa_at: int
    bound: Bound
    human: set[str]
    via: str = ""  # a role through which the person votes
    stages: set[tuple[str, str]] = field(default_factory=set)  # (rule, stage) that were open to the voter


@dataclass
class Ask:
    """A request, and what it was granted as."""

    id: str
    requester: User
    beneficiary: User
    roles: list[str]
    rules: dict[str, str]  # the name of the rule of each role
    made_under: Bound
    seconds: int
    created_at: int
    deadline: int
    accepted_at: int = 0
    starts_at: int = 0
    max_uses: int = 0
    emergency: bool = False
    extends: Ask | None = None
    accepted: bool = True
    votes: dict[User, Vote] = field(default_factory=dict)
    human: set[str] = field(default_factory=set)
    granted_at: int = 0
    granted: Bound = ()
    approvers: dict[str, list[Vote]] = field(default_factory=dict)  # the votes that counted, by role
    closed: str = ""  # why the request ended before it was granted
    ended: dict[str, str] = field(default_factory=dict)  # why each grant ended
    used_at: dict[str, int] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    limit: dict[str, int] = field(default_factory=dict)  # seconds of each grant
    claim_by: dict[str, int] = field(default_factory=dict)  # ms


class World:
    """People, roles and rules as the calls left them."""

    def __init__(self) -> None:
        self.users: dict[str, User] = {}
        self.roles: dict[str, Role] = {}
        self.rules: dict[str, Document] = {}
        self.on_call: dict[str, set[str]] = {}  # for each rule, whom its schedule names

    # --- rules

    def rule_of(self, role: str, user: User, context: User | None = None, mfa_at: int = 0) -> str:
        """The name of the most specific rule whose requesters include the user; "": none."""
        fitting = [
            (all("*" not in pattern for pattern in document["roles"]), name)
            for name, document in self.rules.items()
            if any(role_matches(pattern, role) for pattern in document["roles"])
            and self.includes(document["requesters"], user.names, context, mfa_at, self.calls(name, context))
        ]
        return max(fitting)[1] if fitting else ""

    def superseded(self, ask: Ask, only: str = "") -> bool:
        """Whether a rule that tests no condition and is more specific than that of the request applies to a role now."""
        plain = {name for name, document in self.rules.items() if "condition" not in document["requesters"]}
        return any(
            rule == "general"
            and role in plain
            and self.includes(self.rules[role]["requesters"], ask.beneficiary.names, None)
            for role, rule in ask.rules.items()
            if only in ("", role)
        )

    def includes(
        self, people: Document, names: set[str], user: User | None, mfa_at: int = 0, on_call: bool = False
    ) -> bool:
        named = bool(names & set(people["principals"]))
        return named and (user is None or holds(people.get("condition", {}), user, mfa_at, on_call))

    def calls(self, rule: str, user: User | None) -> bool:
        """Whether the rule's own schedule names the user."""
        return user is not None and "on_call" in self.rules[rule] and user.name in self.on_call.get(rule, ())

    def bound(self, rules: Mapping[str, str]) -> Bound:
        """The versions of roles and of their rules now; () when one does not exist any more."""
        if any(name not in self.rules for name in rules.values()):
            return ()
        return tuple((role, self.roles[role].now, name, repr(self.rules[name])) for role, name in sorted(rules.items()))

    def within(self, ask: Ask, rule: Document, now: int) -> bool:
        """Whether what was requested is within the limits of the rule as it is now."""
        uses = rule.get("max_uses", 0)
        return (
            ask.seconds <= rule["max_seconds"]
            and in_window(rule, now)
            and (not uses or 1 <= ask.max_uses <= uses)
            and (ask.requester is ask.beneficiary or rule["on_behalf"])
        )

    # --- approvers

    def vote(self, ask: Ask, user: User, at: int, mfa_at: int, via: str = "") -> Vote | None:
        """The vote that the user may cast at this time; None: the user is no approver."""
        vote = Vote(user, at, mfa_at, self.bound(ask.rules), set(user.human), via)
        vote.stages = {
            (name, stage["name"])
            for name in ask.rules.values()
            for stage in self.rules[name]["stages"]
            if fresh(mfa_at, stage, at) and self.fits(self.rules[name], stage, ask, names_of(user, via), at)
        }
        return vote if vote.stages else None

    def fits(self, document: Document, stage: Document, ask: Ask, names: set[str], at: int) -> bool:
        if names & set(stage["approvers"]["principals"]):
            return True
        escalation = document.get("escalation")
        late = escalation and at >= (ask.accepted_at or ask.created_at) + escalation["after_seconds"] * 1000
        return bool(late and names & set(escalation["approvers"]["principals"]))

    def own(self, ask: Ask) -> set[str]:
        """Everybody that the request is of."""
        return ask.human | ask.requester.human | ask.beneficiary.human

    def revoked(self, ask: Ask) -> bool:
        """Whether a person of the request was revoked after it was made, or is blocked."""
        return any(user.blocked or ask.created_at < user.revoked_at for user in (ask.requester, ask.beneficiary))

    def complete(self, ask: Ask, bound: Bound) -> bool:
        """Whether different persons, who are still there and permitted, have approved in every place of every stage."""
        votes = [vote for vote in ask.votes.values() if vote.bound == bound and self.still(ask, vote, ask.rules)]
        votes = [vote for vote in votes if not (vote.human | vote.voter.human) & self.own(ask)]
        return self.filled(dict.fromkeys(ask.rules.values()), votes)

    def filled(self, rules: Iterable[str], votes: list[Vote]) -> bool:
        """Whether votes of different persons fill all places of these rules."""
        places = []
        for name in rules:
            stages = self.rules[name]["stages"]
            if not stages:
                return False
            places += [(name, stage["name"]) for stage in stages for _ in range(stage.get("threshold", 1))]
        return any(
            distinct(chosen) and all(place in vote.stages for vote, place in zip(chosen, places, strict=True))
            for chosen in itertools.permutations(votes, len(places))
        )

    def still(self, ask: Ask, vote: Vote, rules: Mapping[str, str]) -> bool:
        """Whether the voter is still there, was not revoked since the vote, and may still approve."""
        permitted = vote.voter.permitted or bool(vote.via)  # who votes through a role has the permission of the role
        return (
            permitted
            and vote.voter.able
            and vote.at >= vote.voter.revoked_at
            and any(
                (name, stage["name"]) in vote.stages
                and self.fits(self.rules[name], stage, ask, names_of(vote.voter, vote.via), vote.at)
                for name in rules.values()
                for stage in self.rules[name]["stages"]
            )
        )

    # --- use

    def changed(self, ask: Ask, role: str) -> bool:
        """Whether the role or its rule is not what was approved."""
        rule = self.rules.get(ask.rules[role])
        return (role, self.roles[role].now, ask.rules[role], repr(rule)) not in ask.granted

    def refusal(self, ask: Ask, role: str, user: User, now: int) -> str:
        """Why the request gives its beneficiary no session at this time; "": it gives one."""
        if ask.beneficiary is not user or role not in ask.roles or not ask.granted_at:
            return "not granted"
        if role in ask.ended:
            return f"ended: {ask.ended[role]}"
        if self.changed(ask, role):
            return "the role or rule has changed"
        if user.blocked or not user.alive:
            return "the person gets no sessions"
        used = ask.used_at.get(role, 0)
        if now >= (used + ask.limit[role] * 1000 if used else ask.claim_by[role]):
            return "time"
        if not used and (why := self.first_use(ask, role)):
            return why
        if now < ask.starts_at:
            return "not started"
        return "uses" if ask.max_uses and ask.uses.get(role, 0) >= ask.max_uses else ""

    def first_use(self, ask: Ask, role: str) -> str:
        """Why the persons of the request, or its approvers, are not permitted any more."""
        rule, names = self.rules[ask.rules[role]], ask.beneficiary.names
        if not (ask.requester.able and ask.beneficiary.able) or self.revoked(ask):
            return "a person is disabled or was revoked"
        people = rule["break_glass"]["people"] if ask.emergency else rule["requesters"]
        if not self.includes(people, names, None) or self.superseded(ask, role):
            return "the person may not request"
        votes = ask.approvers.get(role, ())
        return "" if all(self.still(ask, vote, {role: ask.rules[role]}) for vote in votes) else "an approver"


def names_of(user: User, via: str) -> set[str]:
    return user.names | ({f"role/{via}"} if via and user.alive else set())


def role_matches(pattern: str, role: str) -> bool:
    name = pattern.removeprefix("role/")
    return role.startswith(name[:-1]) if name.endswith("*") else role == name


def holds(condition: Document, user: User, mfa_at: int, on_call: bool = False) -> bool:
    wanted = condition.get("StringEquals", {}).get("aws:username")
    facts = {"aws:MultiFactorAuthPresent": bool(mfa_at), "daypass:OnCall": on_call}
    return (wanted is None or wanted == user.name) and all(facts[key] for key in condition.get("Bool", {}))


def in_window(rule: Document, now: int) -> bool:
    """Whether access may be requested at this time (ms)."""
    clock = f"{now // 3_600_000 % 24:02}:{now // 60_000 % 60:02}"
    windows = rule.get("windows", ())
    return not windows or any(each["begin"] <= clock < each["until"] for each in windows)


def fresh(mfa_at: int, stage: Document, at: int, member: str = "mfa_seconds") -> bool:
    age = stage.get(member)
    return age is None or bool(mfa_at and at - mfa_at <= age * 1000)


def distinct(votes: Iterable[Vote]) -> bool:
    seen: list[set[str]] = []
    for vote in votes:
        human = vote.human | vote.voter.human
        if any(human & other for other in seen):
            return False
        seen.append(human)
    return True
