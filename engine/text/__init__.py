"""Between characters and token ids: tokenizers, and prompts as checkpoints want them laid out. No tensors."""
