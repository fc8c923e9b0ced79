"""Searching for better parameters, on validation alone. It knows Optuna; training knows nothing of it."""
