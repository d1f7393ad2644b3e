"""How DiffusionGemma, which was made to chat, is brought to fill a hole: the `gemma-chat` prompt format.

The suffix and the snippets are in the user's turn, and the model's turn is the file itself, begun with the
prefix: the canvas goes on exactly there, and typing only appends to what is cached. Nothing tells the model
where the hole ends but its own reading of the suffix, so it may write on into it; `cut_at_suffix` finds
where. The order of turns and the empty thought scaffold are Gemma 4's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace

from engine.config import PromptConfig
from engine.request import CANVAS_LENGTHS, Canvas, DenoiseRequest, Prompt, Snippet, Step, Stop
from engine.text.gemma_tokenizer import GemmaTokenizer
from engine.text.tokenizer import Tokenizer

Attempt = Callable[[DenoiseRequest], Iterator[Step]]
"""Denoises a request once."""

GEMMA_PROMPTS = PromptConfig(
    format="gemma-chat", prefix_tokens=2048, suffix_tokens=1024, snippet_tokens=1024, chars_per_token=3.0
)
"""For a checkpoint that has Gemma's tokenizer and no `infill.json`."""

SHORTEST_REROLL = 64
"""An empty answer is tried again on shorter canvases, down to this many tokens."""

_SYSTEM = (
    "You are a code completion engine inside an editor. A developer is writing a file; you write the part "
    "that is missing between what stands before the cursor and what stands after it. Continue exactly at "
    "the cursor, in the style of the file, with the same indentation and the same names. Write code, not "
    "an explanation of it, and no Markdown fences."
)
_TASK = (
    "Write the file. Its beginning is already there in your answer: go on right behind its last character. "
    "When the missing part is complete, the file goes on with the following text."
)
_NO_SUFFIX = (
    "Write the file. Its beginning is already there in your answer: go on right behind its last character."
)


def denoise(attempt: Attempt, request: DenoiseRequest) -> Iterator[Step]:
    """The steps of `attempt`, re-rolled where they end in nothing, every canvas cut at the suffix."""
    for step in rerolled(attempt, request):
        yield replace(step, canvases=tuple(cut(canvas, request.prompt.suffix) for canvas in step.canvases))


def lay_out(prompt: Prompt, tokenizer: GemmaTokenizer, config: PromptConfig) -> list[int]:
    """The encoder's tokens for `prompt`; what exceeds a side's budget is cut far from the hole."""
    control, encode = tokenizer.control, tokenizer.encode
    turn, end, newline = control("<|turn>"), control("<turn|>"), encode("\n")
    suffix = encode(prompt.suffix[: 24 * config.suffix_tokens])[: config.suffix_tokens]
    prefix = newest(encode(prompt.prefix[-24 * config.prefix_tokens :]), config.prefix_tokens)
    task = f"\n\n{_TASK}\n<after>\n" if suffix else f"\n\n{_NO_SUFFIX}"
    user = [*encode("user\n"), *_snippets(prompt.snippets, tokenizer, config.snippet_tokens), *encode(task)]
    if suffix:
        user += [*suffix, *encode("\n</after>")]
    scaffold = [control("<|channel>"), *encode("thought\n"), control("<channel|>")]
    return [
        control("<bos>"),
        *(turn, *encode(f"system\n{_SYSTEM}"), end, *newline),
        *(turn, *user, end, *newline),
        *(turn, *encode("model\n"), *scaffold, *prefix),
    ]


def messages(prompt: Prompt) -> list[dict[str, str]]:
    """The same as a conversation, for a server that lays it out itself; the last message is continued."""
    snippets = "".join(
        f"From {snippet.path} in the same project:\n{snippet.text.strip()}\n\n" for snippet in prompt.snippets
    )
    task = f"{_TASK}\n<after>\n{prompt.suffix}\n</after>" if prompt.suffix else _NO_SUFFIX
    return [
        {"role": "system", "content": _SYSTEM},
        {"role": "user", "content": snippets + task},
        {"role": "assistant", "content": prompt.prefix + prompt.typed},
    ]


