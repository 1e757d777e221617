"""`python -m enrollsync`: the command without its script."""

from enrollsync.cli import app

app()
