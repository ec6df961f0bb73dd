"""The picture of a sweep: an axis for each option, the one that mattered most first."""

from unrolled.views.plots_sweep import searched

BITS = [2.0, 2.5, None, 9.0]
OPTIONS = {
    "cell": ["lstm", "gru", "gru", "rnn"],
    "learning_rate": [0.001, 0.01, 0.1, 0.5],
    "tied": [True, False, True, True],
}


def test_searched_draws_each_option_by_its_importance():
    figure = searched(
        BITS, [True, True, False, False], OPTIONS, {"learning_rate": 0.75, "cell": 0.25}, ["learning_rate"]
    )
    axes = [each for each in figure.axes if each.get_visible()]
    assert [each.get_title() for each in axes] == ["learning_rate: 75 %", "cell: 25 %", "tied"]
    assert [each.get_xscale() for each in axes] == ["log", "linear", "linear"]
    early, ended = (dots.get_offsets().tolist() for dots in axes[0].collections)
    assert early == [[0.5, 9.0]]
    assert ended == [[0.001, 2.0], [0.01, 2.5]]
    assert [label.get_text() for label in axes[1].get_xticklabels()] == ["gru", "lstm", "rnn"]
    assert [x for x, _ in axes[1].collections[1].get_offsets().tolist()] == [1, 0]


def test_searched_leaves_out_axes_that_stand_for_nothing():
    figure = searched(BITS, [True] * 4, OPTIONS | {"seed": [0, 1, 2, 3]}, {})
    assert [each.get_visible() for each in figure.axes] == [True] * 4 + [False] * 2
    assert searched([None], [False], {"seed": [1]}, {}).axes[0].get_title() == "seed"
