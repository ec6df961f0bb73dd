"""torch, out and in: modules and programs of torch's operators alone, and state_dicts under anybody's names."""

import pickle
import re
import subprocess
import sys
import zipfile

import numpy as np
import pytest
import safetensors.torch
import torch

from tests.formats.test_onnx import NETWORKS, close, drawn, flat
from tests.saved.networks import layer
from unrolled import nn
from unrolled.export import onnx_translations, to_pt2, to_torch
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_onnx, from_torch
from unrolled.nn.network_module import module_of
from unrolled.saved.network import Network

STOCK = [name for name in NETWORKS if "PEEPHOLE" not in name]
#: Python that finds no unrolled, and so runs what torch alone can run.
ALONE = """
import sys
sys.modules["unrolled"] = None
import numpy, torch
for name in sys.argv[1:]:
    if name.endswith(".pt2"):
        program = torch.export.load(name).module()
        continue
    x = numpy.load(name)
    y, states = program(torch.from_numpy(x["x"]))
    states = [s for state in states for s in (state if isinstance(state, tuple) else (state,))]
    numpy.savez(name, x=x["x"], y=y.detach().numpy(), **{str(k): s.detach().numpy() for k, s in enumerate(states)})
"""


@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN")
@pytest.mark.parametrize("name", STOCK)
def test_module_of_torch_alone_computes_what_the_layers_do(name):
    network = NETWORKS[name]
    stock, ours = to_torch(network), module_of(network)
    assert not [each for each in stock.modules() if isinstance(each, nn.RecurrentLayer)]
    for T, B in ((1, 1), (2, 3), (7, 3)):
        x = torch.from_numpy(drawn(network, T, B))
        lengths = torch.randint(1, T + 1, (B,))
        for options in ({}, {"lengths": lengths}):
            (y, states), (want, ends) = stock(x, **options), ours(x, **options)
            for got, wanted in zip((y, *flat(states)), (want, *flat(ends)), strict=True):
                close(got.detach().numpy(), wanted)


@pytest.mark.parametrize("name", STOCK)
@pytest.mark.parametrize("file", ["model.safetensors", "model.pt"])
def test_state_dict_comes_back_to_the_bit(name, file, tmp_path):
    network = NETWORKS[name]
    module = to_torch(network, tmp_path / "model.safetensors")
    torch.save(module.state_dict(), tmp_path / "model.pt")
    kind = next((each.kind for each in network.layers if each.kind.startswith("RNN")), None)
    head = {} if network.head is None else {"when": network.head.when, "softmax": network.head.softmax}
    loaded = from_torch(tmp_path / file, kind=kind, one_hot=network.one_hot, **head)
    before, after = network.tensors(), loaded.tensors()
    assert before.keys() == after.keys()
    for key in before:
        np.testing.assert_array_equal(before[key], after[key], strict=True)
    assert [each.kind for each in loaded.layers] == [each.kind for each in network.layers]


PROGRAMS = ["LSTM-two-ways", "GRU-initial", "RNN_RELU-float64", "projected", "head-last-True", "text-LSTM"]


@pytest.fixture(scope="module")
def run_alone(tmp_path_factory):
    """By name of a program, files with what it reads and what it computed: all of them in one process, without us."""
    files = {name: tmp_path_factory.mktemp("alone") for name in PROGRAMS}
    for name, folder in files.items():
        to_pt2(NETWORKS[name], folder / "model.pt2")
        files[name] = [folder / f"{T}-{B}.npz" for T, B in ((1, 1), (7, 3), (9, 2))]
        for file in files[name]:
            np.savez(file, x=drawn(NETWORKS[name], *map(int, file.stem.split("-"))))
    given = [each for found in files.values() for each in (found[0].parent / "model.pt2", *found)]
    subprocess.run([sys.executable, "-W", "ignore", "-c", ALONE, *given], check=True)
    return files


