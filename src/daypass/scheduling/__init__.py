"""Decides which account gets a thread or a process next, so that one account's work cannot delay another's. It does not
know the work.
"""
