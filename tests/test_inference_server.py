"""Answers over HTTP: a real server gives what the model here gives; failures are repeated, then explained."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.request
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from inference_tools import records
from test_cli import run

from askguru_lib.config import RunConfig, project_root
from askguru_lib.data.files import write_json, write_jsonl
from askguru_lib.errors import ConfigError, InferenceError
from askguru_lib.inference import MultiCandidateInference, answer, likelihoods, load_backend, question_prompt
from askguru_lib.inference.server import ServerGenerator

ROOT = project_root(Path(__file__).parent)
MODEL = "models/askguru-tiny"
KEY = "sk-do-not-show-this-key"
Reply = tuple[int, Any] | tuple[int, Any, dict[str, str]]


def config_for(url: str, **inference: object) -> RunConfig:
    options = {"max_new_tokens": 24, "constrained": False, "max_retries": 2, "concurrency": 4, **inference}
    return RunConfig.build({"inference": {"base_url": url, **options}})


class Stub:
    """A server whose replies are given: per chat request ``(status, body)`` or ``(status, body, headers)``."""

    def __init__(self, *replies: Reply | Callable[[dict[str, Any]], Reply], models: Reply | None = None) -> None:
        self.replies, self.requests, self.headers = list(replies), [], []
        listed = models or (200, {"object": "list", "data": [{"id": "m", "root": "r", "created": time.time_ns()}]})
        stub = self

        class Handler(BaseHTTPRequestHandler):
            def reply(self, status: int, body: Any, headers: dict[str, str] | None = None) -> None:
                data = body.encode() if isinstance(body, str) else json.dumps(body).encode()
                self.send_response(status)
                kind = "text/html" if isinstance(body, str) else "application/json"
                for name, value in {"Content-Type": kind, "Content-Length": str(len(data)), **(headers or {})}.items():
                    self.send_header(name, value)
                self.end_headers()
                with contextlib.suppress(BrokenPipeError):  # the client has given this request up
                    self.wfile.write(data)

            def do_GET(self) -> None:
                self.reply(*listed)

            def do_POST(self) -> None:
                request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
                stub.requests.append(request)
                stub.headers.append({k.lower(): v for k, v in self.headers.items()})
                reply = stub.replies.pop(0) if len(stub.replies) > 1 else stub.replies[0]
                self.reply(*(reply(request) if callable(reply) else reply))

            def log_message(self, *_: Any) -> None: ...

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/v1"
        threading.Thread(target=self.server.serve_forever, args=(0.01,), daemon=True).start()

    def __enter__(self) -> Stub:
        return self

    def __exit__(self, *_: object) -> None:
        self.server.shutdown()
        self.server.server_close()


def said(*texts: str, logprobs: list[dict[str, Any]] | None = None, finish: str = "stop") -> Reply:
    choices = [
        {"index": i, "message": {"role": "assistant", "content": text}, "finish_reason": finish,
         "logprobs": {"content": logprobs} if logprobs else None}
        for i, text in enumerate(texts)
    ]  # fmt: skip
    return 200, {"id": "1", "object": "chat.completion", "choices": choices, "usage": {"completion_tokens": 3}}


def token(text: str, logprob: float, *others: tuple[str, float]) -> dict[str, Any]:
    listed = [{"token": t, "logprob": p} for t, p in [(text, logprob), *others]]
    return {"token": text, "logprob": logprob, "top_logprobs": listed}


def failure(stub: Stub, model: str = "m", **inference: object) -> str:
    """What an answer from this server fails with."""
    with pytest.raises(InferenceError) as caught:
        ServerGenerator(stub.url, model, config_for(stub.url, **inference)).generate(["How many?"])
    return str(caught.value)


# -- the protocol ------------------------------------------------------------------------------------------------


def test_a_base_url_asks_a_server_in_place_of_a_model() -> None:
    with Stub(said("SELECT 1;")) as stub:
        backend = load_backend(config_for(stub.url), "m")
        [[found]] = backend.generate(["How many?"])
    assert (found.sql, found.text, found.logprob, found.new_tokens) == ("SELECT 1", "SELECT 1;", None, 3)
    assert (found.source, found.finished) == ("greedy", True)
    [request] = stub.requests
    assert request["messages"] == [{"role": "user", "content": "How many?"}]
    assert (request["model"], request["temperature"], request["max_tokens"]) == ("m", 0, 24)


def test_answers_come_in_the_order_of_the_prompts() -> None:
    def slowly(request: dict[str, Any]) -> Reply:
        content = request["messages"][0]["content"]
        time.sleep(0.02 * (9 - int(content)))
        return said(content)

    with Stub(slowly) as stub:
        found = ServerGenerator(stub.url, "m", config_for(stub.url)).generate([str(i) for i in range(9)])
    assert [answers[0].text for answers in found] == [str(i) for i in range(9)]


def test_requests_are_under_way_together_but_not_too_many() -> None:
    lock, now, most = threading.Lock(), 0, 0

    def watching(_: dict[str, Any]) -> Reply:
        nonlocal now, most
        with lock:
            now, most = now + 1, max(most, now + 1)
        time.sleep(0.05)
        with lock:
            now -= 1
        return said("SELECT 1")

    with Stub(watching) as stub:
        ServerGenerator(stub.url, "m", config_for(stub.url, concurrency=3)).generate([str(i) for i in range(9)])
    assert most == 3


def test_log_probabilities_and_a_cut_off_answer_are_read() -> None:
    with Stub(said("SELECT", logprobs=[token("SEL", -0.5), token("ECT", -0.25)], finish="length")) as stub:
        [[found]] = ServerGenerator(stub.url, "m", config_for(stub.url)).generate(["q"])
    assert (found.logprob, found.finished) == (-0.75, False)


def test_several_samples_from_one_request_where_the_server_gives_them() -> None:
    with Stub(lambda request: said(*(f"SELECT {i}" for i in range(request["n"])))) as stub:
        found = ServerGenerator(stub.url, "m", config_for(stub.url)).generate(["q"], mode="sampling", num_return=3)
    assert [g.sql for g in found[0]] == ["SELECT 0", "SELECT 1", "SELECT 2"]
    assert {g.source for g in found[0]} == {"sample"}
    assert len(stub.requests) == 1


@pytest.mark.parametrize("refuses", [False, True])
def test_a_request_each_with_a_seed_of_its_own_where_it_does_not(refuses: bool) -> None:
    def one(request: dict[str, Any]) -> Reply:
        if refuses and "n" in request:
            return 400, {"error": {"message": "Only one completion choice is allowed"}}
        return said(f"SELECT {request['seed']}")

    with Stub(one) as stub:
        config = config_for(stub.url, concurrency=1)
        first, again = (
            ServerGenerator(stub.url, "m", config).generate(["q", "r"], mode="sampling", num_return=3) for _ in "ab"
        )
    assert [[g.sql for g in answers] for answers in first] == [[g.sql for g in answers] for answers in again]
    assert len({g.sql for answers in first for g in answers}) == 6
    assert sum("n" in request for request in stub.requests) == 2


def test_a_server_that_does_not_sample_is_remarked_upon(caplog: pytest.LogCaptureFixture) -> None:
    with Stub(said("SELECT 1")) as stub:
        generator = ServerGenerator(stub.url, "m", config_for(stub.url))
        for _ in range(2):
            generator.generate(["q", "r"], mode="sampling", num_return=2)
    assert caplog.text.count("all alike; does it sample?") == 1


def test_a_field_that_the_server_refuses_is_left_out_from_then_on(caplog: pytest.LogCaptureFixture) -> None:
    def strict(request: dict[str, Any]) -> Reply:
        if "logprobs" in request:
            return 422, {"detail": "logprobs is not supported"}
        return said("SELECT 1")

    with Stub(strict) as stub:
        found = ServerGenerator(stub.url, "m", config_for(stub.url, concurrency=1)).generate(["q", "r"])
    assert [g[0].sql for g in found] == ["SELECT 1"] * 2
    assert len(stub.requests) == 3
    assert "going on without logprobs" in caplog.text


def test_server_options_go_with_every_request_and_into_the_fingerprint() -> None:
    with Stub(said("SELECT 1")) as stub:
        plain = ServerGenerator(stub.url, "m", config_for(stub.url))
        quiet = {"chat_template_kwargs": {"enable_thinking": False}}
        other = ServerGenerator(stub.url, "m", config_for(stub.url, server_options=quiet))
        other.generate(["q"])
        assert (
            ServerGenerator(stub.url, "m", config_for(stub.url)).fingerprint == plain.fingerprint != other.fingerprint
        )
        assert ServerGenerator(stub.url, "n", config_for(stub.url)).fingerprint != plain.fingerprint
    assert stub.requests[0]["chat_template_kwargs"] == {"enable_thinking": False}


@pytest.mark.parametrize(
    ("options", "hint"),
    [
        ({"mode": "beam", "num_return": 2}, "generation_method: sampling"),
        ({"mode": "hybrid", "num_return": 2}, "generation_method: sampling"),
        ({"schemas": []}, "constrained: false"),
        ({"num_return": 2}, "greedy decoding has one answer"),
        ({"temperature": 0.0}, "above 0"),
    ],
)
def test_what_no_server_offers_is_an_error_with_a_way_out(options: dict[str, Any], hint: str) -> None:
    with Stub(said("SELECT 1")) as stub, pytest.raises(InferenceError, match=hint):
        ServerGenerator(stub.url, "m", config_for(stub.url)).generate(["q"], **options)


# -- votes and critic --------------------------------------------------------------------------------------------


def test_without_probabilities_each_sample_has_one_vote() -> None:
    drawn = iter(["SELECT a", "SELECT b", "select a", "SELECT a", "SELECT b"])  # two, and the spare ones
    with Stub(lambda _: said(next(drawn))) as stub:
        config = config_for(stub.url, generation_method="sampling", concurrency=1)
        several = MultiCandidateInference(ServerGenerator(stub.url, "m", config))
        [found] = several.generate(["q"], 2)
    assert [c.sql for c in found] == ["SELECT a", "SELECT b"]
    assert likelihoods([vars(c) for c in found]) == [3.0, 2.0]
    assert likelihoods([{**vars(found[0]), "source": "repeat"}]) == [0.0]


def test_options_are_scored_by_the_likeliest_tokens() -> None:
    listed = token("A", -0.1, (" A", -5.0), ("▁B", -3.0), ("The", -4.0))
    with Stub(said("A", logprobs=[listed])) as stub:
        [scores] = ServerGenerator(stub.url, "m", config_for(stub.url)).score_options(["Which?"], ["A", "B", "C"])
    assert scores["A"] == pytest.approx(-0.0926, abs=1e-3)
    assert scores["B"] == pytest.approx(-3.0)
    assert scores["C"] == pytest.approx(-5.0)
    assert (stub.requests[0]["max_tokens"], stub.requests[0]["top_logprobs"]) == (1, 20)


def test_an_option_that_is_not_listed_has_what_the_list_leaves() -> None:
    with Stub(said("A", logprobs=[token("A", -0.1)])) as stub:
        [scores] = ServerGenerator(stub.url, "m", config_for(stub.url)).score_options(["Which?"], ["A", "B"])
    assert scores["B"] == pytest.approx(-2.352, abs=1e-3)


def test_a_server_without_log_probabilities_has_no_critic() -> None:
    with Stub(said("A")) as stub, pytest.raises(InferenceError, match="use_critic: false"):
        ServerGenerator(stub.url, "m", config_for(stub.url)).score_options(["Which?"], ["A", "B"])


def test_multi_infer_asks_a_server_and_counts_its_samples(tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "shop.sqlite") as db:
        db.execute("CREATE TABLE t (a INTEGER)")
        db.execute("INSERT INTO t VALUES (1)")
    conn = write_json(tmp_path / "db_conn.json", {"dialect": "sqlite", "databases": {"shop": "shop.sqlite"}})
    write_jsonl(tests := tmp_path / "test.jsonl", records(3))
    out = tmp_path / "p.jsonl"
    drawn = ["SELECT 7", "SELECT a FROM t", "SELECT COUNT(*) FROM t", "SELECT a FROM t", "SELECT no FROM t", "SELECT 7"]
    with Stub(lambda request: said(*drawn[: request["n"]])) as stub:
        server = ["--base_url", stub.url, "--model", "m", "--constrained", "false", "--generation_method", "sampling"]
        rest = ["--test_set_path", str(tests), "--db_conn_config", str(conn), "--output_path", str(out)]
        assert run("multi-infer", *server, *rest, "--use_critic", "false", "--num_candidates", "3") == 0
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    assert {line["sql"] for line in lines} == {"SELECT a FROM t"}
    assert {line["method"] for line in lines} == {"majority"}


# -- failures ----------------------------------------------------------------------------------------------------


def test_a_busy_server_is_asked_again_when_it_says(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []
    monkeypatch.setattr("openai._base_client.time.sleep", pauses.append)
    busy = (429, {"error": {"message": "slow down"}})
    with Stub((*busy, {"Retry-After": "7"}), busy, busy, said("SELECT 1")) as stub:
        [[found]] = ServerGenerator(stub.url, "m", config_for(stub.url, max_retries=3)).generate(["q"])
    assert found.sql == "SELECT 1"
    assert [int(h["x-stainless-retry-count"]) for h in stub.headers] == [0, 1, 2, 3]
    assert pauses[0] == 7
    assert 0.5 < pauses[1] <= 1 < pauses[2] <= 2


def test_a_broken_server_is_given_up_and_what_was_answered_stays(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr("openai._base_client.time.sleep", lambda _: None)
    questions, broken = records(5), (500, {"error": {"message": "CUDA out of memory"}})
    with Stub(said("SELECT 1"), said("SELECT 1"), broken) as stub:
        config = config_for(stub.url, concurrency=1)
        with pytest.raises(InferenceError, match="HTTP 500 in spite of up to 2 repetitions: CUDA out of memory"):
            answer(questions, ServerGenerator(stub.url, "m", config), tmp_path / "p.jsonl", config)
        assert len(stub.requests) == 2 + 3
        assert len((tmp_path / "p.jsonl.part").read_text().splitlines()) == 2
        stub.replies = [said("SELECT 2")]
        lines = answer(questions, ServerGenerator(stub.url, "m", config), tmp_path / "p.jsonl", config)
    assert sorted(line["sql"] for line in lines) == ["SELECT 1"] * 2 + ["SELECT 2"] * 3
    assert {line["logprob"] for line in lines} == {None}


@pytest.mark.parametrize(
    ("reply", "model", "what"),
    [
        ((404, {"error": {"message": "The model `n` does not exist."}}), "n", "it serves (--model): it lists m"),
        ((400, {"detail": "Server is pinned to 'm'; requested 'n'."}), "n", "it lists m"),
        ((400, {"error": {"message": "maximum context length is 9 tokens"}}), "m", "9 characters is too long"),
        ((400, {"error": {"message": "temperature must be positive"}}), "m", "HTTP 400: temperature must be positive"),
        ((200, "<html>Please log in</html>"), "m", "no chat completion"),
        ((200, {"choices": []}), "m", "no chat completion"),
        ((200, {"choices": [{"index": 0}]}), "m", "no chat completion"),
        ((200, {"choices": None}), "m", "no chat completion"),
        ((200, "{nonsense", {"Content-Type": "application/json"}), "m", "no chat completion"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_said_with_where_and_what_to_do(reply: Reply, model: str, what: str) -> None:
    with Stub(reply) as stub:
        message = failure(stub, model)
    assert what in message
    assert f"{stub.url}, model '{model}': " in message
    assert "\n  → " in message


def test_a_server_that_is_not_there_is_named() -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    with pytest.raises(InferenceError, match=rf"{url}.*cannot be reached \(.*refused") as caught:
        load_backend(config_for(url, max_retries=0))
    assert "inference.base_url" in str(caught.value)


def test_a_server_that_takes_too_long_is_named() -> None:
    def slowly(_: dict[str, Any]) -> Reply:
        time.sleep(0.5)
        return said("")

    with Stub(slowly) as stub:
        assert "no answer within 0.1 s" in failure(stub, request_timeout_s=0.1, max_retries=0)


@pytest.mark.parametrize("models", [None, (401, {"error": {"message": f"wrong key {KEY}"}})])
def test_the_key_is_sent_and_never_shown(
    models: Reply | None, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MY_KEY", KEY + "\n")
    caplog.set_level(logging.DEBUG)
    for name in ("openai", "httpx", "httpx2", "httpcore", "httpcore2"):
        caplog.set_level(logging.DEBUG, logger=name)
    with Stub((401, {"error": {"message": f"Incorrect API key provided: {KEY}"}}), models=models) as stub:
        message = failure(stub, api_key_env="MY_KEY")
        assert models or stub.headers[0]["authorization"] == f"Bearer {KEY}"
        assert KEY not in json.dumps(config_for(stub.url, api_key_env="MY_KEY").dump())
    assert "refuses the key (HTTP 401" in message
    assert "environment variable MY_KEY" in message
    assert KEY not in message
    assert KEY not in caplog.text


def test_what_cannot_be_a_key_is_not_shown_either(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MY_KEY", f"{KEY}\n{KEY}")
    with Stub(said("SELECT 1")) as stub:
        message = failure(stub, api_key_env="MY_KEY")
    assert "mend the environment variable MY_KEY" in message
    assert KEY not in message


@pytest.mark.parametrize(
    "inference",
    [
        {"base_url": f"http://me:{KEY}@host/v1"},
        {"base_url": f"me:{KEY}@h/v1"},
        {"base_url": f"http://h/v1?key={KEY}"},
        {"api_key_env": KEY},
    ],
)
def test_a_key_in_the_wrong_place_is_refused_and_not_repeated(inference: dict[str, str]) -> None:
    with pytest.raises(ConfigError) as caught:
        RunConfig.build({"inference": inference})
    assert KEY not in str(caught.value)
    assert next(iter(inference)) in str(caught.value)


def test_a_url_is_a_url() -> None:
    with pytest.raises(ConfigError, match=r"inference.base_url.*http://localhost:8000/v1"):
        RunConfig.build({"inference": {"base_url": "localhost:8000"}})


# -- a real server -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def real(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """``transformers serve`` with the small base model."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    log = tmp_path_factory.mktemp("serve") / "log.txt"
    command = [sys.executable, "-m", "transformers.cli.transformers", "serve", MODEL]
    # As on a machine that has never seen a model hub: then this server fails to list models, and hangs up.
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "HF_HOME": str(log.parent), "OMP_NUM_THREADS": "1"}
    with log.open("w") as out:
        server = subprocess.Popen(
            [*command, "--device", "cpu", "--host", "127.0.0.1", "--port", str(port)],
            cwd=ROOT, env=environment, stdout=out, stderr=out,
        )  # fmt: skip
    try:
        for _ in range(240):
            try:
                urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=2).close()
                break
            except OSError:
                assert server.poll() is None, log.read_text()
                time.sleep(0.25)
        yield f"http://127.0.0.1:{port}/v1"
    finally:
        server.kill()
        server.wait()


