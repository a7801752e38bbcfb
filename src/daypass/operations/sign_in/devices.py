"""A user's MFA: passkeys, virtual devices and recovery codes. The same operations serve the pages and the API.

People need no permission for their own devices, but MFA at most a quarter of an hour ago. Those of others need
`daypass:ListMfaDevices`, `daypass:UpdatePasskey` or `daypass:DeletePasskey` on `user/NAME`.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from daypass.domain.arn import is_account_id
from daypass.domain.claims import PrincipalKind
from daypass.domain.directory import Membership, MfaDevice, Passkey, RecoveryCode, User
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.events import Event, EventType
from daypass.domain.policy.model import Decision
from daypass.operations.iam.access_keys import sign_ins as last_sign_ins
from daypass.operations.iam.mfa import codes_change, has_device, is_recent, of_user, remove_codes
from daypass.operations.management import InAws, allow, allow_own, read_recorded
from daypass.operations.notifications import announce
from daypass.operations.outcome import served
from daypass.operations.sign_in import passkeys
from daypass.operations.ssf import push
from daypass.ports import Call, Env, Ids, Reader, Tx

_MANY: Final = 100
_LOOKED_AT: Final = 500  # members of groups


class Devices(NamedTuple):
    """A user's devices. `recovery_codes`: how many are left."""

    user: User
    passkeys: tuple[Passkey, ...]
    virtual: tuple[MfaDevice, ...]
    recovery_codes: int

    @property
    def any(self) -> bool:
        """Whether a password alone does not sign the user in."""
        return bool(self.passkeys or self.virtual)


class Whose(NamedTuple):
    """A user: by name, in the caller's account or `account`. "" is the caller."""

    name: str = ""
    account: str = ""


OWN: Final = Whose()


async def list_devices(env: Env, call: Call, whose: Whose = OWN) -> Devices:
    """daypass:ListMfaDevices. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    user, decision = await user_of(env, call, whose, "ListMfaDevices", fresh=False)
    devices = await env.directory.read(lambda tx: _devices(tx, user), account=call.caller.account)
    await env.journal.commit(served(call, account=user.account, decision=decision, detail={"user": user.arn}))
    return devices


class UserSignIn(NamedTuple):
    """How a user signs in: whether with any MFA, and when it last happened with a browser (ms; 0: never)."""

    mfa: bool
    at: int


async def sign_ins(env: Env, call: Call, users: Sequence[str]) -> Mapping[str, UserSignIn]:
    """daypass:ListMfaDevices on `user/*`: how each of these users of the caller's account signs in, by id.

    Raises DaypassError(ACCESS_DENIED).
    """

    def query(tx: Reader, account: str) -> Mapping[str, UserSignIn]:
        return _sign_ins(tx, call.now, account, users)

    return await read_recorded(env, call, "ListMfaDevices", "user", "*", "", query, users=len(users))


class MembersSignIns(NamedTuple):
    """The members of a group: how many there are, and how those sign in that were looked at, by id."""

    number: int
    looked_at: Mapping[str, UserSignIn]


async def sign_ins_of_groups(env: Env, call: Call, groups: Sequence[str]) -> Mapping[str, MembersSignIns]:
    """daypass:ListMfaDevices on `user/*`: how the members of these groups of the caller's account sign in, by id of the group.

    Raises DaypassError(ACCESS_DENIED).
    """

    def query(tx: Reader, account: str) -> Mapping[str, MembersSignIns]:
        members: dict[str, list[str]] = {}
        left = _LOOKED_AT
        for group in groups:
            found = tx.find(Membership, order="user_id", limit=max(left, 1), account=account, group_id=group)
            members[group] = [each.user_id for each in found][:left]
            left -= len(members[group])
        known = _sign_ins(tx, call.now, account, list({user for ids in members.values() for user in ids}))
        return {
            group: MembersSignIns(
                tx.count(Membership, group_id=group) if left <= 0 else len(ids), {user: known[user] for user in ids}
            )
            for group, ids in members.items()
        }

    return await read_recorded(env, call, "ListMfaDevices", "user", "*", "", query, groups=len(groups))


def _sign_ins(tx: Reader, now: int, account: str, users: Sequence[str]) -> dict[str, UserSignIn]:
    passkeys = tx.find_among(Passkey, "user_id", users, order="id", account=account)
    virtual = tx.find_among(MfaDevice, "owner_id", users, order="serial", account=account)
    protected = {each.user_id for each in passkeys} | {each.owner_id for each in virtual}
    last = last_sign_ins(tx, now, users)
    return {user: UserSignIn(user in protected, last.get(user, 0)) for user in users}


async def rename_passkey(env: Env, call: Call, passkey_id: str, name: str, whose: Whose = OWN) -> Passkey:
    """daypass:UpdatePasskey. Raises DaypassError: ACCESS_DENIED, ALREADY_EXISTS, NOT_FOUND, VALIDATION."""
    passkeys.check_name(name)
    user, decision = await user_of(env, call, whose, "UpdatePasskey")

    return await env.journal.write(
        lambda tx: passkeys.rename(tx, call, user, passkey_id, name, decision), account=call.caller.account
    )


async def remove_passkey(env: Env, call: Call, passkey_id: str, whose: Whose = OWN) -> None:
    """daypass:DeletePasskey. The user's other browsers are signed out. Raises DaypassError: ACCESS_DENIED, NOT_FOUND."""
    user, decision = await user_of(env, call, whose, "DeletePasskey")

    await env.journal.write(
        lambda tx: passkeys.remove(env, tx, call, user, passkey_id, decision), account=call.caller.account
    )


