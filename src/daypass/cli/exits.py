"""The meaning of exit statuses, and the only place that maps failures to them."""

from __future__ import annotations

from daypass.client.errors import ClientError

OK, FINDING, USAGE, UNAUTHENTICATED, DENIED, UNREACHABLE, LOCAL, REFUSED, GAP = 0, 1, 2, 3, 4, 5, 6, 7, 8

EXIT_CODES: dict[int, str] = {
    OK: "Done.",
    FINDING: "The answer is no: a record does not verify, nothing was found.",
    USAGE: "The command line, or a setting, is not right.",
    UNAUTHENTICATED: "The key is unknown, its signature wrong, or its session expired or revoked.",
    DENIED: "Policy says no. The message can be explained with `daypass explain`.",
    UNREACHABLE: "The server does not answer, or says that it cannot now.",
    LOCAL: "Something in your own files is missing or unusable.",
    REFUSED: "The server refuses the request for another reason; it says which.",
    GAP: "The record verifies, but for events that it names as lost, after a failover for example.",
    126: "`exec`: the command cannot be run.",
    127: "`exec`: the command does not exist.",
    130: "Interrupted.",
    141: "The reader of the output stopped reading.",
}

OF_STARTUP: dict[str, int] = {
    "ConfigError": USAGE,
    "UnusableDatabase": USAGE,
    "RingError": USAGE,
    "StartupError": LOCAL,
    "BackupError": LOCAL,
    "DatabaseUnreachable": UNREACHABLE,
    "KeySourceError": UNREACHABLE,
}
"""Errors of `daypass serve`, by name: the command line does not import the server's modules."""

_BY_CODE = {
    "InvalidClientTokenId": UNAUTHENTICATED,
    "SignatureDoesNotMatch": UNAUTHENTICATED,
    "IncompleteSignature": UNAUTHENTICATED,
    "MissingAuthenticationToken": UNAUTHENTICATED,
    "ExpiredToken": UNAUTHENTICATED,
    "AccessDenied": DENIED,
    "NoSuchEntity": FINDING,
    "ResourceNotFoundException": FINDING,
}


def status_of(error: ClientError) -> int:
    """The exit status for a call that failed."""
    if error.code not in _BY_CODE and (error.unavailable or not error.code):
        return UNREACHABLE
    return _BY_CODE.get(error.code, REFUSED)
