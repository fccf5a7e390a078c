"""Hostile bytes for both wires: ``make fuzz`` for the codecs, ``make fuzz-live`` for a gateway."""
