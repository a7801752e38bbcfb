"""Trust anchors, profiles, CRLs and subjects, and sessions for those who prove themselves by a certificate.

Each operation is one function and one row of `table`; `driver` runs them all. `create_session` stands apart: its caller has
no credentials, and is admitted by the role's trust policy alone.
"""
