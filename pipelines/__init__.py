"""The commands that run at scale."""
