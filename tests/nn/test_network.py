"""Code that reads a module's weights instead of calling it, where a call would do more than the weights say."""

import pytest
import torch
from torch.nn.utils import parametrizations, prune, weight_norm

import unrolled.nn
from unrolled.imports import from_torch
from unrolled.nn import GRU, Stepper
from unrolled.nn.network import network_of
from unrolled.nn.network_module import module_of


class Scaled(GRU):
    def forward(self, input, hx=None):
        return super().forward(3 * input, hx)


class Joined(torch.nn.Sequential):
    def forward(self, x):
        y, _ = self[0](x)
        return self[1](y.relu())


def with_forward(layer):
    layer.forward = lambda x: GRU.forward(layer, 3 * x)
    return layer


def with_pre_hook(layer):
    layer.register_forward_pre_hook(lambda _, given: (3 * given[0], *given[1:]))
    return layer


def with_hook(layer):
    layer.register_forward_hook(lambda _, given, results: (3 * results[0], results[1]))
    return layer


CHANGED = {
    "class": lambda: Scaled(4, 6),
    "object": lambda: with_forward(GRU(4, 6)),
    "hook before": lambda: with_pre_hook(GRU(4, 6)),
    "pruned": lambda: prune.l1_unstructured(GRU(4, 6), "weight_hh_l0", 0.5),
    "hook of a weight": lambda: weight_norm(GRU(4, 6), "weight_hh_l0"),
}


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("make", [*CHANGED.values(), lambda: with_hook(GRU(4, 6))], ids=[*CHANGED, "hook after"])
def test_stepper_of_a_layer_whose_call_does_more_is_refused(make):
    with pytest.raises(ValueError, match=r"GRU has .*, which single steps would leave out; .* use layer\.step"):
        Stepper(make())


@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize("whole", [lambda layer: layer, lambda layer: [layer, torch.nn.Linear(6, 2)]])
@pytest.mark.parametrize("make", CHANGED.values(), ids=CHANGED)
def test_module_whose_call_does_more_is_no_network(make, whole):
    with pytest.raises(TypeError, match=r"has .*, which its weights do not say"):
        network_of(whole(make()))


@pytest.mark.parametrize("part", ["embedding", "rnn", "head"])
def test_module_of_a_network_that_was_pruned_is_no_network(part):
    module = module_of(network_of([torch.nn.Embedding(9, 4), GRU(4, 6), torch.nn.Linear(6, 2)]))
    changed, weight = (module.rnn[0], "weight_hh_l0") if part == "rnn" else (getattr(module, part), "weight")
    prune.l1_unstructured(changed, weight, 0.5)
    with pytest.raises(TypeError, match="has hooks of its forward, which its weights do not say"):
        module.network()
    prune.remove(changed, weight)
    assert module.network().width == 2


def test_embedding_that_shortens_rows_is_no_network():
    module = module_of(network_of([torch.nn.Embedding(9, 4), GRU(4, 6)]))
    module.embedding.max_norm = 1.0
    for whole in (module, [torch.nn.Embedding(9, 4, max_norm=1.0), GRU(4, 6)]):
        with pytest.raises(TypeError, match="Embedding has a max_norm, which its weights do not say"):
            network_of(whole)


def test_softmax_over_steps_is_no_part_of_a_network():
    with pytest.raises(TypeError, match="dim=0, the axis of steps"):
        network_of([GRU(4, 6), torch.nn.Linear(6, 2), torch.nn.Softmax(0)])
    assert network_of([GRU(4, 6), torch.nn.Linear(6, 2), torch.nn.Softmax(-1)]).head.softmax


def test_sequential_with_a_forward_of_its_own_is_no_network():
    with pytest.raises(TypeError, match="Joined has a forward of its own"):
        network_of(Joined(GRU(4, 6), torch.nn.Linear(6, 2)))


def test_layer_with_a_forward_of_its_own_is_none_of_torchs():
    with pytest.raises(TypeError, match="forward of its own"):
        Scaled(4, 6).to_torch()


def test_what_changes_no_number_may_be_there():
    class Named(GRU):
        pass

    layer = parametrizations.weight_norm(Named(4, 6), "weight_hh_l0")
    x, called, step = torch.randn(5, 3, 4), [], Stepper(layer, 3)
    assert torch.equal(torch.stack([step(x_t) for x_t in x]), layer(x)[0])
    plain = unrolled.nn.LSTM(4, 6)
    plain.register_forward_hook(lambda *_: called.append(True))  # as what watches a training does
    plain.register_full_backward_hook(lambda *_: None)
    assert network_of(torch.nn.Sequential(plain)).width == 6


@pytest.mark.parametrize("whole", [list, lambda parts: module_of(network_of(parts))], ids=["parts", "module"])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (lambda m: m.bfloat16(), r"torch\.bfloat16, which numpy lacks; convert the model"),
        (lambda m: m.to(torch.float8_e4m3fn), r"torch\.float8_e4m3fn, which numpy lacks"),
        (lambda m: m.to("meta"), "on the meta device, so it has no numbers"),
    ],
    ids=["bfloat16", "float8", "meta"],
)
def test_weight_without_numbers_of_numpys_is_not_saved(change, what, whole):
    module = whole([torch.nn.Embedding(9, 4), GRU(4, 6)])
    if isinstance(module, list):
        module = torch.nn.ModuleList(module)
    with pytest.raises(ValueError, match=f"a weight is {what}"):
        network_of(change(module))


@pytest.mark.parametrize("whole", [list, lambda parts: module_of(network_of(parts))], ids=["parts", "module"])
@pytest.mark.parametrize("part", [0, 1, 2], ids=["embedding", "layer", "head"])
def test_weight_whose_memory_was_freed_is_not_saved(part, whole):
    parts = [torch.nn.Embedding(9, 4), GRU(4, 6), torch.nn.Linear(6, 9)]
    module = whole(parts)
    held = parts if module == parts else [module.embedding, module.rnn[0], module.head]
    weight = next(held[part].parameters())
    weight.data = weight.data.clone()  # in memory of torch's
    weight.untyped_storage().resize_(0)
    with pytest.raises(RuntimeError, match="a weight has elements, but its data is not allocated"):
        network_of(module)


def test_weights_that_negate_their_memory_are_saved_as_they_are_read():
    layer = GRU(3, 4)
    negative = {name: torch._neg_view(-w.detach()) for name, w in layer.named_parameters()}
    other = GRU(3, 4)
    other.load_state_dict(negative, assign=True)
    assert network_of(other).tensors().keys() == network_of(layer).tensors().keys()
    for name, w in network_of(layer).tensors().items():
        assert (network_of(other).tensors()[name] == w).all()


def test_module_with_a_part_or_a_method_named_network_is_told():
    class Part(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.network = torch.nn.Sequential(GRU(3, 5))

    class Method(torch.nn.Module):
        def network(self):
            return GRU(3, 5)

    with pytest.raises(TypeError, match="Part"):
        network_of(Part())
    with pytest.raises(TypeError, match=r"Method.network\(\) gives a GRU, expected a Network"):
        network_of(Method())


def test_when_a_head_reads_is_refused_where_there_is_none(tmp_path):
    with pytest.raises(ValueError, match="head is 'last', but there is no Linear after the layers to read it"):
        network_of(GRU(3, 4), head="last")
    torch.save(GRU(3, 4).state_dict(), tmp_path / "gru.pt")
    with pytest.raises(ValueError, match=r"gru.pt: when='last' is of a head, but there is none; leave it out"):
        from_torch(tmp_path / "gru.pt", when="last")
