"""Forms that change something: confirmed with MFA where they are sensitive, performed, and shown again with the problem.

A person who has MFA confirms a sensitive form on a page that shows everything in it. The proof is bound to the form's path
and to every field, so what is performed is what the person saw; the operation then runs with MFA of that moment. For a
person without MFA the account's policies decide, as for any other call; such a person confirms deletions by a button.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, NamedTuple, TypeAlias

from msgspec.structs import replace

from daypass.domain.claims import CallerDerived
from daypass.domain.errors import DaypassError, Family
from daypass.operations.providers import KEPT, hidden
from daypass.operations.sign_in import step_up
from daypass.wire.console.context import ConsoleContext, ConsolePage
from daypass.wire.console.members import members_of
from daypass.wire.http import Response
from daypass.wire.web.devices import PROOF_FIELDS, proof_of

Again: TypeAlias = Callable[[ConsoleContext, str], Awaitable[Response]]
"""The page of a form, with the problem of the last attempt above it."""
Facts: TypeAlias = Sequence[tuple[str, str]]
"""The content of a confirmation: labels and texts."""
Exists: TypeAlias = Callable[[ConsoleContext], Awaitable[Facts]]

_SECRETS: Final = frozenset({"secret"})
"""Fields that the confirmation does not show. The proof is bound to them, too."""
_LABELS: Final[Mapping[str, str]] = {
    "after": "",
    "arn": "ARN",
    "client_token": "",
    "chosen": "Chosen",
    "confirmed": "",
    "id": "Id",
    "lint": "",
    "mfa": "",
    "name": "Name",
    "pem": "Certificates",
    "user": "User",
    "group": "Group",
    "policy": "Policy",
    "url": "URL",
}
"""Labels of fields in a confirmation; "" hides a field. Other fields show their own name."""


class FormChange(NamedTuple):
    """A form.

    Attributes:
        path: where it is posted to.
        operation: the operation that it calls first, as the record names it.
        summary: what it does; the title of the confirmation.
        perform: does it, and answers. again: the form's page.
        confirmed: a person who has MFA confirms it. asks: one without MFA does so, too: something is deleted, or made from less than it says.
        of: the field that names what it changes; "": none. Without one, some operations act on the caller.
        exists: what will exist afterwards, where the fields of the form do not say it.
        ends: what will end, shown in place of the ids of the chosen rows.
    """

    path: str
    operation: str
    summary: str
    perform: ConsolePage
    again: Again
    confirmed: bool = False
    asks: bool = False
    of: str = ""
    exists: Exists | None = None
    ends: Exists | None = None

    async def serve(self, ctx: ConsoleContext) -> Response:
        """The answer to the form. Raises DaypassError(VALIDATION) when it does not name what it changes."""
        if self.of:
            ctx.named(self.operation)
            ctx.required(self.of)
        try:
            page = None
            if self.confirmed:
                ctx.named(self.operation)
                page = await confirmation(
                    ctx,
                    self.path,
                    self.summary,
                    self.operation,
                    always=self.asks,
                    exists=self.exists,
                    ends=self.ends,
                )
            return page or await self.perform(ctx)
        except DaypassError as error:
            return await self.again(ctx, await ctx.problem(error))


async def confirmation(  # what a form says about itself
    ctx: ConsoleContext,
    path: str,
    title: str,
    operation: str,
    *,
    always: bool = False,
    exists: Exists | None = None,
    ends: Exists | None = None,
) -> Response | None:
    """The page that asks for MFA; None when the form is confirmed now, or the person has no MFA.

    After a proof, the caller of `ctx` has MFA of this moment. `operation`: the proof is recorded under its name.
    `always`: a person without MFA is asked, too. `exists`, `ends`: see `FormChange`.
    """
    fields = {name: value for name, value in ctx.values.items() if name not in PROOF_FIELDS}
    account = ctx.call.caller.account
    digest = step_up.digest_of(path, account, json.dumps(sorted(fields.items())))
    proof, problem = proof_of(ctx.signed_in, ctx.values), ""
    if proof is not None:
        try:
            mfa_at = await ctx.perform(operation, step_up.check, digest, proof)
        except DaypassError as error:
            if error.kind.family not in (Family.DENIED, Family.PROOF):
                raise
            problem = await ctx.problem(error)
        else:
            caller = replace(ctx.call.caller, mfa_at=mfa_at, derived=CallerDerived())
            ctx.call = replace(ctx.call, caller=caller)
            return None
    options = await step_up.ask(ctx.env, ctx.call, ctx.signed_in, digest)
    if not (options.passkey or options.devices) and (not always or ctx.value("confirmed", 8) == "yes"):
        return None
    shown = {name: value for name, value in fields.items() if ends is None or name != "chosen"}
    facts = [*_facts(shown), *[fact for each in (exists, ends) if each is not None for fact in await each(ctx)]]
    return ctx.page(
        "confirm",
        title,
        action=path,
        values=fields,
        facts=facts,
        danger=exists is None,
        mfa_options=options,
        problem=problem,
    )


async def optional_confirmation(ctx: ConsoleContext, path: str, title: str, operation: str) -> Response | None:
    """As `confirmation`, for a form in which the person chooses it: the field `mfa`."""
    return await confirmation(ctx, path, title, operation) if ctx.value("mfa", 8) == "yes" else None


def _facts(fields: Mapping[str, str]) -> list[tuple[str, str]]:
    bare = [(name.partition(".")[0], value) for name, value in fields.items()]  # "role.3": one of several
    named = [(_LABELS.get(name, name.replace("_", " ").capitalize()), _shown(name, value)) for name, value in bare]
    return [(label, value) for label, value in named if label and value]


def _shown(name: str, text: str) -> str:
    """A field without secrets. The settings are those of a provider, client or resource server."""
    if name in _SECRETS:
        return text and KEPT
    if name != "settings":
        return text
    try:
        members = hidden(members_of(text))
    except DaypassError as error:
        return error.public
    return json.dumps(members, indent=2, ensure_ascii=False, default=str)  # a fraction is a Decimal
