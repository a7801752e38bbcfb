"""Approval rules: which persons may request a role, who approves, and within which limits.

A rule is a JSON document, checked completely when it is written. Its conditions are the Condition blocks of the policy
language, compiled by the same compiler. A role without a rule cannot be requested.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final, Literal

import msgspec
from msgspec import Meta, Struct

from daypass.domain.access.terms import MAX_REASON, MAX_TICKET, Terms, digest
from daypass.domain.policy.budget import EVALUATION
from daypass.domain.policy.compiled import PolicyDocument, PolicyKind, Statement
from daypass.domain.policy.document import parse
from daypass.domain.policy.evaluate import holds, steps
from daypass.domain.policy.model import Context
from daypass.domain.policy.pattern import Patterns, Wild, tokenize
from daypass.domain.policy.source import PolicyError
from daypass.domain.policy.values import ArnGlob
from daypass.domain.strict_json import struct_reader
from daypass.domain.visible import BLANK

MAX_RULE: Final = 16_384  # characters
MAX_WILDCARDS: Final = 500  # of a rule that is written: compiling one takes some microseconds (attack A263)
LONGEST: Final = 43_200  # seconds, as of a role session
_NAME = re.compile(r"[A-Za-z0-9_+=,.@-]{1,64}")
_CLOCK = re.compile(r"(?:[01][0-9]|2[0-3]):[0-5][0-9]|24:00")
_WEB = re.compile(r"https?://[!-~]+")
_FILE = re.compile(r"[^./\\:][^/\\:]*")
_SHORT = re.compile(r"(?:user|group|role|federated-user|assumed-role)/[^\s]+")
DAYS: Final = ("mon", "tue", "wed", "thu", "fri", "sat", "sun")

Seconds = Annotated[int, Meta(ge=60, le=LONGEST)]
Wait = Annotated[int, Meta(ge=60, le=30 * 86_400)]
Age = Annotated[int, Meta(ge=1, le=86_400)]
Text = Annotated[str, Meta(max_length=256)]
Pattern = Annotated[str, Meta(min_length=1, max_length=2048)]
PatternList = Annotated[tuple[Pattern, ...], Meta(max_length=50)]


class RuleError(Exception):
    """The document is not a rule. The message is for its author."""


# Unknown members are refused in every part of a rule, so that a misspelled limit is not ignored.


class People(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Persons, by patterns of ARNs: of users, groups, roles, role sessions, and of subjects of identity providers
    (the ARN of the provider, a colon and the subject). A pattern names whoever has the ARN now: one that was
    created again, too. `condition`: a Condition block; the keys are those of the request.
    """

    principals: PatternList
    condition: dict[str, Any] = {}


