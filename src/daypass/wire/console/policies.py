"""The policies of a user, group or role on its page: attached and inline ones, their changes, and the form of an inline one."""

from __future__ import annotations

from asyncio import gather
from collections.abc import Mapping
from functools import partial
from typing import Any, Final, NamedTuple
from urllib.parse import unquote

from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.policy.compiled import PolicyKind
from daypass.domain.policy.document import compile_stored
from daypass.domain.policy.plain import PlainStatement, plain
from daypass.operations import heavy
from daypass.wire.console.change import Again, Facts, FormChange
from daypass.wire.console.context import ConsoleContext, ConsolePage, PagePart, address, to
from daypass.wire.console.iam import iam, iam_part
from daypass.wire.console.table import Field, FormView
from daypass.wire.http import Response
from daypass.wire.web.render import pretty

EDIT: Final = "/console/policy"
_SHOWN: Final = 10  # inline policies that a page shows with their text
_EXAMPLE: Final = """{{
  "Version": "2012-10-17",
  "Statement": [{{"Effect": "Allow", "Action": "sts:AssumeRole", "Resource": "arn:aws:iam::{}:role/ROLE"}}]
}}"""
"""An inline policy to begin with, which allows nothing before somebody names a role."""


class Holder(NamedTuple):
    """A kind of principal that has policies: its name in operations ("User"), its page, and the characters of a name."""

    kind: str
    page: str
    longest_name: int


KINDS: Final[Mapping[str, str]] = {"User": "/console/user", "Group": "/console/group", "Role": "/console/role"}
"""The pages of the kinds of principals that have policies."""


class PagePolicies(NamedTuple):
    """The policies on a page: managed ones (ARN and name), inline ones (name, text and its words; "" when not read), and forms.

    `problems`: parts that the person may not see. `attach`: the form that attaches another. `detach`, `remove`: the form of one
    policy, by ARN and by name. `editor`: the address of the form of an inline policy; its name follows.
    """

    attached: list[tuple[str, str]]
    inline: list[tuple[str, str, tuple[PlainStatement, ...] | None]]
    problems: tuple[PagePart[Any], ...]
    attach: FormView
    detach: Mapping[str, FormView]
    remove: Mapping[str, FormView]
    editor: str


async def policies_of(ctx: ConsoleContext, holder: Holder, name: str) -> PagePolicies:
    """The policies of the principal `name`."""
    kind, named = holder.kind, {f"{holder.kind}Name": name}
    attached, inline = await gather(
        iam_part(ctx, f"ListAttached{kind}Policies", **named), iam_part(ctx, f"List{kind}Policies", **named)
    )
    held = [(each["PolicyArn"], each["PolicyName"]) for each in (attached.value or {}).get("AttachedPolicies", ())]
    names = (inline.value or {}).get("PolicyNames", ())
    shown = await gather(*(iam_part(ctx, f"Get{kind}Policy", **named, PolicyName=each) for each in names[:_SHOWN]))
    documents = [unquote((part.value or {}).get("PolicyDocument", "")) for part in shown]
    words = await gather(*(in_words(ctx, text, PolicyKind.IDENTITY) for text in documents))
    texts = [*zip(names, documents, words, strict=False), *((each, "", None) for each in names[_SHOWN:])]
    attach = Field("policy", "Managed policy", hint="Its ARN; a part of its name finds it", pick="policy")
    another = FormView(f"{holder.page}/attach", "Attach", "Attach a policy", (attach,), {"name": name})
    editor = address(EDIT, holder=kind, name=name, policy=" ").removesuffix("+")
    detach = {arn: _button(holder, "detach", "Detach", name, arn, text) for arn, text in held}
    remove = {text: _button(holder, "delete-policy", "Delete", name, text, text) for text, *_ in texts}
    return PagePolicies(held, texts, (attached, inline), another, detach, remove, editor)


async def in_words(ctx: ConsoleContext, text: str, kind: PolicyKind) -> tuple[PlainStatement, ...] | None:
    """The statements of a stored policy in words; None for one that cannot be read."""
    return await heavy.parse(ctx.env, ctx.call, _trust if kind is PolicyKind.TRUST else _permissions, text)


def _trust(text: str) -> tuple[PlainStatement, ...] | None:
    return _plain(text, PolicyKind.TRUST)


def _permissions(text: str) -> tuple[PlainStatement, ...] | None:
    return _plain(text, PolicyKind.IDENTITY)


def _plain(text: str, kind: PolicyKind) -> tuple[PlainStatement, ...] | None:
    document = compile_stored(text, kind)
    return None if document.broken else plain(document)


