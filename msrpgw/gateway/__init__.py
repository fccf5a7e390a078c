"""The gateway: sessions that tie SIP MESSAGEs to MSRP sessions."""
