"""The page of a person's own MFA devices: passkeys, virtual devices and recovery codes.

A sign-in that is too old, or without MFA, shows the devices; changing one takes a fresh sign-in first.
"""

from __future__ import annotations

import base64
from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final, TypeAlias

from msgspec.structs import replace

from daypass.domain.errors import DaypassError, Family
from daypass.operations.access_requests import chat
from daypass.operations.assume.mfa_code import MfaCode
from daypass.operations.authorize import would_allow
from daypass.operations.crud_engine import perform
from daypass.operations.iam.service import IAM, OPERATIONS
from daypass.operations.sign_in import devices, passkeys, webauthn
from daypass.operations.sign_in.browser_session import SignedIn
from daypass.operations.sign_in.step_up import StepUpProof
from daypass.ports import Call, Env
from daypass.wire.http import Response
from daypass.wire.web.context import LOGIN, Page, PageContext, ParameterCheck
from daypass.wire.web.render import redirect

PAGE: Final = "/account/devices"
LIST: Final = "daypass:ListMfaDevices"
REGISTER: Final = "daypass:RegisterPasskey"
UPDATE: Final = "daypass:UpdatePasskey"
DELETE: Final = "daypass:DeletePasskey"
NEW_APP: Final = "iam:CreateVirtualMFADevice"
ENABLE_APP: Final = "iam:EnableMFADevice"
CODES: Final = "daypass:CreateRecoveryCodes"
CHAT_CODE: Final = "daypass:CreateChatCode"
CHAT_UNLINK: Final = "daypass:DeleteChatLink"
Made: TypeAlias = Mapping[str, object]
"""Values that only the answering page shows; {} if nothing was made."""
Change: TypeAlias = Callable[[Env, Call, SignedIn, Mapping[str, str]], Awaitable[Made]]
_SHOWN_AGAIN: Final = frozenset({Family.REQUEST, Family.DENIED, Family.CONTENT, Family.CONFLICT, Family.PROOF})


async def page(ctx: PageContext) -> Response:
    """GET /account/devices."""
    person = await ctx.person()
    if person is None:
        return ctx.to_sign_in(PAGE)
    return await _page(ctx, *person)


def changing(change: Change) -> Page:
    """The page of a POST that changes a device: then the list again, with a refusal above it."""

    async def serve(ctx: PageContext) -> Response:
        form = ctx.form()
        person = await ctx.person()
        if person is None:
            return ctx.to_sign_in(PAGE)
        try:
            made = await change(ctx.env, *person, form)
        except DaypassError as error:
            if error.kind.family not in _SHOWN_AGAIN:
                raise
            return await _page(ctx, *person, await ctx.refused(error), {"app": form.get("app", "")})
        return await _page(ctx, *person, made=made) if made else redirect(PAGE)

    return serve


async def add(env: Env, call: Call, signed_in: SignedIn, form: Mapping[str, str]) -> Made:
    """The browser's new passkey."""
    ceremony, response = form.get("ceremony", ""), form.get("response", "")
    await passkeys.register(env, call, signed_in, ceremony, response, form.get("name", "").strip())
    return {}


async def rename(env: Env, call: Call, _signed_in: SignedIn, form: Mapping[str, str]) -> Made:
    """A new name for a passkey."""
    await devices.rename_passkey(env, call, form.get("passkey", ""), form.get("name", "").strip())
    return {}


async def remove(env: Env, call: Call, _signed_in: SignedIn, form: Mapping[str, str]) -> Made:
    """Removes a passkey."""
    await devices.remove_passkey(env, call, form.get("passkey", ""))
    return {}


async def new_app(check: ParameterCheck, env: Env, call: Call, signed_in: SignedIn, _form: Mapping[str, str]) -> Made:
    """A virtual MFA device, whose secret only this answer has. It replaces one that was never enabled."""
    await passkeys.check_fresh(env, call, signed_in)
    name, unused = await devices.name_of_app(env, call)
    if unused:
        await _iam(check, env, call, "iam:DeleteVirtualMFADevice", SerialNumber=unused)
    made = (await _iam(check, env, call, NEW_APP, VirtualMFADeviceName=name))["VirtualMFADevice"]
    picture = base64.b64encode(made["QRCodePNG"]).decode("ascii")
    return {"app": made["SerialNumber"], "secret": made["Base32StringSeed"].decode("ascii"), "picture": picture}


