"""POST /generate streams the runtime's text, within limits, beside many others, and only as long as a client reads."""

import os
import socket
import threading
import time
from pathlib import Path

import pytest
import torch

from tests.views.browser.serving import endless, events, serving, until
from tests.views.served import exploding
from tests.views.small_models import small
from unrolled.config.generation import GenerationConfig
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary
from unrolled.views.page import generate

FAST = {"max_length": 90}


@pytest.fixture(scope="module")
def models():
    short = small("lstm", dtype=torch.float32)
    with torch.no_grad():
        short.head.bias[short.vocabulary.eos_id] = 2.0
    byte = small("lstm", symbols=["61", "c3", "a4"], kind="bytes", dtype=torch.float32)
    tireless = exploding()
    with torch.no_grad():
        tireless.head.weight.copy_(torch.eye(1, 5).T.expand(5, 7))  # it goes on with its first symbol
    return {
        "lstm": endless(small("lstm", dtype=torch.float32)),
        "gru": endless(small("gru embedded", dtype=torch.float32)),
        "bytes": endless(byte),
        "marks": endless(small("gru", symbols=["aä", "b", "￭,", "(￭"], kind="words-and-marks", dtype=torch.float32)),
        "words": endless(small("gru", symbols=["aä", "b", "c"], kind="words", dtype=torch.float32)),
        "short": short,
        "exploding": tireless,
    }


@pytest.fixture(scope="module")
def server(models):
    with serving(models) as running:
        yield running


def text_of(found):
    return "".join(data["text"] for name, data in found if name == "piece")


def test_page_shows_a_space_between_a_prompt_of_words_and_what_continues_it(server, models):
    [want] = models["words"].runtime().generate("aä", GenerationConfig(**FAST))
    assert want == want.lstrip() != ""
    assert text_of(server.generate("words", prompt="aä", **FAST)) == " " + want
    assert text_of(server.generate("words", prompt="aä ", **FAST)) == want
    [first] = models["words"].runtime().generate("", GenerationConfig(**FAST))
    assert text_of(server.generate("words", prompt="", **FAST)) == first


@pytest.mark.parametrize("name", ["lstm", "gru", "bytes", "marks"])
@pytest.mark.parametrize("options", [{}, {"temperature": 0.5, "seed": 3}, {"strategy": "greedy"}, {"top_k": 1}])
def test_streamed_text_is_the_text_of_the_runtime(server, models, name, options):
    found = server.generate(name, prompt="aä", **FAST, **options)
    [want] = models[name].runtime().generate("aä", GenerationConfig(**FAST, **options))
    assert text_of(found) == want
    kind, end = found[-1]
    assert (kind, end["reason"], end["symbols"]) == ("end", "length", 90)


def test_end_says_that_the_model_ended_its_text(server, models):
    found = server.generate("short", prompt="ab", seed=5, max_length=4000)
    [want] = models["short"].runtime().generate("ab", max_length=4000, seed=5)
    assert (text_of(found), found[-1][1]["reason"]) == (want, "EOS")
    assert found[-1][1]["symbols"] == len(want) < 4000


def test_text_can_be_streamed_slowly(server):
    begin = time.monotonic()
    found = server.generate("lstm", max_length=20, symbols_per_second=40)
    assert time.monotonic() - begin > 0.4  # 20 symbols at 40 a second, the first at once
    assert len(found) > 5
    assert found[-1][1]["symbols"] == 20


def test_writing_ends_in_time(models):
    with serving(models, writing_seconds=0.2) as server:
        found = server.generate("lstm", max_length=4000, symbols_per_second=10)
        assert found[-1][1]["reason"] == "time"
        assert 1 <= found[-1][1]["symbols"] < 100


def test_overflow_ends_the_stream_with_a_sentence(server):
    found = server.generate("exploding", prompt="a", max_length=4000, allow_unk=True)
    assert text_of(found) == ""
    assert [name for name, _ in found] == ["error"]
    assert "expected a number" in found[0][1]["error"]


def test_client_that_leaves_ends_the_work(server, monkeypatch):
    written = []
    more = generate.Generation.more
    monkeypatch.setattr(generate.Generation, "more", lambda self, count: (written.append(self), more(self, count))[1])
    answer, connection = server.stream("lstm", max_length=4000, symbols_per_second=30)
    answer.fp.readline()
    assert server.app.active == 1
    answer.close()
    connection.close()
    server.idle()
    turns = len(written)
    time.sleep(0.2)
    assert len(written) == turns
    assert 0 < written[-1].symbols < 4000


