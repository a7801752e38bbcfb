"""Who can assume what, as a picture: from people and workloads through what lets them in to the roles.

The picture is SVG that the server makes, so it needs no script but for zoom (graph.js), and each edge leads to its row of a
table with the same data. The overview shows whom trust policies name; the picture of one role or principal shows what the
evaluator decides.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Final, NamedTuple

from daypass.domain.arn import account_of, root_arn
from daypass.domain.errors import DaypassError
from daypass.domain.policy.model import Layer
from daypass.domain.policy.plain import plain_condition
from daypass.domain.trust import ASSUME_ROLE
from daypass.operations.access.find import Trusted, TrustGroup, TrustMap, trust_map
from daypass.operations.access.what_can import what_can
from daypass.operations.access.who_can import Access, who_can
from daypass.wire.console.context import ConsoleContext, address
from daypass.wire.console.iam import iam_part
from daypass.wire.http import Response
from daypass.wire.web.render import arn_name

_HERE: Final = "/console/graph"
_GROUPS: Final = 40  # groups of roles in one picture
_ENTRIES: Final = 40  # principals or roles in the picture of one
_WIDTH, _HEIGHT, _GAP, _ROW = 232, 40, 96, 52
_LETTERS: Final = 27  # of a name, in a node


class GraphNode(NamedTuple):
    """A box. `more`: a second line. `href`: where it leads; "": nowhere."""

    column: int
    text: str
    more: str = ""
    href: str = ""
    icon: str = "circle-dot"


class Edge(NamedTuple):
    """The reason why `source` reaches `target`: the statement, in words, and its place. `state`: allowed, allowed_if or denied."""

    source: GraphNode
    target: GraphNode
    state: str
    words: str
    where: str


class Placed(NamedTuple):
    """A node with its place in the picture; `short`: its name as far as it fits."""

    node: GraphNode
    x: int
    y: int
    short: str


class Picture(NamedTuple):
    """Nodes and edges with their places. `edges`: number of the row of the table, state, and the path to draw."""

    width: int
    height: int
    nodes: Sequence[Placed]
    edges: Sequence[tuple[int, str, str]]


async def page(ctx: ConsoleContext) -> Response:
    """GET /console/graph. `role`: by name; `principal`: by ARN; `part`: of the names of the roles in the overview."""
    role, principal, part = ctx.value("role", 64), ctx.value("principal"), ctx.value("part", 64)
    problem, edges, note = "", list[Edge](), ""
    try:
        if role:
            edges, note = await _of_role(ctx, role)
        elif principal:
            edges, note = await _of_principal(ctx, principal)
        else:
            found = await ctx.perform("daypass:WhoCanAccess", trust_map, part)
            edges, note = [*_overview(found, ctx.call.caller.account)], _note(found)
    except DaypassError as error:
        problem = await ctx.problem(error)
    shown = {"role": role, "principal": principal, "part": part, "problem": problem, "note": note}
    edges = list(dict.fromkeys(edges))
    return ctx.page("graph", "Who can assume what", edges=edges, picture=_picture(edges), **shown)


def _note(found: TrustMap) -> str:
    left = sum(group.count for group in found.groups[_GROUPS:])
    groups = len(found.groups)
    text = f"{found.roles} roles in {groups} {'group' if groups == 1 else 'groups'}, by whom their trust policies name."
    if found.more:
        text = f"More than {text}"
    return f"{text} {left} roles in smaller groups are not drawn; filter by name." if left else text


# --- The overview ----------------------------------------------------------------------------------------------------


def _overview(found: TrustMap, account: str) -> Iterator[Edge]:
    shown = found.groups[:_GROUPS]
    own = GraphNode(1, "This account", "whose own policies allow it", icon="key")
    for group in found.people if any(each.value == root_arn(account) for one in shown for each in one.trusted) else ():
        people = GraphNode(
            0, group.name, f"{group.members} people", address("/console/group", name=group.name), "users-group"
        )
        yield Edge(people, own, "allowed_if", "A policy of the group may allow sts:AssumeRole.", f"group {group.name}")
    for roles in shown:
        target = _roles_of(roles)
        for each in roles.trusted:
            state = "denied" if not each.allows else "allowed_if" if ", if " in each.words else "allowed"
            yield Edge(_trusted(each, account, own), target, state, each.words, each.where)


def _roles_of(group: TrustGroup) -> GraphNode:
    first = group.names[0]
    if group.count == 1:
        return GraphNode(2, first, "", address(_HERE, role=first), "id-badge-2")
    others = ", ".join(group.names[1:4]) + ("…" if group.count > 4 else "")
    text, href = f"{first} and {group.count - 1} more", address("/console/roles", start=first)
    if len(group.path) > 1:
        others = f"{first}, {others}"
        text, href = f"{group.path} {group.count} roles", address("/console/roles", path=group.path)
    return GraphNode(2, text, others, href, "id-badge-2")


def _trusted(each: Trusted, account: str, own: GraphNode) -> GraphNode:
    """The node of what a trust policy names: people and workloads left, what vouches for others in the middle."""
    if each.value == root_arn(account):
        return own
    if each.kind == "*":
        return GraphNode(0, "Everyone", "", icon="alert-triangle")
    if each.kind == "Federated":
        return GraphNode(
            1, arn_name(each.value), "identity provider", address("/console/provider", arn=each.value), "building-bank"
        )
    if each.kind == "Service":
        return GraphNode(1, each.value, "service", icon="server")
    other = account_of(each.value)
    if each.value == root_arn(other):
        return GraphNode(1, f"Account {other}", "another account", icon="building-bank")
    return _principal(each.value, "" if other in ("", account) else f"account {other}")


def _principal(arn: str, more: str) -> GraphNode:
    is_user = ":user/" in arn
    href = "" if more else address(_HERE, principal=arn)
    return GraphNode(
        0, arn_name(arn), more or ("user" if is_user else "role"), href, "user" if is_user else "id-badge-2"
    )


# --- One role, one principal: what the evaluator decides -------------------------------------------------------------


async def _of_role(ctx: ConsoleContext, name: str) -> tuple[list[Edge], str]:
    known = await iam_part(ctx, "GetRole", RoleName=name)  # its ARN has its path
    arn = known.value["Role"]["Arn"] if known.value else f"arn:aws:iam::{ctx.call.caller.account}:role/{name}"
    found = await ctx.perform("daypass:WhoCanAccess", who_can, ASSUME_ROLE, arn, limit=_ENTRIES)
    target = GraphNode(2, name, "role", address("/console/role", name=name), "id-badge-2")
    edges = [edge for entry in found.entries for edge in _decided(_of_access(entry), target, entry)]
    more = f" Only the first {found.looked_at} principals are examined." if found.following else ""
    return edges, f"{len(found.entries)} principals can assume it, or could if conditions hold.{more}"


async def _of_principal(ctx: ConsoleContext, arn: str) -> tuple[list[Edge], str]:
    found = await ctx.perform("daypass:WhatCanAccess", what_can, arn, limit=_ENTRIES * 5)
    kind = "user" if ":user/" in arn else "role"
    page = address(f"/console/{kind}", name=arn_name(arn))
    source = GraphNode(0, arn_name(arn), kind, page, "user" if kind == "user" else "id-badge-2")
    shown = found.roles[:_ENTRIES]
    edges = [edge for entry in shown for edge in _decided(source, _target(entry.principal), entry)]
    more = " There are more." if found.following or len(found.roles) > _ENTRIES else ""
    return edges, f"It can assume {len(shown)} roles, or could if conditions hold.{more}"


def _target(arn: str) -> GraphNode:
    return GraphNode(2, arn_name(arn), "role", address(_HERE, role=arn_name(arn)), "id-badge-2")


def _of_access(entry: Access) -> GraphNode:
    if entry.kind in ("user", "role"):
        return _principal(entry.principal, "")
    icon = {"provider": "building-bank", "service": "server", "anyone": "alert-triangle"}.get(entry.kind, "circle-dot")
    return GraphNode(0, "Everyone" if entry.principal == "*" else arn_name(entry.principal), entry.kind, icon=icon)


def _decided(source: GraphNode, target: GraphNode, entry: Access) -> Iterator[Edge]:
    """The edges of one decision: by the policies of the principal, or by the trust policy alone."""
    state, determining = entry.evaluation.outcome.value, entry.evaluation.best.determining
    conditions = [
        f"{'unless' if proviso.effect.value == 'Deny' else 'if'} {plain_condition(operator, key, values)}"
        for proviso in entry.evaluation.provisos
        for operator, key, values in proviso.conditions
        if "Resource" not in operator
    ]
    words = f"{arn_name(entry.principal)}: {'; '.join(conditions) or 'no condition'}"
    trust = [each for each in determining if each.layer is Layer.RESOURCE] or determining
    at = ", ".join(f"{each.sid + ', ' if each.sid else ''}line {each.line}" for each in trust)
    own = [each for each in determining if each.layer is Layer.IDENTITY]
    for each in own:
        managed = each.policy.startswith("arn:")
        text = arn_name(each.policy) if managed else each.policy
        middle = GraphNode(1, text, "managed policy" if managed else "inline policy", icon="key")
        yield Edge(source, middle, "allowed", "It allows sts:AssumeRole.", f"{each.policy}, line {each.line}")
        yield Edge(middle, target, state, words, f"trust policy of {target.text}, {at}")
    if not own:
        middle = GraphNode(1, "Trust policy", "names it directly", icon="shield-lock")
        yield Edge(source, middle, "allowed", "The trust policy names it.", f"trust policy, {at}")
        yield Edge(middle, target, state, words, f"trust policy, {at}")


# --- The layout ------------------------------------------------------------------------------------------------------


def _picture(edges: Iterable[Edge]) -> Picture:
    """Three columns. Each node is near those that lead to it, so that fewer edges cross."""
    listed = list(edges)
    nodes = list(dict.fromkeys(node for edge in listed for node in (edge.source, edge.target)))
    rows: dict[GraphNode, float] = {}
    places: dict[GraphNode, Placed] = {}
    used = sorted({node.column for node in nodes})
    for place, column in enumerate(used):
        inside = [node for node in nodes if node.column == column]
        before = {node: [rows[e.source] for e in listed if e.target == node and e.source in rows] for node in inside}
        inside.sort(key=lambda node, at=before: sum(at[node]) / len(at[node]) if at[node] else -1.0)  # type: ignore[misc]  # a lambda with a default
        for number, node in enumerate(inside):
            rows[node] = number
            short = node.text if len(node.text) <= _LETTERS else f"{node.text[: _LETTERS - 1]}…"
            places[node] = Placed(node, place * (_WIDTH + _GAP), number * _ROW, short)
    paths = [
        (number, edge.state, _path(places[edge.source], places[edge.target])) for number, edge in enumerate(listed)
    ]
    height = max((placed.y for placed in places.values()), default=0) + _ROW
    return Picture(len(used) * (_WIDTH + _GAP), height, list(places.values()), paths)


def _path(source: Placed, target: Placed) -> str:
    x1, y1, x2, y2 = source.x + _WIDTH, source.y + _HEIGHT // 2, target.x, target.y + _HEIGHT // 2
    bend = (x2 - x1) // 2
    return f"M{x1} {y1}C{x1 + bend} {y1} {x2 - bend} {y2} {x2} {y2}"
