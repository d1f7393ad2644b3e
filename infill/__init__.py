"""Text in, text out: syntax, contexts, holes, the fill pipeline and post-processing.

Knows nothing of the language server protocol (it speaks offsets in code points, never positions) and
never touches a tensor.
"""
