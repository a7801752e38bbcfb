"""OAuth objects of an account: the settings of clients and of resource servers."""
