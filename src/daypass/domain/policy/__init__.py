"""AWS's IAM policy language: parse, match, evaluate, explain. Pure and synchronous.

The names below are the whole surface that other packages use.
"""
