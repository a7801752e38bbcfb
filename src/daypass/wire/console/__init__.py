"""The web console, `/console/`: pages for people over the same operations as the API and the command line.

A page collects values, calls operations and renders them. It decides nothing. Pages work without script; script adds
countdowns, filters without a new page, and charts.
"""
