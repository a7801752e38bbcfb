"""SCIM: bearer tokens, and the users and groups that a directory manages. An older program does not serve SCIM."""

from __future__ import annotations

from daypass.stores.migrations.definitions import create_index, create_table

revision = "0012"
down_revision = "0011"
additive = True


def upgrade() -> None:
    create_table("scim_tokens", "id", "id:text account:text user_id:text name:text created_at:int expires_at:int")
    create_index("scim_tokens", "account name", unique=True)
    columns = (
        "id:text account:text resource_type:text external_id:text document:text version:int created_at:int "
        "updated_at:int"
    )
    create_table("scim_resources", "id", columns)
    create_index("scim_resources", "account resource_type id")
    create_index("scim_resources", "account resource_type external_id")