def test_client_that_reads_nothing_is_not_waited_for(models, monkeypatch):
    monkeypatch.setattr(generate, "PATIENCE", 0.1)
    asked = b'{"max_length": 100000000}'
    head = "POST /api/models/lstm/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(models, written_symbols=100_000_000, writing_seconds=1) as server, socket.socket() as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        client.connect(("127.0.0.1", server.port))
        client.sendall(head.encode() + f"Content-Length: {len(asked)}\r\n\r\n".encode() + asked)
        until(lambda: server.app.active == 1)
        server.idle()


def test_client_that_sends_too_slowly_is_refused(models):
    head = b"POST /api/models/lstm/generate HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    with serving(models, sending_seconds=0.1) as server, socket.create_connection(("127.0.0.1", server.port)) as client:
        client.sendall(head + b"Content-Length: 100\r\n\r\n{")
        answer = client.recv(10_000).decode()
        assert answer.startswith("HTTP/1.1 408 ")
        assert "took more than 0.1 s" in answer or "took more than 0.1 s" in client.recv(10_000).decode()
        server.idle()


def test_more_requests_than_the_limit_are_told_to_come_again(models):
    with serving(models, requests=4) as server:
        held = [server.stream("lstm", max_length=4000, symbols_per_second=20) for _ in range(2)]
        for answer, _ in held:
            answer.fp.readline()
        status, headers, body = server.get("/api/models")
        assert (status, headers["retry-after"], headers["x-content-type-options"]) == (429, "1", "nosniff")
        assert b"2 requests from your address are being handled" in body
        assert server.get("/")[0] == 200  # the page itself always comes
        held[0][0].close()
        held[0][1].close()
        until(lambda: server.app.active == 1)
        assert server.get("/api/models")[0] == 200
        held[1][0].close()
        held[1][1].close()
        server.idle()


def test_one_address_keeps_no_other_out(models):
    """It held all requests, each for as long as a text may take, and everybody else was told 429."""
    slowly = {"max_length": 4000, "symbols_per_second": 0.01}
    with serving(models, requests=5) as server:
        held = [server.stream("lstm", **slowly) for _ in range(4)]
        assert [answer.status for answer, _ in held] == [200, 200, 200, 429]
        assert b"3 requests from your address are being handled" in held[3][0].read()
        held += [server.stream("lstm", "127.0.0.2", **slowly) for _ in range(3)]
        assert [answer.status for answer, _ in held[4:]] == [200, 200, 429]
        assert b"5 requests are being handled" in held[6][0].read()
        for answer, connection in held:
            answer.close()
            connection.close()
        server.idle()
        assert server.get("/api/models")[0] == 200
        until(lambda: not server.app.of_address)


def test_other_requests_are_answered_while_one_computes(server, monkeypatch):
    free = threading.Event()
    more = generate.Generation.more
    monkeypatch.setattr(generate.Generation, "more", lambda self, count: (free.wait(60), more(self, count))[1])
    answer, connection = server.stream("lstm", max_length=5)
    assert server.get("/api/models")[0] == 200
    assert server.ask("gru", "view", text="abc")[0] == 200
    free.set()
    assert events(answer.read().decode())[-1][1]["symbols"] == 5
    connection.close()


def resident():
    """Bytes of memory that this process has."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")


@pytest.mark.whole_process
@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="reads the process's memory from /proc")
def test_fifty_texts_side_by_side_are_all_written_and_leave_nothing_behind():
    torch.manual_seed(0)
    model = endless(SequenceModel(ModelConfig(cell="lstm", hidden_size=128), Vocabulary("abcdefg ", "characters")))
    with serving({"large": model}) as server:
        want = {seed: model.runtime().generate("a", max_length=300, seed=seed)[0] for seed in range(50)}

        def rounds():
            found = {}

            def one(seed):
                address = f"127.0.0.{1 + seed % 2}"  # one alone may have half of all requests
                found[seed] = text_of(server.generate("large", address=address, prompt="a", max_length=300, seed=seed))

            clients = [threading.Thread(target=one, args=(seed,)) for seed in want]
            for client in clients:
                client.start()
            for client in clients:
                client.join()
            server.idle()
            assert found == want
            return resident()

        rounds()
        before = rounds()
        grown = max(rounds(), rounds()) - before
        assert grown < 8e6, f"100 texts left {grown / 1e6:.1f} MB behind"
