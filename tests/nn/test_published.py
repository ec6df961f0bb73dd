"""PyTorch's own entries for RNN modules, from torch.testing._internal, with our classes in the place of torch's.

The checks are those of PyTorch's test_modules.py and test_expanded_weights.py; most also compare with torch's module.
"""

import contextlib
import copy
import io
import itertools
import pickle

import pytest
import torch
from hypothesis import settings
from torch.nn.utils._per_sample_grad import call_for_per_sample_grads
from torch.nn.utils.rnn import PackedSequence
from torch.testing._internal.common_modules import ModuleErrorEnum, module_db
from torch.testing._internal.common_utils import gradcheck, gradgradcheck, noncontiguous_like
from torch.utils._pytree import tree_flatten, tree_leaves, tree_map_only, tree_unflatten

import unrolled.nn
from tests.nn.compare import assert_close

LAYERS = ("RNN", "LSTM", "GRU")
CELLS = ("RNNCell", "LSTMCell", "GRUCell")

settings.load_profile("nn")  # that of hypothesis; the import of common_utils has loaded torch's own

pytestmark = [
    pytest.mark.filterwarnings("ignore:LSTM with projections is not supported with oneDNN"),
    pytest.mark.filterwarnings("ignore:`torch.jit.script` is deprecated"),  # torch's decompositions in forward mode
]

ENTRIES = {
    info.module_cls.__name__: info
    for info in module_db
    if info.module_cls in [getattr(torch.nn, name) for name in LAYERS + CELLS]
}


each_module = pytest.mark.parametrize("name", LAYERS + CELLS)
each_layer = pytest.mark.parametrize("name", LAYERS)


def samples(name, dtype=torch.float64, requires_grad=False, training=True, **options):
    """Yield ours, torch's with the same weights, the arguments of a call and the published reference."""
    info = ENTRIES[name]
    given = {"device": "cpu", "dtype": dtype, "requires_grad": requires_grad, "training": training}
    for sample in info.module_inputs_func(info, **given, **options):
        constructor, call = sample.constructor_input, sample.forward_input
        ours = getattr(unrolled.nn, name)(*constructor.args, **constructor.kwargs).to(dtype).train(training)
        theirs = getattr(torch.nn, name)(*constructor.args, **constructor.kwargs).to(dtype).train(training)
        theirs.load_state_dict(ours.state_dict())
        yield ours, theirs, call.args, sample.reference_fn


def every_third(drawn):
    """A third of the samples, for slow checks; their options come in pairs, so that every value still takes part."""
    return itertools.islice(drawn, 0, None, 3)


def same(got, want):
    """Compare nested results leaf by leaf."""
    got, want = tree_leaves(got), tree_leaves(want)
    assert len(got) == len(want)
    for k, (a, b) in enumerate(zip(got, want, strict=True)):
        assert_close(f"result {k}", a, b)


def flat(results):
    return [t for t in tree_leaves(results) if isinstance(t, torch.Tensor) and t.is_floating_point()]


def test_every_published_entry_is_driven():
    assert set(ENTRIES) == {*LAYERS, *CELLS}


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("training", [True, False], ids=["training", "evaluation"])
@each_module
def test_forward_is_the_published_reference_and_torchs(name, training, dtype):
    for ours, theirs, args, reference in samples(name, dtype, training=training):
        got = ours(*args)
        same(got, reference(ours, *args))
        same(got, theirs(*args))


@each_module
def test_factory_keywords_reach_every_parameter(name):
    info = ENTRIES[name]
    for sample in info.module_inputs_func(info, device="cpu", dtype=torch.float64, requires_grad=False, training=True):
        given = sample.constructor_input
        module = getattr(unrolled.nn, name)(*given.args, **given.kwargs, device="meta", dtype=torch.float64)
        assert all(p.is_meta and p.dtype == torch.float64 for p in module.parameters())


@each_module
def test_repr_and_str_are_torchs(name):
    for ours, theirs, _, _ in samples(name):
        assert repr(ours) == repr(theirs)
        assert str(ours) == str(theirs)


def through_pickle(module):
    return pickle.loads(pickle.dumps(module))


def through_torch_save(module):
    stored = io.BytesIO()
    torch.save(module, stored)
    stored.seek(0)
    return torch.load(stored, weights_only=False)


def through_state_dict(module):
    stored, other = io.BytesIO(), copy.deepcopy(module)
    torch.save(module.state_dict(), stored)
    stored.seek(0)
    for p in other.parameters():
        p.data.zero_()
    other.load_state_dict(torch.load(stored, weights_only=True))
    return other


@pytest.mark.parametrize("through", [through_pickle, through_torch_save, through_state_dict, copy.deepcopy])
@each_module
def test_copy_gives_the_same_results(name, through):
    for ours, _, args, _ in samples(name):
        other = through(ours)
        assert type(other) is type(ours)
        for got, want in zip(flat(other(*args)), flat(ours(*args)), strict=True):
            assert torch.equal(got, want)


def function_of(module, args):
    """A function of tensors that calls the module, and these tensors: its inputs and parameters."""
    (inputs, spec), parameters = tree_flatten(args), dict(module.named_parameters())

    def run(*tensors):
        weights = dict(zip(parameters, tensors[len(inputs) :], strict=True))
        return tuple(flat(torch.func.functional_call(module, weights, tree_unflatten(tensors[: len(inputs)], spec))))

    return run, (*inputs, *parameters.values())


