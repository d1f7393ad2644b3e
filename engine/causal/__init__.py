"""Writing and scoring with the causal direction, left to right, and what the text around has to say in it."""
