"""TLS for both sides: certificates, whom they name, handshakes and what becomes of them."""
