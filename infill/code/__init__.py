"""A text as code: its characters, lines and brackets, its indentation, its tree. Knows nothing of holes."""
