"""Frozen values that every other part speaks of; no rule and no I/O lives here."""
