"""Command lines of `exec` and `credential-process` as plain data: their options, and where the user's command begins.

`daypass.cli.request` makes its options from this table, and `daypass.cli.hot` reads the usual command lines by it.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Container, Sequence

ROLE_TEXTS: dict[str, tuple[str, str]] = {
    "--session-name": ("NAME", "Name of the session. Default: your login name."),
    "--external-id": ("ID", "The external ID that the trust policy requires."),
    "--source-identity": ("NAME", "Source identity that the session, and sessions made from it, keep."),
    "--mfa-serial": ("ARN", "MFA device. Default: that of the profile, if any."),
    "--mfa-code": ("CODE", "Code of the MFA device. Default: asked for on the terminal."),
}
"""Options of AssumeRole whose value is text: metavar and help."""

PLAIN = frozenset(
    {"--profile", "--endpoint", "--duration", "--session-name", "--external-id", "--source-identity", "--mfa-serial"}
)
"""The options that `plain` reads. Each takes one value."""


def own(arguments: Sequence[str], valued: Container[str]) -> int:
    """How many of exec's arguments are its own: up to `--`, or up to the first word after the role.

    `valued`: the options that take a value.
    """
    at, words = 0, 0
    while at < len(arguments):
        argument = arguments[at]
        if argument == "--" or (words and not argument.startswith("-")):
            return at
        if not argument.startswith("-"):
            words += 1
        elif argument in valued:
            at += 1
        at += 1
    return len(arguments)


def plain(arguments: Sequence[str]) -> tuple[str, dict[str, str]] | None:
    """A role and its options, of a command line that holds nothing but one role and options of PLAIN.

    None for any other command line, wrong or only unusual; click parses those.
    """
    roles, options = [], {}
    given = iter(arguments)
    for argument in given:
        if not argument.startswith("-"):
            roles.append(argument)
            continue
        value = next(given, "")
        if argument not in PLAIN or argument in options or not value or value.startswith("-"):
            return None
        options[argument] = value
    return (roles[0], options) if len(roles) == 1 and roles[0] else None
