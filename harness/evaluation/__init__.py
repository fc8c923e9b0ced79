"""From predictions to numbers."""

RESAMPLES = 1000
"""How often the patients of a test set are weighed again, unless one asks for another number."""
