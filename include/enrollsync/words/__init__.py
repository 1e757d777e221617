"""The words that everything else uses: canonical tables, findings, errors, and how a text is shown."""
