"""The paths of the browsers in which a user is signed in."""

from __future__ import annotations

from pydantic import Field

from daypass.operations.sign_in import browser_session
from daypass.wire.api import schemas as s
from daypass.wire.api.router import new_router

router = new_router()


class BrowserSessionOut(s.EntityOut):
    session_id: str
    created_at: int
    used_at: int = Field(
        description="With a resolution of a tenth of the time after which an idle browser is signed out."
    )
    expires_at: int
    source_ip: str
    user_agent: str = Field(description="As the browser says.")


class BrowserSessionsOut(s.Out):
    browser_sessions: list[BrowserSessionOut]


@router.get("/browser-sessions", name="ListBrowserSessions", tags=["sessions"])
async def list_browser_sessions(env: s.EnvDep, call: s.CallDep) -> BrowserSessionsOut:
    """The browsers in which you are signed in, newest first. No permission is needed."""
    rows = await browser_session.list_own(env, call)
    return BrowserSessionsOut(browser_sessions=[BrowserSessionOut.of(each) for each in rows])


@router.delete("/browser-sessions/{session_id}", name="SignOut", tags=["sessions"], status_code=204)
async def sign_out(env: s.EnvDep, call: s.CallDep, session_id: s.IdPath) -> None:
    """Signs one of your browsers out. Sessions that were made from it stay valid. No permission is needed."""
    await browser_session.end_own(env, call, session_id)
