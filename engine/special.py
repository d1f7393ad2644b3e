"""Ids of the special tokens of our own tokenizers: fixed, and the same in every checkpoint we train."""

PAD, EOS, BOS, EOM, PREFIX, SUFFIX, SNIPPET, MASK = range(8)
NAMES = ("<pad>", "<eos>", "<bos>", "<eom>", "<prefix>", "<suffix>", "<snippet>", "<mask>")
RESERVED = 16
"""Ids below this are special; bytes and merges follow."""
