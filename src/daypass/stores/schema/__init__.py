"""The tables of directory, change feed, keys and installation; `records` declares those of the audit record.

One table for each entity of `domain.directory`, one column for each of its fields. A `name_key` is the name with ASCII
letters lowered: names are unique and found without regard to case. Text sorts by code point on both databases. There
are no foreign keys, because an entity must be removable while others still refer to it. Readers treat a missing entity
as absent.
"""
