"""The metrics as a module of the `evaluate` library."""