def newest(tokens: list[int], budget: int) -> list[int]:
    """The last tokens within `budget`, dropped in blocks: token by token nothing cached would survive."""
    block = max(1, budget // 4)
    over = len(tokens) - budget
    return tokens if over <= 0 else tokens[-(-over // block) * block :]


def _snippets(snippets: Sequence[Snippet], tokenizer: Tokenizer, budget: int) -> list[int]:
    """As many of the snippets, the most useful first, as whole ones fit into `budget` tokens."""
    kept: list[int] = []
    for snippet in snippets:
        text = f"From {snippet.path} in the same project:\n{snippet.text.strip()}\n\n"
        ids = tokenizer.encode(text[: 24 * budget])
        if len(kept) + len(ids) <= budget:
            kept += ids
    return kept


_EVIDENCE = 12
"""Characters, blanks not counted, that a middle has to share with the suffix to have run into it."""

_EVIDENCE_AT_END = 4
"""The same where the middle ends within what it shares: nothing contradicts it then."""


def cut_at_suffix(text: str, suffix: str) -> int | None:
    """The offset in `text` at which it begins to repeat the suffix, None if it does not.

    Blanks at the seam are the middle's: they are aligned with those the suffix begins with, so that none is
    there twice and none is missing. Trailing text behind a long enough repetition goes too.
    """
    wanted = suffix.lstrip()
    lead = suffix[: len(suffix) - len(wanted)]
    if not wanted:
        return None
    at = text.find(wanted[0])
    while at >= 0:
        shared = _shared(text, at, wanted)
        solid = sum(not c.isspace() for c in wanted[:shared])
        to_the_end = not text[at + shared :].strip()
        whole_line = wanted[:shared].endswith("\n") or wanted[shared : shared + 1] == "\n"
        if (to_the_end and solid >= _EVIDENCE_AT_END) or (solid >= _EVIDENCE and whole_line):
            return at - _blanks_shared(text[:at], lead)
        at = text.find(wanted[0], at + 1)
    return None


def _blanks_shared(text: str, lead: str) -> int:
    """How many of the blanks `text` ends with are those of `lead`: line by line, however far indented."""
    blank = text[len(text.rstrip()) :]
    if "\n" in blank and "\n" in lead:
        lines = blank.split("\n")
        kept = lines[: -min(len(lines) - 1, lead.count("\n"))]
        return len(blank) - len("\n".join(kept))
    return next(n for n in range(len(lead), -1, -1) if blank.endswith(lead[len(lead) - n :]))


def _shared(text: str, at: int, wanted: str) -> int:
    count = 0
    for have, want in zip(text[at:], wanted, strict=False):
        if have != want:
            break
        count += 1
    return count


def cut(canvas: Canvas, suffix: str) -> Canvas:
    """`canvas` up to where it runs into the suffix; it has ended then, whether it said so or not."""
    at = cut_at_suffix(canvas.text, suffix)
    if at is None:
        return canvas
    tokens, length = [], 0
    for token in canvas.tokens:
        if length >= at:
            break
        kept = token.text[: at - length]
        tokens.append(replace(token, text=kept))
        length += len(kept)
    return replace(canvas, text=canvas.text[:at], tokens=tuple(tokens), ended=True)


def rerolled(attempt: Attempt, request: DenoiseRequest) -> Iterator[Step]:
    """The steps of `attempt(request)`; where all it wrote is empty, those of attempts on shorter canvases.

    A model that chats ends its turn at once when it sees no need to say anything; a shorter canvas leaves
    it less room to. Steps are numbered through; only the very last has `stop`. The deadline counts for all.
    """
    lengths = [n for n in reversed(CANVAS_LENGTHS) if SHORTEST_REROLL <= n < request.canvas_tokens]
    lengths.insert(0, request.canvas_tokens)
    number, elapsed_ms, left = 0, 0.0, request.deadline_ms
    for length in lengths:
        last: Step | None = None
        for step in attempt(replace(request, canvas_tokens=length, deadline_ms=left)):
            last = replace(step, number=number + step.number, elapsed_ms=elapsed_ms + step.elapsed_ms)
            if last.stop is None:
                yield last
        if last is None or last.stop is None:
            return
        if request.deadline_ms is not None:
            left = request.deadline_ms - last.elapsed_ms
        late = last.stop in (Stop.DEADLINE, Stop.CANCELLED) or (left is not None and left <= 0)
        if late or _wrote(last) or length == lengths[-1]:
            yield last
            return
        yield replace(last, stop=None)
        number, elapsed_ms = last.number, last.elapsed_ms


def _wrote(step: Step) -> bool:
    return any(canvas.text.strip() for canvas in step.canvases)
