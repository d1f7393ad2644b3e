"""What the rest of a workspace has to say about the code at a cursor: an index, and what of it to show."""
