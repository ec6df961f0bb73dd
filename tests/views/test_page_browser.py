"""The page in a real browser: text, models, generation, links, themes, keyboard, small windows; panels have their own.

Pictures go to artefacts/page, which git ignores.
"""

import re
import statistics

import pytest

from tests.views.browser.serving import serving, until

driver = pytest.importorskip("tests.views.browser.driver", reason="needs selenium", exc_type=ImportError)
pytestmark = pytest.mark.skipif(bool(driver.WHY_NOT), reason=driver.WHY_NOT or "there is a browser")

from selenium.webdriver.common.action_chains import ActionChains  # noqa: E402
from selenium.webdriver.common.keys import Keys  # noqa: E402

from tests.views.browser.pages import HOSTILE_WORD, PICTURES, TEXT, bars, check_bars, shown, type_at_end  # noqa: E402


@pytest.mark.parametrize(
    ("name", "hostile"),
    [
        ("lstm 256", f"<script>document.title='gone'</script>{HOSTILE_WORD}"),
        ("words", f"{HOSTILE_WORD} rose <b/onclick=0>"),
    ],
)
def test_hostile_text_is_shown_as_text(page, name, hostile):
    page.find(f"#model-a option[value='{name}']").click()
    page.find("#text").clear()
    type_at_end(page, hostile)
    shown(page, hostile)
    assert page.run("return document.querySelector('.reading .text').textContent") == hostile
    page.find("#generate").click()
    page.until("document.querySelector('.text-written .fresh').textContent.length > 3")
    page.find("#stop").click()
    assert page.run("return document.querySelector('.given').textContent") == hostile
    assert page.run("return document.title") == "unrolled"
    assert page.run("return document.querySelectorAll('main script, main img, .reading .text > span > *').length") == 0
    assert page.all(".reading .text .unknown")
    assert "the model does not know" in page.find("#reading").text


def written(page, sheet=0):
    return page.run("return document.querySelectorAll('.fresh')[arguments[0]]?.textContent ?? ''", sheet)


def test_text_is_written_and_stopped(page, server):
    page.find("#generate").click()
    until(lambda: len(written(page)) > 10)
    assert page.find("#stop").is_enabled()
    page.find("#stop").click()
    page.until("document.querySelector('.text-written .note').textContent.includes('stopped')")
    server.idle()
    text = written(page)
    assert 10 < len(text) < 300
    assert not page.find("#stop").is_enabled()
    page.find(".text-written button").click()
    shown(page, TEXT + text)
    assert page.find("#text").get_attribute("value") == TEXT + text


def test_written_text_is_the_models(page, models):
    page.run("document.querySelector('[name=symbols_per_second]').value = 0")
    page.run("document.querySelector('[name=max_length]').value = 70")
    page.find("#text").send_keys(Keys.CONTROL, Keys.ENTER)
    page.until("document.querySelector('.text-written .note')?.textContent.includes('length reached')")
    assert written(page) == models["lstm 256"].runtime().generate(TEXT, max_length=70)[0]


def test_moved_control_takes_effect_at_once(page, models):
    page.find("#generate").click()
    until(lambda: len(written(page)) > 5)
    page.find("[name=strategy] option[value=greedy]").click()
    early = written(page)
    until(lambda: len(written(page)) > len(early) + 30)
    page.find("#text").send_keys(Keys.ESCAPE)
    page.until("document.querySelector('.text-written .note').textContent.includes('stopped')")
    text = written(page)
    ends = [
        models["lstm 256"].runtime().generate(TEXT + text[:k], max_length=len(text) - k, strategy="greedy")[0]
        for k in range(5, len(text) - 10)
    ]
    assert any(text.endswith(end) for end in ends)


