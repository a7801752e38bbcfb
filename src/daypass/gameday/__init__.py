"""Game days: break a separate deployment on purpose, and measure detection and repair.

The server does not import this package. Only processes that were started here are ever signalled.
"""
