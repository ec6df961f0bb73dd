"""ONNX: states go in and out as those of the layers do."""

import numpy as np
import pytest
import torch

from tests.formats.test_onnx import NETWORKS, SINGLE, close, drawn, session
from unrolled import runtime
from unrolled.export import to_onnx
from unrolled.nn.network_module import module_of


@pytest.mark.parametrize("name", SINGLE)
def test_row_of_no_steps_keeps_its_state(name, tmp_path):
    """ONNX's own layers make it zero."""
    network, lengths = NETWORKS[name], np.array([0, 7, 2])
    to_onnx(network, tmp_path / "model.onnx")
    run, x = session(tmp_path / "model.onnx"), drawn(network, 7, 3)
    names = [each.name for each in run.get_outputs()]
    first = dict(zip(names, run.run(None, {"input": x}), strict=True))
    states = {name.replace("_n", "_0"): s for name, s in first.items() if name != "output"}
    after = dict(zip(names, run.run(None, {"input": x, "sequence_lens": np.int32(lengths), **states}), strict=True))
    for state in states:
        kept = after[state.replace("_0", "_n")]
        np.testing.assert_array_equal(kept[:, 0], states[state][:, 0])
        assert (kept[:, 1:] != states[state][:, 1:]).any() or name.startswith("RNN_RELU")  # which may be zero
    if network.head is None or network.head.when == "each":
        close(after["output"][:, 0], torch.from_numpy(runtime.load(network).feed(x, lengths)[:, 0]))
    elif not network.layers[-1].is_projected:
        begun = run.run(None, {"input": x, "sequence_lens": np.int32(lengths)})[0]
        close(begun, torch.from_numpy(runtime.load(network).feed(x, lengths)))


@pytest.mark.parametrize("name", ["LSTM-initial", "GRU-two-ways", "projected", "mixed", "LSTM_PEEPHOLE-3-5"])
def test_states_go_from_one_call_to_the_next(name, tmp_path):
    network = NETWORKS[name]
    to_onnx(network, tmp_path / "model.onnx")
    run, x = session(tmp_path / "model.onnx"), drawn(network, 7, 3)
    names = [each.name for each in run.get_outputs()]
    first = dict(zip(names, run.run(None, {"input": x[:4]}), strict=True))
    states = {name.replace("_n", "_0"): s for name, s in first.items() if name != "output"}
    assert {"h_0", "h_0_l0"} & states.keys()
    second = run.run(["output"], {"input": x[4:], **states})[0]
    whole = run.run(["output"], {"input": x})[0]
    if all(layer.D == 1 for layer in network.layers):
        close(np.concatenate([first["output"], second]), whole)
    else:
        module = module_of(network)
        _, ends = module(torch.from_numpy(x[:4]))
        close(second, module(torch.from_numpy(x[4:]), ends)[0])
