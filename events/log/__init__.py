"""The event store: dense positions, group commit, and the vault. It knows no subject."""
