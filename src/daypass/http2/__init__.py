"""HTTP/2 for servers of short requests."""
