"""The wire of IAM Roles Anywhere: REST with JSON, by the service model; and CreateSession, which no model describes."""
