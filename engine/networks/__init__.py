"""What computes logits: the network as it is defined, and as a CPU, a GPU or a library in C runs it.

Knows nothing of caches, sampling, text or files.
"""
