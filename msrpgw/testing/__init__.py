"""Fakes for the tests of msrpgw and of its plugins."""
