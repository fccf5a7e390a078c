"""An MSRP endpoint (RFC 4975), reusable without the rest of msrpgw."""
