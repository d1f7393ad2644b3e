"""What other programs are answered: curl, the openai package, llama.cpp's editor plugins, Prometheus."""

from __future__ import annotations

import http.client
import json
import socket
import subprocess
import threading
import time
from collections.abc import Iterator

import openai
import pytest

from engine.audience import Fate
from engine.errors import ModelNotFound
from engine.remote import open_remote
from engine.resident import ask_status
from engine.service import llama
from engine.service.lifecycle import running
from engine.service.place import Address, Place
from tests.engine.service.harness import (
    TIMEOUT_S,
    answer,
    answers,
    ask,
    client,
    fake_service,
    own_place,
    post,
    talk,
    until,
)


@pytest.fixture(scope="module")
def place() -> Iterator[Place]:
    with own_place() as place:
        yield place


@pytest.fixture(scope="module")
def service(place: Place) -> Address:
    return fake_service(place, "--port", "0")


def base(service: Address) -> str:
    return f"http://{service.host}:{service.port}"


def test_curl_on_the_socket_gets_the_steps_as_events(service: Address) -> None:
    out = fill(service, {"request": {"prompt": {"prefix": "x = "}}})
    assert out.count("event: step") >= 2  # the first and the last; what lies between may be too fast to see
    assert out.endswith('event: end\ndata: {"dropped":null}\n\n')


def fill(service: Address, body: object) -> str:
    """The events that `/v1/fill` answers with."""
    command = ["curl", "-sN", "--unix-socket", service.socket, "http://x/v1/fill", "-d", json.dumps(body)]
    return subprocess.run(command, check=True, capture_output=True, timeout=TIMEOUT_S).stdout.decode()


def ended(events: str) -> object:
    """Why the steps ended."""
    name, data = events.strip().split("\n\n")[-1].split("\n")
    assert name == "event: end"
    return json.loads(data.removeprefix("data: "))["dropped"]


def test_a_step_that_never_ends_is_not_waited_for_beyond_the_deadline(service: Address) -> None:
    asked = {"prompt": {"prefix": "STUCK = "}, "deadline_ms": 50.0}
    assert ended(fill(service, {"request": asked})) == "late"


def test_what_waits_for_a_lane_is_told_at_its_deadline(service: Address) -> None:
    stuck = {"request": {"prompt": {"prefix": "STUCK = "}, "priority": "background"}}
    links = []
    for _ in range(9):  # more than there are lanes, of which one is kept for the more urgent
        link = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        link.connect(service.socket)
        data = json.dumps(stuck).encode()
        link.sendall(b"POST /v1/fill HTTP/1.1\r\nHost: x\r\nContent-Length: %d\r\n\r\n" % len(data) + data)
        links.append(link)
    until(lambda: ask_status(service)["waiting"] >= 2)
    asked = {"prompt": {"prefix": "x = "}, "priority": "background", "deadline_ms": 50.0}
    assert ended(fill(service, {"request": asked})) == "late"
    for link in links:
        link.close()
    until(lambda: ask_status(service)["running"] == 0)


def test_what_there_is_after_the_deadline_is_the_answer(service: Address) -> None:
    asked = {"prompt": {"prefix": "x = WAIT"}, "deadline_ms": 50.0}
    answered = fill(service, {"request": asked})
    assert ended(answered) is None
    assert '"stop":"deadline"' in answered


def test_a_deadline_counts_from_when_it_was_asked_for(service: Address) -> None:
    request = {"prompt": {"prefix": "x = "}, "deadline_ms": 5000.0}
    now = time.monotonic()
    assert ended(fill(service, {"request": request, "asked_at": now - 5.5})) == "late"
    for unlikely in (now + 1000, now - 1e6, "yesterday", None):  # a clock that is not ours
        assert ended(fill(service, {"request": request, "asked_at": unlikely})) is None


@pytest.mark.parametrize(
    ("body", "said"),
    [
        (b"{", "not JSON"),
        (b"[1]", "not a JSON object"),
        ({}, "Expected `object`, got `null`"),
        ({"request": {"prompt": {}}}, "missing required field `prefix` - at `$.prompt`"),
        ({"request": {"prompt": {"prefix": 3}}}, "Expected `str`, got `int`"),
        ({"request": {"prompt": {"prefix": ""}, "canvas_tokens": 7}}, "canvas of 7 tokens"),
        ({"request": {"prompt": {"prefix": ""}, "priority": "soon"}}, "Invalid enum value 'soon'"),
        ({"request": {"prompt": {"prefix": ""}}, "model": 3}, "named by strings"),
        ({"request": {"prompt": {"prefix": ""}}, "model": "x" * 5000}, "5000 characters"),
    ],
)
def test_a_bad_request_is_refused_by_what_is_wrong_with_it(service: Address, body: object, said: str) -> None:
    status, answer = post(service, "/v1/fill", body)
    assert status == 400
    assert said in answer["error"]["message"]


