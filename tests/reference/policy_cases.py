"""Random policies and requests for differential tests: small alphabets, so that things match often.

`Pool` draws policies once and combines them many times: reading a policy costs far more than deciding by it.
`to_query` turns a case (see policy_reference) into what the evaluator takes.
"""

import functools
import json
import random

from daypass.domain.policy.document import PolicyKind, parse
from daypass.domain.policy.layers import Layers, NamedPolicy
from daypass.domain.policy.model import AccessQuery, PrincipalFacts

ACCOUNT, OTHER = "111111111111", "222222222222"
USER, ROLE, ROOT = (f"arn:aws:iam::{ACCOUNT}:{rest}" for rest in ("user/al", "role/ops", "root"))
SESSION = f"arn:aws:sts::{ACCOUNT}:assumed-role/ops/s1"
FEDERATED_USER = f"arn:aws:sts::{ACCOUNT}:federated-user/bo"
USER_ID, ROLE_ID, OLD_ID = "AIDAAAAAAAAAAAAAAAAAA", "AROAAAAAAAAAAAAAAAAAA", "AROAOLDOLDOLDOLDOLDOL"
PROVIDER = f"arn:aws:iam::{ACCOUNT}:saml-provider/idp"
CANONICAL = "c" * 64

ACTIONS = ["app:Read", "app:ReadAll", "app:Write", "b:Read", "APP:read", "daypass:Read", "Daypass:Write"]
ACTION_PATTERNS = [*ACTIONS, "app:*", "*", "app:R*d", "app:????", "*:Read", "b:*e*", "b:Re?d", "daypass:*", "*:*"]
OWN = [f"arn:aws:daypass::{account}:x/a" for account in (ACCOUNT, OTHER, "*")]
RESOURCES = [f"arn:aws:app:::{rest}" for rest in ("x/a", "x/b", "x/al/1", "y", "x/", "x/a:b", "x/*")] + ["*", *OWN]
RESOURCE_PATTERNS = [
    *(r for r in RESOURCES if r != "*"),
    "*",
    "arn:aws:app:::x/*",
    "arn:aws:app:::*/a",
    "arn:aws:app:::?/?",
    "arn:aws:app:::x/*/*",
    "arn:aws:app",
    "arn:*:app:*",
    "arn:aws:app:::x/${aws:username}",
    "arn:aws:app:::x/${aws:UserName}/*",
    "arn:aws:app:::x/${aws:nobody, 'a'}",
    "arn:aws:app:::x/${*}",
    "arn:aws:app:::*${?}*",
    "arn:aws:app:::x/${k:multi}*",
    "arn:aws:b:::y",
    "arn:aws:daypass::*:x/*",
    f"arn:aws:daypass::{ACCOUNT}:*",
    "arn:aws:daypass::*:x/${aws:nobody, 'a'}",
    "arn:aws:daypass::*:x/${k:multi}*",
]
TRUST_ACTIONS = ["sts:AssumeRole", "sts:*", "sts:Assume*", "sts:TagSession"]
VALUES = {
    "aws:username": ["al", "bo", "a*", "AL", ""],
    "k:multi": [["a"], ["a", "b"], [], ["b", "c"], "a", "", [""]],
    "k:number": ["5", "05", "5.0", "6", "-1", "x", ["5", "6"]],
    "k:date": ["2024-01-01", "2024-01-01T00:00:00Z", "1704067200", "2023-06", "2024-01-01T01:00:00+01:00", "no"],
    "k:flag": ["true", "false", "TRUE", "maybe"],
    "k:ip": ["10.0.0.1", "::ffff:10.0.0.1", "10.1.0.1", "2001:db8::1", "nowhere", "::1"],
    "k:arn": ["arn:aws:app:::x/a", "arn:aws:app:::x/al", "arn:aws:app:a:b:c:d", "arn", "arn:aws:b:::y"],
    "k:bytes": ["YQ==", "Yg==", "YQ", "*"],
}
TEXTS = ["a", "al", "AL", "b", "*", "a*", "?", "${aws:username}", "${aws:UserName}*", "${k:none, 'a'}", "${*}", ""]
OPERATORS = {
    "String": ["Equals", "NotEquals", "EqualsIgnoreCase", "NotEqualsIgnoreCase", "Like", "NotLike"],
    "Numeric": ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"],
    "Date": ["Equals", "NotEquals", "LessThan", "LessThanEquals", "GreaterThan", "GreaterThanEquals"],
    "Arn": ["Equals", "Like", "NotEquals", "NotLike"],
    "Bool": [""],
    "BinaryEquals": [""],
    "IpAddress": [""],
    "NotIpAddress": [""],
    "Null": [""],
}
WANTED = {
    "String": (["aws:username", "k:multi", "AWS:UserName", "k:none", "k:number"], TEXTS),
    "Numeric": (["k:number", "k:none"], ["5", "5.00", "6", 5, -1, "0.5"]),
    "Date": (["k:date", "k:none"], ["2024-01-01", "2024-01-01T00:00:00Z", "1704067200", "2023-06", 1704067201]),
    "Arn": (
        ["k:arn", "k:none"],
        ["arn:aws:app:::x/*", "arn:*:*:*:*:*", "*", "arn:aws:app:::x/${aws:username}", "arn:aws:app", "arn:aws:?:::?"],
    ),
    "Bool": (["k:flag", "k:none"], ["true", "false", True, "${k:flag}"]),
    "BinaryEquals": (["k:bytes", "k:none"], ["YQ==", "Yg=="]),
    "IpAddress": (["k:ip", "k:none"], ["10.0.0.0/16", "10.0.0.1", "::ffff:10.0.0.0/112", "2001:db8::/32", "::/0"]),
    "NotIpAddress": (["k:ip", "k:none"], ["10.0.0.0/8", "0.0.0.0/0", "2001:db8::1"]),
    "Null": (["aws:username", "k:multi", "k:none"], ["true", "false", True]),
}
AWS_NAMES = [USER, ROLE, SESSION, ROOT, FEDERATED_USER, ACCOUNT, OTHER, USER_ID, ROLE_ID, "*", f"{USER}2"]

