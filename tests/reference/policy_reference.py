"""A second evaluator, slow and obvious, written from AWS's documentation alone.

It shares no code with `src`: documents are read by `json`, wildcards by following every possibility, dates by
`datetime`, numbers by `Fraction`. It takes valid documents only. A request and its policies are one plain dict:

    principal: {kind, account, arns: [[arn, id], …], federated, service, canonical_id}
    action, resource, context: {key: "v" | ["v", …]}, same_account
    identity: [text, …] | None; resource_policy: text | None; trust: bool; bindings: {arn: id} | None
    boundary: [text, …] | None; session: [[text, …], …]; guardrails: [[text, …], …]
    scope_downs: how many of the last levels of session also limit what is granted to the session itself

`decide` answers (effect, layer): ("allow", None), ("explicit_deny", layer), ("implicit_deny", layer).
"""

import base64
import datetime as dt
import functools
import ipaddress
import json
import re
from fractions import Fraction

STAR, QUESTION = object(), object()
NO_VALUE = object()


# --- Text and wildcards (IAM policy elements: Variables and tags) --------------------------------------------------


def ascii_lower(text):
    return "".join(chr(ord(c) + 32) if "A" <= c <= "Z" else c for c in text)


@functools.cache
def spelled(pattern, variables, wildcards):
    """A pattern as a list of characters, STAR, QUESTION and ("var", key, default)."""
    out, i = [], 0
    while i < len(pattern):
        if variables and pattern.startswith("${", i):
            end = pattern.index("}", i)
            body = pattern[i + 2 : end]
            if body in ("*", "?", "$"):
                out.append(body)
            else:
                key, _, default = body.partition(",")
                out.append(("var", ascii_lower(key), default.strip()[1:-1] if default else None))
            i = end + 1
            continue
        c = pattern[i]
        out.append(STAR if c == "*" and wildcards else QUESTION if c == "?" and wildcards else c)
        i += 1
    return tuple(out)


def filled(items, context):
    """The list with variables replaced by literal characters, or None when one has no value."""
    out = []
    for item in items:
        if isinstance(item, tuple):
            value = context.get(item[1], item[2])
            if not isinstance(value, str):
                return None
            out.extend(value)
        else:
            out.append(item)
    return out


def glob(items, text):
    """Follows the set of all places in the pattern that could be reached."""
    places = {0}

    def rest(place):
        reached = {place}
        while place < len(items) and items[place] is STAR:
            place += 1
            reached.add(place)
        return reached

    places = rest(0)
    for c in text:
        after = set()
        for place in places:
            if place == len(items):
                continue
            if items[place] is STAR:
                after |= rest(place)
            elif items[place] is QUESTION or items[place] == c:
                after |= rest(place + 1)
        places = after
        if not places:
            return False
    return len(items) in places


def like(pattern, text, context, variables, wildcards=True, ignore_case=False):
    if "$" not in pattern:
        return like_fixed(pattern, text, wildcards, ignore_case)
    items = filled(spelled(pattern, variables, wildcards), context)
    if items is None:
        return False
    if ignore_case:
        items = [ascii_lower(i) if isinstance(i, str) else i for i in items]
        text = ascii_lower(text)
    return glob(items, text)


@functools.lru_cache(maxsize=20000)
def like_fixed(pattern, text, wildcards, ignore_case):
    if ignore_case:
        pattern, text = ascii_lower(pattern), ascii_lower(text)
    return glob(spelled(pattern, False, wildcards), text)


# --- Condition operators -------------------------------------------------------------------------------------------


def to_number(text):
    return Fraction(text) if re.fullmatch(r"[+-]?[0-9]+(\.[0-9]+)?", text) else None


def to_date(text):
    if re.fullmatch(r"[0-9]+", text):
        return Fraction(int(text))
    year = re.match(r"-?[0-9]{1,9}", text)
    if year is None:
        return None
    near = int(year[0]) % 400 + 2000  # the calendar repeats every 400 years, and `datetime` knows only some of them
    cycles = (int(year[0]) - near) // 400
    text = f"{near}{text[year.end() :]}"
    shapes = ("%Y", "%Y-%m", "%Y-%m-%d", "%Y-%m-%dT%H:%M%z", "%Y-%m-%dT%H:%M:%S%z", "%Y-%m-%dT%H:%M:%S.%f%z")
    for shape in shapes:
        try:
            moment = dt.datetime.strptime(text, shape)  # noqa: DTZ007 - the shapes without a zone mean UTC
        except ValueError:
            continue
        if moment.tzinfo is None:
            moment = moment.replace(tzinfo=dt.UTC)
        span = moment - dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
        days = span.days + cycles * 146_097
        return Fraction(days * 86400 + span.seconds) + Fraction(span.microseconds, 10**6)
    return None