def test_garbage_is_answered_and_the_engine_lives(service: Address) -> None:
    assert talk(service, b"\x00\xff garbage\r\n\r\n").startswith(b"HTTP/1.1 400")
    assert b'"ok"' in talk(service, b"GET /health HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")


def test_a_name_that_is_no_text_is_answered_and_told(service: Address) -> None:
    name = "missing \ud800"
    body = {"model": name, "request": {"prompt": {"prefix": "x"}, "middles": ["a"]}}
    status, answered = post(service, "/v1/score", body)
    assert (status, answered["error"]["message"]) == (503, "there is no model here")
    assert "missing ?" in ask_status(service)["failures"]
    status, answered = post(service, "/v1/completions", {"model": name, "prompt": "x"})
    assert status == 404
    assert "missing ?" in answered["error"]["message"]


def test_of_what_cannot_be_loaded_little_is_remembered(service: Address) -> None:
    for index in range(40):
        body = {"model": f"missing {index}", "request": {"prompt": {"prefix": "x"}, "middles": ["a"]}}
        assert post(service, "/v1/score", body)[0] == 503
    failures = ask_status(service)["failures"]
    assert list(failures) == [f"missing {index}" for index in range(24, 40)]


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 401),
        ({"Authorization": "Bearer wrong"}, 401),
        ({"Authorization": "Bearer {token}"}, 200),
        ({"Cookie": "infill_key={token}"}, 200),
        ({"Authorization": "Bearer {token}", "Host": "evil.example:80"}, 403),
    ],
)
def test_the_port_wants_the_key_and_its_own_name(
    service: Address, headers: dict[str, str], status: int
) -> None:
    link = http.client.HTTPConnection(service.host, service.port, timeout=60)
    sent = {name: value.format(token=service.token) for name, value in headers.items()}
    link.request("GET", "/v1/status", headers=sent)
    assert link.getresponse().status == status
    link.close()


def test_the_page_takes_the_key_from_its_address(service: Address) -> None:
    link = http.client.HTTPConnection(service.host, service.port, timeout=60)
    link.request("GET", f"/?key={service.token}")
    answer = link.getresponse()
    page = answer.read().decode()
    assert answer.status == 200
    assert "HttpOnly; SameSite=Strict" in (answer.getheader("Set-Cookie") or "")
    assert "/v1/watch" in page
    link.close()


def test_the_openai_package_completes_with_a_suffix(service: Address) -> None:
    with openai.OpenAI(base_url=f"{base(service)}/v1", api_key=service.token, max_retries=0) as api:
        answer = api.completions.create(model="default", prompt="x = ", suffix="\n", max_tokens=20, n=2)
        assert [choice.text for choice in answer.choices] == ["1", "1"]
        assert answer.choices[0].finish_reason == "stop"
        stream = api.completions.create(model="default", prompt=["x = ", "y = "], stream=True)
        pieces = [choice for chunk in stream for choice in chunk.choices]
        assert ["".join(p.text for p in pieces if p.index == i) for i in (0, 1)] == ["1", "1"]
        assert [model.id for model in api.models.list()] == ["default", "scripted"]


@pytest.mark.parametrize(
    ("extra", "error"),
    [
        ({"model": "gpt"}, openai.NotFoundError),
        ({"logprobs": 3}, openai.BadRequestError),
        ({"echo": True}, openai.BadRequestError),
        ({"max_tokens": 0}, openai.BadRequestError),
        ({"n": 99}, openai.BadRequestError),
        ({"prompt": [1, 2]}, openai.BadRequestError),
    ],
)
def test_what_cannot_be_had_is_refused_as_openai_does(
    service: Address, extra: dict[str, object], error: type[Exception]
) -> None:
    given = {"model": "default", "prompt": "x", **extra}
    with (
        openai.OpenAI(base_url=f"{base(service)}/v1", api_key=service.token, max_retries=0) as api,
        pytest.raises(error),
    ):
        api.completions.create(**given)  # type: ignore[call-overload]
    with (
        openai.OpenAI(base_url=f"{base(service)}/v1", api_key="wrong", max_retries=0) as api,
        pytest.raises(openai.AuthenticationError),
    ):
        api.models.list()


def test_llama_s_extra_context_is_shown_and_looked_up_the_most_useful_first() -> None:
    extra = [{"text": "a = 1", "filename": "a.py"}, {"text": "b = 2"}]
    ask = llama._ask({"input_prefix": "x = ", "input_extra": extra})
    assert ask is not None
    assert [(snippet.path, snippet.text) for snippet in ask.prompt.snippets] == [
        ("", "b = 2"),
        ("a.py", "a = 1"),
    ]
    assert ask.prompt.nearby == ("b = 2", "a = 1")


LLAMA_VIM = {
    "id_slot": 0,
    "input_prefix": "def f():\n",
    "input_suffix": "\n",
    "input_extra": [{"text": "y = 2", "filename": "b.py"}],
    "prompt": "    x = ",
    "n_predict": 128,
    "stop": [],
    "n_indent": 4,
    "top_k": 40,
    "top_p": 0.9,
    "samplers": ["top_k", "top_p", "infill"],
    "stream": False,
    "cache_prompt": True,
    "t_max_prompt_ms": 500,
    "t_max_predict_ms": 1000,
    "response_fields": ["content", "timings/prompt_n", "timings/predicted_ms", "truncated", "not/there"],
}
"""The fields llama.vim sends."""


