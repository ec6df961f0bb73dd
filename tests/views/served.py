"""The models that the tests of the page's API serve, and the limits of their server."""

import torch

from tests.views.browser.serving import endless
from tests.views.small_models import CONFIGS, small


def exploding():
    """An RNN without bounds whose state grows a thousandfold each step."""
    model = small("relu", dtype=torch.float32)
    with torch.no_grad():
        model.rnn.weight_hh_l0.fill_(1000.0)
        model.rnn.weight_ih_l0.fill_(1.0)
    return endless(model)


MODELS = {name.replace(" ", "-"): endless(small(name, dtype=torch.float32)) for name in CONFIGS}
MODELS["exploding"] = exploding()
MODELS["bytes"] = small("gru", symbols=["61", "c3", "a4"], kind="bytes", dtype=torch.float32)
MODELS["marks"] = small("gru", symbols=["rose", "\n", "￭,", "fair"], kind="words-and-marks", dtype=torch.float32)
MODELS["words"] = small("gru", symbols=["rose", "fair"], kind="words", dtype=torch.float32)
SMALL = {"body_bytes": 3000, "text_symbols": 50, "written_symbols": 90}
