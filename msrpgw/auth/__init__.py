"""Who somebody is: digest authentication (RFC 7616, RFC 8760), and those who may."""
