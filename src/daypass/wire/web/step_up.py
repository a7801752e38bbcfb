"""The proof with which a person confirms one action with MFA.

First the page of the action posts what the person chose; its handler answers with a page that shows all of it. That page
posts the same fields again with a proof, which the handler reads by `proof_of` and passes to the operation. The operation
computes the digest from what it is going to do, so a field that was changed on the way makes the proof worthless.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from daypass.operations.assume.mfa_code import MfaCode
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.step_up import Proof

PROOF_FIELDS: Final = frozenset({"csrf", "ceremony", "response", "code_prompt", "device", "code"})


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
