"""Sessions: the list with filters, one session with its chain as a tree, and revoking with a preview."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from typing import Any, Final, NamedTuple

from daypass.api.sessions import RevokeSessionInput
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.operations.sessions import list_sessions, revoke
from daypass.operations.sessions.revoke import Revoked
from daypass.operations.sessions.subjects import SUBJECTS
from daypass.ports import SessionFilter, SessionView
from daypass.wire.console.change import Facts, FormChange
from daypass.wire.console.context import ConsoleContext, PagePart, address, to
from daypass.wire.console.table import FormView, chosen_rows, each_chosen
from daypass.wire.content import cursor, session_cursor
from daypass.wire.http import Response
from daypass.wire.web.render import arn_name, moment

_ROWS: Final = 50
_LOOKED_AT: Final = 500  # sessions that one page looks through for the revoked ones
_SORTED: Final = 1_000  # newest sessions that a page sorts by another column: no index has these orders
_TREE: Final = 200  # sessions of one original principal that a tree looks through
_AFFECTED: Final = 20  # sessions that a preview lists
_SESSIONS: Final = "/console/sessions"
_LIST: Final = "daypass:ListSessions"
_STATES: Final[Mapping[str, tuple[bool | None, bool | None]]] = {
    "active": (True, None),
    "revoked": (None, True),
    "all": (None, None),
}
"""The filters `active` and `revoked` by the name of the state."""
_ORDERS: Final[Mapping[str, Callable[[SessionView], Any]]] = {
    "ends": lambda view: view.claims.expires_at,
    "role": lambda view: arn_name(view.claims.arn).lower(),
    "person": lambda view: (view.claims.hops[0].name or view.claims.hops[0].principal_id).lower(),
}
"""The orders besides the newest first."""


class Branch(NamedTuple):
    """A session in a tree with the sessions that were made from it. `view`: None for a hop that is not on the page."""

    label: str
    principal_id: str
    session_id: str
    view: SessionView | None
    current: bool
    branches: tuple[Branch, ...]


async def listed(ctx: ConsoleContext) -> Response:
    """GET /console/sessions. `sort`: newest (the default), ends, role or person."""
    state, order = ctx.value("state", 16) or "active", ctx.value("sort", 8)
    if state not in _STATES:
        raise DaypassError(ErrorKind.VALIDATION, f"The state is one of: {', '.join(_STATES)}.")
    if order not in ("", "newest", *_ORDERS):
        raise DaypassError(ErrorKind.VALIDATION, f"The order is one of: newest, {', '.join(_ORDERS)}.")
    principal, root = ctx.value("principal"), ctx.value("root")
    active, revoked = _STATES[state]
    wanted = SessionFilter(
        active=active,
        revoked=revoked,
        principal_id=principal,
        root_principal_id=root,
        limit=_ROWS,
        looked_at=_LOOKED_AT,
    )
    given = {"state": state, "principal": principal, "root": root}
    found, following, more = await (_sorted(ctx, wanted, order) if order in _ORDERS else _newest(ctx, wanted))
    return ctx.page(
        "sessions",
        "Sessions",
        rows=found,
        following=following,
        here=address(_SESSIONS, **given, sort=order),
        columns={each: address(_SESSIONS, **given, sort=each) for each in ("newest", *_ORDERS)},
        order=order or "newest",
        most=_SORTED if more else 0,
        first=bool(ctx.value("after")),
        state_wanted=state,
        principal=principal,
        root=root,
        bulk=FormView(f"{_SESSIONS}/revoke", "Revoke the chosen sessions", danger=True),
    )


async def _newest(ctx: ConsoleContext, wanted: SessionFilter) -> tuple[Sequence[SessionView], str, bool]:
    """A page in the order of the index, and where the next one begins."""
    wanted = replace(wanted, before=session_cursor(ctx.value("after", 128)))
    found, following = await ctx.perform(_LIST, list_sessions.list_sessions, wanted)
    return found, cursor(*following) if following else "", False


async def _sorted(ctx: ConsoleContext, wanted: SessionFilter, order: str) -> tuple[Sequence[SessionView], str, bool]:
    """A page of the newest sessions in another order, the number of the first row of the next one, and whether there are
    earlier sessions, which are not sorted. `after`: the number of the first row.
    """
    wanted = replace(wanted, limit=_SORTED, looked_at=_SORTED)
    found, earlier = await ctx.perform(_LIST, list_sessions.list_sessions, wanted)
    begin, key = ctx.number("after"), _ORDERS[order]
    rows = sorted(found, key=lambda view: (key(view), view.claims.expires_at, view.claims.session_id))
    following = str(begin + _ROWS) if len(rows) > begin + _ROWS else ""
    return rows[begin : begin + _ROWS], following, earlier is not None


async def one(ctx: ConsoleContext) -> Response:
    """GET /console/session?id=…"""
    view = await ctx.perform("daypass:GetSession", list_sessions.get_session, ctx.value("id", 64))
    origin = SessionFilter(root_principal_id=view.claims.hops[0].principal_id, limit=_TREE)
    related = await ctx.attempt(_LIST, list_sessions.list_sessions, origin)
    others = related.value[0] if related.value is not None else []
    return ctx.page("session", "Session", view=view, tree=tree_of(view, others), related=related)


def tree_of(view: SessionView, others: Sequence[SessionView]) -> Branch:
    """The chain that leads to a session, and the sessions that were made from it."""
    hops = view.claims.hops
    known = {other.claims.session_id: other for other in others} | {view.claims.session_id: view}
    branch = _descendants(view, known)
    for hop in reversed(hops[:-1]):
        above = known.get(hop.session_id) if hop.session_id else None
        branch = Branch(hop.name or hop.principal_id, hop.principal_id, hop.session_id, above, False, (branch,))
    return branch


def _descendants(view: SessionView, known: dict[str, SessionView], *, current: bool = True) -> Branch:
    claims = view.claims
    below = [
        _descendants(other, known, current=False)
        for other in known.values()
        if len(other.claims.hops) > 1
        and other.claims.hops[-2].session_id == claims.session_id
        and other.claims.session_id != claims.session_id
    ]
    return Branch(claims.name, claims.principal_id, claims.session_id, view, current, tuple(below))


# --- Revoking --------------------------------------------------------------------------------------------------------


async def revoke_form(ctx: ConsoleContext) -> Response:
    """GET /console/revoke. With a value it is the preview: the sessions that would end are counted, and none is ended."""
    if not ctx.value("value"):
        return _revoke_page(ctx)
    try:
        revoked = await ctx.perform("daypass:RevokeSession", revoke.revoke, _request(ctx, dry_run=True))
    except DaypassError as error:
        return _revoke_page(ctx, problem=await ctx.problem(error))
    return _revoke_page(ctx, preview=revoked, affected=await _affected(ctx, revoked))


async def revoke_send(ctx: ConsoleContext) -> Response:
    """POST /console/revoke/send."""
    try:
        await ctx.perform("daypass:RevokeSession", revoke.revoke, _request(ctx, dry_run=False))
    except DaypassError as error:
        return _revoke_page(ctx, problem=await ctx.problem(error))
    return to(_SESSIONS, state="revoked", done="revoked")


async def _revoke_chosen(ctx: ConsoleContext) -> Response:
    async def end(session: str) -> None:
        await ctx.perform("daypass:RevokeSession", revoke.revoke, RevokeSessionInput(subject="session", value=session))

    problem = await each_chosen(ctx, end)
    return _revoke_page(ctx, problem=problem) if problem else to(_SESSIONS, state="revoked", done="revoked")


async def _will_end(ctx: ConsoleContext) -> Facts:
    """The chosen sessions: who has which role, since when and until when."""
    get = list_sessions.get_session
    ids = chosen_rows(ctx)
    found = await gather(*(ctx.attempt("daypass:GetSession", get, each) for each in ids))
    return [(_person(each.value), _in_words(session, each)) for session, each in zip(ids, found, strict=True)]


def _person(view: SessionView | None) -> str:
    return (view.claims.hops[0].name or view.claims.hops[0].principal_id) if view is not None else "Unknown"


def _in_words(session: str, part: PagePart[SessionView]) -> str:
    if part.value is None:
        return f"{session}: {part.problem}"
    claims = part.value.claims
    state = "" if part.value.active else "; it has ended already"
    return f"{arn_name(claims.arn)} as {claims.name}, since {moment(claims.issued_at)}, until {moment(claims.expires_at)}{state}"


async def _again(ctx: ConsoleContext, problem: str) -> Response:
    return _revoke_page(ctx, problem=problem)


def session_changes() -> Sequence[FormChange]:
    """The changes of several sessions that were chosen in the list."""
    summary = "Revoke sessions, and those made from them"
    return (
        FormChange(
            f"{_SESSIONS}/revoke",
            "daypass:RevokeSession",
            summary,
            _revoke_chosen,
            _again,
            confirmed=True,
            asks=True,
            of="chosen",
            ends=_will_end,
        ),
    )


def _request(ctx: ConsoleContext, *, dry_run: bool) -> RevokeSessionInput:
    return RevokeSessionInput(
        subject=ctx.value("subject", 32),
        value=ctx.value("value"),
        block=ctx.value("block", 8) == "yes",
        reason=ctx.value("reason"),
        force=ctx.value("force", 8) == "yes",
        dry_run=dry_run,
    )


async def _affected(ctx: ConsoleContext, revoked: Revoked) -> PagePart[list[SessionView]]:
    """The first sessions that would end, where the list has a filter for them."""
    revocation = revoked.revocation
    match revocation.subject:
        case "session":
            wanted = SessionFilter(session_id=revocation.value, limit=1)
        case "role" | "principal":
            wanted = SessionFilter(principal_id=revocation.value, active=True, limit=_AFFECTED)
        case _:
            return PagePart()
    page = await ctx.attempt(_LIST, list_sessions.list_sessions, wanted)
    return PagePart(page.value[0] if page.value is not None else None, page.problem)


def _revoke_page(
    ctx: ConsoleContext,
    *,
    preview: Revoked | None = None,
    affected: PagePart[list[SessionView]] | None = None,
    problem: str = "",
) -> Response:
    return ctx.page(
        "revoke",
        "Revoke sessions",
        preview=preview,
        affected=affected or PagePart(),
        problem=problem,
        subjects=[(subject, subject.replace("_", " ")) for subject in SUBJECTS],
        values=ctx.values,
    )
