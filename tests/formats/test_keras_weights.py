"""Keras weights alone: what they do not say is refused."""

import numpy as np
import pytest

from tests.formats.equations import outputs
from tests.formats.test_keras import L, keras
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # Keras's


def test_weights_of_layers_whose_order_cannot_be_seen_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, 4)), L.LSTM(4, return_sequences=True), L.GRU(4)])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(FormatError, match=r"say rnn=\['gru', 'lstm'\], or rnn=\['lstm', 'gru'\]"):
        from_keras(tmp_path / "model.weights.h5")


def test_square_dense_layer_may_stand_before_the_others(tmp_path):
    layers = [keras.Input((None, 4)), L.Dense(4), L.LSTM(4, return_sequences=True)]
    for made in (layers, [layers[0], layers[2], layers[1]]):
        keras.Sequential(made).save_weights(tmp_path / "model.weights.h5")
        with pytest.raises(
            FormatError, match="it may be 'dense' -> 'lstm', which no network here is; say head='dense'"
        ):
            from_keras(tmp_path / "model.weights.h5")
    assert from_keras(tmp_path / "model.weights.h5", head="dense").head.b.shape == (4,)


def test_whole_model_says_what_weights_alone_do_not(tmp_path):
    keras.Sequential([keras.Input((None, 4)), L.LSTM(4), L.Dense(4)]).save(tmp_path / "model.keras")
    with pytest.raises(
        FormatError, match=r"config\.json says what its parts are and do; leave head='dense', softmax=True"
    ):
        from_keras(tmp_path / "model.keras", head="dense", softmax=True)


def test_two_layers_side_by_side_are_not_two_directions(tmp_path):
    x = keras.Input((None, 3))
    sides = [L.GRU(5, return_sequences=True)(x) for _ in range(2)]
    keras.Model(x, L.Dense(2)(L.Concatenate()(sides))).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(FormatError, match="its parts do not fit each other"):
        from_keras(tmp_path / "model.weights.h5")


def test_what_a_simple_rnn_computes_is_asked_for(tmp_path):
    relu = L.SimpleRNN(5, activation="relu", return_sequences=True)
    model = keras.Sequential([keras.Input((None, 3)), relu, L.Dense(2)])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(FormatError, match=r"'simple_rnn' is an RNN, .* say kind='RNN_TANH' or kind='RNN_RELU'"):
        from_keras(tmp_path / "model.weights.h5")
    x = np.random.default_rng(0).normal(size=(6, 2, 3)).astype(np.float32)
    found = outputs(from_keras(tmp_path / "model.weights.h5", kind="RNN_RELU"), x)
    expected = keras.ops.convert_to_numpy(model(np.swapaxes(x, 0, 1)))
    np.testing.assert_allclose(found, np.swapaxes(expected, 0, 1), atol=1e-5)


def test_layers_of_a_model_in_a_model_are_named(tmp_path):
    inner = keras.Sequential([keras.Input((None, 3)), L.LSTM(5, return_sequences=True)])
    keras.Sequential([keras.Input((None, 3)), inner, L.Dense(2)]).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(
        FormatError, match=r"has no recurrent layer; it holds 'dense' .*, and 'sequential', which is no"
    ):
        from_keras(tmp_path / "model.weights.h5")