def to_bool(text):
    return text.lower() if text.lower() in ("true", "false") else None


def to_bytes(text):
    try:
        raw = base64.b64decode(text, validate=True)
    except ValueError:
        return None
    return raw if base64.b64encode(raw).decode() == text else None


def to_ip(text):
    try:
        ip = ipaddress.ip_address(text)
    except ValueError:
        return None
    return ip.ipv4_mapped or ip if ip.version == 6 else ip


def compare(read, relation):
    def test(wanted, found, context, variables):
        left, right = read(found), read(wanted)
        return left is not None and right is not None and relation(left, right)

    return test


def in_network(wanted, found, context, variables):
    ip, net = to_ip(found), ipaddress.ip_network(wanted, strict=False)
    if ip is None:
        return False
    if net.version == 6 and net.network_address.ipv4_mapped is not None:
        net = ipaddress.ip_network(f"{net.network_address.ipv4_mapped}/{net.prefixlen - 96}", strict=False)
    return ip.version == net.version and ip in net


def arn_like(wanted, found, context, variables):
    items = filled(spelled(wanted, variables, True), context)
    if items is None:
        return False
    parts = [[]]
    for item in items:
        if item == ":" and len(parts) < 6:
            parts.append([])
        else:
            parts[-1].append(item)
    values = found.split(":", 5)
    if items == [STAR]:
        return len(values) == 6
    return len(parts) == 6 and len(values) == 6 and all(glob(p, v) for p, v in zip(parts, values, strict=True))


def text_test(wildcards, ignore_case):
    return lambda wanted, found, context, variables: like(wanted, found, context, variables, wildcards, ignore_case)


def orderings(name, read):
    return {
        name + "Equals": (compare(read, lambda a, b: a == b), False),
        name + "NotEquals": (compare(read, lambda a, b: a == b), True),
        name + "LessThan": (compare(read, lambda a, b: a < b), False),
        name + "LessThanEquals": (compare(read, lambda a, b: a <= b), False),
        name + "GreaterThan": (compare(read, lambda a, b: a > b), False),
        name + "GreaterThanEquals": (compare(read, lambda a, b: a >= b), False),
    }


def bool_test(wanted, found, context, variables):
    return like(wanted, found, context, variables, wildcards=False, ignore_case=True)


TESTS = {  # operator: (does a value of the request match a value of the policy, is the operator negated)
    "StringEquals": (text_test(False, False), False),
    "StringNotEquals": (text_test(False, False), True),
    "StringEqualsIgnoreCase": (text_test(False, True), False),
    "StringNotEqualsIgnoreCase": (text_test(False, True), True),
    "StringLike": (text_test(True, False), False),
    "StringNotLike": (text_test(True, False), True),
    **orderings("Numeric", to_number),
    **orderings("Date", to_date),
    "Bool": (bool_test, False),
    "BinaryEquals": (compare(to_bytes, lambda a, b: a == b), False),
    "IpAddress": (in_network, False),
    "NotIpAddress": (in_network, True),
    "ArnEquals": (arn_like, False),
    "ArnLike": (arn_like, False),
    "ArnNotEquals": (arn_like, True),
    "ArnNotLike": (arn_like, True),
}


def as_list(value):
    return value if isinstance(value, list) else [value]


def as_text(value):
    return ("true" if value else "false") if isinstance(value, bool) else str(value)


