"""Decides which account gets a thread or a process next, so that one account's work cannot delay another's; shares one
run of a job among those who wait for it. It does not know the work.
"""
