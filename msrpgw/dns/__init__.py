"""Names: what the DNS and the hosts file say of them, kept for as long as it holds."""
