"""vmap is one call of the core, not a loop, and gives every entry the bits that it has alone."""

import pytest
import torch
from torch.func import functional_call, grad, jacrev, vjp, vmap
from torch.nn.utils.rnn import PackedSequence, pack_padded_sequence

import unrolled.nn
from tests.nn.layers import LAYERS, as_tuple
from unrolled.nn import fused

S, T, B, I, H = 3, 11, 5, 4, 7


@pytest.fixture
def core_calls(monkeypatch):
    """A list that grows by one with every call of the core."""
    calls = []

    def counted(run):
        return lambda *arguments: calls.append(run(*arguments))

    monkeypatch.setattr(fused, "run", counted(fused.run))
    return calls


def make(name, **options):
    if name == "LSTM":
        options.setdefault("proj_size", 3)
    return getattr(unrolled.nn, name)(I, H, **options)


def weights_of(layer):
    return {key: w.detach() for key, w in layer.named_parameters()}


def many(name, **options):
    """A layer, and the weights of S like it by name, stacked."""
    layers = [make(name, **options) for _ in range(S)]
    return layers[0], {key: torch.stack([weights_of(m)[key] for m in layers]) for key in weights_of(layers[0])}


def assert_one_by_one(call, in_dims, *arguments):
    """Fail unless vmap of a call gives, bit for bit, what a loop over the mapped axes (in front) gives."""
    got = vmap(call, in_dims=in_dims)(*arguments)

    def pick(argument, dim, s):
        return argument if dim is None else torch.utils._pytree.tree_map(lambda t: t[s], argument)

    loop = [call(*(pick(a, d, s) for a, d in zip(arguments, in_dims, strict=True))) for s in range(S)]
    want = torch.utils._pytree.tree_map(lambda *entries: torch.stack(entries), *loop)
    names = torch.utils._pytree.tree_leaves_with_path(want)
    for (path, wanted), found in zip(names, torch.utils._pytree.tree_leaves(got), strict=True):
        assert torch.equal(found, wanted), path


def outputs(layer):
    def call(weights, x, *hx, **options):
        y, end = functional_call(layer, weights, (x, *hx), options)
        return (y.data if isinstance(y, PackedSequence) else y), *as_tuple(end)

    return call


def loss(layer):
    def call(weights, x, *hx, **options):
        return sum(o.sin().sum() for o in outputs(layer)(weights, x, *hx, **options))

    return call


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("options", [{}, {"num_layers": 2, "bidirectional": True, "batch_first": True}], ids=str)
@pytest.mark.parametrize("mapped", ["inputs", "models", "inputs and models"])
def test_entries_have_the_bits_of_a_loop_in_one_call_a_layer(name, options, mapped, core_calls):
    layer, stacked = many(name, **options)
    x, dims = torch.randn(S, T, B, I), (0 if "models" in mapped else None, 0 if "inputs" in mapped else None)
    weights, x = stacked if "models" in mapped else weights_of(layer), x if "inputs" in mapped else x[0]
    assert_one_by_one(outputs(layer), dims, weights, x)
    L = layer.num_layers
    assert len(core_calls) == L + S * L  # vmap's, and the loop's
    assert_one_by_one(grad(loss(layer), argnums=(0, 1)), dims, weights, x)
    assert len(core_calls) == 3 * (L + S * L)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("models", [False, True], ids=["one model", "many models"])
@pytest.mark.parametrize("form", ["shared lengths", "own lengths", "packed", "symbols", "states"])
def test_entries_have_the_bits_of_a_loop_with(name, models, form):
    layer, stacked = many(name)
    weights, x, in_dims = stacked if models else weights_of(layer), torch.randn(S, T, B, I), (0 if models else None, 0)
    lengths = torch.randint(0, T + 1, (S, B))
    lengths[:, 0] = T
    run, slope = outputs(layer), grad(loss(layer))
    if form == "shared lengths":
        reset = torch.rand(T, B) < 0.2
        for call in (run, slope):
            assert_one_by_one(lambda w, x, call=call: call(w, x, lengths=lengths[0], reset=reset), in_dims, weights, x)
    elif form == "own lengths":
        for call in (run, slope):
            assert_one_by_one(lambda w, x, n, call=call: call(w, x, lengths=n), (*in_dims, 0), weights, x, lengths)
    elif form == "packed":
        packed = [pack_padded_sequence(one, lengths[0].clamp(min=1), enforce_sorted=False) for one in x]
        data = torch.stack([p.data for p in packed])
        for call in (run, slope):
            assert_one_by_one(
                lambda w, rows, call=call: call(w, PackedSequence(rows, *packed[0][1:])), in_dims, weights, data
            )
    elif form == "symbols":
        assert_one_by_one(run, in_dims, weights, torch.randint(0, I, (S, T, B)))
        assert_one_by_one(slope, in_dims, weights, torch.randint(0, I, (S, T, B)))
    else:
        widths = [3, H] if name == "LSTM" else [H]
        states = [torch.randn(S, 1, B, w) for w in widths]
        hx = (tuple(states),) if name == "LSTM" else states
        assert_one_by_one(run, (in_dims[0], None, 0), weights, x[0], *hx)
        assert_one_by_one(grad(loss(layer), argnums=2), (in_dims[0], None, 0), weights, x[0], *hx)


