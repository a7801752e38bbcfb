"""Requests of accounts to other servers, e-mail, and on-call schedules."""
