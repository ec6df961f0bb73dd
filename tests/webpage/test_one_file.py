"""The page becomes one file: one script of all modules, and a policy that lets a browser run it and load nothing."""

import base64
import hashlib
import json
import re

import pytest

from unrolled.webpage.one_file import as_one_script, one_file, page_texts

PAGE = one_file({"name": "</script><script>alert(1)</script><!--"})


def test_policy_allows_the_scripts_and_the_style_that_are_there_and_nothing_else():
    policy = re.search(r'http-equiv="Content-Security-Policy" content="([^"]*)"', PAGE)[1]
    rules = dict(rule.split(" ", 1) for rule in policy.split("; "))
    hashes = {
        tag: [
            f"'sha256-{base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()}'"
            for content in re.findall(rf"<{tag}>(.*?)</{tag}>", PAGE, re.DOTALL)
        ]
        for tag in ("script", "style")
    }
    assert rules.pop("script-src").split() == hashes["script"]
    assert rules.pop("style-src").split() == hashes["style"]
    assert len(hashes["script"]) == 2
    assert rules == {"default-src": "'none'", "img-src": "data:", "base-uri": "'none'", "form-action": "'none'"}
    assert PAGE.index(policy) < PAGE.index("<style") < PAGE.index("<script")


def test_page_names_no_other_file():
    apart_from_scripts = re.sub(r"<script>.*?</script>", "", PAGE, flags=re.DOTALL)
    named = re.findall(r'(?:src|href|action)="([^"]*)"', apart_from_scripts)
    assert len(named) == 2
    assert all(each.startswith("data:image/svg+xml;base64,") for each in named)
    assert not re.search(r"url\(|@import", apart_from_scripts)


def test_network_in_the_page_is_data_alone():
    data = re.search(r'<script type="application/json" id="network">(.*?)</script>', PAGE)[1]
    assert json.loads(data) == {"name": "</script><script>alert(1)</script><!--"}
    assert "<" not in data
    assert data.isascii()


def test_no_script_of_the_page_ends_its_element():
    scripts = [text for path, text in page_texts().items() if path.endswith((".js", ".LICENSE"))]
    assert [text for text in scripts if re.search(r"</script|<!--|<script", text)] == []
    assert "*/" not in page_texts()["static/uPlot.LICENSE"]


def test_licence_of_the_charts_is_in_the_page():
    assert page_texts()["static/uPlot.LICENSE"] in PAGE


def test_every_module_runs_once_and_after_those_that_it_imports():
    ran = re.findall(r'^modules\["(.*?)"\] = \(\(\) => \{$', PAGE, re.MULTILINE)
    texts = page_texts()
    needed = {path for path in texts if path.endswith(".js") and "uPlot" not in path} - {"static/service.js"}
    assert sorted(ran) == sorted(needed)
    for place, path in enumerate(ran):
        scope = PAGE.split(f'modules["{path}"] = (() => {{')[1].split("\n})();")[0]
        assert {*re.findall(r'= modules\["(.*?)"\];', scope)} <= {*ran[:place]}


@pytest.mark.parametrize(
    "line",
    ['import * as b from "./b.js";', 'import "./b.js";', "export default 1;", "export { a };", "export let a = 1;"],
)
def test_module_in_another_form_is_refused(line):
    with pytest.raises(ValueError, match=re.escape(f"a.js: '{line}'")):
        as_one_script({"a.js": f"{line}\n", "b.js": ""}, ["a.js"])


def test_server_and_file_answer_with_the_same_functions():
    texts = page_texts()
    exported = [
        sorted(re.findall(r"^export async function\*? (\w+\(.*?\))", texts[f"{folder}/service.js"], re.MULTILINE))
        for folder in ("static", "alone")
    ]
    assert exported[0] == exported[1] == ["ask(model, name, asked)", "generate(model, asked, signal)", "models()"]


def test_seed_that_javascript_would_round_is_refused():
    """It became another one, and so another text than that of `unrolled generate`."""
    (field,) = re.findall(r'<input [^>]*name="seed"[^>]*>', page_texts()["static/index.html"])
    assert f'max="{2**53 - 1}"' in field
