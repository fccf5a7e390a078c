"""The operator's hand on the gateway: commands, events, records, metrics."""
