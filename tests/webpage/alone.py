"""The page as one file in a real browser, and the modules behind it one by one."""

from __future__ import annotations

from tests.views.browser.driver import PATIENCE, Page
from tests.views.browser.pages import model
from unrolled.formats.html import to_html
from unrolled.webpage.one_file import as_one_script, page_texts

#: What the tests look at inside the script.
INSIDE = {
    "alone/choosing.js": "choose, shares",
    "alone/network.js": "Network",
    "alone/random.js": "uniforms",
    "alone/vocabulary.js": "Vocabulary",
}


class Inside:
    """The modules of the page, without a page."""

    def __init__(self, driver):
        self.driver = driver
        driver.get("about:blank")
        imports = [f'import {{ {names} }} from "./{path[6:]}";' for path, names in INSIDE.items()]
        entry = "\n".join([*imports, f"window.inside = {{ {', '.join(INSIDE.values())} }};", ""])
        driver.execute_script(as_one_script(page_texts() | {"alone/inside.js": entry}, ["alone/inside.js"]))

    def run(self, script, *arguments):
        """Run JavaScript in which the names of INSIDE stand; return what it returns."""
        names = ", ".join(INSIDE.values())
        return self.driver.execute_script(f"const {{ {names} }} = inside; {script}", *arguments)


def units(text):
    """The UTF-16 code units of a text, which WebDriver would not carry if a surrogate stands alone."""
    data = text.encode("utf-16-le", "surrogatepass")
    return [int.from_bytes(data[k : k + 2], "little") for k in range(0, len(data), 2)]


class AlonePage(Page):
    """A page from disk."""

    def __init__(self, driver, path):
        super().__init__(driver, path.as_uri())
        driver.set_script_timeout(PATIENCE)

    def wait(self, body, *arguments):
        """What the body of an asynchronous function returns; what it throws is an error here."""
        script = f"""const done = arguments[arguments.length - 1];
            const work = async () => {{ {body} }};
            work().then((value) => done({{ value }}), (error) => done({{ error: String(error) }}));"""
        answer = self.driver.execute_async_script(script, *arguments)
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def ask(self, name, **asked):
        """The answer of the network in the page; numbers as they are."""
        script = """const answer = await unrolled.ask("", arguments[0], arguments[1]);
            if (answer.heat) answer.heat.bytes = [...answer.heat.bytes];
            return answer;"""
        return self.wait(script, name, asked)

    def generate(self, **asked):
        """The text that is written, and how it ended."""
        script = """let text = "";
            for await (const { name, data } of unrolled.generate("", arguments[0])) {
              if (name === "piece") text += data.text;
              else return [text, data];
            }"""
        return self.wait(script, asked)


def opened(driver, folder, source, fragment="#text=ab", **options):
    """Write a network as a page and open it."""
    path = folder / "network.html"
    to_html(source, path, **options)
    page = AlonePage(driver, path)
    page.log()
    return page.open(fragment)


def lstm():
    return model("lstm", 1, hidden_size=64, num_layers=2)
