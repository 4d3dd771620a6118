"""The public log's signatures: notes, checkpoints and proofs, and who signs and cosigns them."""