@pytest.mark.parametrize("name", LAYERS)
@pytest.mark.parametrize("models", [False, True], ids=["one model", "many models"])
@pytest.mark.parametrize(("own_state", "own_reset"), [(True, True), (True, False), (False, True)])
def test_entries_with_resets_have_the_bits_of_a_loop(name, models, own_state, own_reset):
    layer, stacked = many(name)
    weights, x, reset = stacked if models else weights_of(layer), torch.randn(S, T, B, I), torch.rand(S, T, B) < 0.2
    states = tuple(torch.randn(S, 1, B, w) for w in ([3, H] if name == "LSTM" else [H]))
    to = states if own_state else tuple(s[0] for s in states)
    in_dims = (0 if models else None, 0, 0 if own_state else None, 0 if own_reset else None)
    arguments = (weights, x, to if name == "LSTM" else to[0], reset if own_reset else reset[0])

    def run(weights, x, to, reset):
        return outputs(layer)(weights, x, reset=reset, reset_state=to)

    def total(*arguments):
        return sum(o.sin().sum() for o in run(*arguments))

    for call in (run, grad(total, argnums=(1, 2)), grad(total, argnums=(0, 1, 2))):
        assert_one_by_one(call, in_dims, *arguments)


@pytest.mark.parametrize("name", LAYERS)
def test_gradient_outside_of_vmap_sums_over_what_the_entries_share(name):
    layer, stacked = many(name)
    x = torch.randn(T, B, I)

    def total(weights, x):
        return vmap(loss(layer), in_dims=(0, None))(weights, x).sum()

    dweights, dx = grad(total, argnums=(0, 1))(stacked, x)
    each = [grad(loss(layer), argnums=(0, 1))({k: w[s] for k, w in stacked.items()}, x) for s in range(S)]
    for key in stacked:
        assert torch.equal(dweights[key], torch.stack([dw[key] for dw, _ in each])), key
    torch.testing.assert_close(dx, sum(d for _, d in each))


@pytest.mark.parametrize("name", LAYERS)
def test_jacobian_rows_have_the_bits_of_separate_backward_passes(name, core_calls):
    layer, x = make(name), torch.randn(3, 2, I)
    jacobian = jacrev(lambda x: layer(x)[0])(x)
    assert len(core_calls) == 2
    y, pull_back = vjp(lambda x: layer(x)[0], x)
    rows = torch.stack([pull_back(d.reshape(y.shape))[0] for d in torch.eye(y.numel())])
    assert torch.equal(jacobian.reshape(rows.shape), rows)


@pytest.mark.parametrize("gradient", [False, True], ids=["outputs", "gradients"])
@pytest.mark.parametrize("inner", ["inputs", "models", "lengths"])
@pytest.mark.parametrize("name", LAYERS)
def test_vmap_in_vmap_gives_the_bits_of_two_loops(name, inner, gradient, core_calls):
    """One call of the core forward, and one back for each `lengths`: the weights' gradients keep the inputs apart."""
    layer, stacked = many(name)
    x, lengths = torch.randn(2, T, B, I), torch.randint(1, T + 1, (2, B))
    call = grad(loss(layer), argnums=(0, 1)) if gradient else outputs(layer)

    def one(weights, k):
        return call(weights, x[k], lengths=lengths[k if inner == "lengths" else 0])

    def ragged(weights, x, lengths):
        return call(weights, x, lengths=lengths)

    n = 0 if inner == "lengths" else None
    inside, outside = ((0, None, None), (None, 0, n)) if inner == "models" else ((None, 0, n), (0, None, None))
    got = vmap(vmap(ragged, in_dims=inside), in_dims=outside)(stacked, x, lengths if n == 0 else lengths[0])
    assert len(core_calls) == 1 + gradient * (2 if inner == "lengths" else 1)
    for s in range(S):
        for k in range(2):
            place = (k, s) if inner == "models" else (s, k)
            want = one({key: w[s] for key, w in stacked.items()}, k)
            pairs = zip(*map(torch.utils._pytree.tree_leaves, (got, want)), strict=True)
            assert all(torch.equal(a[place], b) for a, b in pairs)


@pytest.mark.parametrize("name", LAYERS)
def test_jacobian_of_many_models_is_two_calls_of_the_core(name, core_calls):
    layer, stacked = many(name)
    x = torch.randn(2, 1, I)

    def models(x):
        return vmap(lambda w, x: outputs(layer)(w, x)[0], in_dims=(0, None))(stacked, x)

    together = jacrev(models)(x)
    assert len(core_calls) == 2
    for s in range(S):
        alone = jacrev(lambda x, s=s: outputs(layer)({key: w[s] for key, w in stacked.items()}, x)[0])(x)
        assert torch.equal(together[s], alone)


@pytest.mark.parametrize("name", LAYERS)
def test_second_derivatives_of_many_models_agree_with_a_loop(name):
    layer, stacked = many(name)
    layer, stacked = layer.double(), {key: w.double() for key, w in stacked.items()}
    x = torch.randn(2, 1, I, dtype=torch.float64)

    def curvature(weights, x):
        return grad(lambda w: grad(loss(layer), argnums=1)(w, x).pow(2).sum())(weights)

    got = vmap(curvature, in_dims=(0, None))(stacked, x)
    for s in range(S):
        want = curvature({key: w[s] for key, w in stacked.items()}, x)
        for key in want:
            torch.testing.assert_close(got[key][s], want[key], rtol=1e-11, atol=1e-11)


def test_wrong_symbol_of_one_entry_is_refused():
    layer, stacked = many("GRU")
    ids = torch.zeros(S, T, B, dtype=torch.int64)
    ids[2, 1, 3] = I
    for weights, dims in ((stacked, (0, 0)), (weights_of(layer), (None, 0))):
        with pytest.raises(IndexError, match="one-hot index 4 at input"):
            vmap(outputs(layer), in_dims=dims)(weights, ids)


def test_vmap_over_no_entries_is_refused():
    layer = make("RNN")
    with pytest.raises(ValueError, match="vmap over an axis of size 0"):
        vmap(lambda x: layer(x)[0])(torch.zeros(0, T, B, I))
