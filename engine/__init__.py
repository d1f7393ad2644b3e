"""Tokens and tensors: the model, the sampler, the denoiser, weights, tokenizer, prompts and training.

Knows nothing of URIs, workspaces, cursors or editors. Importing this package does not import torch:
what needs it is imported when a model is loaded.
"""