@pytest.mark.parametrize("name", PROGRAMS)
def test_program_runs_where_there_is_torch_alone(name, run_alone):
    for file in run_alone[name]:
        found = np.load(file)
        y, states = module_of(NETWORKS[name])(torch.from_numpy(found["x"]))
        close(found["y"], y)
        for k, s in enumerate(flat(states)):
            close(found[str(k)], s)


@pytest.mark.parametrize("name", ["RNN_TANH-3-5", "LSTM-one-hot", "mixed", "GRU-no-bias", "text-GRU-one-hot"])
def test_program_holds_no_operator_of_this_package(name, tmp_path):
    to_pt2(NETWORKS[name], tmp_path / "model.pt2")
    program = torch.export.load(tmp_path / "model.pt2")
    assert [node for node in program.graph.nodes if "unrolled" in str(node.target)] == []
    x = torch.from_numpy(drawn(NETWORKS[name], 5, 4))
    close(program.module()(x)[0].detach().numpy(), module_of(NETWORKS[name])(x)[0])


@pytest.mark.parametrize("write", [to_torch, to_pt2])
def test_peepholes_are_refused_before_anything_is_written(write, tmp_path):
    with pytest.raises(FormatError, match="torch cannot hold peepholes"):
        write(NETWORKS["LSTM_PEEPHOLE-3-5"], tmp_path / "model")
    assert [*tmp_path.iterdir()] == []


class Model(torch.nn.Module):
    """A model of somebody's, with this package's layers in it."""

    def __init__(self, rnn):
        super().__init__()
        self.rnn = rnn
        self.head = torch.nn.Linear((rnn.proj_size or rnn.hidden_size) * (2 if rnn.bidirectional else 1), 6)

    def forward(self, x):
        y, _ = self.rnn(x)
        return self.head(y)


OURS = {
    "lstm": lambda: nn.LSTM(4, 5, 2, bidirectional=True),
    "gru": lambda: nn.GRU(4, 5, batch_first=True),
    "peephole": lambda: nn.PeepholeLSTM(4, 5),
    "projected": lambda: nn.LSTM(4, 5, proj_size=2),
}


@pytest.mark.filterwarnings("ignore")  # torch's remarks on its exporter
@pytest.mark.parametrize("name", OURS)
def test_torch_exports_a_model_that_holds_our_layers_to_onnx(name, tmp_path):
    onnxruntime = pytest.importorskip("onnxruntime", reason="which runs what is exported")
    pytest.importorskip("onnxscript", reason="which torch's exporter needs")
    model, sizes = Model(OURS[name]()).eval(), {0: torch.export.Dim("a"), 1: torch.export.Dim("b")}
    torch.onnx.export(
        model, (torch.randn(7, 3, 4),), tmp_path / "m.onnx", dynamo=True, verbose=False, external_data=False,
        dynamic_shapes=(sizes,), custom_translation_table=onnx_translations(),
    )  # fmt: skip
    session = onnxruntime.InferenceSession(tmp_path / "m.onnx")
    for T, B in ((7, 3), (2, 5)):
        x = torch.randn(T, B, 4)
        close(session.run(None, {session.get_inputs()[0].name: x.numpy()})[0], model(x))
    network = from_onnx(tmp_path / "m.onnx")
    x = torch.randn(5, 5, 4)
    got = module_of(network)(x)[0]
    close(got.detach().numpy(), model(x.transpose(0, 1)).transpose(0, 1) if name == "gru" else model(x))


def test_program_that_is_written_under_autocast_computes_in_its_own_type(tmp_path):
    network = NETWORKS["LSTM-3-5"]
    with torch.autocast("cpu"):
        to_pt2(network, tmp_path / "model.pt2")
    x = torch.from_numpy(drawn(network, 5, 4))
    y = torch.export.load(tmp_path / "model.pt2").module()(x)[0]
    assert y.dtype == torch.float32
    close(y.detach().numpy(), module_of(network)(x)[0])


