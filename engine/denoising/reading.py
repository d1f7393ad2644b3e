"""Reading with the denoiser: how likely it finds each token of a text that is already there.

Speaks token ids and probabilities; knows nothing of text or of what is done about a doubtful token.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F

from engine.caches.prefix import PrefixCache, over_cache
from engine.networks.network import Network, rows_for
from engine.text.special import Special


@torch.inference_mode()
def read(
    model: Network,
    cache: PrefixCache,
    tokens: Sequence[int],
    *,
    views: int,
    seed: int,
    end: int = Special.EOM,
) -> tuple[list[float], list[int], list[float]]:
    """One denoising pass over `tokens`, which continue the prefix in `cache`; the cache is only read.

    Returns, for each token, its own probability at temperature 1, the likeliest other token and that
    one's probability. With one view the canvas is the text as it is. With more, every `views`-th token of
    each of as many canvases is replaced by a random one, and judged in that canvas alone.
    """
    device = cache.device
    clean = torch.tensor([*tokens, end], device=device)
    canvas = clean.expand(views, -1).clone()
    if views > 1:
        generator = torch.Generator(device=device).manual_seed(seed)
        noise = torch.randint(0, model.config.vocab_size, canvas.shape, generator=generator, device=device)
        columns = torch.arange(len(clean), device=device)
        hidden = columns % views == torch.arange(views, device=device)[:, None]
        hidden[:, -1] = False  # the end is not in question
        canvas = torch.where(hidden, noise, canvas)
    # Padded where that makes few shapes of texts of all lengths; nothing looks at what is padding.
    length = rows_for(model, len(clean))
    canvas = F.pad(canvas, (0, length - len(clean)), value=Special.PAD)
    positions = torch.arange(len(cache), len(cache) + length, device=device)[None]
    logits = model.logits(model.denoise(canvas, positions, over_cache(cache, len(clean)), None))
    judge = torch.arange(len(tokens), device=device)
    probabilities = logits[judge % views, judge].softmax(-1)
    own = probabilities.gather(-1, clean[:-1, None])[:, 0]
    others = probabilities.scatter(-1, clean[:-1, None], 0.0)
    likeliest = others.max(-1)
    return own.tolist(), likeliest.indices.tolist(), likeliest.values.tolist()
