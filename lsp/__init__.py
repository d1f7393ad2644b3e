"""What people touch: the language server and the command line.

Knows nothing of tokens or tensors: it turns protocol and command-line input into fill requests and
shows what comes back.
"""