@each_module
def test_derivatives_pass_the_published_check(name):
    for ours, _, args, _ in samples(name, requires_grad=True):
        assert gradcheck(*function_of(ours, args), check_batched_grad=False)
        ours.requires_grad_(False)
        assert gradcheck(*function_of(ours, args), check_batched_grad=False)


@each_module
def test_second_derivatives_pass_the_published_check(name):
    for ours, _, args, _ in every_third(samples(name, requires_grad=True)):
        assert gradgradcheck(*function_of(ours, args), check_batched_grad=False)


@each_module
def test_batched_derivatives_pass_the_published_check(name):
    for ours, _, args, _ in samples(name, requires_grad=True):
        assert gradcheck(*function_of(ours, args), check_batched_grad=True)


@each_module
def test_forward_mode_derivatives_pass_the_published_check(name):
    for ours, _, args, _ in every_third(samples(name, requires_grad=True)):
        forward_only = {"check_forward_ad": True, "check_backward_ad": False, "check_batched_grad": False}
        assert gradcheck(*function_of(ours, args), **forward_only)


def gradients(module, args):
    """Results, and gradients of their sum of squares for inputs and parameters."""
    results = flat(module(*args))
    leaves = [t for t in flat(args) if t.requires_grad] + list(module.parameters())
    return results, torch.autograd.grad(sum(t.square().sum() for t in results), leaves)


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@each_module
def test_gradients_are_torchs(name, dtype):
    for ours, theirs, args, _ in samples(name, dtype, requires_grad=True):
        same(gradients(ours, args), gradients(theirs, args))


@each_module
def test_strides_change_nothing(name):
    for ours, _, args, _ in samples(name, requires_grad=True):
        for weights in (False, True):
            other = copy.deepcopy(ours)
            if weights:
                for p in other.parameters():
                    p.data = noncontiguous_like(p.data)
            strided = tree_map_only(torch.Tensor, lambda t: noncontiguous_like(t.detach()).requires_grad_(), args)
            same(gradients(other, strided), gradients(ours, args))


@each_module
def test_memory_format_changes_nothing(name):
    for ours, _, args, _ in samples(name):
        same(ours.to(memory_format=torch.contiguous_format)(*args), copy.deepcopy(ours)(*args))


@each_module
def test_training_flag_is_read_where_published(name):
    for ours, _, args, _ in samples(name):
        del ours.training
        read = pytest.raises(AttributeError, match="'training'")
        with read if ENTRIES[name].train_and_eval_differ else contextlib.nullcontext():
            ours(*args)


@pytest.mark.parametrize("swapping", [True, False], ids=["swapping", "overwriting"])
@each_module
def test_conversion_keeps_or_replaces_parameters_as_torchs(name, swapping, monkeypatch):
    everything = list(samples(name, torch.float32))
    monkeypatch.setattr(torch.__future__, "_swap_module_params_on_conversion", swapping)
    for ours, theirs, args, _ in everything:
        kept = []
        for module in (theirs, ours):
            before = list(module.parameters())
            module.double().to("meta").to_empty(device="cpu")
            kept.append([a is b for a, b in zip(before, module.parameters(), strict=True)])
        assert kept[0] == kept[1]
        double = tree_map_only(torch.Tensor, torch.Tensor.double, args)
        assert [t.dtype for t in flat(ours(*double))] == [t.dtype for t in flat(theirs(*double))]


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64], ids=str)
@each_module
def test_errors_are_the_published_ones(name, dtype):
    info = ENTRIES[name]
    for case in info.module_error_inputs_func(info, device="cpu", dtype=dtype, requires_grad=False, training=True):
        with pytest.raises(case.error_type, match=case.error_regex) as ours:
            called_in_vain(unrolled.nn, name, case)
        with pytest.raises(case.error_type) as theirs:
            called_in_vain(torch.nn, name, case)
        assert str(ours.value) == str(theirs.value)


def called_in_vain(package, name, case):
    """Make a module, and call it if it is the call that is to fail."""
    given, call = case.module_error_input.constructor_input, case.module_error_input.forward_input
    module = getattr(package, name)(*given.args, **given.kwargs)
    if case.error_on == ModuleErrorEnum.FORWARD_ERROR:
        module(*call.args)


def batched(t, axis):
    """A batch of three in place of one sequence, as PyTorch's test of expanded weights makes it."""
    return t.detach().unsqueeze(axis).expand(*t.shape[:axis], 3, *t.shape[axis:]).clone().requires_grad_()


def per_sample(module, args, batch_first, batch_size):
    call = call_for_per_sample_grads(module, batch_size=batch_size, batch_first=batch_first)
    flat(call(*args))[0].square().sum().backward()
    return [p.grad_sample for p in module.parameters()]


@each_layer
def test_gradients_for_each_sample_are_torchs(name):
    packed = {} if name == "LSTM" else {"with_packed_sequence": True}  # the entry of LSTM publishes none
    for ours, theirs, args, _ in samples(name, requires_grad=True, **packed):
        x, *rest = args
        if isinstance(x, PackedSequence):
            B, batch = int(x.batch_sizes[0]), (x,)
        else:
            axis = 0 if ours.batch_first else 1
            B, batch = 3, (batched(x, axis), *tree_map_only(torch.Tensor, lambda t: batched(t, 1), rest))
        same(per_sample(ours, batch, ours.batch_first, B), per_sample(theirs, batch, ours.batch_first, B))


@each_module
def test_compiled_module_gives_the_same_gradients(name):
    *_, (ours, theirs, args, _) = samples(name, requires_grad=True)  # the last has biases, layers and directions
    compiled = torch.compile(ours, backend="aot_eager", fullgraph=True)
    same(gradients(compiled, args), gradients(theirs, args))
