"""The linter for approval rules: rules that would be refused, that approve nothing, and that admit more than is likely meant."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Final

from daypass.domain.access.rule import (
    CompiledRule,
    People,
    Rule,
    RuleError,
    check_addresses,
    check_wildcards,
    condition_document,
    expanded,
    read_rule,
)
from daypass.domain.policy.lint import conditions
from daypass.domain.policy.lint.finding import DocumentPlaces, LintFinding, Step, at_fault, at_place
from daypass.domain.policy.pattern import Patterns

_ON_CALL: Final = "daypass:oncall"


@dataclass(frozen=True, slots=True)
class RuleFacts:
    """What exists in the account of a rule.

    Attributes:
        roles: the tags of its roles by ARN. `complete`: all of them; otherwise only those that the rule names.
        people: the ARNs of the users that a user or group of the rule stands for, by its ARN. One that is absent does not exist.
    """

    roles: Mapping[str, Mapping[str, str]]
    complete: bool
    people: Mapping[str, frozenset[str]]


def lint_rule(text: str, account: str, facts: RuleFacts | None = None) -> tuple[LintFinding, ...]:
    """The findings about a rule as written, in text order. A rule that would be refused has one, which says why.

    `facts` None: only the text is checked.
    """
    try:
        compiled = read_rule(account, "rule", text)
        check_addresses(compiled.rule)
        check_wildcards(compiled.rule)
    except RuleError as error:
        return (at_fault(text, str(error)),)
    places = DocumentPlaces(text)
    found = [*_conditions(compiled.rule, places), *_open(compiled.rule, places)]
    if facts is not None:
        found += [
            *_roles(compiled, facts, places),
            *_people(compiled, facts, places),
            *_impossible(compiled, facts, places),
        ]
    return tuple(sorted(found, key=lambda each: (each.line, each.column, each.id)))


def named_by(compiled: CompiledRule) -> frozenset[str]:
    """The ARNs in a rule that have no wildcards."""
    patterns = [*compiled.rule.roles, *(each for _, people in _parts(compiled.rule) for each in people.principals)]
    return frozenset(each for each in expanded(patterns, compiled.account) if _is_exact(each))


def _parts(rule: Rule) -> list[tuple[tuple[Step, ...], People]]:
    """The people of a rule, with the paths of their members."""
    parts: list[tuple[tuple[Step, ...], People]] = [(("requesters",), rule.requesters)]
    parts += [(("stages", i, "approvers"), stage.approvers) for i, stage in enumerate(rule.stages)]
    if rule.break_glass is not None:
        parts.append((("break_glass", "people"), rule.break_glass.people))
    if rule.escalation is not None:
        parts.append((("escalation", "approvers"), rule.escalation.approvers))
    return parts


def _is_exact(pattern: str) -> bool:
    return "*" not in pattern and "?" not in pattern


def _conditions(rule: Rule, places: DocumentPlaces) -> Iterator[LintFinding]:
    """The findings about conditions, as in policies."""
    blocks = [((*path, "condition"), people.condition) for path, people in _parts(rule)]
    blocks += [(("automatic", i, "condition"), each.condition) for i, each in enumerate(rule.automatic)]
    for path, block in blocks:
        line, column = places.at(*path)
        if (document := condition_document(block)) is None:
            continue
        for finding in conditions.check(document):
            yield replace(finding, line=line, column=column, end_line=line, end_column=column, statement=-1, sid="")
        if rule.on_call is None and any(each.key == _ON_CALL for each in document.statements[0].conditions):
            why = "The rule has no on_call schedule, so nobody is on call by it."
            yield at_place("condition-never-true", line, column, why, "Add on_call, or remove daypass:OnCall.")


def _open(rule: Rule, places: DocumentPlaces) -> Iterator[LintFinding]:
    for i, automatic in enumerate(rule.automatic):
        if not automatic.condition:
            why = "Every request that the rule accepts is approved without a person."
            yield at_place(
                "rule-always-automatic", *places.at("automatic", i), why, "Add a condition, or a stage of approval."
            )
    for path, people in _parts(rule)[1:]:
        if "*" in people.principals and not people.condition:
            why = "Anyone may approve, or take emergency access: the pattern * names every person of every account."
            place = places.at(*path, "principals", people.principals.index("*"))
            yield at_place("rule-anyone", *place, why, "Name groups, users or roles.")


def _roles(compiled: CompiledRule, facts: RuleFacts, places: DocumentPlaces) -> Iterator[LintFinding]:
    matched = False
    for i, pattern in enumerate(expanded(compiled.rule.roles, compiled.account)):
        test = Patterns((pattern,))
        known = any(test.matches(arn, {}) for arn in facts.roles)
        matched = matched or known
        if not known and (facts.complete or _is_exact(pattern)):
            why = f"The account {compiled.account} has no role {compiled.rule.roles[i]}. A rule is for roles of its account."
            yield at_place("unknown-role", *places.at("roles", i), why, "Check the name, or create the role.")
    tags = compiled.rule.role_tags
    if matched and facts.complete and not any(compiled.covers(arn, found) for arn, found in facts.roles.items()):
        why = f"No role that the patterns match has {', '.join(f'{key}={value}' for key, value in tags.items())}."
        yield at_place("unknown-role", *places.at("role_tags"), why, "Tag the roles, or remove role_tags.")


def _people(compiled: CompiledRule, facts: RuleFacts, places: DocumentPlaces) -> Iterator[LintFinding]:
    ours = {f"arn:aws:iam::{compiled.account}:{kind}/": kind for kind in ("user", "group", "role")}
    for path, people in _parts(compiled.rule):
        for i, arn in enumerate(expanded(people.principals, compiled.account)):
            kind = next((kind for begin, kind in ours.items() if arn.startswith(begin)), "")
            if kind and _is_exact(arn) and arn not in (facts.roles if kind == "role" else facts.people):
                why = f"The account {compiled.account} has no {kind} {people.principals[i].partition('/')[2]}."
                place = places.at(*path, "principals", i)
                yield at_place("unknown-principal", *place, why, f"Check the name, or create the {kind}.")


def _impossible(compiled: CompiledRule, facts: RuleFacts, places: DocumentPlaces) -> Iterator[LintFinding]:
    """Stages whose approvers are all known, and too few. Nobody approves the own request."""
    rule = compiled.rule
    if rule.escalation is not None:
        return
    requesters = _users(compiled, rule.requesters, facts)
    for i, stage in enumerate(rule.stages):
        approvers = _users(compiled, stage.approvers, facts)
        if approvers is None:
            continue
        others = approvers - requesters if requesters is not None and len(requesters) == 1 else approvers
        if len(others) < stage.threshold:
            needed = "one approval" if stage.threshold == 1 else f"{stage.threshold} approvals"
            why = f"The stage needs {needed}, and {len(others) or 'nobody'} of the named people can approve."
            place = places.at("stages", i, "approvers")
            yield at_place("rule-never-approved", *place, why, "Name more approvers, or lower the threshold.")


def _users(compiled: CompiledRule, people: People, facts: RuleFacts) -> frozenset[str] | None:
    """The ARNs of all users that are meant; None when they cannot be listed."""
    begin = tuple(f"arn:aws:iam::{compiled.account}:{kind}/" for kind in ("user", "group"))
    arns = expanded(people.principals, compiled.account)
    if not all(arn.startswith(begin) and _is_exact(arn) for arn in arns):
        return None
    return frozenset[str]().union(*(facts.people.get(arn, ()) for arn in arns))
