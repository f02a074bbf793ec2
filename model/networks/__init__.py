"""Networks by name, each a table of layers."""
