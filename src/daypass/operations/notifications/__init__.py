"""Notifications to chats, mail, webhooks and ticket systems: written with the event, delivered afterwards."""
