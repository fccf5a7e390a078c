"""A SIP user agent (RFC 3261), reusable without the rest of msrpgw."""