def condition_holds(operator, key, wanted, context, variables):
    wanted = [as_text(w) for w in as_list(wanted)]
    value = context.get(ascii_lower(key), NO_VALUE)
    absent = value is NO_VALUE or value == []
    every, some = operator.startswith("ForAllValues:"), operator.startswith("ForAnyValue:")
    operator = operator.split(":")[-1]
    if operator == "Null":
        return ("true" if absent else "false") in [w.lower() for w in wanted]
    if operator.endswith("IfExists"):
        operator = operator[: -len("IfExists")]
        if absent:
            return True
    test, negated = TESTS[operator]

    def matches_one(found):
        return any(test(w, found, context, variables) for w in wanted)

    def satisfies(found):
        return not matches_one(found) if negated else matches_one(found)

    if every or some:
        found = [] if absent or as_list(value) == [""] else as_list(value)
        return all(satisfies(f) for f in found) if every else any(satisfies(f) for f in found)
    if absent:
        return negated
    hit = any(matches_one(f) for f in as_list(value))
    return not hit if negated else hit


# --- Statements ----------------------------------------------------------------------------------------------------


@functools.lru_cache(maxsize=20000)
def read_policy(text):
    document = json.loads(text)
    statements = document["Statement"]
    variables = document.get("Version") == "2012-10-17"
    return [(s, variables) for s in (statements if isinstance(statements, list) else [statements])]


def action_matches(statement, action):
    def hit(patterns):
        return any(like(p, action, {}, False, ignore_case=True) for p in as_list(patterns))

    return hit(statement["Action"]) if "Action" in statement else not hit(statement["NotAction"])


def complete(pattern):
    """AWS fills what is missing of an incomplete ARN with wildcards."""
    if pattern == "*":
        return pattern
    outside = re.sub(r"\$\{[^}]*\}", "", pattern).count(":")
    return pattern + ":*" * max(0, 5 - outside)


def resource_matches(statement, resource, context, variables):
    def hit(patterns):
        return any(like(complete(p), resource, context, variables) for p in as_list(patterns))

    if "Resource" in statement:
        return hit(statement["Resource"])
    return not hit(statement["NotResource"]) if "NotResource" in statement else True


def names_in(element):
    if element == "*":
        return {"AWS": ["*"]}
    return {kind: as_list(values) for kind, values in element.items()}


def is_bound(arn, uid, bindings):
    """A federated user has no id of its own; everyone else must be who was meant when the policy was written."""
    if bindings is None or ":federated-user/" in arn:
        return True
    return bool(uid) and bindings.get(arn) == uid


def was_bound(names, arn, uid, bindings):
    """Renamed since: a listed ARN is an old one of the same user or role. Sessions are not renamed."""
    if not bindings or not uid or arn.startswith("arn:aws:sts:"):
        return False
    return any(bindings.get(name) == uid for name in names if not name.startswith("arn:aws:sts:"))


def listed_account(names, who):
    account = who["account"]
    return bool(account) and any(n == account or n.split(":")[4:] == [account, "root"] for n in names)


def grant_of(element, who, bindings):
    """None, or what the grant of this Principal element is not limited by: a set of layers."""
    named = names_in(element)
    aws = named.get("AWS", [])
    whole = {"identity", "boundary", "session"}
    if "*" in aws or who["federated"] in named.get("Federated", []) or who["service"] in named.get("Service", []):
        return whole
    grants = []
    for arn, uid in who["arns"]:
        entity = {"identity", "boundary"} if who["kind"] == "User" else {"identity"}
        if uid and uid in aws:  # the unique id is the user's or the role's, never one session's
            grants.append(entity)
        if not arn.endswith(":root") and arn in aws and is_bound(arn, uid, bindings):
            session = ":assumed-role/" in arn or ":federated-user/" in arn
            grants.append(whole if session else entity)
        if was_bound(aws, arn, uid, bindings):
            grants.append(entity)
    if grants:
        return max(grants, key=len)
    if listed_account(aws, who) or (who["canonical_id"] and who["canonical_id"] in named.get("CanonicalUser", [])):
        return set()
    return None


def is_excepted(element, who, bindings):
    """NotPrincipal: account, role and session are each checked; all must be listed."""
    named = names_in(element)
    aws = named.get("AWS", [])
    if "*" in aws:
        return True
    checks = []
    for arn, uid in who["arns"]:
        if not arn.endswith(":root"):
            now = arn in aws and is_bound(arn, uid, bindings)
            checks.append((uid and uid in aws) or now or was_bound(aws, arn, uid, bindings))
    if who["arns"]:
        checks.append(listed_account(aws, who) or who["canonical_id"] in named.get("CanonicalUser", []))
    if who["federated"]:
        checks.append(who["federated"] in named.get("Federated", []))
    if who["service"]:
        checks.append(who["service"] in named.get("Service", []))
    return checks != [] and all(checks)


