"""From a recipe to a trained network and its predictions."""

VERSION = 4
"""Version of the training engine, raised when the same choices give other numbers. Part of a result's identity."""