def timeless(lines: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{k: v for k, v in line.items() if k not in ("elapsed_ms", "key")} for line in lines]


@pytest.mark.slow
def test_a_real_server_answers_as_the_model_in_this_process(real: str) -> None:
    config = config_for(real, max_retries=1)
    prompts = [question_prompt(r, config) for r in records(8)]
    here = load_backend(RunConfig.build({"inference": {"max_new_tokens": 24}}), str(ROOT / MODEL)).generate(prompts)
    there = load_backend(config, MODEL).generate(prompts)
    assert [g[0].text for g in there] == [g[0].text for g in here]
    assert len({g[0].text for g in there}) > 1


@pytest.mark.slow
def test_a_killed_call_to_a_real_server_goes_on_and_ends_as_unbroken(real: str, tmp_path: Path) -> None:
    config = config_for(real, max_retries=1)
    generator = load_backend(config, MODEL)
    unbroken = answer(records(9), generator, tmp_path / "a.jsonl", config)
    whole = generator.stream

    def killed(*args: Any, **kwargs: Any) -> Iterator[Any]:
        for i, done in enumerate(whole(*args, **kwargs)):
            if i == 3:
                raise KeyboardInterrupt
            yield done

    generator.stream = killed  # type: ignore[method-assign]
    with pytest.raises(KeyboardInterrupt):
        answer(records(9), generator, tmp_path / "b.jsonl", config)
    assert len((tmp_path / "b.jsonl.part").read_text().splitlines()) == 3
    resumed = answer(records(9), load_backend(config, MODEL), tmp_path / "b.jsonl", config)
    assert timeless(resumed) == timeless(unbroken)
    assert [line["id"] for line in resumed] == [f"q{i}" for i in range(9)]


