"""Messages from chat services: clicks on buttons, and commands."""
