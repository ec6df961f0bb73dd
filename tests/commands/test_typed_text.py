r"""Every command that is given a text: what one form of it is to a model, it is to all.

The forms are those in which text comes from outside: other line ends, Unicode in form D, a mark of its byte order.
"""

import unicodedata

import pytest
import torch

from tests.commands.command_line import unrolled
from unrolled.config.model import ModelConfig
from unrolled.lm.model import SequenceModel
from unrolled.saved.vocabulary import Vocabulary

TEXT = "é\na"
FORMS = {
    "CRLF": TEXT.replace("\n", "\r\n"),
    "CR": TEXT.replace("\n", "\r"),
    "D": unicodedata.normalize("NFD", TEXT),
    "mark": "\ufeff" + TEXT,
}
#: The symbols of each model, its kind, and whether text is brought into form C.
MODELS = {
    "characters": ("eéa\n\u0301", "characters", False),
    "form C": ("eéa\n", "characters", True),
    "returns": ("eéa\n\r\u0301", "characters", False),
    "words": (["é", "a", "\n"], "words", True),
    "bytes": (sorted({f"{byte:02x}" for form in FORMS.values() for byte in form.encode()}), "bytes", False),
}
#: The forms that are read as the plain text is: typed, and in a file or standard input.
SAME = {
    "characters": ({"CRLF", "CR"}, {"CRLF", "CR", "mark"}),
    "form C": ({"CRLF", "CR", "D"}, {"CRLF", "CR", "D", "mark"}),
    "returns": (set(), {"CRLF", "CR", "mark"}),  # files are read with their line ends as \n, whatever the model
    "words": ({"CRLF", "CR", "D"}, {"CRLF", "CR", "D", "mark"}),
    "bytes": (set(), set()),
}
#: What a command prints or writes of a text, and nothing that names the file.
COMMANDS = {
    "score": ("--json", "--bits"),
    "generate": ("--json", "--no-prompt", "--seed", "1", "--max-length", "1", "--count", "200"),
    "view": ("--picture", "table", "--out", "out"),
    "explain": ("--columns", "3"),
}


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """A model of each kind that adds up what it reads, so that every symbol shows in all that follows."""
    made = {}
    for name, (symbols, kind, nfc) in MODELS.items():
        torch.manual_seed(0)
        config = ModelConfig(cell="rnn", nonlinearity="relu", hidden_size=5)
        model = SequenceModel(config, Vocabulary(symbols, kind, nfc), framed=False)
        with torch.no_grad():
            model.rnn.weight_hh_l0.copy_(torch.eye(5))
            model.rnn.weight_ih_l0.copy_(torch.rand_like(model.rnn.weight_ih_l0))
            model.head.weight.copy_(torch.randn_like(model.head.weight))
        made[name] = tmp_path_factory.mktemp("models") / name
        model.save_pretrained(made[name])
    return made


def read_by(command, folder, text, way, place):
    """What a command makes of a text that is given in one of three ways."""
    (place / "text").write_bytes(text.encode())
    given = {"typed": [text], "file": ["--file", place / "text"], "piped": ["-"]}[way]
    done = unrolled(command, folder, *COMMANDS[command], *given, cwd=place, stdin=text.encode())
    assert done.returncode == 0, done.stderr.decode()
    written = place / "out"
    return written.read_text() if written.exists() else done.stdout.decode()


@pytest.mark.parametrize("way", ["typed", "file", "piped"])
@pytest.mark.parametrize("command", COMMANDS)
@pytest.mark.parametrize("name", MODELS)
def test_every_command_reads_each_form_of_a_text_alike(name, command, way, folders, tmp_path):
    if command == "explain" and way != "typed":
        assert unrolled(command, folders[name], "--file", "text", cwd=tmp_path).returncode == 2
        return
    plain = read_by(command, folders[name], TEXT, way, tmp_path)
    same = {form for form, text in FORMS.items() if read_by(command, folders[name], text, way, tmp_path) == plain}
    assert same == SAME[name][way != "typed"]
