"""One table each: what was measured, by which command, on which data, at which commit."""
