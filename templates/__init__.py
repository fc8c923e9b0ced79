"""The templates of the page, as package data."""
