"""Streams side by side: each has the bits that it has alone, whoever joins and leaves."""

import copy
import pickle
import sys
import threading

import numpy as np
import pytest
import torch

from tests.runtime.test_model import NETWORKS, STEPPABLE, inputs
from tests.saved.networks import layer
from unrolled.runtime import RuntimeModel, State
from unrolled.saved.network import Head, Network


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize(
    "name", ["LSTM-3-5", "GRU-one-hot", "mixed", "projected-one-way", "text-mixed", "head-last-True"]
)
def test_streams_together_are_each_as_alone(name, backend, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    one_way = Network((layer("LSTM", 3, 5, P=2),))
    network = one_way if name == "projected-one-way" else NETWORKS[name]
    model, x = RuntimeModel(network), inputs(network, 9, 5)
    streams = model.streams(5)
    together = np.stack([streams.step(x_t) for x_t in x])
    same = np.testing.assert_array_equal if backend == "fused" else np.testing.assert_allclose
    close = {} if backend == "fused" else {"atol": 1e-6}
    for b in range(5):
        alone = model.streams(1)
        same(np.concatenate([alone.step(x_t[b : b + 1]) for x_t in x]), together[:, b], **close)


@pytest.mark.parametrize("name", STEPPABLE)
def test_streams_read_on_in_whole_sequences_with_the_bits_of_steps(name):
    network = NETWORKS[name]
    model, x = RuntimeModel(network), inputs(network, 8, 3)
    stepped, fed = model.streams(3), model.streams(3)
    steps = np.stack([stepped.step(x_t) for x_t in x])
    fed.step(x[0])
    y = fed.feed(x[1:5])
    np.testing.assert_array_equal(y, steps[1:5] if y.ndim == 3 else steps[4])
    fed.feed(x[5:], lengths=[3, 0, 1])
    for b, n in enumerate((8, 5, 6)):
        alone = model.streams(1)
        alone.feed(x[:n, b : b + 1])
        assert fed.state.select([b]).equals(alone.state)


def test_streams_join_leave_and_begin_anew():
    network = NETWORKS["mixed"]
    model, x = RuntimeModel(network), inputs(network, 40, 8)

    def alone(b, t0, t1):
        one = model.streams(1)
        one.feed(x[t0:t1, b : b + 1])
        return one.state

    streams = model.streams(3)  # of the columns 0 1 2
    streams.feed(x[:4, :3])
    streams.drop([1])  # 0 2
    streams.step(x[4, [0, 2]])
    streams.add(2)  # 0 2 3 4
    streams.step(x[5, [0, 2, 3, 4]])
    streams.reset([1])  # 2 begins anew
    streams.step(x[6, [0, 2, 3, 4]])
    streams.add(alone(7, 0, 7))  # 0 2 3 4 7
    streams.step(x[7, [0, 2, 3, 4, 7]])
    streams.select([4, 0, 4])  # 7 0 7
    streams.step(x[8, [7, 0, 7]])
    for found, want in zip(range(3), (alone(7, 0, 9), alone(0, 0, 9), alone(7, 0, 9)), strict=True):
        assert streams.state.select([found]).equals(want)
    assert len(streams) == 3
    streams.drop([0, 1, 2])
    assert len(streams) == 0
    streams.add()
    streams.step(x[:1, 0])
    assert streams.state.equals(alone(0, 0, 1))


@pytest.mark.parametrize("number", [np.int64, np.uint8, np.array])
def test_number_of_streams_may_be_one_of_numpy(number):
    model = RuntimeModel(NETWORKS["mixed"])
    streams = model.streams(number(3))
    streams.add(number(2))
    assert len(streams) == 5
    for wrong in (number(0), np.True_, np.float64(2), np.arange(1, 3)):
        with pytest.raises(ValueError, match="it must be a whole number from 1"):
            model.streams(wrong)


def test_state_of_streams_can_be_kept_and_set():
    network = NETWORKS["text-LSTM"]
    model, x = RuntimeModel(network), inputs(network, 6, 3)
    streams = model.streams(3)
    streams.feed(x[:3])
    kept = streams.state
    want = streams.feed(x[3:])
    streams.state = kept
    np.testing.assert_array_equal(streams.feed(x[3:]), want)
    streams.state = kept.select([2])
    np.testing.assert_array_equal(streams.feed(x[3:, 2:]), want[:, 2:])


@pytest.mark.parametrize("backend", ["fused", "reference"])
def test_what_is_no_step_of_these_streams_is_refused(backend, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    model = RuntimeModel(NETWORKS["LSTM-3-5"])
    streams = model.streams(2)
    for x in (np.zeros((3, 3), np.float32), np.zeros((2, 3)), np.zeros(2, np.int64), np.zeros((2, 4), np.float32)):
        with pytest.raises(ValueError, match=r"x is .*, expected float32 vectors \(B, I\) = \(2, 3\)"):
            streams.step(x)
    with pytest.raises(ValueError, match=r"x holds 3 streams, expected 2"):
        streams.feed(np.zeros((4, 3, 3), np.float32))
    for change in (streams.drop, streams.select, streams.reset):
        with pytest.raises(IndexError, match="2"):
            change([2])
    for count in (0, -1, 2.0, True):
        with pytest.raises(ValueError, match=r"count is .*; it must be a whole number from 1"):
            model.streams(count)
    for count in (2**70, -1, 1.5, True, None):
        with pytest.raises(ValueError, match=r"B is .*; it must be a whole number from 0"):
            model.initial(count)
    for state in (RuntimeModel(NETWORKS["LSTM-4-9"]).initial(2), RuntimeModel(NETWORKS["LSTM-float64"]).initial(2)):
        with pytest.raises(
            ValueError, match=r"the state of layer 0 is h float.*expected h float32 \(2, 5\), c float32"
        ):
            streams.state = state
    with pytest.raises(TypeError, match="the state is a list, expected a State"):
        streams.state = [*model.initial(2)]
    with pytest.raises(ValueError, match="more is 0; it must be a whole number from 1"):
        streams.add(0)
    with pytest.raises(ValueError, match="the state is of 3 layers, expected 1"):
        streams.add(RuntimeModel(NETWORKS["mixed"]).initial(1))
    with pytest.raises(ValueError, match="the state is of 2 streams, the model's own is one"):
        model.state = model.initial(2)


def test_what_is_sparse_or_no_array_says_what_to_give():
    class Sparse:  # as those of SciPy
        def toarray(self):
            raise AssertionError

    model = RuntimeModel(NETWORKS["LSTM-4-9"])
    for read in (model.step, model.feed, model.streams(1).step):
        with pytest.raises(ValueError, match=r"x is a Sparse, which is sparse, expected float32; give x\.toarray\(\)"):
            read(Sparse())
        with pytest.raises(TypeError, match=r"x is a Tensor that NumPy cannot read, expected float32: .*to_dense\(\)"):
            read(torch.eye(4).to_sparse())


def test_second_thread_that_steps_the_same_streams_is_refused():
    network = Network((layer("LSTM", 64, 512), layer("LSTM", 512, 512, seed=1)))
    streams, x = RuntimeModel(network).streams(64), inputs(network, 1, 64)[0]
    refused, stop = [], threading.Event()

    def step():
        while not stop.is_set():
            try:
                streams.step(x)
            except RuntimeError as error:
                refused.append(str(error))
                stop.set()

    threads = [threading.Thread(target=step) for _ in range(2)]
    [thread.start() for thread in threads]
    stop.wait(60)
    stop.set()
    [thread.join() for thread in threads]
    assert set(refused) == {"another thread is stepping these streams; give each thread streams of its own"}


#: One number a stream: to copy a large result, NumPy lets other threads run.
ONE_NUMBER = Head(np.ones((1, 512), np.float32))


def test_thread_can_run_while_another_steps():
    network = Network((layer("LSTM", 512, 512),), head=ONE_NUMBER)
    streams, x = RuntimeModel(network).streams(256), inputs(network, 1, 256)[0]
    about_to_step, done = threading.Event(), []

    def step():
        about_to_step.set()
        streams.step(x)
        done.append(True)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # a thread of Python runs until it gives way itself, which only the step does here
    try:
        for _ in range(9):  # on a busy machine the step may be over before this thread has woken
            done.clear(), about_to_step.clear()
            stepping = threading.Thread(target=step)
            stepping.start()
            about_to_step.wait()
            ran_meanwhile = not done
            stepping.join()
            if ran_meanwhile:
                return
    finally:
        sys.setswitchinterval(interval)
    pytest.fail("no other thread ran during a step")


def test_threads_step_streams_of_their_own_inside_each_others_steps():
    model = RuntimeModel(Network((layer("LSTM", 8, 512),), head=ONE_NUMBER))
    long, short = model.streams(256), model.streams(1)
    x = {streams: np.ones((len(streams), 8), np.float32) for streams in (long, short)}
    inside, within = [0], [0]  # odd: the long step is at work; the short ones that began and ended within one of it

    def serve():
        for _ in range(20_000):
            before = inside[0]
            short.step(x[short])
            within[0] += before % 2 == 1 and inside[0] == before
            if within[0] > 50:
                break

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1000)  # a thread of Python runs until it gives way itself, which only its steps do here
    try:
        other = threading.Thread(target=serve)
        other.start()
        while other.is_alive():
            inside[0] += 1
            long.step(x[long])
            inside[0] += 1
        other.join()
    finally:
        sys.setswitchinterval(interval)
    assert within[0] > 50


@pytest.mark.parametrize("name", ["LSTM-3-5", "mixed", "text-GRU"])
def test_state_comes_back_from_bytes(name):
    network = NETWORKS[name]
    streams = RuntimeModel(network).streams(4)
    streams.feed(inputs(network, 3, 4))
    state = streams.state
    again = State.from_bytes(state.to_bytes())
    assert again.equals(state)
    assert again.forms() == state.forms()


@pytest.mark.parametrize(
    "laid_out",
    [np.asfortranarray, lambda s: s[::-1], lambda s: s[:, ::-1], lambda s: np.broadcast_to(s[:1], s.shape)],
    ids=["columns", "rows backward", "units backward", "one row"],
)
def test_state_of_any_layout_in_memory_comes_back_from_bytes(laid_out):
    network = NETWORKS["mixed"]
    streams = RuntimeModel(network).streams(4)
    streams.feed(inputs(network, 3, 4))
    state = State(tuple(map(laid_out, layer)) for layer in streams.state)
    assert State.from_bytes(state.to_bytes()).equals(state)


@pytest.mark.parametrize("backend", ["fused", "reference"])
@pytest.mark.parametrize("copied", [copy.copy, copy.deepcopy, lambda streams: pickle.loads(pickle.dumps(streams))])
def test_copy_of_streams_reads_on_by_itself(copied, backend, monkeypatch):
    monkeypatch.setenv("UNROLLED_BACKEND", backend)
    network = NETWORKS["mixed"]
    x = inputs(network, 3, 4)
    streams = RuntimeModel(network).streams(4)
    streams.step(x[0])
    other = copied(streams)
    results = [other.step(x[1]), streams.step(x[1])]
    np.testing.assert_array_equal(*results)
    before = streams.state
    other.step(x[2])
    assert streams.state.equals(before)


def test_bytes_that_are_no_state_are_refused():
    data = RuntimeModel(NETWORKS["mixed"]).initial(2).to_bytes()
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="no state of a model, or one of another release"):
        State.from_bytes(b"unrolled state 2\n" + data[17:])
    for _ in range(300):
        changed = bytearray(data)
        for at in rng.integers(0, len(data), rng.integers(1, 4)):
            changed[at] ^= 1 << rng.integers(8)
        cut = data[: rng.integers(0, len(data))]
        for wrong in (bytes(changed), cut, data + b"x"):
            if wrong != data:
                with pytest.raises(ValueError, match=r"these bytes|the bytes of this state are damaged"):
                    State.from_bytes(wrong)


