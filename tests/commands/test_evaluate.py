"""`unrolled evaluate` measures beside baselines, on the model's own data or on other data."""

import re

from tests.commands.command_line import SMALL, refusal, unrolled
from unrolled.corpus.sonnets import sonnets


def bits_of(shown, predictor):
    return re.search(rf"{predictor}\s+│\s+([\d.]+)", shown).group(1)


def test_evaluate_measures_the_split_beside_baselines(run):
    out, trained = run
    again = unrolled("evaluate", out).stdout.decode()
    for predictor in ("parameters", "5-gram", "bz2"):
        assert bits_of(again, predictor) == bits_of(trained, predictor)
    assert "4,785 symbols of the test split" in again
    assert "the first 86,156 symbols train, the next 4,786 validate, the last 4,786 test" in again
    assert bits_of(unrolled("evaluate", out, "--split", "train").stdout.decode(), "uniform") == "6.000"


def test_evaluate_on_other_data_fits_baselines_on_the_models_own(run, tmp_path):
    """The same text as the test split gets the same bits from every predictor."""
    out, trained = run
    (tmp_path / "other.txt").write_text(sonnets()[-4786:])
    shown = unrolled("evaluate", out, tmp_path / "other.txt").stdout.decode()
    assert f"4,785 symbols of {tmp_path / 'other.txt'}\n" in shown
    for predictor in ("parameters", "unigram", "5-gram", "xz", "bz2"):
        assert bits_of(shown, predictor) == bits_of(trained, predictor)


def test_evaluate_takes_the_split_there_is_and_refuses_data_that_changed(tmp_path):
    (tmp_path / "data.txt").write_text("the quick brown fox\n" * 30)
    done = unrolled("train", "data.txt", "--out", "run", *SMALL, "--validation", "0.1", "--test", "0", cwd=tmp_path)
    assert "symbols of the validation split" in done.stdout.decode(), done.stderr.decode()
    run = tmp_path / "run"
    assert "symbols of the validation split" in unrolled("evaluate", run).stdout.decode()  # from another folder
    assert "in split 'test'; it has train, validation" in refusal(1, "evaluate", run, "--split", "test")
    (tmp_path / "data.txt").write_text("the quick brown dog\n" * 30)
    assert "data.txt: changed since the model was trained on it" in refusal(1, "evaluate", run)
    (tmp_path / "other.txt").write_text("brown fox " * 9)
    (tmp_path / "data.txt").unlink()
    assert "data.txt: no such file" in refusal(1, "evaluate", run, tmp_path / "other.txt")
    assert "90 symbols" not in refusal(1, "evaluate", run)
    assert "89 symbols of" in unrolled("evaluate", run, tmp_path / "other.txt", "--no-baselines").stdout.decode()


def test_evaluate_of_a_few_strings_shows_what_means_something(tmp_path):
    (tmp_path / "anbn.txt").write_text("".join("a " * n + "b " * n + "\n" for n in range(1, 6)))
    made = ["--cell", "rnn", "--lines", "--kind", "symbols", "--validation", "0", "--test", "0"]
    done = unrolled("train", "anbn.txt", "--out", "run", *made, "--max-steps", "3", cwd=tmp_path)
    shown = done.stdout.decode()
    assert "RNN, V 4" in shown, done.stderr.decode()
    assert "RNN_TANH" not in shown
    assert "xz" not in shown  # a file of 35 bytes is mostly its header
    assert re.search(r"exact strings .*\d %, of 20.0 % at most", shown)
