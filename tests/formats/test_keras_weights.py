"""Keras weights alone: what they do not say is refused."""

import pytest

from tests.formats.test_keras import L, keras
from unrolled.formats.network_of import FormatError
from unrolled.imports import from_keras

pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation doesn't accept:DeprecationWarning")  # Keras's


def test_weights_of_layers_whose_order_cannot_be_seen_are_refused(tmp_path):
    model = keras.Sequential([keras.Input((None, 4)), L.LSTM(4, return_sequences=True), L.GRU(4)])
    model.save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(FormatError, match="more than one order of its layers fits: "):
        from_keras(tmp_path / "model.weights.h5")


def test_square_dense_layer_may_stand_before_the_others(tmp_path):
    layers = [keras.Input((None, 4)), L.Dense(4), L.LSTM(4, return_sequences=True)]
    for made in (layers, [layers[0], layers[2], layers[1]]):
        keras.Sequential(made).save_weights(tmp_path / "model.weights.h5")
        with pytest.raises(
            FormatError, match="its dense layer is square, and weights alone do not say whether it stands"
        ):
            from_keras(tmp_path / "model.weights.h5")


def test_two_layers_side_by_side_are_not_two_directions(tmp_path):
    x = keras.Input((None, 3))
    sides = [L.GRU(5, return_sequences=True)(x) for _ in range(2)]
    keras.Model(x, L.Dense(2)(L.Concatenate()(sides))).save_weights(tmp_path / "model.weights.h5")
    with pytest.raises(FormatError, match="its layers do not fit each other"):
        from_keras(tmp_path / "model.weights.h5")
