"""Prompt formats: how the text around a hole becomes the encoder's tokens.

A format is data read from the checkpoint (`PromptConfig`). `suffix-prefix` puts the suffix first, so that
typing only appends: `<bos> <suffix> S <prefix> N P`, and the canvas continues after P. N are the snippets as
plain code, the most useful one nearest to the prefix. Knows nothing of where the hole is or how its
surroundings were chosen.
"""

from __future__ import annotations

from engine.config import PromptConfig
from engine.request import Prompt
from engine.text import gemma_chat
from engine.text.gemma_tokenizer import GemmaTokenizer
from engine.text.special import Special
from engine.text.tokenizer import Tokenizer


def lay_out(prompt: Prompt, tokenizer: Tokenizer, config: PromptConfig) -> list[int]:
    """The encoder's tokens for `prompt`; what exceeds a side's budget is cut far from the hole."""
    if isinstance(tokenizer, GemmaTokenizer):
        return gemma_chat.lay_out(prompt, tokenizer, config)
    # Tokenizing all of a huge text to keep a few hundred tokens would be waste: cut characters first,
    # generously, since a token holds 24 of them at most.
    prefix = tokenizer.encode(prompt.prefix[-24 * config.prefix_tokens :])
    suffix = tokenizer.encode(prompt.suffix[: 24 * config.suffix_tokens])[: config.suffix_tokens]
    snippets = _snippets(prompt, tokenizer, config.snippet_tokens)
    before = [*snippets, *_newest(prefix, config.prefix_tokens)]
    return [Special.BOS, Special.SUFFIX, *suffix, Special.PREFIX, *before]


def _snippets(prompt: Prompt, tokenizer: Tokenizer, budget: int) -> list[int]:
    """The snippets there is room for, the most useful one last; each ends with a blank line."""
    tokens: list[int] = []
    for snippet in prompt.snippets if budget else ():
        more = tokenizer.encode(snippet.text[: 24 * budget] + "\n\n")
        if len(tokens) + len(more) <= budget:
            tokens = more + tokens
    return tokens


def _newest(tokens: list[int], budget: int) -> list[int]:
    """The last tokens within `budget`, dropped in blocks: token by token nothing cached would survive."""
    block = max(1, budget // 4)
    over = len(tokens) - budget
    return tokens if over <= 0 else tokens[-(-over // block) * block :]
