"""AWS Signature Version 4: signing, and verifying signatures in headers and in query strings. Pure: no I/O, no clock,
standard library only.

Verifying takes two steps, because the secret is looked up between them: `parse_request` reads what a request claims
(and refuses what no key could make right), `verify` checks it with the secret and the clock. Nothing in an
`UnverifiedSignature` may be trusted before `verify` has returned, and no message may contain a secret or token. Server
and client share this package, so importing it must stay cheap.

Source: IAM User Guide, "AWS Signature Version 4 for API requests", "Create a signed AWS API request" and
"Troubleshoot Signature Version 4 signing for AWS API requests".
"""

from daypass.sigv4.canonical import ALGORITHM, MISMATCH, SigningKey, SigV4Error, format_time, query_pairs, sign
from daypass.sigv4.request import MAX_EXPIRES, UnverifiedSignature, parse_request
from daypass.sigv4.verifying import PRESIGNED_MAX_MS, check_scope, is_region, verify

__all__ = [
    "ALGORITHM",
    "MAX_EXPIRES",
    "MISMATCH",
    "PRESIGNED_MAX_MS",
    "SigV4Error",
    "SigningKey",
    "UnverifiedSignature",
    "check_scope",
    "format_time",
    "is_region",
    "parse_request",
    "query_pairs",
    "sign",
    "verify",
]
