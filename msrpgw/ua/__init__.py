"""Two user agents for the terminal, made of the same rooms as the gateway."""