@pytest.mark.slow
def test_a_real_server_samples_with_its_seed(real: str) -> None:
    """This server takes ``do_sample`` from a field of its own, and gives one answer to a request."""
    options = {"server_options": {"generation_config": '{"do_sample": true}'}, "concurrency": 1, "max_retries": 1}
    generator = load_backend(config_for(real, temperature=1.5, **options), MODEL)
    prompt = question_prompt(records(1)[0], generator.config)
    first, again = (generator.generate([prompt], mode="sampling", num_return=4, seed=1)[0] for _ in "ab")
    assert [g.text for g in first] == [g.text for g in again]
    assert len({g.text for g in first}) > 1


@pytest.mark.slow
def test_a_real_server_says_what_is_wrong(real: str) -> None:
    with pytest.raises(InferenceError, match=r"pinned to 'models/askguru-tiny'(.|\n)*--model"):
        load_backend(config_for(real, max_retries=1), "another").generate(["q"])
    with pytest.raises(InferenceError, match="use_critic: false"):
        load_backend(config_for(real, max_retries=1), MODEL).score_options(["Which?"], ["A", "B"])


@pytest.mark.slow
def test_infer_asks_a_real_server(real: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tests, out = tmp_path / "test.jsonl", tmp_path / "p.jsonl"
    write_jsonl(tests, records(3))
    call = ["infer", "--base_url", real, "--model", MODEL, "--test_set_path", str(tests), "--output_path", str(out)]
    assert run(*call) == InferenceError.exit_code
    assert "--constrained false" in capsys.readouterr().err
    assert run(*call, "--constrained", "false") == 0
    assert [json.loads(line)["id"] for line in out.read_text().splitlines()] == ["q0", "q1", "q2"]
