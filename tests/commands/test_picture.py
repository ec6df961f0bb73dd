"""`unrolled picture` draws without a model, and obeys or refuses its options."""

import pytest

pytest.importorskip("matplotlib", reason="the extra [plot] is not installed")

from tests.commands.command_line import refusal, unrolled
from unrolled.commands.picture import OPTIONS

VALUES = {"cell": "gru", "hidden-size": "5", "gain": "0.5", "steps": "3", "seed": "1"}
QUICK = {"exploding": ["--steps", "2", "--hidden-size", "7"], "lags": ["--steps", "5", "--hidden-size", "7"]}


@pytest.mark.parametrize("option", [None, *VALUES])
@pytest.mark.parametrize("name", OPTIONS)
def test_every_drawing_obeys_or_refuses_each_option(name, option, tmp_path):
    quick = QUICK.get(name, [])
    quick = quick if f"--{option}" not in quick else [each for each in quick if each not in (f"--{option}", "7")]
    given = [f"--{option}", VALUES[option]] if option else []
    if option and option.replace("-", "_") not in OPTIONS[name].split():
        assert f"--{option} does nothing for {name}; it is for" in refusal(2, "picture", name, *given)
        return
    if "--steps" in given and name in QUICK:
        quick = ["--hidden-size", "7"]
    done = unrolled("picture", name, *quick, *given, "--out", "p.svg", cwd=tmp_path)
    assert (done.returncode, done.stdout.decode()) == (0, "made p.svg\n"), done.stderr.decode()
    assert "<svg" in (tmp_path / "p.svg").read_text("utf-8")


def test_chain_has_a_cell_and_a_state_for_each_step():
    from tests.views.figures import texts
    from unrolled.views.plots_diagrams import chain

    written = texts(chain("LSTM", 3))
    assert written.count("LSTM") == 3
    assert {"$x_{1}$", "$x_{3}$", "$h_{2}$", "$c_{2}$", "$h_{3}$", "$c_{3}$", "$c_0$"} <= {*written}
    with pytest.raises(ValueError, match="steps is 9; a chain has 1 to 8"):
        chain("RNN", 9)