def test_llama_vim_is_answered_in_the_fields_it_asks_for(service: Address) -> None:
    status, answer = post(service, "/infill", LLAMA_VIM)
    assert status == 200
    assert answer.pop("timings/predicted_ms") > 0
    assert answer == {"content": "1", "timings/prompt_n": 0, "truncated": False}


def test_llama_vscode_is_answered_with_as_many_texts_as_it_asks_for(service: Address) -> None:
    status, answer = post(service, "/infill", {**LLAMA_VIM, "n_cmpl": 3, "response_fields": None})
    assert status == 200
    assert [(each["index"], each["content"]) for each in answer] == [(0, "1"), (1, "1"), (2, "1")]
    status, answer = post(service, "/infill", {**LLAMA_VIM, "n_cmpl": 1})
    assert (status, answer["content"]) == (200, "1")
    for wrong in (0, 9, "three"):
        status, answer = post(service, "/infill", {**LLAMA_VIM, "n_cmpl": wrong})
        assert status == 400
        assert "n_cmpl" in answer["error"]["message"]


def test_llama_s_warming_up_costs_nothing(service: Address) -> None:
    status, answer = post(service, "/infill", {**LLAMA_VIM, "n_predict": 0, "response_fields": [""]})
    assert (status, answer) == (200, {})


def test_a_stop_string_ends_the_text(service: Address) -> None:
    _, answer = post(service, "/infill", {"input_prefix": "x = ", "stop": ["1"]})
    assert (answer["content"], answer["stop_type"], answer["stopping_word"]) == ("", "word", "1")


def test_prometheus_reads_the_metrics(service: Address) -> None:
    post(service, "/infill", LLAMA_VIM)
    said = talk(service, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    assert "text/plain; version=0.0.4" in said
    lines = dict(line.rsplit(" ", 1) for line in said.splitlines() if line.startswith("infill_"))
    assert float(lines['infill_requests_total{endpoint="infill",outcome="ok"}']) >= 1
    assert lines['infill_latency_seconds_bucket{le="+Inf"}'] == lines["infill_latency_seconds_count"]


def test_what_became_of_suggestions_is_told_with_the_next_request() -> None:
    with own_place() as alone:
        engine = client(alone)
        address = running(alone)
        assert address is not None
        assert ask_status(address)["acceptance"] is None
        for fate in (Fate.OFFERED, Fate.OFFERED, Fate.OFFERED, Fate.OFFERED, Fate.SHOWN, Fate.ACCEPTED):
            engine.tell(fate)
        assert answer(engine) == "1"
        assert answer(engine) == "1"  # which has nothing new to tell
        state = ask_status(address)
        engine.close()
        said = talk(address, b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").decode()
    became = {"offered": 4, "shown": 1, "accepted": 1, "partly_accepted": 0, "rejected": 0}
    assert (state["suggestions"], state["acceptance"]) == (became, 0.25)
    assert 'infill_suggestions_total{fate="offered"} 4\n' in said


def test_fates_wait_for_an_engine_that_can_be_told() -> None:
    with own_place() as alone:
        engine = client(alone)
        engine.tell(Fate.OFFERED)
        alone.socket.unlink()
        until(lambda: answers(engine))
        address = running(alone)
        assert address is not None
        assert ask_status(address)["suggestions"]["offered"] == 1
        engine.close()


@pytest.mark.parametrize("fates", [3, [], {"offered": -1}, {"offered": 10**9}, {"accepted": True}, {"x": 1}])
def test_fates_that_cannot_be_are_ignored(service: Address, fates: object) -> None:
    before = ask_status(service)["suggestions"]
    status, _ = post(
        service, "/v1/read", {"request": {"prompt": {"prefix": ""}, "text": "x"}, "fates": fates}
    )
    assert ask_status(service)["suggestions"] == before
    assert status == 200


def test_the_remote_client_speaks_to_an_openai_compatible_server(
    service: Address, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("INFILL_REMOTE_KEY", service.token)
    remote = open_remote(base(service), None)
    assert "code around the cursor is sent to 127.0.0.1" in caplog.text
    [step] = remote.denoise(ask(), threading.Event())
    assert (step.canvases[0].text, step.canvases[0].ended) == ("1", True)
    assert list(remote.denoise(ask("WAIT", deadline_ms=100), threading.Event())) == []
    remote.close()
    with pytest.raises(ModelNotFound, match="has no model other"):
        open_remote(base(service), "other")


def test_a_client_is_listed_while_it_is_there(place: Place, service: Address) -> None:
    engine = client(place)
    assert [c["name"] for c in ask_status(service)["clients"]] == ["infill"]
    engine.close()
    until(lambda: ask_status(service)["clients"] == [])
