"""From a proof of identity to a session: applicant, context, admission, issuance. Every role session is made here."""
