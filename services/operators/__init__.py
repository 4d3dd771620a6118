"""Operators: who they are, their sessions, signing in at a provider, and what they did."""