BLANK = {"federated": "", "service": "", "canonical_id": ""}
CALLERS = [
    {"kind": "User", "account": ACCOUNT, "arns": [[USER, USER_ID]], **BLANK},
    {"kind": "User", "account": ACCOUNT, "arns": [[USER, ""]], **BLANK},
    {"kind": "AssumedRole", "account": ACCOUNT, "arns": [[SESSION, ROLE_ID], [ROLE, ROLE_ID]], **BLANK},
    {"kind": "FederatedUser", "account": ACCOUNT, "arns": [[FEDERATED_USER, "x"], [USER, USER_ID]], **BLANK},
    {"kind": "Account", "account": ACCOUNT, "arns": [[ROOT, ACCOUNT]], **BLANK},
    {"kind": "User", "account": ACCOUNT, "arns": [[USER, USER_ID]], **BLANK, "canonical_id": CANONICAL},
    {"kind": "Anonymous", "account": "", "arns": [], **BLANK, "federated": PROVIDER},
    {"kind": "Anonymous", "account": "", "arns": [], **BLANK, "service": "app.example.com"},
    {"kind": "Anonymous", "account": "", "arns": [], **BLANK},
]
BINDINGS = [
    None,
    {},
    {USER: USER_ID, ROLE: ROLE_ID, SESSION: ROLE_ID},
    {USER: OLD_ID, ROLE: OLD_ID, SESSION: OLD_ID},
    {USER: "", ROLE: ROLE_ID, SESSION: OLD_ID},
    {USER: ROLE_ID, ROLE: USER_ID},  # both were renamed since, into each other's names
]


def some(rng, values, most=3):
    """One value, or a list of up to `most`."""
    if rng.random() < 0.6:
        return rng.choice(values)
    return rng.sample(values, rng.randint(1, min(most, len(values))))


def condition_block(rng):
    block = {}
    for _ in range(rng.choice((0, 0, 1, 1, 2))):
        family = rng.choice(("String", "String", *OPERATORS))
        operator = family + rng.choice(OPERATORS[family])
        if family != "Null":
            operator += rng.choice(("", "", "IfExists"))
        operator = rng.choice(("", "", "ForAllValues:", "ForAnyValue:")) + operator
        keys, wanted = WANTED[family]
        block.setdefault(operator, {})[rng.choice(keys)] = some(rng, wanted)
    return block


def principal_element(rng):
    if rng.random() < 0.15:
        return "*"
    element = {}
    if rng.random() < 0.85:
        element["AWS"] = some(rng, AWS_NAMES, 5)
    if rng.random() < 0.2:
        element["Federated"] = some(rng, [PROVIDER, "accounts.example.com"])
    if rng.random() < 0.2:
        element["Service"] = some(rng, ["app.example.com", "b.example.com"])
    if rng.random() < 0.1:
        element["CanonicalUser"] = CANONICAL
    return element or "*"


