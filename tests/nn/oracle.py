"""The equations and their derivatives in NumPy float64, one row and one step at a time, knowing nothing of torch.

Written from docs/notation.md alone, with the chain rule by hand: the first link of the chain
oracle -> reference -> compiled core -> torch.nn.
"""

import numpy as np


def sigmoid(a):
    return 1 / (1 + np.exp(-a))


def step(kind, x, h_prev, c_prev, w):
    """One row, one step: x (I,), h_prev (P,), c_prev (H,); w names the weights (biases may be zeros)."""
    u = w["W_ih"] @ x + w["b_ih"]
    v = w["W_hh"] @ h_prev + w["b_hh"]
    if kind.startswith("LSTM"):
        a_i, a_f, a_g, a_o = np.split(u + v, 4)
        p_i, p_f, p_o = np.split(w["p"], 3) if kind == "LSTM_PEEPHOLE" else (0.0, 0.0, 0.0)
        i, f, g = sigmoid(a_i + p_i * c_prev), sigmoid(a_f + p_f * c_prev), np.tanh(a_g)
        c = f * c_prev + i * g
        o = sigmoid(a_o + p_o * c)
        m = o * np.tanh(c)
        h = m if w["W_hr"] is None else w["W_hr"] @ m
        return h, c, {"i": i, "f": f, "g": g, "o": o, "c": c, "m": m}
    if kind == "GRU":
        (u_r, u_z, u_n), (v_r, v_z, v_n) = np.split(u, 3), np.split(v, 3)
        r, z = sigmoid(u_r + v_r), sigmoid(u_z + v_z)
        n = np.tanh(u_n + r * v_n)
        return (1 - z) * n + z * h_prev, None, {"r": r, "z": z, "n": n, "hn": v_n}
    h = np.tanh(u + v) if kind == "RNN_TANH" else np.maximum(u + v, 0)
    return h, None, {"h": h}


def step_back(kind, x, h_prev, c_prev, w, kept, dh, dc, dw):
    """Chain rule through one step; adds to dw and returns dx, dh_prev, dc_prev."""
    dh_direct = 0.0
    if kind.startswith("LSTM"):
        i, f, g, o, c = (kept[name] for name in "ifgoc")
        p_i, p_f, p_o = np.split(w["p"], 3) if kind == "LSTM_PEEPHOLE" else (0.0, 0.0, 0.0)
        dm = dh
        if w["W_hr"] is not None:
            dw["W_hr"] += np.outer(dh, kept["m"])
            dm = w["W_hr"].T @ dh
        da_o = dm * np.tanh(c) * o * (1 - o)
        dc = dc + dm * o * (1 - np.tanh(c) ** 2) + da_o * p_o
        da_i, da_f, da_g = dc * g * i * (1 - i), dc * c_prev * f * (1 - f), dc * i * (1 - g**2)
        du = dv = np.concatenate([da_i, da_f, da_g, da_o])
        dc_prev = dc * f + da_i * p_i + da_f * p_f
        if kind == "LSTM_PEEPHOLE":
            dw["p"] += np.concatenate([da_i * c_prev, da_f * c_prev, da_o * c])
    elif kind == "GRU":
        r, z, n, v_n = (kept[name] for name in ("r", "z", "n", "hn"))
        da_n = dh * (1 - z) * (1 - n**2)
        da_z = dh * (h_prev - n) * z * (1 - z)
        da_r = da_n * v_n * r * (1 - r)
        du, dv = np.concatenate([da_r, da_z, da_n]), np.concatenate([da_r, da_z, da_n * r])
        dh_direct, dc_prev = dh * z, None
    else:
        h = kept["h"]
        du = dv = dh * ((1 - h**2) if kind == "RNN_TANH" else (h > 0))
        dc_prev = None
    dw["W_ih"] += np.outer(du, x)
    dw["W_hh"] += np.outer(dv, h_prev)
    dw["b_ih"] += du
    dw["b_hh"] += dv
    return w["W_ih"].T @ du, w["W_hh"].T @ dv + dh_direct, dc_prev


def unroll(kind, x, h_0, c_0, w, *, lengths=None, reset=None, h_reset=None, c_reset=None, reverse=False):
    """One direction of one layer: x (T, B, I), h_0 (B, P), c_0 (B, H); returns y (T, B, P), h_n, c_n and a tape.

    A reset returns to h_reset (B, P) and c_reset (B, H), or to zeros.
    """
    T, B, _ = x.shape
    y, h_n, c_n, tape = np.zeros((T, B, h_0.shape[1])), h_0.copy(), None if c_0 is None else c_0.copy(), []
    for b in range(B):
        h, c = h_0[b], None if c_0 is None else c_0[b]
        for t in _travel(T, b, lengths, reverse):
            fresh = reset is not None and bool(reset[t, b])
            if fresh:
                h = np.zeros_like(h) if h_reset is None else h_reset[b]
                c = None if c is None else np.zeros_like(c) if c_reset is None else c_reset[b]
            before = (h, c)
            h, c, kept = step(kind, x[t, b], h, c, w)
            y[t, b] = h
            tape.append((t, b, fresh, before, kept))
        h_n[b] = h
        if c_n is not None:
            c_n[b] = c
    return y, h_n, c_n, tape


def unroll_back(kind, x, h_0, c_0, w, tape, dy, dh_n, dc_n):
    """Back through time, for the gradients of y, h_n and c_n.

    Returns those of x, h_0, c_0, of the state that a reset returns to, and of each weight by name.
    """
    dx, dh_reset, dc_reset = np.zeros_like(x), np.zeros_like(h_0), None if c_0 is None else np.zeros_like(c_0)
    dw = {name: None if value is None else np.zeros_like(value) for name, value in w.items()}
    dh, dc = dh_n.copy(), None if dc_n is None else dc_n.copy()
    for t, b, fresh, (h_prev, c_prev), kept in reversed(tape):
        upstream_c = None if dc is None else dc[b]
        dx[t, b], dh_b, dc_b = step_back(kind, x[t, b], h_prev, c_prev, w, kept, dh[b] + dy[t, b], upstream_c, dw)
        if fresh:  # what came before this step did not reach it
            dh_reset[b] += dh_b
            dh_b = np.zeros_like(dh_b)
            if dc is not None:
                dc_reset[b] += dc_b
                dc_b = np.zeros_like(dc_b)
        dh[b] = dh_b
        if dc is not None:
            dc[b] = dc_b
    return dx, dh, dc, dh_reset, dc_reset, dw


def _travel(T, b, lengths, reverse):
    end = T if lengths is None else int(lengths[b])
    return range(end - 1, -1, -1) if reverse else range(end)
