"""The page on which a person confirms one action with MFA. Any package of pages uses it.

First the page of the action posts what the person chose; its handler answers with `confirmation`, which shows all of it.
Then the confirmation posts the same fields again with a proof, which the handler reads by `proof_of` and passes to the
operation. The operation computes the digest from what it is going to do, so a field that was changed on the way makes
the proof worthless.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from daypass.operations.assume.mfa_code import MfaCode
from daypass.operations.sign_in import step_up
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.step_up import Proof
from daypass.ports import Call
from daypass.wire.http import Response
from daypass.wire.web.context import PageContext

PROOF_FIELDS: Final = frozenset({"csrf", "ceremony", "response", "code_prompt", "device", "code"})


async def confirmation(
    ctx: PageContext,
    found: tuple[Call, SignedIn],
    digest: str,
    action: str,
    values: Mapping[str, str],
    facts: Sequence[tuple[str, str]],
    *,
    title: str,
    problem: str = "",
) -> Response:
    """Asks for MFA for `digest`.

    Args:
        found: what `ctx.person` returned.
        action: the path that the confirmation posts to.
        values: the fields of the action, posted again; the names of the proof's own fields are not among them.
        facts: what the person confirms, as (name, text): all that the digest commits to.
        title: of the page, for example "Approve access to orders-admin".
        problem: why an earlier proof was refused.
    """
    call, signed_in = found
    options = await step_up.ask(ctx.env, call, signed_in, digest)
    kept = {name: value for name, value in values.items() if name not in PROOF_FIELDS}
    scripts = ("passkey.js",) if options.passkey else ()
    return ctx.page(
        "confirm",
        title=title,
        action=action,
        values=kept,
        facts=facts,
        mfa_options=options,
        problem=problem,
        scripts=scripts,
    )


def proof_of(signed_in: SignedIn, form: Mapping[str, str]) -> Proof | None:
    """The proof in a form; None when it is the first form of an action, which has none."""
    if not form.get("response") and not form.get("code"):
        return None
    return Proof(
        signed_in.row.id,
        form.get("ceremony", ""),
        form.get("response", ""),
        form.get("code_prompt", ""),
        MfaCode(form.get("device", ""), form.get("code", "").strip()),
    )