def statement(rng, kind):
    made = {"Effect": "Deny" if rng.random() < 0.25 else "Allow"}
    negated = rng.random() < 0.15
    actions = TRUST_ACTIONS if kind is PolicyKind.TRUST else ACTION_PATTERNS
    made["NotAction" if negated else "Action"] = some(rng, actions)
    if kind is not PolicyKind.TRUST:
        made["NotResource" if rng.random() < 0.12 else "Resource"] = some(rng, RESOURCE_PATTERNS)
    if kind in (PolicyKind.TRUST, PolicyKind.RESOURCE):
        excluding = kind is PolicyKind.RESOURCE and made["Effect"] == "Deny" and rng.random() < 0.6
        made["NotPrincipal" if excluding else "Principal"] = principal_element(rng)
    block = condition_block(rng)
    if block or rng.random() < 0.2:
        made["Condition"] = block
    return made


def policy(rng, kind, most=3):
    """The text of a random valid policy."""
    statements = [statement(rng, kind) for _ in range(rng.randint(1, most))]
    document = {}
    if rng.random() < 0.95:
        document["Version"] = rng.choice(("2012-10-17",) * 9 + ("2008-10-17",))
    document["Statement"] = statements if len(statements) > 1 or rng.random() < 0.7 else statements[0]
    text = json.dumps(document, ensure_ascii=rng.random() < 0.5)
    if document.get("Version") != "2012-10-17":  # without variables, a boolean must be spelled out
        text = text.replace('"${k:flag}"', '"true"')
    return text


def context(rng):
    return {key: rng.choice(values) for key, values in VALUES.items() if rng.random() < 0.7}


class Pool:
    """Policies of each kind, drawn once from `rng`, and cases made of them."""

    def __init__(self, rng: random.Random, size: int = 60) -> None:
        self.rng = rng
        self.texts = {
            kind: [policy(rng, kind) for _ in range(size)] for kind in PolicyKind if kind is not PolicyKind.AWS
        }

    def some(self, kind, most=2):
        return [self.rng.choice(self.texts[kind]) for _ in range(self.rng.randint(0, most))]

    def case(self):
        rng = self.rng
        kind = rng.choice((None, PolicyKind.TRUST, PolicyKind.RESOURCE, PolicyKind.RESOURCE))
        who = rng.choice(CALLERS)
        anonymous = who["kind"] == "Anonymous" or rng.random() < 0.05
        trust = kind is PolicyKind.TRUST
        case = {
            "principal": who,
            "action": "sts:AssumeRole" if trust else rng.choice(ACTIONS),
            "resource": rng.choice(RESOURCES),
            "context": context(rng),
            "same_account": rng.random() < 0.7,
            "identity": None if anonymous else self.some(PolicyKind.IDENTITY, 3),
            "resource_policy": rng.choice(self.texts[kind]) if kind else None,
            "trust": trust,
            "bindings": rng.choice(BINDINGS),
            "boundary": self.some(PolicyKind.IDENTITY) if rng.random() < 0.25 else None,
            "session": [self.some(PolicyKind.SESSION) for _ in range(rng.choice((0, 0, 0, 1, 2)))],
            "guardrails": [self.some(PolicyKind.GUARDRAIL, 3) for _ in range(rng.choice((0, 0, 0, 1)))],
        }
        levels = case["session"]
        return {**case, "scope_downs": sum(map(len, levels)) % (len(levels) + 1)}


@functools.lru_cache(maxsize=20000)
def compiled(text: str, kind: PolicyKind) -> NamedPolicy:
    return NamedPolicy(kind.value, parse(text, kind))


def to_query(case) -> tuple[AccessQuery, Layers]:
    who = case["principal"]
    facts = PrincipalFacts(
        who["kind"],
        who["account"],
        tuple((arn, uid) for arn, uid in who["arns"]),
        who["federated"],
        who["service"],
        who["canonical_id"],
    )
    keys = {key: value if isinstance(value, str) else tuple(value) for key, value in case["context"].items()}

    def named(texts, kind):
        return tuple(compiled(text, kind) for text in texts)

    resource = case["resource_policy"]
    kind = PolicyKind.TRUST if case["trust"] else PolicyKind.RESOURCE
    layers = Layers(
        same_account=case["same_account"],
        identity=None if case["identity"] is None else named(case["identity"], PolicyKind.IDENTITY),
        resource=None if resource is None else compiled(resource, kind),
        bindings=case["bindings"],
        boundary=None if case["boundary"] is None else named(case["boundary"], PolicyKind.IDENTITY),
        session=tuple(named(level, PolicyKind.SESSION) for level in case["session"]),
        guardrails=tuple(named(level, PolicyKind.GUARDRAIL) for level in case["guardrails"]),
        scope_downs=case.get("scope_downs", 0),
    )
    return AccessQuery(facts, case["action"], case["resource"], keys), layers


def answer(decision):
    """A Decision in the reference's words."""
    if decision.allowed:
        return "allow", None
    return ("explicit_deny" if decision.explicit else "implicit_deny"), decision.blocked_by.value
