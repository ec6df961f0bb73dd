"""Every panel of the page in a real browser: it shows the numbers of the views, and follows what is picked."""

import re
from pathlib import Path

import numpy as np
import pytest

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.views.browser.pages import PICTURES, TEXT, bars, check_bars, shown, type_at_end  # noqa: E402
from tests.views.browser.serving import serving  # noqa: E402
from unrolled.views import traces  # noqa: E402
from unrolled.views.page import app  # noqa: E402


def test_bars_follow_the_typing(page, models):
    check_bars(page, models["lstm 256"], TEXT)
    before = bars(page)
    type_at_end(page, " t")
    shown(page, TEXT + " t")
    assert bars(page) != before
    check_bars(page, models["lstm 256"], TEXT + " t")
    assert "22 symbols" in page.find("#reading").text
    assert pixels(page) > 20


def test_bars_follow_the_caret_and_a_click_in_the_text(page, models):
    page.find("#text").send_keys(Keys.CONTROL, Keys.HOME)
    page.find("#text").send_keys(Keys.RIGHT * 5)
    page.until("document.querySelector('.after').textContent === 'after “l”'")
    check_bars(page, models["lstm 256"], TEXT[:5])
    page.all(".reading .text span")[2].click()
    check_bars(page, models["lstm 256"], TEXT[:3])
    page.find(".reading .text").send_keys(Keys.LEFT)
    check_bars(page, models["lstm 256"], TEXT[:2])
    page.find(".reading .text").send_keys(Keys.END)
    check_bars(page, models["lstm 256"], TEXT)


def test_unit_that_is_picked_colours_the_text_and_is_drawn(page, models):
    colours = "[...document.querySelectorAll('.reading .text span')].map((s) => s.style.backgroundColor).join()"
    before = page.run(f"return {colours}")
    assert not page.find(".lines").is_displayed()
    canvas = page.find("canvas")
    ActionChains(page.driver).move_to_element_with_offset(canvas, 30, -40).click().perform()
    page.until("document.querySelector('[name=units]').value !== ''")
    page.until("!document.querySelector('.lines').hidden")
    unit = int(page.find("[name=units]").get_attribute("value"))
    assert page.find(".coloured-by").text == f"unit {unit} of the hidden state h"
    page.until(f"{colours} !== {before!r}")
    assert page.all(".lines canvas")
    titles = [span.get_attribute("title") for span in page.all(".reading .text span")]
    want = traces.trace(models["lstm 256"], TEXT).values("h")[:, unit]
    np.testing.assert_allclose([float(title.split(": ")[1]) for title in titles], want, atol=6e-4)
    canvas.send_keys(Keys.DOWN)
    page.until(f"document.querySelector('[name=units]').value === '{unit + 1}'")
    ActionChains(page.driver).key_down(Keys.SHIFT).move_to_element_with_offset(canvas, 0, 60).click().perform()
    ActionChains(page.driver).key_up(Keys.SHIFT).perform()
    page.until("document.querySelector('[name=units]').value.split(',').length === 2")
    page.until("document.querySelectorAll('.lines .u-series').length === 3")
    page.picture(PICTURES / "units-1440-light.png")


def test_gate_and_gradient_can_be_chosen(page):
    page.run("document.querySelector('.heat h3').dataset.old = document.querySelector('.heat h3').textContent")
    page.find("[name=array] option[value=f]").click()
    page.until("document.querySelector('.heat h3').textContent === 'Forget gate f, every unit'")
    assert page.find(".heat .legend").text.split() == ["0.0", "1.0"]
    for kind, labels in (("loss", ["|dL / dh_t|", "|dL / dc_t|"]), ("state", ["|dh_T / dh_t|", "|dh_T / dc_t|"])):
        page.find(f"[name=of] option[value={kind}]").click()
        page.until(f"document.querySelector('.gradients .u-legend')?.textContent.includes({labels[0]!r})")
        assert labels[1] in page.find(".gradients .u-legend").text
    page.until("document.querySelector('.gradients .note').textContent.includes('singular value of W_hh: i ')")


