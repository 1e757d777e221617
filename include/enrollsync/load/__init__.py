"""Writing: a plan in one transaction, and what the database remembers of every run."""
