"""Descriptions of the operations of the management API. Server, command line, console and documentation all read them."""