def test_tensor_that_is_a_negative_view_is_read_and_a_bool_one_has_a_remedy(tmp_path):
    weights = {name: w.clone() for name, w in torch.nn.GRU(4, 6).state_dict().items()}
    torch.save({name: torch._neg_view(-w) for name, w in weights.items()}, tmp_path / "negative.pt")
    torch.save(weights | {"mask": torch.ones(3, dtype=torch.bool)}, tmp_path / "mask.pt")
    np.testing.assert_array_equal(
        from_torch(tmp_path / "negative.pt").layers[0].directions[0].W_ih, weights["weight_ih_l0"].numpy()
    )
    with pytest.raises(
        FormatError, match=r"'mask' is torch\.bool, expected float32 or float64; save the parameters alone"
    ):
        from_torch(tmp_path / "mask.pt")


@pytest.mark.filterwarnings("ignore")
def test_layers_of_halves_are_not_exported_to_onnx(tmp_path):
    pytest.importorskip("onnxscript", reason="which torch's exporter needs")
    model, x = Model(nn.GRU(4, 5)).bfloat16().eval(), torch.randn(7, 3, 4, dtype=torch.bfloat16)
    with pytest.raises(Exception, match=r"ONNX has no layers of 16-bit numbers; export model\.float\(\)"):
        torch.onnx.export(
            model, (x,), tmp_path / "m.onnx", dynamo=True, verbose=False, custom_translation_table=onnx_translations()
        )


def saved(folder, **tensors):
    safetensors.torch.save_file(tensors, folder / "model.safetensors")
    return folder / "model.safetensors"


def of_module(prefix, module):
    return {f"{prefix}.{name}": w.detach() for name, w in module.state_dict().items()}


def test_parts_under_other_names_are_found(tmp_path):
    path = tmp_path / "checkpoint.pt"
    parts = of_module("encoder.embed_tokens", torch.nn.Embedding(9, 4))
    parts |= of_module("encoder.lstm", torch.nn.LSTM(4, 6, bidirectional=True)) | of_module(
        "out", torch.nn.Linear(12, 9)
    )
    torch.save({"model": parts, "epoch": 3}, path)
    network = from_torch(path, when="last")
    assert (network.layers[0].kind, network.layers[0].D) == ("LSTM", 2)
    np.testing.assert_array_equal(network.embedding, parts["encoder.embed_tokens.weight"])
    np.testing.assert_array_equal(network.head.b, parts["out.bias"])
    assert network.head.when == "last"


def test_tensors_in_lists_and_deep_dictionaries_are_not_left_out_in_silence(tmp_path):
    of_layer = torch.nn.GRU(4, 6).state_dict()
    loop = {}
    for held in ({"ema": [torch.zeros(3)]}, {"a": {"b": {"c": {"d": {"e": torch.zeros(3)}}}}}):
        torch.save(of_layer | held, tmp_path / "more.pt")
        with pytest.raises(FormatError, match=r"more.pt: it also holds '(ema.0|a.b.c.d.e)', which is no part"):
            from_torch(tmp_path / "more.pt")
    loop["again"] = loop
    torch.save({"model": of_layer, "epoch": 3, "config": loop, "deep": {"k" * 2000: {"k": {}}}}, tmp_path / "loop.pt")
    with pytest.raises(FormatError, match=r"loop.pt: 'deep.kk.* lies in too many dictionaries"):
        from_torch(tmp_path / "loop.pt")


