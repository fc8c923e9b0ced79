"""From a row to its use: a trained network applied to images, and exported."""
