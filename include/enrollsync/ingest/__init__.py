"""Finding a delivery, recognising its format and reading its files; the only place that touches source files."""