@pytest.mark.parametrize(
    ("modules", "told"),
    [
        ({"lstm9": torch.nn.LSTM(6, 6), "lstm10": torch.nn.LSTM(6, 6), "lstm11": torch.nn.LSTM(6, 6)}, {}),
        ({"stack.1.rnn": torch.nn.GRU(6, 6), "stack.2.rnn": torch.nn.GRU(6, 6)}, {}),
        ({"wide": torch.nn.GRU(4, 6, 2, bidirectional=True), "narrow": torch.nn.LSTM(12, 3, proj_size=2)}, {}),
        ({"one": torch.nn.LSTM(5, 5), "another": torch.nn.LSTM(5, 5)}, {"rnn": ["one", "another"]}),
    ],
    ids=["counted", "numbered", "fitting", "told"],
)
@pytest.mark.filterwarnings("ignore:LSTM with projections is not supported:UserWarning")  # torch's, once a process
def test_layers_are_put_in_the_order_of_their_numbers_or_as_they_fit(modules, told, tmp_path):
    parts = [of_module(name, module) for name, module in modules.items()]
    torch.save({name: w for part in reversed(parts) for name, w in part.items()}, tmp_path / "checkpoint.pt")
    network = from_torch(tmp_path / "checkpoint.pt", **told)
    x = y = torch.randn(7, 3, network.I)
    for module in modules.values():
        y, _ = module(y)
    close(module_of(network)(x)[0].detach().numpy(), y.detach().numpy())


@pytest.mark.parametrize(
    ("parts", "told", "said"),
    [
        ({"a": torch.nn.RNN(4, 6)}, {}, "'a' is an RNN, whose weights do not tell its nonlinearity; say kind="),
        ({"a": torch.nn.GRU(4, 6)}, {"kind": "LSTM"}, "kind='LSTM', but the weights are those of GRU"),
        (
            {"a": torch.nn.GRU(4, 6), "b": torch.nn.GRU(4, 6)},
            {},
            "(GRU, 4 to 6); name those that do, lowest first, with embedding, rnn and head",
        ),
        (
            {"a": torch.nn.GRU(4, 6), "b": torch.nn.GRU(4, 6)},
            {"rnn": ["a", "b"]},
            "(GRU, 4 to 6); name those that do, lowest first, with embedding, rnn and head",
        ),
        (
            {"encoder": torch.nn.LSTM(6, 6), "decoder": torch.nn.LSTM(6, 6)},
            {},
            "say rnn=['decoder', 'encoder'], or rnn=['encoder', 'decoder']",
        ),
        (
            {"a": torch.nn.GRU(4, 6), "e": torch.nn.Embedding(9, 4), "f": torch.nn.Embedding(8, 4)},
            {},
            "its parts do not fit each other: 'a' (GRU, 4 to 6), 'e' (4 to 9), 'f' (4 to 8); name",
        ),
        ({"a": torch.nn.GRU(6, 6), "e": torch.nn.Embedding(9, 6)}, {}, "say head='e', or head=''"),
        (
            {"a": torch.nn.GRU(4, 6), "c": torch.nn.Conv1d(2, 3, 1)},
            {},
            "it also holds 'c.bias', 'c.weight', which is no part of a network here; to leave it out",
        ),
        ({"a": torch.nn.GRU(4, 6)}, {"rnn": "b"}, "no recurrent layer is named 'b'; it holds 'a' (GRU, 4 to 6)"),
        ({"a": torch.nn.GRU(4, 6)}, {"head": "b"}, "no head is named 'b'; it holds"),
        ({"a": torch.nn.Linear(4, 6)}, {}, "has no recurrent layer; it holds 'a' (4 to 6)"),
        (
            {"fc_in": torch.nn.Linear(6, 6), "rnn": torch.nn.GRU(6, 6)},
            {},
            "it may be 'fc_in' -> 'rnn', which no network here is; say head='fc_in'",
        ),
        (
            {"a": torch.nn.GRU(4, 6), "in": torch.nn.Linear(4, 4, bias=False)},
            {},
            "it may be 'in' -> 'a', which no network here is; say embedding='in'",
        ),
    ],
)
def test_state_dict_that_does_not_say_enough_is_answered_with_what_it_holds(parts, told, said, tmp_path):
    path = saved(tmp_path, **{k: w for name, module in parts.items() for k, w in of_module(name, module).items()})
    with pytest.raises(FormatError, match=re.escape(said)):
        from_torch(path, **told)