def reaches_administration(statement, variables, case, layer):
    """ADR 0008: an Allow speaks of `daypass:` actions only by an Action that says so, or `*`, and by Resource.

    What another account owns is granted by identity policies that name the service in both elements.
    """
    if statement["Effect"] == "Deny" or not ascii_lower(case["action"]).startswith("daypass:"):
        return True
    if "NotAction" in statement or "NotResource" in statement:
        return False
    named = [p for p in as_list(statement["Action"]) if ascii_lower(p[:8]) == "daypass:"]
    owner = case["resource"].split(":", 5)[4:5] if case["resource"].count(":") >= 5 else []
    if layer != "identity" or owner in ([], [""], [case["principal"]["account"]]):
        named += [p for p in as_list(statement["Action"]) if p == "*"]
        return any(like(p, case["action"], {}, False, ignore_case=True) for p in named)
    arns = [p for p in as_list(statement["Resource"]) if p != "*"]
    return any(like(p, case["action"], {}, False, ignore_case=True) for p in named) and any(
        like(complete(p), case["resource"], case["context"], variables) for p in arns
    )


def applies(statement, variables, case, layer):
    """None when the statement does not apply, else the set of layers that do not limit its grant."""
    context = case["context"]
    if not reaches_administration(statement, variables, case, layer):
        return None
    if not action_matches(statement, case["action"]):
        return None
    if not resource_matches(statement, case["resource"], context, variables):
        return None
    grant = set()
    if "Principal" in statement:
        grant = grant_of(statement["Principal"], case["principal"], case["bindings"])
        if grant is None:
            return None
    if "NotPrincipal" in statement and is_excepted(statement["NotPrincipal"], case["principal"], case["bindings"]):
        return None
    for operator, keys in statement.get("Condition", {}).items():
        for key, wanted in keys.items():
            if not condition_holds(operator, key, wanted, context, variables):
                return None
    return grant


# --- The order of evaluation (Policy evaluation logic) -------------------------------------------------------------


def decide(case):
    layers = [("guardrail", level) for level in case["guardrails"]]
    layers += [("resource", [case["resource_policy"]])] if case["resource_policy"] is not None else []
    layers += [("identity", case["identity"])] if case["identity"] is not None else []
    layers += [("boundary", case["boundary"])] if case["boundary"] is not None else []
    layers += [("session", level) for level in case["session"]]
    found = []  # (layer, the grants of its allowing statements)
    for name, texts in layers:
        grants = []
        for text in texts:
            for statement, variables in read_policy(text):
                grant = applies(statement, variables, case, name)
                if grant is not None and statement["Effect"] == "Deny":
                    return "explicit_deny", first_denying(layers, case)
                if grant is not None:
                    grants.append(grant)
        found.append((name, grants))
    return without_denies(case, found)


def first_denying(layers, case):
    for name, texts in layers:
        for text in texts:
            for statement, variables in read_policy(text):
                if statement["Effect"] == "Deny" and applies(statement, variables, case, name) is not None:
                    return name
    raise AssertionError


def without_denies(case, found):
    for name, grants in found:
        if name == "guardrail" and not grants:
            return "implicit_deny", "guardrail"
    resource_grants = [g for name, grants in found if name == "resource" for g in grants]
    root = case["principal"]["kind"] == "Account"
    no_identity = case["identity"] is None and not root
    needs_resource = not case["same_account"] or case["trust"] or no_identity
    if needs_resource and not resource_grants:
        return "implicit_deny", "resource"
    narrowed = [grants for name, grants in found if name == "session"][::-1][: case.get("scope_downs", 0)]
    in_scope = ("allow", None) if all(narrowed) else ("implicit_deny", "session")
    if no_identity:
        return in_scope
    free_of = max(resource_grants, key=len) if resource_grants and case["same_account"] else set()
    if root:
        free_of = free_of | {"identity"}
    if "identity" not in free_of and not any(grants for name, grants in found if name == "identity"):
        return "implicit_deny", "identity"
    for layer in ("boundary", "session"):
        if layer not in free_of and any(name == layer and not grants for name, grants in found):
            return "implicit_deny", layer
    return in_scope