@pytest.mark.parametrize("rows", [[2, 0], np.array([False, False, True, False]), [True, False, True, False], []])
def test_rows_of_streams_are_numbers_or_a_bool_for_each(rows):
    model, x = RuntimeModel(Network((layer("GRU", 3, 7),))), np.ones((4, 3), np.float32)
    chosen = [k for k, each in enumerate(rows) if each] if len(rows) == 4 else [*rows]
    streams = {doing: model.streams(4) for doing in ("reset", "drop", "select")}
    for doing, each in streams.items():
        each.step(x * np.arange(1, 5, dtype=np.float32)[:, None])
        before = each.state[0][0].copy()
        getattr(each, doing)(rows)
        after = each.state[0][0]
        if doing == "reset":
            assert [k for k in range(4) if not after[k].any()] == sorted(chosen)
        else:
            left = chosen if doing == "select" else [k for k in range(4) if k not in chosen]
            np.testing.assert_array_equal(after, before[left])


@pytest.mark.parametrize(
    ("rows", "error", "said"),
    [
        ([4], IndexError, r"rows is \[4\], expected numbers from 0 to 3"),
        ([-1], IndexError, r"rows is \[-1\], expected"),
        ([True, False], TypeError, r"rows is bool \(2,\), expected the numbers of streams, or a bool for each of 4"),
        ([1.9], TypeError, r"rows is float64 \(1,\)"),
        (3, TypeError, r"rows is int64 \(\)"),
        ("1", TypeError, "expected the numbers of streams"),
    ],
)
@pytest.mark.parametrize("doing", ["reset", "drop", "select"])
def test_what_are_no_rows_of_streams_is_refused(doing, rows, error, said):
    streams = RuntimeModel(Network((layer("GRU", 3, 7),))).streams(4)
    with pytest.raises(error, match=said):
        getattr(streams, doing)(rows)


