"""Every number on paper is that of a forward and backward pass worked out here by hand, in NumPy, in float64."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from tests.views.small_models import CONFIGS, small
from unrolled.notation import GATES, gate_parameters
from unrolled.views.explain import explain
from unrolled.views.paper import BLANK


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def weights(model, layer):
    return [w.detach().numpy() for w in model.rnn.weights()[layer][:4]]


def rnn_forward(w, x, h_prev, relu):
    a = w[0] @ x + w[2] + w[1] @ h_prev + w[3]
    return {"W_ih x": w[0] @ x, "W_hh h'": w[1] @ h_prev, "a_h": a, "h": np.maximum(a, 0) if relu else np.tanh(a)}


def lstm_forward(w, x, h_prev, c_prev):
    a = np.split(w[0] @ x + w[2] + w[1] @ h_prev + w[3], 4)
    i, f, g, o = sigmoid(a[0]), sigmoid(a[1]), np.tanh(a[2]), sigmoid(a[3])
    c = f * c_prev + i * g
    named = {f"W_i{k} x": each for k, each in zip("ifgo", np.split(w[0] @ x, 4), strict=True)}
    named |= {f"W_h{k} h'": each for k, each in zip("ifgo", np.split(w[1] @ h_prev, 4), strict=True)}
    named |= {f"a_{k}": each for k, each in zip("ifgo", a, strict=True)}
    return named | {"i": i, "f": f, "g": g, "o": o, "c": c, "h": o * np.tanh(c)}


def gru_forward(w, x, h_prev):
    xr, xz, xn = np.split(w[0] @ x + w[2], 3)
    hr, hz, hn = np.split(w[1] @ h_prev + w[3], 3)
    r, z = sigmoid(xr + hr), sigmoid(xz + hz)
    a_n = xn + r * hn
    n = np.tanh(a_n)
    named = {f"W_i{k} x": each for k, each in zip("rzn", np.split(w[0] @ x, 3), strict=True)}
    named |= {f"W_h{k} h'": each for k, each in zip("rzn", np.split(w[1] @ h_prev, 3), strict=True)}
    named |= {"a_r": xr + hr, "a_z": xz + hz, "hn": hn, "r": r, "z": z, "a_n": a_n, "n": n}
    return named | {"h": (1 - z) * n + z * h_prev}


def by_hand(model, ids, targets):
    """All numbers: forward[t][layer], logits, p; backward[t][layer]; gradients by parameter name."""
    kind, L, H = model.config.kind, model.config.num_layers, model.config.hidden_size
    V, T, N = len(model.vocabulary), len(ids), int((targets >= 0).sum())
    W = [weights(model, layer) for layer in range(L)]
    W_hy, b_y = model.head.weight.detach().numpy(), model.head.bias.detach().numpy()
    E = None if model.embedding is None else model.E.detach().numpy()
    start = [s.detach().numpy()[:, 0] for s in model.initial_state(1)] or [np.zeros((L, H))] * 2
    steps, inputs = [], []
    for t in range(T):
        x, at, read = np.eye(V)[ids[t]] if E is None else E[ids[t]], [], []
        for k in range(L):
            before = steps[-1][k] if steps else {"h": start[0][k], "c": start[-1][k]}
            read.append(x)
            if kind == "LSTM":
                at.append(lstm_forward(W[k], x, before["h"], before["c"]))
            elif kind == "GRU":
                at.append(gru_forward(W[k], x, before["h"]))
            else:
                at.append(rnn_forward(W[k], x, before["h"], kind == "RNN_RELU"))
            x = at[-1]["h"]
        steps.append(at)
        inputs.append(read)
    logits = np.array([W_hy @ at[-1]["h"] + b_y for at in steps])
    p = np.exp(logits) / np.exp(logits).sum(1, keepdims=True)
    grads = {name: np.zeros(w.shape) for name, w in model.named_parameters()}
    back = [[{} for _ in range(L)] for _ in range(T)]
    dlogits = np.zeros((T, V))
    from_next = [{"h": np.zeros(H), "c": np.zeros(H)} for _ in range(L)]
    for t in reversed(range(T)):
        if targets[t] >= 0:
            dlogits[t] = (p[t] - np.eye(V)[targets[t]]) / N
        grads["head.weight"] += np.outer(dlogits[t], steps[t][-1]["h"])
        grads["head.bias"] += dlogits[t]
        above = W_hy.T @ dlogits[t]
        for k in reversed(range(L)):
            now, x = steps[t][k], inputs[t][k]
            before = steps[t - 1][k] if t else {"h": start[0][k], "c": start[-1][k]}
            dh = above + from_next[k]["h"]
            out = {"dh": dh}
            if kind == "LSTM":
                i, f, g, o, c = (now[each] for each in "ifgoc")
                out["dc"] = dc = from_next[k]["c"] + dh * o * (1 - np.tanh(c) ** 2)
                out["da_i"], out["da_f"] = dc * g * i * (1 - i), dc * before["c"] * f * (1 - f)
                out["da_g"], out["da_o"] = dc * i * (1 - g**2), dh * np.tanh(c) * o * (1 - o)
                da = da_h = np.concatenate([out[f"da_{gate}"] for gate in "ifgo"])
                from_next[k] = {"h": W[k][1].T @ da_h, "c": f * dc}
            elif kind == "GRU":
                r, z, n, hn = (now[each] for each in ("r", "z", "n", "hn"))
                out["da_n"] = dh * (1 - z) * (1 - n**2)
                out["da_r"] = out["da_n"] * hn * r * (1 - r)
                out["da_z"] = dh * (before["h"] - n) * z * (1 - z)
                da = np.concatenate([out[f"da_{gate}"] for gate in "rzn"])
                da_h = np.concatenate([out["da_r"], out["da_z"], r * out["da_n"]])
                from_next[k] = {"h": W[k][1].T @ da_h + z * dh}
            else:
                slope = 1.0 * (now["h"] > 0) if kind == "RNN_RELU" else 1 - now["h"] ** 2
                da = da_h = out["da_h"] = dh * slope
                from_next[k] = {"h": W[k][1].T @ da_h}
            back[t][k] = out
            grads[f"rnn.weight_ih_l{k}"] += np.outer(da, x)
            grads[f"rnn.weight_hh_l{k}"] += np.outer(da_h, before["h"])
            grads[f"rnn.bias_ih_l{k}"] += da
            grads[f"rnn.bias_hh_l{k}"] += da_h
            above = W[k][0].T @ da
        if E is not None:
            grads["embedding.weight"][ids[t]] += above
    for s, name in zip("hc", (name for name in grads if name.startswith("initial")), strict=False):
        grads[name] += np.array([each[s] for each in from_next])[:, None]
    return steps, logits, p, dlogits, back, grads


@pytest.mark.parametrize("framed", [True, False])
@pytest.mark.parametrize("name", CONFIGS)
def test_every_number_matches_the_same_pass_in_numpy(name, framed):
    model, text = small(name, framed=framed), "aab?"
    ids = model.vocabulary.encode(text)
    targets = np.append(ids[1:], model.vocabulary.eos_id if framed else -100)
    steps, logits, p, dlogits, back, grads = by_hand(model, ids, targets)
    L, T = model.config.num_layers, len(ids)
    paper = explain(model, text)
    tables = iter(table for table in paper.tables if not table.title.startswith("The "))
    checked = 0

    def same(got, wanted):
        nonlocal checked
        np.testing.assert_allclose(got, wanted, rtol=1e-9, atol=1e-12)
        checked += 1

    for t in range(T):
        (x,) = next(tables).lines
        same(x.values, np.eye(len(p[t]))[ids[t]] if model.embedding is None else model.E[ids[t]].detach())
        for layer in range(L):
            table = next(tables)
            assert {line.name for line in table.lines} == steps[t][layer].keys()
            assert {name for name in steps[t][layer] if " " not in name} <= table.equations.keys()
            for line in table.lines:
                same(line.values, steps[t][layer][line.name])
        head = next(tables)
        same([line.values for line in head.lines[:2]], [logits[t], p[t]])
        assert [line.name for line in head.lines] == ["y", "p", "loss"][: 3 if targets[t] >= 0 else 2]
        if targets[t] >= 0:
            same(head.lines[2].values, [-np.log(p[t, targets[t]])])
    for t in reversed(range(T)):
        same(next(tables).lines[0].values, dlogits[t])
        for layer in reversed(range(L)):
            table = next(tables)
            assert {line.name for line in table.lines} == back[t][layer].keys() == table.equations.keys()
            for line in table.lines:
                same(line.values, back[t][layer][line.name])
    assert not list(tables)
    named = {name: weight.detach().numpy() for name, weight in model.named_parameters()}
    for heading, d, values in (("The weights", "", named), ("The gradients", "d", grads)):
        for weight, wanted in by_gate(model, values):
            same(np.ravel(shown(paper, heading, d, weight)), wanted.ravel())
    losses = [-np.log(p[t, targets[t]]) for t in range(T) if targets[t] >= 0]
    assert paper.nats == pytest.approx(np.mean(losses), abs=1e-12)
    assert checked > 20


def by_gate(model, values):
    """(layer, name in the equations), and the numbers, of every block of these weights or gradients."""
    kind = model.config.kind
    for layer in range(model.config.num_layers):
        for name, stem, k in gate_parameters(kind):
            yield (layer, name), np.split(values[f"rnn.{stem}_l{layer}"], len(GATES[kind]))[k]
    others = {
        "embedding.weight": "E",
        "head.weight": "W_hy",
        "head.bias": "b_y",
        "initial.0": "h_0",
        "initial.1": "c_0",
    }
    yield from (((None, others[name]), each) for name, each in values.items() if name in others)


def shown(paper, heading, d, weight):
    """The numbers of a weight or gradient: the rows of its own table, or its line in that of the biases."""
    layer, name = weight
    tables = [table for table in paper.tables if table.title.startswith(heading)]
    if layer is not None and any(f"of layer {layer}" in table.title for table in tables):
        tables = [table for table in tables if f"of layer {layer}" in table.title]
    for table in tables:
        if f": {d}{name} (" in table.title:
            return np.array([line.values for line in table.lines])
    (line,) = (line for table in tables for line in table.lines if line.name == f"{d}{name}")
    return line.values


class Cells(HTMLParser):
    def __init__(self, page):
        super().__init__()
        self.tags, self.inside = [], []
        self.feed(page)

    def handle_starttag(self, tag, attributes):
        self.tags.append(tag)

    def handle_data(self, data):
        self.inside.append(data)


def test_the_three_formats_hold_the_same_numbers():
    paper = explain(small("gru", hidden_size=3), "aab")
    number = r"-?\d+\.\d{4}|-?\d\.\d\de[-+]\d\d"
    in_text = re.findall(number, paper.text())
    in_html = re.findall(number, " ".join(Cells(paper.html()).inside))
    in_markdown = re.findall(number, paper.markdown().replace("\\", ""))
    assert len(in_text) > 200
    assert in_text == in_html == in_markdown


def test_columns_of_plain_text_are_aligned():
    paper = explain(small("lstm"), "ab").text()
    lines = paper.split("”: the cell\n")[1].split("\n\n")[0].splitlines()[15:]
    assert len(lines) == 19
    assert len({len(line) for line in lines}) == 1


def test_hostile_symbols_are_escaped_in_html_and_markdown():
    model = small("rnn", symbols=["<script>alert(1)</script>", "|", "`", "**x**"], kind="symbols")
    paper = explain(model, ["<script>alert(1)</script>", "|", "`", "**x**"])
    assert "script" not in Cells(paper.html()).tags
    assert "<script" not in paper.markdown()
    assert "<script" not in paper._repr_html_()
    for line in paper.markdown().splitlines():
        if line.startswith("| ") and "<" in line:
            assert len(re.findall(r"(?<!\\)\|", line)) == len(model.vocabulary) + 3


def test_explanation_says_what_it_leaves_out():
    paper = explain(small("rnn", hidden_size=33), "ab")
    written = paper.text(5)
    assert "(not shown: 28 more columns)" in written
    assert "(not shown: 28 more columns and 28 more lines)" in written
    assert "(not shown: 1 more column and 1 more line)" in paper.text(32)
    assert "are shown" not in paper.text(33)


@pytest.mark.parametrize("hidden_size", [12, 13, 40])
def test_explanation_of_more_units_than_a_page_holds_shows_the_first_few(hidden_size):
    paper = explain(small("gru", hidden_size=hidden_size), "abc")
    whole = paper.text(hidden_size)
    assert "not shown" not in whole
    for written in (paper.text(), paper.markdown(), paper.html()):
        if hidden_size <= 12:
            assert "not shown" not in written
        else:
            said = f"more than 12 units or symbols, the first 6 are shown; columns={hidden_size} shows all."
            assert said in " ".join(written.split()).replace("\\", "")
            assert f"(not shown: {hidden_size - 6} more columns)" in written.replace("\\", "")
    assert hidden_size <= 12 or len(paper.text()) < 0.6 * len(whole)


@pytest.mark.parametrize(
    ("text", "said"),
    [("", "text is empty"), ("a" * 21, "has 21 symbols; an explanation takes at most 20"), ("a", "predicts nothing")],
)
def test_texts_that_cannot_be_explained_are_refused(text, said):
    with pytest.raises(ValueError, match=said):
        explain(small("lstm", framed=False), text)


@pytest.mark.parametrize("name", CONFIGS)
def test_no_name_on_a_page_means_two_quantities(name):
    paper = explain(small(name), "aab")
    computed = {}
    for table in paper.tables:
        of_layer = re.search(r"of layer \d", table.title)
        for line in table.lines if not table.matrix else ():
            step = re.match(r"(Step|Back at step) \d", table.title)
            kind = (step[1] if step else table.title.split(":")[0].split(" of layer")[0], of_layer and of_layer[0])
            computed.setdefault(line.name, set()).add(kind)
    assert {name: where for name, where in computed.items() if len({kind for kind, _ in where}) > 1} == {}
    assert {"db_ih", "db_hh"} <= computed.keys() or {"db_hn", "db_y"} <= computed.keys() or "db_hf" in computed


@pytest.mark.parametrize("width", [60, 80, 120])
def test_text_stays_within_its_width_and_drops_no_column(width):
    paper = explain(small("lstm of two layers", hidden_size=10), "aab")
    written = paper.text(width=width)
    assert max(map(len, written.splitlines())) <= width
    assert len(re.findall(r"-?\d+\.\d{4}\b|-?\d\.\d\de[-+]\d\d", written)) == len(
        re.findall(r"-?\d+\.\d{4}\b|-?\d\.\d\de[-+]\d\d", paper.markdown().replace("\\", ""))
    )


def test_blanks_leave_the_weights_and_nothing_that_is_computed():
    paper = explain(small("gru", hidden_size=3), "aab")
    for written in (paper.text(blank=True), paper.markdown(blank=True).replace("\\", ""), paper.html(blank=True)):
        weights, _, rest = written.partition("Step 1 of 3")
        assert not re.findall(r"\d\.\d{4}", rest)
        assert BLANK in rest
        assert f"{paper.nats:.6f}" not in written
        assert f"{paper.tables[0].lines[0].values[0]:.4f}" in weights
