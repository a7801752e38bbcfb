"""Identity providers, one-time things, and the rest of IAM. It is written out here, because a released migration never
changes.
"""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table, unique_of

revision = "0002"
down_revision = "0001"

# name, primary key, columns as name:type[:null]
_TABLES: tuple[tuple[str, str, str], ...] = (
    (
        "oidc_providers",
        "account url",
        "account:text url:text created_at:int client_ids:text thumbprints:text tags:text settings:text",
    ),
    (
        "saml_providers",
        "id",
        (
            "id:text account:text name:text name_key:text created_at:int valid_until:int metadata:text tags:text "
            "encryption_mode:text:null private_keys:text settings:text"
        ),
    ),
    (
        "trust_anchors",
        "id",
        (
            "id:text account:text region:text name:text created_at:int updated_at:int certificates:text enabled:bool "
            "notifications:text tags:text"
        ),
    ),
    (
        "x509_profiles",
        "id",
        (
            "id:text account:text region:text name:text created_at:int updated_at:int created_by:text enabled:bool "
            "role_arns:text managed_policy_arns:text session_policy:text duration_seconds:int "
            "require_instance_properties:bool accept_role_session_name:bool mappings:text tags:text"
        ),
    ),
    (
        "crls",
        "id",
        (
            "id:text account:text region:text name:text created_at:int updated_at:int trust_anchor_id:text data:bytes "
            "enabled:bool tags:text"
        ),
    ),
    (
        "x509_subjects",
        "id",
        (
            "id:text account:text region:text x509_subject:text created_at:int updated_at:int last_seen_at:int "
            "enabled:bool credentials:text instance_properties:text tags:text"
        ),
    ),
    (
        "issuer_key_sets",
        "source",
        "source:text account:text url:text jwks:text fetched_at:int sequence:int claimed_at:int",
    ),
    (
        "issuer_allow_lists",
        "account",
        "account:text issuers:text updated_at:int",
    ),
    (
        "mfa_devices",
        "serial",
        (
            "account:text serial:text name:text name_key:text path:text created_at:int sealed_seed:bytes "
            "owner_id:text:null enabled_at:int:null drift:int failures:int locked_until:int tags:text "
            "paired_step:int"
        ),
    ),
    (
        "last_uses",
        "subject operation",
        "subject:text operation:text account:text at:int region:text",
    ),
    ("credential_reports", "account", "account:text created_at:int deflated:bytes"),
    (
        "access_reports",
        "id",
        "id:text account:text owner_id:text arn:text granularity:text created_at:int deflated:bytes",
    ),
    ("outbound_federations", "account", "account:text issuer_id:text enabled:bool changed_at:int"),
    (
        "instance_profiles",
        "id",
        ("id:text account:text name:text name_key:text path:text created_at:int role_id:text:null tags:text"),
    ),
    ("account_aliases", "alias", "alias:text account:text created_at:int"),
    (
        "password_policies",
        "account",
        (
            "account:text minimum_length:int require_symbols:bool require_numbers:bool require_uppercase:bool "
            "require_lowercase:bool users_may_change:bool max_age_days:int:null reuse_prevention:int:null "
            "hard_expiry:bool:null"
        ),
    ),
    (
        "login_profiles",
        "user_id",
        (
            "user_id:text account:text created_at:int password_hash:text password_changed_at:int reset_required:bool "
            "max_signin_seconds:int:null former_hashes:text failures:int locked_until:int"
        ),
    ),
    (
        "redeemed",
        "purpose id",
        "purpose:text id:text account:text at:int expires_at:int",
    ),
)

# table, columns
_UNIQUES: tuple[tuple[str, ...], ...] = (
    ("saml_providers", "account", "name_key"),
    ("instance_profiles", "account", "name_key"),
    ("account_aliases", "account"),
    ("mfa_devices", "account", "path", "name_key"),
)
# table, columns
_INDEXES: tuple[tuple[str, str], ...] = (
    ("mfa_devices", "owner_id"),
    ("access_reports", "created_at"),
    ("redeemed", "expires_at"),
    ("instance_profiles", "account path"),
    ("instance_profiles", "role_id"),
    ("users", "account path"),
    ("groups", "account path"),
    ("roles", "account path"),
    ("managed_policies", "account path"),
    ("trust_anchors", "account id"),
    ("x509_profiles", "account id"),
    ("crls", "account id"),
    ("crls", "trust_anchor_id"),
    ("x509_subjects", "account id"),
)


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        create_table(name, primary, columns, *(unique_of(*of) for of in _UNIQUES if of[0] == name))
    for table, indexed in _INDEXES:
        create_index(table, indexed)