@pytest.mark.parametrize(
    ("layers", "error", "said"),
    [
        (None, TypeError, "the layers are None"),
        ([], ValueError, "there are no layers"),
        ([None], TypeError, "layer 0 is a NoneType, no tuple of arrays"),
        ([np.zeros((2, 3))], TypeError, "layer 0 is a ndarray, no tuple of arrays"),
        ([(np.zeros((2, 3)),), ()], ValueError, "layer 1 is of 0 arrays"),
        ([(None,)], TypeError, "h of layer 0 is a NoneType, no array of NumPy"),
        ([(np.zeros((2, 3)), [[0.0]])], TypeError, "c of layer 0 is a list, no array of NumPy"),
        ([(torch.zeros(2, 3),)], TypeError, "h of layer 0 is a Tensor, no array of NumPy"),
        ([(np.zeros(3),)], ValueError, r"h of layer 0 is float64 \(3,\)"),
        ([(np.zeros((2, 3)),), (np.zeros((1, 3)),)], ValueError, r"h of layer 1 is float64 \(1, 3\)"),
    ],
)
def test_what_is_no_state_is_refused_with_its_place(layers, error, said):
    with pytest.raises(error, match=f"{said}; a state holds h \\(B, P\\), and maybe c \\(B, H\\), of each layer"):
        State(layers)


def test_states_of_different_networks_are_not_joined():
    one, other = State([(np.zeros((2, 3)),)]), State([(np.zeros((2, 4)),)])
    with pytest.raises(ValueError, match="different networks cannot be joined"):
        State.joined([one, other])
    with pytest.raises(ValueError, match="there are no layers"):
        State.joined([])


@pytest.mark.parametrize("kind", [bytearray, memoryview])
def test_state_comes_back_from_whatever_holds_bytes(kind):
    state = RuntimeModel(NETWORKS["LSTM-3-5"]).streams(2).state
    assert State.from_bytes(kind(state.to_bytes())).equals(state)
    with pytest.raises(TypeError, match="expected the bytes that to_bytes wrote"):
        State.from_bytes("a text")
