"""The pages of help that a server shows: one for each runbook, error code and kind of error, as HTML in one JSON file.

Runbooks come from docs/how-to/runbooks.md; codes, statuses and notes of errors from the code (see gen_docs.py).
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import markdown  # type: ignore[import-untyped]  # it has no annotations

from daypass.domain.errors import ErrorKind, Family
from daypass.wire.json_errors import INTERNAL_CODE, wire_error
from daypass.wire.oauth.errors import oauth_error
from daypass.wire.service_models import aws_code

ADVICE: Final = {
    Family.REQUEST: "Correct the parameter that the message names. The same request is refused again.",
    Family.CONTENT: "The request cannot be fulfilled; the message says why. The same request is refused again.",
    Family.CREDENTIALS: "`daypass whoami` tests your credentials; `daypass login` gets new ones.",
    Family.PROOF: "Get a new token, assertion or certificate from your identity provider. If it is refused too, an administrator finds the "
    "check that failed with `daypass explain REQUEST_ID`.",
    Family.DENIED: "`daypass explain REQUEST_ID` names the statement and the condition. `daypass request` asks for access.",
    Family.ABSENT: "Check the name and the account: `daypass user ls`, `daypass role ls`, `daypass policy ls`.",
    Family.CONFLICT: "Remove what the message says is in the way, then repeat the request.",
    Family.UPSTREAM: "The identity provider did not answer. Repeat the request. An operator continues with DaypassIssuerFailing.",
    Family.THROTTLED: "Repeat the request after the time in `Retry-After`, as SDKs do. Keep a session until it ends instead of taking one for each call.",
    Family.UNAVAILABLE: "Repeat the request after the time in `Retry-After`, as SDKs do. An operator runs `daypass doctor` and continues "
    "with DaypassBudgetEscalation.",
}  # fmt: skip
"""Advice for the errors of a family."""

MORE: Final = {
    ErrorKind.EXPIRED_CREDENTIALS: "The session has ended or was revoked. Take a new one: `daypass exec`, `daypass agent` and `credential_process` "
    "renew sessions in time. An operator continues with DaypassExpiredTokens.",
    ErrorKind.SIGNATURE_MISMATCH: "The secret key is wrong, the clock differs from the server's, or a proxy changed the request. "
    "`daypass clock show` prints the server's time.",
    ErrorKind.UNKNOWN_CREDENTIALS: "The access key does not exist at this server, or is disabled. Check the endpoint and the profile with `daypass whoami`.",
    ErrorKind.MISSING_CREDENTIALS: "The request is not signed. Set credentials, or log in with `daypass login`.",
    ErrorKind.MALFORMED_POLICY: "`daypass lint FILE` finds the mistake and its line.",
    ErrorKind.DELETE_CONFLICT: "Detach or delete first what belongs to it; the message names it.",
    ErrorKind.MALFORMED_REQUEST: "The body or the headers cannot be parsed. Compare them with the documentation of the operation.",
}  # fmt: skip
"""Advice for one kind, in place of its family's."""

_INTERNAL: Final = (
    "A bug of the server. The log has the cause under the request id. An operator continues with DaypassInternalErrors."
)
_SECTION: Final = re.compile(r"^## (\w+)\n(.*?)(?=^## |\Z)", re.DOTALL | re.MULTILINE)
_ALERT: Final = re.compile(r"(?<![\w/\[])(Daypass[A-Z]\w+)")
_SECTION_LINK: Final = re.compile(r"\[(Daypass\w+)\]\(#\w+\)")
_LINK: Final = re.compile(r"\[([^]]+)\]\(([\w-]+\.md)[^)]*\)")


def text(runbooks: Path, notes: Iterable[tuple[ErrorKind, str]]) -> str:
    """The JSON file. `notes`: each kind with its note."""
    pages = {"runbooks": dict(_runbooks(runbooks)), "errors": dict(sorted(_errors(dict(notes)).items()))}
    return json.dumps(pages, indent=1, ensure_ascii=False)


def _runbooks(source: Path) -> Iterator[tuple[str, str]]:
    for name, section in _SECTION.findall(source.read_text("utf-8")):
        yield name, _html(re.sub(r"^ *<!--.*?-->\n", "", section, flags=re.MULTILINE))


def _errors(notes: dict[ErrorKind, str]) -> dict[str, str]:
    """A page for each kind, for each code of a wire, and for the bug."""
    by_code: dict[str, dict[ErrorKind, set[int]]] = {}
    for kind, note in notes.items():
        of_aws = () if re.search("RFC|OpenID", note) else (aws_code(kind), wire_error(kind))
        for name, status in (
            (kind.value, (oauth_error if not of_aws else aws_code)(kind)[1]),
            *of_aws,
            oauth_error(kind),
        ):
            by_code.setdefault(name, {}).setdefault(kind, set()).add(status)
    pages = {name: _html(_error(name, kinds, notes)) for name, kinds in by_code.items()}
    return {**pages, INTERNAL_CODE: _html(f"HTTP status 500.\n\n## What to do\n\n{_INTERNAL}")}


def _error(name: str, kinds: dict[ErrorKind, set[int]], notes: dict[ErrorKind, str]) -> str:
    kinds = {kind: each for kind, each in kinds.items() if kind.value == name} or kinds
    statuses = ", ".join(map(str, sorted(set().union(*kinds.values()))))
    lines = [f"HTTP status {statuses}. The record names the kind of the failure:", ""]
    for kind in kinds:
        wire = oauth_error(kind) if re.search("RFC|OpenID", notes[kind]) else aws_code(kind)
        code = f"; code `{wire[0]}`" if wire[0] != name else ""
        lines.append(f"- `{kind.value}`{f': {notes[kind]}' if notes[kind] else ''}{code}")
    advice = dict.fromkeys(MORE.get(kind) or ADVICE[kind.family] for kind in kinds)
    return "\n".join([*lines, "", "## What to do", "", *(f"{each}\n" for each in advice)])


def _html(source: str) -> str:
    """Names of alerts become links to their runbooks. Pages of the documentation have no address, so their names stay."""
    source = _SECTION_LINK.sub(r"\1", source)
    source = _LINK.sub(r"*\1* (docs/how-to/\2)", source)
    source = _ALERT.sub(r"[\1](/help/runbooks/\1)", source)
    extensions = ["pymdownx.superfences", "pymdownx.highlight"]
    options = {"pymdownx.highlight": {"use_pygments": False}}
    return str(markdown.markdown(source, extensions=extensions, extension_configs=options))
