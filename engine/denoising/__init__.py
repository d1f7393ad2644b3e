"""Writing a canvas as a whole, step by step from noise, and reading a text the same way."""
