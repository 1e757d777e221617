"""What the command takes and says: its options, how it ends, tables and lines; and the `database` commands."""