class Stage(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A stage of approval: `threshold` different persons of `approvers`, with MFA at most `mfa_seconds` ago if set.

    `step_up`: each vote is confirmed with MFA itself, by a passkey that signs what is approved, or a code.
    """

    approvers: People
    name: Text = "approval"
    threshold: Annotated[int, Meta(ge=1, le=10)] = 1
    mfa_seconds: Age | None = None
    step_up: bool = False


class ReasonRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`patterns`: wildcards, one of which must match. `letters`: minimum number of letters and digits."""

    patterns: PatternList = ()
    letters: Annotated[int, Meta(ge=1, le=200)] = 8


class TicketRule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """`patterns`: wildcards, one of which must match. `webhook`: an https URL that confirms that the ticket is open."""

    required: bool = True
    patterns: PatternList = ()
    webhook: Annotated[str, Meta(max_length=2048)] = ""


class Window(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Times of the week in a time zone. `until` "24:00" is the end of the day; a window does not cross midnight."""

    days: Annotated[tuple[Literal["mon", "tue", "wed", "thu", "fri", "sat", "sun"], ...], Meta(min_length=1)] = DAYS
    begin: str = "00:00"
    until: str = "24:00"
    zone: Text = "UTC"


class OnCall(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """A schedule that says who is on call: daypass:OnCall. `calendar`: an https URL, or the name of an iCalendar file in
    the server's directory. `kind`: the shape of the answer.
    """

    calendar: Annotated[str, Meta(min_length=1, max_length=2048)]
    kind: Literal["icalendar", "pagerduty", "opsgenie", "incident.io"] = "icalendar"


class Automatic(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Approves without a person when `condition` holds and the time is in one of `windows` (empty: any time)."""

    name: Text
    condition: dict[str, Any]
    windows: tuple[Window, ...] = ()
    seconds: Seconds | None = None
    mfa_seconds: Age | None = None


class BreakGlass(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Emergency access without an approver: for `people`, at most `seconds`, with an alert and a review afterwards."""

    people: People
    seconds: Seconds = 3600
    mfa_seconds: Age | None = 900


class Escalation(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """After `after_seconds` without a decision, `approvers` are also eligible in every stage."""

    after_seconds: Wait
    approvers: People


class Chat(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """Approval by a button in a chat message, without MFA, of requests whose risk is at most `max_risk`."""

    max_risk: Annotated[int, Meta(ge=0, le=50)] = 20


class Rule(Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True):
    """An approval rule.

    Attributes:
        roles: patterns of role ARNs.
        role_tags: tags that the role must also have.
        requesters: who may request.
        description: for people.
        stages: all must approve. Without stages only `automatic` and `break_glass` grant access.
        reason: the form of a reason.
        ticket: the form of a ticket, and the service that confirms it. None: no ticket is required.
        max_seconds: longest grant.
        default_seconds: duration of a request that names none.
        claim_seconds: the time in which an approved grant must be used first.
        pending_seconds: the time in which a request must be decided.
        requester_mfa_seconds: the requester must have used MFA so recently; None: MFA is not required.
        windows: the times in which access may be requested, and accepted; empty: any time.
        automatic: approves without a person under a condition.
        on_call: the schedule for the condition key `daypass:OnCall`.
        break_glass: emergency access without an approver.
        escalation: further approvers after some time.
        chat: whether a vote may come from a chat; None: no. Stages that take MFA accept none.
        on_behalf: whether somebody may request for another person.
        max_uses: highest and default number of sessions; 0: any number.
    """

    roles: Annotated[tuple[Pattern, ...], Meta(min_length=1, max_length=50)]
    requesters: People
    role_tags: dict[str, str] = {}
    description: Text = ""
    stages: Annotated[tuple[Stage, ...], Meta(max_length=5)] = ()
    reason: ReasonRule = ReasonRule()
    ticket: TicketRule | None = None
    max_seconds: Seconds = 3600
    default_seconds: Seconds | None = None
    claim_seconds: Wait = 3600
    pending_seconds: Wait = 86_400
    requester_mfa_seconds: Age | None = None
    windows: tuple[Window, ...] = ()
    automatic: Annotated[tuple[Automatic, ...], Meta(max_length=10)] = ()
    on_call: OnCall | None = None
    break_glass: BreakGlass | None = None
    escalation: Escalation | None = None
    chat: Chat | None = None
    on_behalf: bool = False
    max_uses: Annotated[int, Meta(ge=0, le=1000)] = 0


_read = struct_reader(Rule)


class CompiledPeople:
    """`People` with its patterns compiled."""

    __slots__ = ("_arns", "_condition", "_patterns", "_texts")

    def __init__(self, people: People, account: str) -> None:
        self._texts = expanded(people.principals, account)
        self._patterns = Patterns(self._texts)  # quick, and includes at least those of `_arns`
        self._arns: tuple[ArnGlob, ...] = ()  # large: compiled for the first person who may be included
        self._condition = compiled_condition(people.condition)

    @property
    def conditional(self) -> bool:
        """Whether a condition of the request is tested, too."""
        return self._condition is not None

    def include(self, names: Iterable[str], context: Context | None) -> bool:
        """Whether they include the person with these ARNs. `context` None: conditions are not tested.

        Conditions describe the moment of a request or vote; at a later use there is no such moment.
        """
        found = [name for name in names if self._patterns.matches(name, {})]
        if found and not self._arns:
            self._arns = tuple(map(_arn_pattern, self._texts))
        if not any(arn.matches(name) for name in found for arn in self._arns):
            return False
        return context is None or condition_holds(self._condition, context)


class CompiledRule:
    """A rule of one account, ready to use. `name` and `digest` identify its version."""

    __slots__ = ("_roles", "account", "break_glass", "digest", "escalation", "name", "requesters", "rule", "stages")

    def __init__(self, account: str, name: str, rule: Rule) -> None:
        self.account, self.name, self.rule = account, name, rule
        self.digest = digest(rule)
        self._roles = Patterns(expanded(rule.roles, account))
        self.requesters = CompiledPeople(rule.requesters, account)
        self.stages = tuple(CompiledPeople(stage.approvers, account) for stage in rule.stages)
        glass, escalation = rule.break_glass, rule.escalation
        self.break_glass = CompiledPeople(glass.people, account) if glass is not None else None
        self.escalation = CompiledPeople(escalation.approvers, account) if escalation is not None else None

    def covers(self, role_arn: str, tags: Mapping[str, str]) -> bool:
        """Whether the rule is for this role."""
        wanted = self.rule.role_tags
        return self._roles.matches(role_arn, {}) and all(tags.get(key) == value for key, value in wanted.items())

    @property
    def specificity(self) -> tuple[int, int, str]:
        """The greatest of some rules for a role applies: one that names it without wildcards, then the one with the longest
        pattern, then the one that asks for more tags.
        """
        exact = [pattern for pattern in self.rule.roles if "*" not in pattern and "?" not in pattern]
        longest = max(len(pattern) for pattern in self.rule.roles)
        named = (1 << 16) + longest if len(exact) == len(self.rule.roles) else longest
        return named, len(self.rule.role_tags), self.name


def read_rule(account: str, name: str, document: str) -> CompiledRule:
    """The rule of a document. Raises RuleError with the place and the fault."""
    if not _NAME.fullmatch(name):
        raise RuleError("A rule's name is 1 to 64 letters, digits and +=,.@_-")
    if len(document) > MAX_RULE:
        raise RuleError(f"A rule has at most {MAX_RULE} characters.")
    try:
        rule = _read(document)
        compiled = CompiledRule(account, name, rule)
        for automatic in rule.automatic:
            compiled_condition(automatic.condition)
    except (ValueError, PolicyError) as error:  # msgspec.ValidationError is a ValueError
        raise RuleError(f"The rule is not valid: {error}") from None
    _check(rule)
    return compiled


def _check(rule: Rule) -> None:
    names = [stage.name for stage in rule.stages]
    if len(set(names)) != len(names):
        raise RuleError("Two stages have the same name.")
    if (rule.default_seconds or 0) > rule.max_seconds:
        raise RuleError("default_seconds is over max_seconds.")
    if not (rule.stages or rule.automatic or rule.break_glass):
        raise RuleError("The rule grants nothing: it has neither stages nor automatic nor break_glass.")
    if rule.chat is not None and all(stage.mfa_seconds is not None or stage.step_up for stage in rule.stages):
        raise RuleError("chat needs a stage without mfa_seconds and step_up: a chat proves no MFA.")
    for window in (*rule.windows, *(w for automatic in rule.automatic for w in automatic.windows)):
        if not (_CLOCK.fullmatch(window.begin) and _CLOCK.fullmatch(window.until)) or window.begin >= window.until:
            raise RuleError("A window has begin and until as HH:MM, begin before until.")


def check_wildcards(rule: Rule) -> None:
    """Raises RuleError for too many. Stored rules are not checked again."""
    text = msgspec.json.encode(rule)
    if text.count(b"*") + text.count(b"?") > MAX_WILDCARDS:
        raise RuleError(f"A rule has at most {MAX_WILDCARDS} wildcards (* and ?).")


def check_addresses(rule: Rule) -> None:
    """Raises RuleError for an address that no server could request. A server checks more: it knows its network."""
    if rule.ticket is not None and rule.ticket.webhook and not _WEB.fullmatch(rule.ticket.webhook):
        raise RuleError("The rule is not valid: ticket.webhook is not a URL: https://HOST/PATH.")
    schedule = rule.on_call
    if schedule is not None and not is_file_name(schedule) and not _WEB.fullmatch(schedule.calendar):
        raise RuleError("The rule is not valid: on_call.calendar is not a URL, nor the name of an iCalendar file.")


def is_file_name(schedule: OnCall) -> bool:
    """Whether the calendar is a file in the server's directory."""
    return schedule.kind == "icalendar" and _FILE.fullmatch(schedule.calendar) is not None


def expanded(patterns: Sequence[str], account: str) -> tuple[str, ...]:
    """Patterns with short names replaced by ARNs of the account: `group/on-call`, `role/prod/*`."""
    return tuple(_expanded(pattern, account) for pattern in patterns)


def _arn_pattern(pattern: str) -> ArnGlob:
    """A pattern of persons, compared field by field: who chooses what follows a colon, as the subject of a provider, does
    not choose whom it names (attack A269). A `*` that ends a shorter pattern stands for the remaining fields.
    """
    if pattern.endswith("*") and pattern != "*":
        pattern += ":*" * (5 - pattern.count(":"))
    return ArnGlob(
        token for token in tokenize(pattern, variables=False, wildcards=True) if isinstance(token, str | Wild)
    )


def _expanded(pattern: str, account: str) -> str:
    if pattern == "*" or pattern.startswith("arn:"):
        return pattern
    if not _SHORT.fullmatch(pattern):
        raise ValueError(f"{pattern[:64]!r} is neither an ARN nor user/NAME, group/NAME or role/NAME")
    service = "sts" if pattern.startswith(("federated-user/", "assumed-role/")) else "iam"
    return f"arn:aws:{service}::{account}:{pattern}"


# --- Conditions ----------------------------------------------------------------------------------------------------


def compiled_condition(block: Mapping[str, Any]) -> Statement | None:
    """A Condition block, compiled by the policy language's compiler. None: it has no conditions. Raises PolicyError."""
    document = condition_document(block)
    return document.statements[0] if document is not None else None


def condition_document(block: Mapping[str, Any]) -> PolicyDocument | None:
    """A policy whose only statement has this Condition block; None without conditions. Raises PolicyError."""
    if not block:
        return None
    statement = {"Effect": "Allow", "Action": "daypass:CreateAccessRequest", "Resource": "*", "Condition": block}
    text = msgspec.json.encode(
        {"Version": "2012-10-17", "Statement": [statement]}
    ).decode()  # a fraction becomes its text
    return parse(text, PolicyKind.IDENTITY)


def condition_holds(statement: Statement | None, context: Context) -> bool:
    """Whether a compiled condition holds. A condition that takes too many steps does not hold."""
    if statement is None:
        return True
    return steps(statement, context) <= EVALUATION and holds(statement, context)


# --- Checks a request against the limits of its rules: reason, ticket, duration, time windows, MFA


LocalTime = Callable[[str], datetime]
"""The time now in a time zone by its name. Raises ValueError for an unknown zone."""


class LimitExceeded(Exception):
    """The request is outside the limits of a rule. The message is for the requester."""


def check_reason(text: str, rule: ReasonRule) -> None:
    """A reason says something: enough letters, printable, matching one of the patterns."""
    if len(text) > MAX_REASON or not text.isprintable():
        raise LimitExceeded(f"A reason is at most {MAX_REASON} printable characters.")
    if not is_meaningful(text, rule.letters):
        raise LimitExceeded(f"The reason must have at least {rule.letters} letters or digits, and say something.")
    if rule.patterns and not Patterns(rule.patterns, folded=True).matches(text, {}):
        raise LimitExceeded(f"The reason must match one of: {', '.join(rule.patterns)}")


def is_meaningful(text: str, least: int) -> bool:
    """Whether a text has at least `least` letters or digits, which are not one or two repeated."""
    letters = [char for char in text.casefold() if char.isalnum() and char not in BLANK]
    return len(letters) >= least and len(set(letters)) >= min(3, least)


def check_ticket(text: str, rule: TicketRule | None, *, emergency: bool = False) -> None:
    """The form of the ticket; whether it is open is for the webhook. An emergency needs none: nobody can open one while
    the ticket system is down.
    """
    if len(text) > MAX_TICKET or not text.isprintable():
        raise LimitExceeded(f"A ticket is at most {MAX_TICKET} printable characters.")
    if rule is None:
        return
    if not text:
        if rule.required and not emergency:
            raise LimitExceeded("A ticket is required.")
        return
    if rule.patterns and not Patterns(rule.patterns).matches(text, {}):
        raise LimitExceeded(f"The ticket must match one of: {', '.join(rule.patterns)}")


def duration(requested: int | None, rules: Iterable[Rule]) -> int:
    """The duration in seconds, within the limits of all rules. Raises LimitExceeded when more is requested."""
    rules = list(rules)
    cap = min(rule.max_seconds for rule in rules)
    if requested is None:
        return min(cap, *(rule.default_seconds or rule.max_seconds for rule in rules))
    if requested > cap:
        raise LimitExceeded(f"The duration is at most {cap} seconds.")
    return requested


def uses(requested: int | None, rules: Iterable[Rule]) -> int:
    """The number of sessions: as requested, or as many as all rules allow; 0: any number."""
    return min((rule.max_uses for rule in rules if rule.max_uses), default=0) if requested is None else requested


def check_request(terms: Terms, rule: Rule, mfa_at: int, now: int, local: LocalTime) -> None:
    """The limits of a rule on a request that somebody makes or accepts at `now` (ms). Raises LimitExceeded.

    `mfa_at`: ms, of the person who gets the access. An emergency has no limits but those of `rule.break_glass`.
    """
    check_reason(terms.reason, rule.reason)
    check_ticket(terms.ticket, rule.ticket, emergency=terms.break_glass)
    if rule.max_uses and not 1 <= terms.max_uses <= rule.max_uses:
        raise LimitExceeded(f"A grant gives 1 to {rule.max_uses} sessions.")
    if terms.requester != terms.beneficiary and not rule.on_behalf:
        raise LimitExceeded("The approval rule does not allow requests for another person.")
    if not terms.break_glass:
        duration(terms.seconds, [rule])
        check_windows(rule.windows, local)
        check_mfa_age(mfa_at, rule.requester_mfa_seconds, now)


def check_windows(windows: Sequence[Window], local: LocalTime) -> None:
    """Raises LimitExceeded outside all windows. No windows: any time."""
    if windows and not in_windows(windows, local):
        shown = "; ".join(f"{','.join(w.days)} {w.begin}-{w.until} {w.zone}" for w in windows)
        raise LimitExceeded(f"Access is possible only at these times: {shown}")


def in_windows(windows: Sequence[Window], local: LocalTime) -> bool:
    """Whether it is now in one of the windows. A window with an unknown time zone contains no time."""
    for window in windows:
        try:
            now = local(window.zone)
        except ValueError:
            continue
        if DAYS[now.weekday()] in window.days and window.begin <= f"{now.hour:02}:{now.minute:02}" < window.until:
            return True
    return False


def check_mfa_age(mfa_at: int, seconds: int | None, now: int) -> None:
    """Raises LimitExceeded unless MFA was used at most `seconds` before `now` (ms). None: not required."""
    if seconds is None:
        return
    if not mfa_at or now - mfa_at > seconds * 1000:
        raise LimitExceeded(f"MFA at most {seconds} seconds ago is required.")
