import pytest

from unrolled.config.launch import Launch, launched, speaks_for_all, speaks_for_its_machine

NAMES = ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE")


@pytest.fixture
def started(monkeypatch):
    """Set what torchrun sets."""

    def start(*numbers):
        for name, number in zip(NAMES, numbers, strict=False):
            monkeypatch.setenv(name, str(number))

    for name in NAMES:
        monkeypatch.delenv(name, raising=False)
    return start


def test_process_that_nobody_started_is_alone(started):
    assert launched() == Launch(rank=0, size=1, local_rank=0, local_size=1)
    assert speaks_for_all()
    assert speaks_for_its_machine()


def test_environment_of_torchrun_is_read(started):
    started(5, 8, 1, 4)
    assert launched() == Launch(5, 8, 1, 4)
    assert not speaks_for_all()
    assert not speaks_for_its_machine()
    started("", "", 1)  # of another program
    assert (speaks_for_all(), speaks_for_its_machine()) == (True, True)
    started(4, 8, 0, 4)
    assert (speaks_for_all(), speaks_for_its_machine()) == (False, True)


@pytest.mark.parametrize(
    ("numbers", "said"),
    [
        (("first", 2), "RANK is 'first' in the environment; it must be a whole number, as torchrun sets it"),
        (("", 2), "RANK is '' in the environment"),
        ((0, -1), "WORLD_SIZE is '-1' in the environment"),
        ((2, 2), "RANK=2 of WORLD_SIZE=2; expected 0 to 1"),
        ((0, 2, "x"), "LOCAL_RANK is 'x'"),
    ],
)
def test_environment_that_names_no_place_is_refused(started, numbers, said):
    started(*numbers)
    with pytest.raises(ValueError) as refused:
        launched()
    assert said in str(refused.value)
