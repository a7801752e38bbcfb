"""What an account's settings let every one of its users do, as an identity policy of each user.

Source: IAM User Guide, "Set an account password policy for IAM users": the permissions of AllowUsersToChangePassword
apply to all users of the account, and no policy is attached.
"""

from __future__ import annotations

from functools import cache
from typing import Final

from daypass.domain.directory import PasswordPolicy
from daypass.domain.policy.document import PolicyKind, compile_stored
from daypass.domain.policy.layers import NamedPolicy

NAME: Final = "account password policy"
"""The policy's name in explanations. Names of inline and managed policies have no spaces."""

_TEXT: Final = """{
  "Version": "2012-10-17",
  "Statement": [
    {
      "Effect": "Allow",
      "Action": "iam:ChangePassword",
      "Resource": ["arn:aws:iam::*:user/${aws:username}", "arn:aws:iam::*:user/*/${aws:username}"]
    },
    {"Effect": "Allow", "Action": "iam:GetAccountPasswordPolicy", "Resource": "*"}
  ]
}"""


def of_every_user(passwords: PasswordPolicy | None) -> tuple[NamedPolicy, ...]:
    """The policies that each user of the account has because of its password policy (None: it has none)."""
    return (_own_password(),) if passwords is not None and passwords.users_may_change else ()


@cache
def _own_password() -> NamedPolicy:
    return NamedPolicy(NAME, compile_stored(_TEXT, PolicyKind.IDENTITY))
