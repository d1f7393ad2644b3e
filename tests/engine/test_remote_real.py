"""The remote client against an OpenAI-compatible server that is not ours: `transformers serve`.

Its model is tiny and random: what it writes means nothing, that it arrives as it was written is what counts.
"""

from __future__ import annotations

import json
import os
import shutil
import socket
import subprocess
import sys
import threading
import urllib.request
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from engine.errors import ModelNotFound
from engine.remote import open_remote
from engine.request import DenoiseRequest, Prompt
from tests.engine.service.harness import until

MODEL = "tiny/llama"
PREFIX, SUFFIX = "def f(x):\n    return ", "\n\nprint(f(1))\n"


def write_model(folder: Path) -> None:
    """A Llama of a few thousand random weights, whose tokens are bytes."""
    import torch
    from tokenizers import Tokenizer, decoders, models, pre_tokenizers
    from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

    characters = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {name: index for index, name in enumerate(["<|end|>", *characters])}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, eos_token="<|end|>", pad_token="<|end|>"
    ).save_pretrained(folder)
    torch.manual_seed(0)
    config = LlamaConfig(
        vocab_size=len(vocabulary),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        max_position_embeddings=4096,
        bos_token_id=0,
        eos_token_id=0,
        pad_token_id=0,
    )
    LlamaForCausalLM(config).save_pretrained(folder)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Its address; the model lies in its cache as if it had been downloaded."""
    cache = tmp_path_factory.mktemp("hub")
    repository, revision = cache / "models--tiny--llama", "0" * 40
    write_model(repository / "snapshots" / revision)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text(revision)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    program = shutil.which("transformers", path=str(Path(sys.executable).parent))
    assert program is not None
    process = subprocess.Popen(
        [program, "serve", "--host", "127.0.0.1", "--port", str(port), "--device", "cpu"],
        env={**os.environ, "HF_HUB_CACHE": str(cache), "HF_HUB_OFFLINE": "1"},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"

    def up() -> bool:
        assert process.poll() is None, "the server has ended"
        with suppress(OSError):
            return bool(urllib.request.urlopen(f"{url}/health", timeout=5).status == 200)
        return False

    try:
        until(up, 120.0)
        yield url
    finally:
        process.kill()
        process.wait()


def plainly(server: str, body: dict[str, Any]) -> str:
    """What the server writes when it is asked without our client."""
    data = json.dumps({"model": MODEL, "temperature": 0, **body}).encode()
    request = urllib.request.Request(
        f"{server}/v1/completions", data, headers={"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(request, timeout=120) as answer:
        text: str = json.load(answer)["choices"][0]["text"]
    return text


def test_it_repeats_the_suffix_and_the_client_leaves_it_out(server: str) -> None:
    told = plainly(server, {"prompt": PREFIX, "suffix": SUFFIX, "max_tokens": 32, "seed": 3})
    assert told.endswith(SUFFIX)  # or there is nothing to leave out
    remote = open_remote(server, None)
    assert remote.info().model == MODEL
    request = DenoiseRequest(prompt=Prompt(prefix=PREFIX, suffix=SUFFIX), canvas_tokens=32, seed=3)
    [step] = remote.denoise(request, threading.Event())
    remote.close()
    [canvas] = step.canvases
    assert canvas.text
    assert SUFFIX not in canvas.text


def test_what_was_typed_begins_the_canvas(server: str) -> None:
    remote = open_remote(server, MODEL)
    request = DenoiseRequest(prompt=Prompt(prefix="x =", typed=" va", suffix="\n"), canvas_tokens=32)
    [step] = remote.denoise(request, threading.Event())
    remote.close()
    assert step.canvases[0].text.startswith(" va")
    assert len(step.canvases[0].text) > 3


def test_a_deadline_and_an_unknown_model_are_kept_and_told(server: str) -> None:
    remote = open_remote(server, MODEL)
    late = DenoiseRequest(prompt=Prompt(prefix=PREFIX), canvas_tokens=256, deadline_ms=1.0)
    assert list(remote.denoise(late, threading.Event())) == []
    remote.close()
    with pytest.raises(ModelNotFound, match="it has tiny/llama"):
        open_remote(server, "tiny/other")
