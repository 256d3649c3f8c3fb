"""Judging without a network: evidence written by hand, statements held against the documented tables."""
