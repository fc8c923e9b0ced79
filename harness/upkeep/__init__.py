"""Looking after a board's folder: what is there, what is right, what came from elsewhere."""
