"""What a Keras model holds beside its layers: classes of its author's, arguments of calls, cells of several kinds."""

import os
import re

import numpy as np
import pytest

from tests.formats.equations import outputs
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_keras

pytest.importorskip("h5py", reason="the extra [keras] is not installed")
os.environ["KERAS_BACKEND"] = "torch"
keras = pytest.importorskip("keras", reason="the models are those of Keras")
L = keras.layers
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # Keras's


class LSTM(L.LSTM):
    """Bears the name of Keras's own."""

    def call(self, sequences, initial_state=None, mask=None, training=False):
        return 3 * super().call(sequences, initial_state, mask, training)


class GRUCell(L.GRUCell):
    def call(self, *arguments, **options):
        y, states = super().call(*arguments, **options)
        return 2 * y, states


class Dropout(L.Layer):
    def call(self, x):
        return 7 * x


@pytest.mark.parametrize(
    "layers",
    [
        lambda: [LSTM(4, return_sequences=True)],
        lambda: [L.RNN(GRUCell(4))],
        lambda: [L.LSTM(4), Dropout()],
    ],
)
def test_class_of_an_author_that_bears_a_name_of_keras_is_refused(layers, tmp_path):
    keras.Sequential([keras.Input((5, 3)), *layers()]).save(tmp_path / "x.keras")
    with pytest.raises(FormatError, match="is a class of its author's, whose code is not in the file and is not run"):
        from_keras(tmp_path / "x.keras")


def functional(call):
    given = keras.Input((5, 3))
    return keras.Model(given, call(given))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda x: L.LSTM(4)(x, initial_state=[keras.ops.ones((2, 4))] * 2), "is called with initial_state"),
        (lambda x: L.Dropout(0.9)(L.LSTM(4)(x), training=True), r"\(Dropout\): is called with training True"),
        (
            lambda x: (lambda y: [y, L.Dense(2)(y)])(L.GRU(4)(x)),
            "its outputs: are those of 'dense.*', 'gru.*', expected",
        ),
    ],
)
def test_what_a_call_says_beside_its_input_is_refused(call, said, tmp_path):
    functional(call).save(tmp_path / "x.keras")
    with pytest.raises(FormatError, match=said):
        from_keras(tmp_path / "x.keras")


def test_calls_that_say_nothing_are_read(tmp_path):
    model = functional(lambda x: L.Dense(2)(L.Dropout(0.5)(L.LSTM(4)(x, mask=None), training=False)))
    model.save(tmp_path / "x.keras")
    assert from_keras(tmp_path / "x.keras").head.when == "last"


@pytest.mark.parametrize("cells", [(L.LSTMCell, L.GRUCell), (L.GRUCell, L.LSTMCell)])
def test_order_of_stacked_cells_of_two_kinds_is_asked_for(cells, tmp_path):
    model = keras.Sequential([keras.Input((5, 4)), L.RNN([cell(4) for cell in cells], return_sequences=True)])
    x = np.random.default_rng(0).normal(size=(2, 5, 4)).astype(np.float32)
    expected = model(x).detach().numpy().swapaxes(0, 1)
    model.save(tmp_path / "x.keras")
    model.save_weights(tmp_path / "x.weights.h5")
    np.testing.assert_allclose(outputs(from_keras(tmp_path / "x.keras"), x.swapaxes(0, 1)), expected, atol=1e-5)
    with pytest.raises(FormatError, match="does not say how its parts follow each other") as asked:
        from_keras(tmp_path / "x.weights.h5")
    places = {"LSTM": "rnn/lstm_cell", "GRU": "rnn/gru_cell"}
    rnn = [places[cell.__name__.removesuffix("Cell")] for cell in cells]
    assert f"rnn={rnn}" in re.sub(r"rnn_\d+/", "rnn/", str(asked.value))
    found = from_keras(tmp_path / "x.weights.h5", rnn=rnn)
    np.testing.assert_allclose(outputs(found, x.swapaxes(0, 1)), expected, atol=1e-5)


def test_stacked_cells_of_other_widths_are_read(tmp_path):
    layer = L.RNN([L.LSTMCell(3), L.GRUCell(5), L.LSTMCell(2)])
    keras.Sequential([keras.Input((5, 4)), layer]).save_weights(tmp_path / "x.weights.h5")
    assert [each.kind for each in from_keras(tmp_path / "x.weights.h5").layers] == ["LSTM", "GRU", "LSTM"]
