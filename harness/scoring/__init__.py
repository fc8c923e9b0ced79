"""Predictions made anywhere, scored and compared: files, rows of boards, and what must agree between them."""
