"""The boards that the harness brings along, as package data."""
