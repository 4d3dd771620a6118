"""Commands: what each reads under the head's lock, and what it decides."""
