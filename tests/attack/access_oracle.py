"""What access the documentation of requests and rules promises, computed from the history of calls alone.

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
        """Whether its credentials work. Sessions outlive the key that they were made with; a block stops no key."""
        return self.alive and (self.active or bool(mfa_at))


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
    instead_of: User | None  # the absent person of a delegation
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
    by_persons: bool = False
    closed: str = ""  # why the request ended before it was granted
    ended: dict[str, str] = field(default_factory=dict)  # why each grant ended
    more: list[Ask] = field(default_factory=list)  # approved extensions by persons
    used_at: dict[str, int] = field(default_factory=dict)
    uses: dict[str, int] = field(default_factory=dict)
    limit: dict[str, int] = field(default_factory=dict)  # seconds of each grant


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

    def superseded(self, ask: Ask) -> bool:
        """Whether a rule that tests no condition and is more specific than that of the request applies to a role now."""
        plain = {name for name, document in self.rules.items() if "condition" not in document["requesters"]}
        return any(
            rule == "general"
            and role in plain
            and self.includes(self.rules[role]["requesters"], ask.beneficiary.names, None)
            for role, rule in ask.rules.items()
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
        """The vote that the user may cast at this time: in the own name, otherwise in the place of somebody absent."""
        everyone = [self.absent(self.rules[name], user, at) for name in dict.fromkeys(ask.rules.values())]
        for instead_of in (None, *itertools.chain(*everyone)):
            human = user.human | (instead_of.human if instead_of else set())
            vote = Vote(user, at, mfa_at, self.bound(ask.rules), instead_of, human, via)
            vote.stages = {(name, stage["name"]) for name in ask.rules.values() for stage in self.rules[name]["stages"]}
            vote.stages = {
                (name, stage["name"])
                for name in ask.rules.values()
                for stage in self.rules[name]["stages"]
                if self.fills(ask, vote, name, stage)
            }
            if vote.stages and (instead_of is None or instead_of.able):
                return vote
        return None

    def fits(self, document: Document, stage: Document, ask: Ask, names: set[str], at: int) -> bool:
        if names & set(stage["approvers"]["principals"]):
            return True
        escalation = document.get("escalation")
        late = escalation and at >= (ask.accepted_at or ask.created_at) + escalation["after_seconds"] * 1000
        return bool(late and names & set(escalation["approvers"]["principals"]))

    def absent(self, document: Document, user: User, at: int) -> list[User]:
        return [
            self.users[each["absent"].removeprefix("user/")]
            for each in document.get("delegations", ())
            if each["to"] == f"user/{user.name}" and each["begin"] <= at < each["until"]
        ]

    def own(self, ask: Ask) -> set[str]:
        """Everybody that the request is of."""
        return ask.human | ask.requester.human | ask.beneficiary.human

    def revoked(self, ask: Ask) -> bool:
        """Whether a person of the request was revoked after it was made, or is blocked."""
        return any(user.blocked or ask.created_at < user.revoked_at for user in (ask.requester, ask.beneficiary))

    def satisfied(self, ask: Ask, rules: Iterable[str], bound: Bound, *, now_eligible: bool) -> bool:
        """Whether different eligible persons fill every place of every stage of these rules."""
        places = []
        for name in dict.fromkeys(rules):
            stages = self.rules[name]["stages"]
            if not stages:
                return False
            places += [(name, stage) for stage in stages for _ in range(stage.get("threshold", 1))]
        votes = [vote for vote in ask.votes.values() if vote.bound == bound]
        votes = [vote for vote in votes if not (vote.human | vote.voter.human) & self.own(ask)]
        if now_eligible:
            votes = [vote for vote in votes if self.still(vote)]
        return any(
            distinct(chosen) and all(self.fills(ask, vote, *place) for vote, place in zip(chosen, places, strict=True))
            for chosen in itertools.permutations(votes, len(places))
        )

    def still(self, vote: Vote) -> bool:
        """Whether the voter, who was not revoked since, and the person in whose place, still may."""
        permitted = vote.voter.permitted or bool(vote.via)  # who votes through a role has the permission of the role
        stands = vote.voter.able and vote.at >= vote.voter.revoked_at
        return stands and permitted and (vote.instead_of is None or vote.instead_of.able)

    def fills(self, ask: Ask, vote: Vote, rule: str, stage: Document) -> bool:
        """Whether the vote counts in a stage: it was open to the voter then, and is now."""
        document = self.rules[rule]
        if (rule, stage["name"]) not in vote.stages or not fresh(vote.mfa_at, stage, vote.at):
            return False
        if vote.instead_of is None:
            return self.fits(document, stage, ask, names_of(vote.voter, vote.via), vote.at)
        absent = vote.instead_of
        named = bool(absent.names & set(stage["approvers"]["principals"]))
        return named and absent in self.absent(document, vote.voter, vote.at) and not absent.human & self.own(ask)

    # --- use

    def unchanged(self, ask: Ask) -> list[str]:
        """The rules of the roles of a granted request which are, like their roles, as they were."""
        found = (
            (name, (role, self.roles[role].now, name, repr(self.rules.get(name)))) for role, name in ask.rules.items()
        )
        return [name for name, version in found if version in ask.granted]

    def refusal(self, ask: Ask, role: str, user: User, now: int) -> str:
        """Why the request gives its beneficiary no session at this time; "": it gives one."""
        start = max(ask.granted_at, ask.starts_at)
        rule = self.rules.get(ask.rules.get(role, ""))
        version = next((each for each in ask.granted if each[0] == role), None)
        if ask.beneficiary is not user or role not in ask.roles or not ask.granted_at:
            return "not granted"
        if role in ask.ended:
            return f"ended: {ask.ended[role]}"
        if rule is None or version != (role, self.roles[role].now, ask.rules[role], repr(rule)):
            return "the role or rule has changed"
        if not user.able:
            return "the person is disabled or blocked"
        if ask.created_at < user.revoked_at:
            return "the person was revoked"
        people = rule["break_glass"]["people"] if ask.emergency else rule["requesters"]
        if not self.includes(people, user.names, None):
            return "the person may not request"
        used = ask.used_at.get(role, 0)
        if now >= (used + ask.limit[role] * 1000 if used else start + rule.get("claim_seconds", 3600) * 1000):
            return "time"
        rules = self.unchanged(ask)
        if ask.by_persons and not self.satisfied(ask, rules, ask.granted, now_eligible=True):
            return "an approver"
        if not all(self.satisfied(more, rules, more.granted, now_eligible=True) for more in ask.more):
            return "an approver of the extension"
        if now < start:
            return "not started"
        return "uses" if ask.max_uses and ask.uses.get(role, 0) >= ask.max_uses else ""


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
