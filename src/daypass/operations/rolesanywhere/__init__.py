"""Trust anchors, profiles, CRLs and subjects, and sessions for holders of certificates.

Each operation is one function and one row of `table`; `crud_engine` runs them all. `create_session` is separate: its
caller has no credentials, and only the role's trust policy admits it.
"""
