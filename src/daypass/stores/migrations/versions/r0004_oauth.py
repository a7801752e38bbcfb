"""OAuth: clients, resource servers, codes and families of refresh tokens. It only adds tables."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0004"
down_revision = "0003"
additive = True

# name, primary key, columns as name:type
_TABLES = (
    (
        "oauth_clients",
        "id",
        (
            "id:text account:text name:text created_at:int updated_at:int enabled:bool settings:text secrets:text "
            "tags:text"
        ),
    ),
    (
        "resource_servers",
        "account identifier",
        "account:text identifier:text name:text created_at:int updated_at:int settings:text tags:text",
    ),
    (
        "oauth_codes",
        "purpose id",
        (
            "purpose:text id:text account:text client_id:text created_at:int expires_at:int sealed:bytes used_at:int "
            "family:text"
        ),
    ),
    (
        "refresh_families",
        "id",
        (
            "id:text account:text client_id:text principal_id:text created_at:int expires_at:int generation:int "
            "rotated_at:int sealed:bytes last:bytes ended_at:int"
        ),
    ),
)
_INDEXES = (
    ("oauth_clients", "account id"),
    ("oauth_codes", "expires_at"),
    ("refresh_families", "expires_at"),
    ("refresh_families", "account id"),
)


def upgrade() -> None:
    for name, primary, columns in _TABLES:
        create_table(name, primary, columns)
    for table, indexed in _INDEXES:
        create_index(table, indexed)
