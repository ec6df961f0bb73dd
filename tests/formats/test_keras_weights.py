"""Keras weights alone: what they do not say is refused."""

import pytest

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
