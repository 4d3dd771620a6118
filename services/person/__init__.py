"""A person's data: what is kept, the copy that a person gets, and its erasure."""
