import pytest


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("alone")


@pytest.fixture
def page(window, folder):
    """A page with a text, in a window 1440 px wide; nothing may have been logged by the end."""
    from tests.views.browser.pages import TEXT, shown
    from tests.webpage.alone import lstm, opened

    page = opened(window, folder, lstm(), f"#text={TEXT.replace(' ', '+')}", name="lstm")
    shown(page, TEXT)
    yield page
    assert page.log() == []