async def name_of_app(env: Env, call: Call) -> tuple[str, str]:
    """A name for the caller's next virtual device, and the serial number of an unused device that has it; "" for none.

    An attempt that was given up leaves an unused device: the next one replaces it.
    """
    account, name = call.caller.account, call.caller.name

    def query(tx: Reader) -> tuple[str, str]:
        for each in (name, *(f"{name}-{number}" for number in range(2, _MANY))):
            device = tx.get(MfaDevice, serial=f"arn:aws:iam::{account}:mfa/{each}")
            if device is None or device.owner_id is None:
                return each, device.serial if device is not None else ""
        raise DaypassError(ErrorKind.LIMIT_EXCEEDED, f"A user has less than {_MANY} devices.")

    return await env.directory.read(query, account=account)


async def create_recovery_codes(env: Env, call: Call) -> tuple[str, ...]:
    """Replaces the caller's recovery codes; only this answer has them. Raises DaypassError: ACCESS_DENIED, VALIDATION."""
    user, decision = await user_of(env, call, OWN, "CreateRecoveryCodes")
    codes = new_codes(env.ids)
    return await env.journal.write(
        lambda tx: replace_codes(env, tx, call, user, codes, decision), account=call.caller.account
    )


def _devices(tx: Reader, user: User) -> Devices:
    virtual = tx.find(MfaDevice, account=user.account, owner_id=user.id, order="serial", limit=_MANY)
    codes = tx.count(RecoveryCode, user_id=user.id)
    return Devices(user, tuple(of_user(tx, user.id)), tuple(virtual), codes)


async def user_of(env: Env, call: Call, whose: Whose, action: str, *, fresh: bool = True) -> tuple[User, Decision]:
    """The user, and the decision that the caller may act on what proves this user.

    `fresh`: for its own, the caller's MFA must be recent. Raises DaypassError: ACCESS_DENIED, NOT_FOUND, VALIDATION.
    """
    caller, owner = call.caller, whose.account or call.caller.account
    if owner and not is_account_id(owner):
        raise DaypassError(ErrorKind.VALIDATION, "An account id is 12 digits.")

    def find(tx: Reader) -> User | None:
        if whose.name:
            return tx.get(User, account=owner, name=whose.name)
        return tx.get(User, id=caller.principal_id) if caller.kind is PrincipalKind.USER else None

    user = await env.directory.read(find, account=caller.account)
    if not whose.name or (user is not None and user.id == caller.principal_id):
        if user is None:
            raise DaypassError(ErrorKind.VALIDATION, "Only users have devices: name one.")
        decision = await allow_own(env, call, action, "user", user.name)
        if fresh:
            _check_mfa(call)
        return user, decision
    known, arn = (user.name, user.arn) if user is not None else (whose.name, f"arn:aws:iam::{owner}:user/{whose.name}")
    in_aws = InAws(arn, tags=user.tags if user is not None else ())
    decision = await allow(env, call, action, "user", known, owner, in_aws=in_aws, requested=whose.name)
    if user is None:
        raise DaypassError(ErrorKind.NOT_FOUND, f"The user with name {whose.name} cannot be found.")
    return user, decision


