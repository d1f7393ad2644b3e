"""Which tokenizer a checkpoint has, and how it is asked."""

from __future__ import annotations

from pathlib import Path

from engine.checkpoints.config_json import read_prompt_config
from engine.config import PromptConfig
from engine.errors import UnsupportedModel
from engine.text.gemma_chat import GEMMA_PROMPTS
from engine.text.gemma_tokenizer import GemmaTokenizer
from engine.text.tokenizer import Tokenizer, read_inner


def open_tokenizer(folder: Path) -> Tokenizer:
    """The tokenizer of `folder`: one of our own, or Gemma's where it has Gemma's control tokens.

    Raises:
        BrokenCheckpoint, UnsupportedModel: see `Tokenizer`.
    """
    inner = read_inner(folder)
    kind = GemmaTokenizer if inner.token_to_id(GemmaTokenizer.TURN) is not None else Tokenizer
    return kind(folder, inner)


def prompts_of(folder: Path, tokenizer: Tokenizer) -> PromptConfig:
    """How the checkpoint in `folder` is asked: as its `infill.json` says, else by its tokenizer.

    Raises:
        UnsupportedModel: the file asks for a format that the tokenizer has no tokens for.
        BrokenCheckpoint: the file makes no sense.
    """
    gemma = isinstance(tokenizer, GemmaTokenizer)
    if gemma and not (folder / "infill.json").exists():
        return GEMMA_PROMPTS
    prompts = read_prompt_config(folder)
    if (prompts.format == "gemma-chat") != gemma:
        raise UnsupportedModel(f"{folder}: the tokenizer has no tokens for the format {prompts.format}")
    return prompts
