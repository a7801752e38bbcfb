"""The credential report of an account: every user, the root first, and the state of its credentials, as CSV.

It is generated on request, on a read thread, and stored for four hours. It contains no secrets.
Source: IAM User Guide, "Generate credential reports for your AWS account".
"""

from __future__ import annotations

import csv
import io
import zlib
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Final, TypeVar

from daypass.domain.arn import root_arn
from daypass.domain.directory import (
    AccessKey,
    Account,
    CredentialReport,
    KeyStatus,
    LoginProfile,
    MfaDevice,
    PasswordPolicy,
    User,
)
from daypass.domain.errors import DaypassError, ErrorKind
from daypass.domain.jws import iso_time
from daypass.operations.crud import Answer, Params
from daypass.operations.iam import access_keys
from daypass.operations.iam.context import ReadContext, WriteContext
from daypass.ports import Ids

E = TypeVar("E")

FRESH_MS: Final = 4 * 3_600_000
_PAGE: Final = 1000
_DAY_MS: Final = 86_400_000
_NONE: Final = "N/A"
_NO_KEY: Final = ("false", _NONE, _NONE, _NONE, _NONE)
_NO_CERTIFICATES: Final = ("false", _NONE, "false", _NONE)
_ROOT_PASSWORD: Final = ("false", _NONE, _NONE, "not_supported")
_NO_PASSWORD: Final = ("false", _NONE, _NONE, _NONE)
_KEY_COLUMNS: Final = ("active", "last_rotated", "last_used_date", "last_used_region", "last_used_service")
COLUMNS: Final = (
    *("user", "arn", "user_creation_time"),
    *("password_enabled", "password_last_used", "password_last_changed", "password_next_rotation", "mfa_active"),
    *(f"access_key_{number}_{column}" for number in (1, 2) for column in _KEY_COLUMNS),
    *("cert_1_active", "cert_1_last_rotated", "cert_2_active", "cert_2_last_rotated"),
)


def gather(ctx: ReadContext, _p: Params, _ids: Ids) -> bytes | None:
    """A new report, deflated; None while the last one is fresh."""
    return None if _fresh(ctx) else zlib.compress(_csv(ctx).encode("ascii"), 6)


def generate_credential_report(ctx: WriteContext, _p: Params) -> Answer:
    """STARTED when it generated a report, COMPLETE when the last one is less than four hours old."""
    last = _last(ctx)
    if ctx.gathered is None or _fresh(ctx):
        return {"State": "COMPLETE"}
    report = CredentialReport(ctx.account, ctx.now, ctx.gathered)
    if last is not None:
        ctx.tx.replace(report)
        return {"State": "STARTED"}
    ctx.tx.insert(report)
    return {"State": "STARTED", "Description": "No report exists. Starting a new report generation task"}


def get_credential_report(ctx: ReadContext, _p: Params) -> Answer:
    report = _last(ctx)
    if report is None:
        raise DaypassError(ErrorKind.REPORT_NOT_PRESENT, "")  # AWS gives no more
    if not _fresh(ctx):
        raise DaypassError(ErrorKind.REPORT_EXPIRED, "The report has expired. Generate a new one.")
    content = zlib.decompress(report.deflated)
    return {"Content": content, "ReportFormat": "text/csv", "GeneratedTime": report.created_at}


def _last(ctx: ReadContext) -> CredentialReport | None:
    return ctx.tx.get(CredentialReport, account=ctx.account)


def _fresh(ctx: ReadContext) -> bool:
    report = _last(ctx)
    return report is not None and ctx.now - report.created_at <= FRESH_MS


# --- Its rows


def _csv(ctx: ReadContext) -> str:
    """Lines end in a line feed, except the last. Users are in the order of their names."""
    rows = _Rows(ctx)
    text = io.StringIO()
    write = csv.writer(text, lineterminator="\n")
    write.writerow(COLUMNS)
    write.writerow(rows.root())
    for user in _every(ctx, User, "name", lambda user: user.name):
        write.writerow(rows.user(user))
    return text.getvalue().removesuffix("\n")


def _every(ctx: ReadContext, kind: type[E], order: str, key: Callable[[E], str]) -> Iterator[E]:
    after = ""
    while batch := ctx.tx.find(kind, order=order, after=after, limit=_PAGE, account=ctx.account):
        yield from batch
        after = key(batch[-1])


class _Rows:
    """The data of the rows, read in pages rather than user by user."""

    def __init__(self, ctx: ReadContext) -> None:
        self._ctx = ctx
        self._keys: defaultdict[str, list[AccessKey]] = defaultdict(list)
        for key in _every(ctx, AccessKey, "id", lambda key: key.id):
            self._keys[key.owner_id].append(key)
        devices = _every(ctx, MfaDevice, "serial", lambda device: device.serial)
        self._with_mfa = {device.owner_id for device in devices}
        profiles = _every(ctx, LoginProfile, "user_id", lambda profile: profile.user_id)
        self._profiles = {profile.user_id: profile for profile in profiles}
        policy = ctx.tx.get(PasswordPolicy, account=ctx.account)
        self._max_age_days = policy.max_age_days if policy is not None else None

    def root(self) -> list[str]:
        account = self._ctx.tx.get(Account, id=self._ctx.account)
        created = account.created_at if account is not None else 0
        begin = ("<root_account>", root_arn(self._ctx.account), iso_time(created // 1000))
        return [*begin, *_ROOT_PASSWORD, *self._rest(self._ctx.account)]

    def user(self, user: User) -> list[str]:
        password = self._password(user.id)
        return [user.name, user.arn, iso_time(user.created_at // 1000), *password, *self._rest(user.id)]

    def _password(self, user_id: str) -> tuple[str, ...]:
        profile = self._profiles.get(user_id)
        if profile is None:
            return _NO_PASSWORD
        changed = profile.password_changed_at
        rotation = iso_time((changed + self._max_age_days * _DAY_MS) // 1000) if self._max_age_days else _NONE
        used = access_keys.sign_ins(self._ctx.tx, self._ctx.now, [user_id]).get(user_id, 0)
        return ("true", iso_time(used // 1000) if used else "no_information", iso_time(changed // 1000), rotation)

    def _rest(self, owner_id: str) -> list[str]:
        keys = [self._key(key) for key in self._keys[owner_id][:2]]
        shown = [*keys, _NO_KEY, _NO_KEY][:2]
        return ["true" if owner_id in self._with_mfa else "false", *shown[0], *shown[1], *_NO_CERTIFICATES]

    def _key(self, key: AccessKey) -> tuple[str, ...]:
        last = access_keys.newest(access_keys.uses(self._ctx, key.id))
        used = (
            (iso_time(last.at // 1000), last.region or _NONE, last.operation)
            if last is not None
            else (_NONE, _NONE, _NONE)
        )
        return ("true" if key.status is KeyStatus.ACTIVE else "false", iso_time(key.created_at // 1000), *used)
