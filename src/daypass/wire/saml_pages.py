"""The pages of a login by browser: plain HTML and one style sheet, no script. Whatever comes from outside is escaped
here.

Text must be put into a page only with `shown` (attack A87).
"""

from __future__ import annotations

import hmac
import html
import re
import time
from collections.abc import Iterable, Sequence
from typing import Final

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.visible import visible
from daypass.operations.assume.forms import AwsCredentials
from daypass.operations.assume.saml_sign_in import Choice, GrantedSession
from daypass.wire.body import environment, texts
from daypass.wire.http import Header
from daypass.wire.web.cookies import only_value

STYLE_PATH = "/saml/style.css"
BROWSER = "browser"
"""The field `for` of a choice that signs the browser in."""

_TITLES = {"NotFound": "Nothing is here", "Throttling": "Too many logins", "ServiceUnavailable": "Not now"}
_BY_A_NEW_LOGIN = ("InvalidIdentityToken", "ExpiredToken", "IDPRejectedClaim")  # errors that a new response may resolve

STYLE = """
:root { color-scheme: light dark; --line: #8884; --soft: #8881; --accent: #2456c5; }
* { box-sizing: border-box; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 46rem; margin: 3rem auto; padding: 0 1.25rem; }
h1 { font-size: 1.5rem; margin: 0 0 .25rem; }
h2 { font-size: 1rem; margin: 1.75rem 0 .5rem; }
p { margin: .25rem 0 1rem; }
h1, p { overflow-wrap: anywhere; }
time { white-space: nowrap; }
ul { list-style: none; margin: 1rem 0; padding: 0; border: 1px solid var(--line); border-radius: .5rem; }
li { padding: .75rem 1rem; display: flex; gap: 1rem; align-items: center; justify-content: space-between; }
li + li { border-top: 1px solid var(--line); }
li span { overflow-wrap: anywhere; }
small { display: block; opacity: .7; }
button { font: inherit; padding: .4rem 1rem; border: 0; border-radius: .4rem; background: var(--accent); color: #fff; }
button { flex: none; white-space: nowrap; cursor: pointer; }
button:hover { filter: brightness(1.15); }
button:focus-visible, pre:focus-visible { outline: 3px solid #f90; outline-offset: 2px; }
pre { background: var(--soft); border: 1px solid var(--line); border-radius: .5rem; padding: .75rem 1rem; overflow-x: auto; }
pre code { font-size: .875rem; user-select: all; -webkit-user-select: all; }
.notice { border-left: 4px solid var(--accent); padding: .25rem .75rem; background: var(--soft); }
""".lstrip()

_PAGE = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>{title} · Daypass</title>
<link rel="stylesheet" href="{style}">
</head>
<body>
<main>
<h1>{title}</h1>
{content}
</main>
</body>
</html>
"""


def escaped(value: object) -> str:
    """Text for a page: escaped, with what could deceive made visible."""
    return html.escape(visible(str(value)), quote=True)


def _page(title: str, content: str) -> bytes:
    return _PAGE.format(title=escaped(title), style=STYLE_PATH, content=content).encode("utf-8", "backslashreplace")


def choice_page(choice: Choice, csrf_token: str) -> bytes:
    """The roles of a response, a button each. `csrf_token`: see `csrf`."""
    notice, purpose = "", ""
    if choice.browser is not None:
        notice = '<p class="notice">This signs you in to Daypass in this browser, with the role that you choose.</p>'
        purpose = f'<input type="hidden" name="for" value="{BROWSER}">'
    if choice.command_line is not None:
        notice = (
            '<p class="notice">The <code>daypass</code> command line on this computer waits for the credentials of the '
            "role that you choose. If you have not started it, close this page.</p>"
        )
    rows = "".join(_role_row(place, role) for place, (role, _) in enumerate(choice.pairs))
    who = f"<p>You have logged in as <strong>{escaped(choice.subject)}</strong> with {escaped(choice.issuer)}.</p>"
    form = (
        f'<form method="post" action="/saml/choose"><input type="hidden" name="ticket" value="{escaped(choice.ticket)}">'
        f'<input type="hidden" name="{FIELD}" value="{escaped(csrf_token)}">{purpose}'
        f"<ul>{rows}</ul></form>"
    )
    return _page("Choose a role", f"{who}{notice}{form}")


def _role_row(place: int, role: str) -> str:
    account, _, name = role.removeprefix("arn:aws:iam::").partition(":role/")
    return (
        f"<li><span>{escaped(name)}<small>account {escaped(account)}</small></span>"
        f'<button type="submit" name="choice" value="{place}" '
        f'aria-label="Assume role {escaped(name)} in account {escaped(account)}">Assume role</button></li>'
    )


def credentials_page(granted: GrantedSession[AwsCredentials], endpoint: str, region: str) -> bytes:
    """A session's credentials in the forms in which they are used."""
    assert granted.issued is not None
    until = time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(granted.issued.session.expires_at / 1000))
    formats = texts(environment(granted.issued, endpoint, region))
    blocks = "".join(f"<h2>{escaped(each.title)}</h2>{_box(each.text.splitlines())}" for each in formats)
    about = (
        f"<p>Credentials of <strong>{escaped(granted.role)}</strong>, good until <time>{escaped(until)} UTC</time>. "
        "They are shown once. A click into a box selects all of it.</p>"
    )
    return _page("Your credentials", about + blocks)


def _box(lines: Sequence[str]) -> str:
    """Text to copy. It can be scrolled with the keyboard."""
    text = "\n".join(map(escaped, lines))
    return f'<pre tabindex="0"><code>{text}</code></pre>'


def error_page(code: str, message: str, request_id: str, encoded: str) -> bytes:
    """A refusal, with what a person can do next, and what an administrator needs to look it up."""
    more = ""
    if encoded:
        more = f"<h2>For the administrator of the account</h2>{_box([f'daypass explain {encoded}'])}"
    again = "<p>To try again, start at your identity provider.</p>" if code in _BY_A_NEW_LOGIN else ""
    reference = f"<p><small>{escaped(code)} · request {escaped(request_id)}</small></p>"
    return _page(_TITLES.get(code, "This login did not succeed"), f"<p>{escaped(message)}</p>{again}{reference}{more}")


# --- The CSRF token of the page that offers roles: a cookie and a field of its form that must be equal


FIELD: Final = "csrf"
_SECONDS: Final = 300  # as long as the choice itself is valid
_TOKEN: Final = re.compile(r"[A-Za-z0-9+/=_-]{32,128}")


def cookie(token: str, *, secure: bool) -> Header:
    """The header that gives the browser the token. `secure`: the pages are served by HTTPS."""
    where = f"{_name(secure=secure)}={token}; Path=/; Max-Age={_SECONDS}; HttpOnly; SameSite=Strict"
    return b"set-cookie", (where + ("; Secure" if secure else "")).encode("ascii")


def check(headers: Iterable[Header], field: str, *, secure: bool) -> None:
    """Raises DaypassError(ACCESS_DENIED) unless the form's field is the token in the browser's cookie."""
    found = only_value(headers, _name(secure=secure))
    same = hmac.compare_digest(found.encode("latin-1"), field.encode("utf-8"))
    if not same or not _TOKEN.fullmatch(found):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            "This choice does not come from the page that this browser was shown last. Log in again, with cookies allowed.",
        )


def _name(*, secure: bool) -> str:
    """With the prefix, browsers accept the cookie only from this host, and only over HTTPS."""
    return "__Host-daypass-saml" if secure else "daypass-saml"
