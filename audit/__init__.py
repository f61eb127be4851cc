"""One's own texts -> how often a detector errs on them: `__main__` runs it, `statistics` counts, `page` shows."""
