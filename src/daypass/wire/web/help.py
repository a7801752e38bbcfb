"""The pages of help: a runbook for each alert, and what each error means. They are for everybody, and the same everywhere.

Whoever needs them may be unable to sign in, so they need no session, no database and no setting.
"""

from __future__ import annotations

import asyncio
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.monitoring import help as written
from daypass.wire.http import Response
from daypass.wire.web.context import PageContext
from daypass.wire.web.cookies import theme
from daypass.wire.web.render import page

PREFIX: Final = "/help/"
_TITLES: Final = {written.RUNBOOKS: "Runbooks", written.ERRORS: "Errors"}
_ABSENT: Final = DaypassError(ErrorKind.NOT_FOUND, "There is no help of this name.")


async def help_page(ctx: PageContext) -> Response:
    """GET /help/, /help/errors, /help/errors/CODE, /help/runbooks, /help/runbooks/ALERT"""
    from markupsafe import Markup  # noqa: PLC0415  # comes with Jinja2

    books = await asyncio.to_thread(written.pages)
    book, _, name = ctx.request.raw_path.decode("latin-1").removeprefix(PREFIX).partition("/")
    if (book and book not in books) or (name and name not in books[book]):
        raise _ABSENT
    return page(
        "help",
        theme=theme(ctx.request.headers),
        title=name or _TITLES.get(book, "Help"),
        text=Markup(books[book][name]) if name else "",  # noqa: S704  # from our own package
        books={each: (_TITLES[each], () if name else books[each]) for each in ([book] if book else books)},
    )
