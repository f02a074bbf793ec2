"""Tests of what other libraries publish."""