def test_two_models_stand_side_by_side(page, models):
    page.find("#model-b option[value='gru<b>']").click()
    shown(page, TEXT, 1)
    one, two = (pane.rect for pane in page.all(".pane"))
    assert abs(one["y"] - two["y"]) < 2
    assert two["x"] > one["x"] + one["width"]
    check_bars(page, models["lstm 256"], TEXT)
    check_bars(page, models["gru<b>"], TEXT, 1)
    assert page.all(".pane h2")[1].text == "gru<b>"
    names = [
        [option.text for option in pane.find_elements("css selector", "[name=array] option")]
        for pane in page.all(".pane")
    ]
    assert [len(each) for each in names] == [6, 4]
    page.find("#generate").click()
    until(lambda: len(written(page, 0)) > 5 and len(written(page, 1)) > 5)
    page.find("#stop").click()
    page.picture(PICTURES / "two-models-1440-light.png")


def test_two_models_share_their_scales(page):
    for pane, name in enumerate(("lstm 256", "counting")):
        page.find(f"#model-{'ab'[pane]} option[value='{name}']").click()
        shown(page, TEXT, pane)
        page.all(".pane")[pane].find_element("css selector", "[name=array] option[value=c]").click()
    page.until("[...document.querySelectorAll('.pane .heat h3')].every((h) => h.textContent.startsWith('Cell state'))")
    legends = [pane.find_element("css selector", ".heat .legend").text for pane in page.all(".pane")]
    assert legends[0] == legends[1]
    axes = page.run("""
        return [...document.querySelectorAll(".pane .gradients .uplot")].length
    """)
    assert axes == 2
    notes = [each.text for each in page.all(".reading .meaning")]
    assert all("0 bits: it was certain" in note for note in notes)


def test_no_control_is_cut_on_a_narrow_page(page):
    page.size(360, 900)
    cut = page.run("""
        const pen = document.createElement("canvas").getContext("2d");
        return [...document.querySelectorAll("select")].filter((field) => field.offsetParent).flatMap((field) => {
          pen.font = getComputedStyle(field).font;
          const right = field.getBoundingClientRect().right;
          const widest = Math.max(...[...field.options].map((option) => pen.measureText(option.text).width));
          return widest + 24 > field.clientWidth || right > innerWidth ? [field.name || field.id] : [];
        });
    """)
    assert cut == []


def test_link_restores_the_view(page):
    page.find("#model-b option[value='gru<b>']").click()
    type_at_end(page, ", & more?\n")
    shown(page, TEXT + ", & more?\n", 1)
    second = page.all(".pane")[1]
    second.find_element("css selector", "[name=layer] option[value='1']").click()
    second.find_element("css selector", "[name=array] option[value=z]").click()
    second.find_element("css selector", "[name=units]").send_keys("7, 30, 99\n")
    page.run(
        """const slider = document.querySelector('[name=temperature]');
        slider.value = 0.5;
        slider.dispatchEvent(new Event('change', { bubbles: true }));"""
    )
    page.find(".reading .text").send_keys(Keys.LEFT * 3)
    seen = """return [...document.querySelectorAll('textarea, select, input, .after, .bars, .coloured-by, .heat h3')]
        .map((e) => e.value || e.textContent).join('|')"""
    page.until(
        "location.hash.includes('b.units=7%2C30') && location.hash.includes('at=') && location.hash.includes('0.5')"
    )
    page.until("!document.querySelectorAll('.lines')[1].hidden")
    before, link = page.run(seen), page.run("return location.hash")
    page.open(link)
    shown(page, TEXT + ", & more?\n", 1)
    page.until("!document.querySelectorAll('.lines')[1].hidden")
    assert page.run(seen) == before
    assert page.all("[name=units]")[1].get_attribute("value") == "7, 30"


def test_link_to_a_model_that_is_not_here_says_so(page):
    page.open("#text=ab&a=%3Cb%3Enobody&a.units=9999999,x&temperature=1e9&at=77")
    shown(page, "ab")
    assert page.find("#trouble").text == "there is no model <b>nobody here"
    assert page.find("[name=temperature]").get_attribute("value") == "2"
    assert page.find(".after").text == "after “b”"


def test_page_without_a_link_shows_the_models_own_words(page):
    page.open("")
    text = page.find("#text").get_attribute("value")
    assert len(text) == 80
    shown(page, text)