def _check_mfa(call: Call) -> None:
    """Otherwise the thief of a key or cookie could replace the user's devices. Source: AWS-2023-001."""
    if not is_recent(call.caller.mfa_at, call.now):
        raise DaypassError(
            ErrorKind.ACCESS_DENIED,
            "To change your devices or chat users, use a session whose MFA is at most 15 minutes old: sign in again, "
            "or call GetSessionToken with an MFA code.",
            private={"reason": "devices", "mfa": "absent or too old"},
        )


# --- Recovery codes: for a person whose MFA devices are lost


NUMBER: Final = 10
_BYTES: Final = 10  # 16 characters of base 32
_WRONG: Final = "The recovery code is wrong or was used before."


def new_codes(ids: Ids) -> tuple[str, ...]:
    """NUMBER new codes as people read them: "abcd-efgh-ijkl-mnop"."""
    texts = [base64.b32encode(ids.seed()[:_BYTES]).decode("ascii").lower() for _ in range(NUMBER)]
    return tuple("-".join(text[at : at + 4] for at in range(0, len(text), 4)) for text in texts)


def digest(code: str) -> str:
    """The stored form of a code, however it is typed."""
    letters = "".join(char for char in code.lower() if char.isascii() and char.isalnum())
    return hashlib.sha256(b"recovery code\0" + letters.encode("ascii")).hexdigest()


def replace_codes(
    env: Env, tx: Tx, call: Call, user: User, codes: tuple[str, ...], decision: Decision
) -> tuple[tuple[str, ...], Event]:
    """Stores new codes and revokes the earlier ones, in a transaction of a caller who may do it. Raises
    DaypassError(VALIDATION) for a user without an MFA device.
    """
    if not has_device(tx, user):
        raise DaypassError(ErrorKind.VALIDATION, "Recovery codes replace an MFA device: register a device first.")
    changes = (*remove_codes(tx, user), codes_change(user, "create"))
    push.announce(env, tx, changes, call.now, actor_id=call.caller.principal_id)
    for code in codes:
        tx.insert(RecoveryCode(user.id, digest(code), user.account, call.now))
    detail = {"user": user.arn, "recovery_codes": len(codes)}
    return codes, served(call, kind=EventType.DIRECTORY_CHANGED, account=user.account, decision=decision, detail=detail)


async def accept(env: Env, call: Call, user: User, unverified_code: str) -> None:
    """Consumes a code of the user, who is `call.caller`. Raises DaypassError(ACCESS_DENIED)."""
    wanted = digest(unverified_code[:64])

    def change(tx: Tx) -> tuple[None, Event]:
        code = tx.get(RecoveryCode, user_id=user.id, digest=wanted)
        if code is None:
            private = {"reason": "recovery code", "unverified_user": user.arn}
            raise DaypassError(ErrorKind.ACCESS_DENIED, _WRONG, private=private)
        tx.delete(code)
        push.announce(env, tx, (codes_change(user, "revoke"),), call.now, actor_id=user.id)
        left = tx.count(RecoveryCode, user_id=user.id)
        event = served(call, kind=EventType.RECOVERY_CODE_USED, detail={"user": user.arn, "left": left})
        return None, announce(env, tx, event)

    await env.journal.write(change, account=user.account)
