"""Accounts: creation, first start, guardrails, and Daypass's own settings of roles."""