async def enable_app(check: ParameterCheck, env: Env, call: Call, signed_in: SignedIn, form: Mapping[str, str]) -> Made:
    """Enables the device of `new_app` by two codes."""
    await passkeys.check_fresh(env, call, signed_in)
    codes = {f"AuthenticationCode{each}": form.get(f"code{each}", "").strip() for each in (1, 2)}
    serial = form.get("app", "")
    await _iam(check, env, call, ENABLE_APP, UserName=call.caller.name, SerialNumber=serial, **codes)
    return {}


async def _iam(check: ParameterCheck, env: Env, call: Call, action: str, **params: str) -> Mapping[str, Any]:
    name = action.removeprefix("iam:")
    call = replace(call, facts=replace(call.facts, operation=action))
    return await perform(env, call, IAM, OPERATIONS[name], check("iam", name, params))


async def recovery_codes(env: Env, call: Call, _signed_in: SignedIn, _form: Mapping[str, str]) -> Made:
    """New recovery codes."""
    return {"codes": await devices.create_recovery_codes(env, call)}


async def unlink(env: Env, call: Call, _signed_in: SignedIn, form: Mapping[str, str]) -> Made:
    """Removes the link of a chat user."""
    await chat.delete_link(env, call, form.get("chat_user", ""))
    return {}


async def chat_code(env: Env, call: Call, _signed_in: SignedIn, form: Mapping[str, str]) -> Made:
    """A code that links a chat user."""
    chat_user = form.get("chat_user", "").strip()
    code = await chat.create_code(env, call, chat_user)
    return {"chat_code": f"link {code}" if chat_user.startswith("teams:") else f"/daypass link {code}"}


async def _page(
    ctx: PageContext, call: Call, signed_in: SignedIn, problem: str = "", made: Made = MappingProxyType({})
) -> Response:
    known = await devices.list_devices(ctx.env, call)
    chat_users = await chat.list_links(ctx.env, call)
    age = ""
    try:
        passkeys.check_recent(signed_in, has_devices=known.any, now=call.now)
    except DaypassError as error:
        age = "mfa" if error.private["reason"] == "no MFA" else "age"
    prompt = None
    if not age and webauthn.available(ctx.env):
        prompt = await passkeys.ask_to_register(ctx.env, call, signed_in)
    shown: dict[str, Any] = {
        "chat_users": chat_users,
        "chats": await chat.services_of(ctx.env, call.caller.account),
        "devices": known,
        "problem": problem,
        "prompt": prompt,
        "may_add_app": all(
            await would_allow(
                ctx.env,
                call,
                [(NEW_APP, f"arn:aws:iam::{known.user.account}:mfa/{known.user.name}"), (ENABLE_APP, known.user.arn)],
            )
        ),
        "app": "",
        "secret": "",
        "picture": "",
        "chat_code": "",
        "codes": (),
        **made,
    }
    scripts = ("passkey.js",) if prompt else ()
    again = f"{LOGIN}?again={age}&next={PAGE}"
    return ctx.page("devices", title="Your devices", fresh=not age, again=again, scripts=scripts, **shown)


# --- The proof with which a person confirms one action with MFA


PROOF_FIELDS: Final = frozenset({"csrf", "ceremony", "response", "code_prompt", "device", "code"})


def proof_of(signed_in: SignedIn, form: Mapping[str, str]) -> StepUpProof | None:
    """The proof in a form; None when it is the first form of an action, which has none."""
    if not form.get("response") and not form.get("code"):
        return None
    return StepUpProof(
        signed_in.row.id,
        form.get("ceremony", ""),
        form.get("response", ""),
        form.get("code_prompt", ""),
        MfaCode(form.get("device", ""), form.get("code", "").strip()),
    )