async def page(ctx: ConsoleContext, problem: str = "", *, kind: str = "") -> Response:
    """GET /console/policy?holder=User&name=…&policy=… Without `policy`, the form for a new one."""
    kind, name, policy = kind or ctx.value("holder", 8), ctx.value("name", 128), ctx.value("policy", 128)
    if kind not in KINDS:
        raise DaypassError(ErrorKind.VALIDATION, f"The holder is one of: {', '.join(KINDS)}.")
    document = ctx.values.get("document", "")
    if not document and policy:
        found = await iam(ctx, f"Get{kind}Policy", **{f"{kind}Name": name}, PolicyName=policy)
        document = pretty(unquote(found["PolicyDocument"]))
    document = document or _EXAMPLE.format(ctx.call.caller.account)
    stored = bool(policy) and "document" not in ctx.values
    return ctx.page(
        "policy_edit",
        f"Policy {policy} of {name}" if stored else f"New policy of {name}",
        name=name,
        policy=policy,
        stored=stored,
        document=document,
        page=KINDS[kind],
        problem=problem,
    )


def _button(holder: Holder, action: str, button: str, name: str, policy: str, shown: str) -> FormView:
    hidden = {"name": name, "policy": policy}
    return FormView(f"{holder.page}/{action}", button, hidden=hidden, label=f"{button} {shown}", danger=True)


def policy_changes(holder: Holder, again: Again) -> tuple[FormChange, ...]:
    """Attaching, detaching, writing and deleting policies. Each is confirmed: it gives or takes permissions."""
    arn, name = {"PolicyArn": ("policy", 2048)}, {"PolicyName": ("policy", 128)}
    rows = (
        ("attach", "Attach", "Attach a policy", arn),
        ("detach", "Detach", "Detach a policy", arn),
        ("put-policy", "Put", "Write an inline policy", {**name, "PolicyDocument": ("document", 16_384)}),
        ("delete-policy", "Delete", "Delete an inline policy", name),
    )
    confirmed = partial(FormChange, again=again, confirmed=True, of="name")
    changes = []
    for action, verb, summary, fields in rows:
        operation = f"{verb}{holder.kind}Policy"
        perform = calling(holder, operation, **fields)
        exists = partial(_afterwards, holder, action)
        changed = confirmed(f"{holder.page}/{action}", f"iam:{operation}", summary, perform, exists=exists)
        changes.append(changed._replace(again=partial(page, kind=holder.kind)) if action == "put-policy" else changed)
    return tuple(changes)


async def _afterwards(holder: Holder, action: str, ctx: ConsoleContext) -> Facts:
    """The policies of the principal after the change."""
    named = {f"{holder.kind}Name": ctx.value("name", holder.longest_name)}
    attached = await iam_part(ctx, f"ListAttached{holder.kind}Policies", **named)
    inline = await iam_part(ctx, f"List{holder.kind}Policies", **named)
    if attached.value is None or inline.value is None:
        return []
    policies = {*(each["PolicyArn"] for each in attached.value["AttachedPolicies"]), *inline.value["PolicyNames"]}
    changed = {ctx.value("policy")}
    left = policies | changed if action in ("attach", "put-policy") else policies - changed
    return [(f"Policies of {ctx.value('name', holder.longest_name)} afterwards", "\n".join(sorted(left)) or "none")]


def calling(holder: Holder, operation: str, **fields: tuple[str, int]) -> ConsolePage:
    """Performs one operation on the principal that the form names, and shows its page. `fields`: further parameters, each
    with the field of the form that has it and the maximum number of its characters.
    """

    async def perform(ctx: ConsoleContext) -> Response:
        name = ctx.value("name", holder.longest_name)
        params = {parameter: ctx.value(field, limit) for parameter, (field, limit) in fields.items()}
        await iam(ctx, operation, **{f"{holder.kind}Name": name}, **params)
        return to(holder.page, name=name, done="saved")

    return perform


async def empty(ctx: ConsoleContext, holder: Holder, name: str) -> None:
    """Takes all policies from a principal that is going to be deleted. Raises DaypassError."""
    kind, named = holder.kind, {f"{holder.kind}Name": name}
    for each in (await iam(ctx, f"ListAttached{kind}Policies", **named))["AttachedPolicies"]:
        await iam(ctx, f"Detach{kind}Policy", **named, PolicyArn=each["PolicyArn"])
    for policy in (await iam(ctx, f"List{kind}Policies", **named))["PolicyNames"]:
        await iam(ctx, f"Delete{kind}Policy", **named, PolicyName=policy)
