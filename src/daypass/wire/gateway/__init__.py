"""Forward authentication: a proxy asks here whether it may pass a request on."""