def test_named_parts_leave_the_rest_out(tmp_path):
    parts = (
        of_module("a", torch.nn.GRU(4, 6)) | of_module("b", torch.nn.GRU(4, 6)) | of_module("c", torch.nn.Linear(6, 2))
    )
    network = from_torch(saved(tmp_path, **parts), embedding="", rnn="b", head="c")
    np.testing.assert_array_equal(network.layers[0].directions[0].W_ih, parts["b.weight_ih_l0"])


class Runs:
    def __reduce__(self):
        return print, ("this must not run",)


def test_pickle_that_runs_code_is_refused_and_does_not_run(tmp_path, capsys):
    with zipfile.ZipFile(tmp_path / "model.pt", "w") as archive:
        archive.writestr("archive/data.pkl", pickle.dumps(Runs(), protocol=2))
    with pytest.raises(FormatError, match="its pickle names __builtin__ print, expected a state_dict"):
        from_torch(tmp_path / "model.pt")
    assert capsys.readouterr().out == ""


def test_whole_module_in_a_pickle_is_refused_with_what_to_do(tmp_path):
    torch.save(torch.nn.GRU(3, 5), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"its pickle names torch\.nn\.modules\.rnn GRU, expected a state_dict"):
        from_torch(tmp_path / "model.pt")


def test_tensor_that_says_more_than_the_file_holds_is_refused(tmp_path):
    torch.save({"rnn.weight_ih_l0": torch.zeros(1).expand(2**40, 3)}, tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"says that it is .*more than the file holds"):
        from_torch(tmp_path / "model.pt")


def test_compressed_archive_is_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "model.pt", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("archive/data.pkl", bytes(2**20))
    with pytest.raises(FormatError, match="its archive is compressed"):
        from_torch(tmp_path / "model.pt")


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_narrow_weights_are_refused_with_what_to_do(dtype, tmp_path):
    torch.save(torch.nn.GRU(3, 5).to(dtype).state_dict(), tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"is torch\.b?float16, expected float32 or float64; save model\.float\(\)"):
        from_torch(tmp_path / "model.pt")
    with pytest.raises(FormatError, match=r"float32 or float64|expected F32"):
        from_torch(saved(tmp_path, **of_module("a", torch.nn.GRU(3, 5).to(dtype))))


def test_module_of_a_network_trains_all_that_it_holds():
    module = module_of(Network((layer("LSTM", 3, 5, initial=True), layer("GRU", 5, 4, initial=True, seed=1))))
    module(torch.randn(4, 2, 3))[0].sum().backward()
    assert [name for name, w in module.named_parameters() if w.grad is None] == []
    assert len([*module.parameters()]) == 8 + 3


@pytest.mark.parametrize("name", NETWORKS)
def test_module_is_the_network_that_it_was_made_of(name):
    network = NETWORKS[name]
    back = module_of(network).network()
    before, after = network.tensors(), back.tensors()
    assert before.keys() == after.keys()
    assert all(np.array_equal(before[key], after[key]) for key in before)
    assert (back.text, back.one_hot) == (network.text, network.one_hot)


@pytest.mark.parametrize("name", ["LSTM", "GRU", "RNN"])
def test_cells_that_a_loop_steps_are_layers(name, tmp_path):
    class Loop(torch.nn.Module):
        def __init__(self):
            super().__init__()
            cell = getattr(torch.nn, f"{name}Cell")
            self.cells, self.out = torch.nn.ModuleList([cell(3, 5), cell(5, 4)]), torch.nn.Linear(4, 2)

        def forward(self, x):
            for cell in self.cells:
                state, after = None, []
                for x_t in x:
                    state = cell(x_t, state)
                    after.append(state[0] if name == "LSTM" else state)
                x = torch.stack(after)
            return self.out(x)

    loop, x = Loop(), torch.randn(6, 2, 3)
    torch.save(loop.state_dict(), tmp_path / "loop.pt")
    network = from_torch(tmp_path / "loop.pt", kind="RNN_TANH" if name == "RNN" else None)
    close(module_of(network)(x)[0].detach().numpy(), loop(x).detach().numpy())