def test_text_that_is_too_long_is_refused_and_forgotten(page):
    page.run(
        "const t = document.getElementById('text'); t.value = 'a'.repeat(501); t.dispatchEvent(new Event('input'))"
    )
    page.until("document.querySelector('.pane .trouble').textContent.includes('reads at most 500')")
    page.run("const t = document.getElementById('text'); t.value = 'ab'; t.dispatchEvent(new Event('input'))")
    shown(page, "ab")
    page.until("document.querySelector('.pane .trouble').textContent === ''")
    assert all("413" in line for line in page.log())


def test_empty_text_shows_how_texts_start(page):
    page.find("#text").clear()
    page.find("#text").send_keys("x", Keys.BACKSPACE)
    shown(page, "")
    assert page.find(".after").text == "at the start of a text"
    assert len(bars(page)) == 10


@pytest.mark.parametrize("width", [360, 1440])
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
def test_page_is_readable(page, width, dark):
    page.open(f"#text={TEXT.replace(' ', '+')}&a.units=3,40&b=gru%3Cb%3E", width=width, dark=dark)
    shown(page, TEXT, 1)
    page.find("#generate").click()
    until(lambda: len(written(page, 1)) > 30)
    page.find("#stop").click()
    page.until("document.getElementById('stop').disabled")
    assert page.run("return document.documentElement.scrollWidth") <= width
    assert page.looks("outside()") == []
    assert page.looks("pale(4.5)") == []
    grounds = page.run("return getComputedStyle(document.body).backgroundColor")
    assert (max(map(int, re.findall(r"\d+", grounds))) < 60) == dark
    page.size(width, page.run("return document.documentElement.scrollHeight"))
    page.until("true")
    page.picture(PICTURES / f"page-{width}-{'dark' if dark else 'light'}.png")


def test_theme_can_be_switched_and_is_remembered(page):
    ground = "getComputedStyle(document.body).backgroundColor"
    light = page.run(f"return {ground}")
    page.find("#theme").click()
    dark = page.run(f"return {ground}")
    assert light != dark
    page.open(f"#text={TEXT}")
    assert page.run(f"return {ground}") == dark
    page.find("#theme").click()
    assert page.run(f"return {ground}") == light
    page.run("localStorage.clear()")


def test_every_control_is_reached_with_the_keyboard_and_shows_it(page):
    page.run("document.activeElement.blur(); scrollTo(0, 0)")
    page.run(f"{driver.LOOKS} window.unvisited = new Set(controls())")
    count = page.run("return window.unvisited.size")
    assert count > 20
    for _ in range(count + 3):
        ActionChains(page.driver).send_keys(Keys.TAB).perform()
        outline = page.run(
            """const e = document.activeElement;
            window.unvisited.delete(e);
            return e === document.body ? 'solid' : getComputedStyle(e).outlineStyle;"""
        )
        assert outline == "solid"
    assert page.run("return [...window.unvisited].map((e) => e.outerHTML)") == []
    assert page.looks("unnamed()") == []


def test_keystroke_shows_in_every_picture(page, capsys):
    text = (TEXT + ", ") * 10
    page.open(f"#text={text[:200].replace(' ', '+')}&a.units=3")
    page.driver.set_script_timeout(driver.PATIENCE)
    times = page.looks(f"keystrokes('{text}')")
    assert len(times) == 25
    with capsys.disabled():
        middle, worst = statistics.median(times), max(times)
        print(f"\nkeystroke to every picture, H 256, 180 to 200 symbols: median {middle:.0f} ms, worst {worst:.0f} ms")


def test_page_says_that_the_server_is_gone(window, models):
    with serving(models) as brief:
        page = driver.Page(window, brief.address).open("#text=ab")
        shown(page, "ab")
    type_at_end(page, "c")
    page.until("document.querySelector('.pane .trouble').textContent.includes('is it still running?')")
    page.find("#generate").click()
    page.until("document.querySelector('.text-written .note').textContent.includes('is it still running?')")
    page.log()