def pixels(page, pane=0):
    """How many colours a pane's heat map has."""
    return page.run(
        """const canvas = document.querySelectorAll('.pane canvas')[arguments[0]];
        const { data } = canvas.getContext('2d').getImageData(0, 0, canvas.width, canvas.height);
        const seen = new Set();
        for (let k = 0; k < data.length; k += 4) seen.add(data[k] << 16 | data[k + 1] << 8 | data[k + 2]);
        return seen.size;""",
        pane,
    )


def test_largest_units_are_those_of_the_trace_and_can_be_picked(page, models):
    page.find("#model-a option[value='gru<b>']").click()
    page.find("[name=layer] option[value='1']").click()
    page.find("[name=array] option[value=n]").click()
    page.until("document.querySelector('.largest .array').textContent === 'candidate n'")
    page.all(".reading .text span")[6].click()
    assert page.find(".largest .after").text == "after “i”"
    values = traces.trace(models["gru<b>"], TEXT).values("n", 1)[6]
    rows = [row.text.split() for row in page.all(".pane:not([hidden]) .largest li")]
    assert len(rows) == 8
    found = {int(unit): float(value) for _, unit, value in rows}
    np.testing.assert_allclose([*found.values()], values[[*found]], atol=0.011)
    np.testing.assert_allclose(np.abs([*found.values()]), np.sort(np.abs(values))[:-9:-1], atol=0.011)
    page.all(".largest button")[2].click()
    page.until(f"document.querySelector('[name=units]').value === '{[*found][2]}'")
    page.until("!document.querySelector('.lines').hidden")
    assert page.run("return document.activeElement.closest('.largest') !== null")
    page.find(".reading .text").send_keys(Keys.HOME)
    page.until("document.querySelector('.largest').hidden")


def test_largest_values_beyond_the_colours_say_so(page, models):
    page.find("#model-a option[value=counting]").click()
    page.find("[name=array] option[value=c]").click()
    page.until("document.querySelector('.largest .array').textContent === 'cell state c'")
    c = traces.trace(models["counting"], TEXT).values("c")
    t, unit = np.unravel_index(np.abs(c).argmax(), c.shape)
    page.all(".pane:not([hidden]) .reading .text span")[t].click()
    reach = np.quantile(np.abs(c), 0.99)
    assert np.abs(c[t, unit]) > reach > 1
    shown_values = [li.text.split()[2] for li in page.all(".pane:not([hidden]) .largest li:not([hidden])")]
    assert len(shown_values) == 7
    assert shown_values[0] == (f"≥{reach:.2f}" if c[t, unit] > 0 else f"≤{-reach:.2f}")


def test_panel_of_the_documentation_needs_one_file_and_one_line(window, models, monkeypatch):
    document = Path(__file__).parents[2] / "docs" / "serve.md"
    files, line = app.page_files(), b'<script src="panels/%b.js" type="module"></script>\n'
    index, kind = files["index.html"]
    last = line % b"gradients"
    files["index.html"] = index.replace(last, last + line % b"example"), kind
    script = re.search(r"```js\n(.*?)```", document.read_text(), re.DOTALL)[1]
    files["panels/example.js"] = script.encode(), files["app.js"][1]
    monkeypatch.setattr(app, "page_files", lambda: files)
    with serving(models) as server:
        page = driver.Page(window, server.address).open(f"#text={TEXT.replace(' ', '+')}")
        shown(page, TEXT)
        read = traces.trace(models["lstm 256"], TEXT)
        assert page.find(".example .note").text == f"{read.bits.sum():.1f} bits"
        page.all(".reading .text span")[3].click()
        assert page.find(".example .note").text == f"{read.bits[:4].sum():.1f} bits"
        assert page.log() == []
