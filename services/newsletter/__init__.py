"""The newsletter, from sign-up to ledger to sending. API, worker and command line share it."""
