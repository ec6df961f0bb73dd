"""The page in a real browser, for every file of tests that asks for it; nothing here is imported before that."""

import pytest


@pytest.fixture(scope="session")
def models():
    from tests.views.browser.pages import page_models

    return page_models()


@pytest.fixture(scope="session")
def server(models):
    from tests.views.browser.serving import serving

    with serving(models, text_symbols=500) as running:
        yield running


@pytest.fixture
def page(window, server):
    """The page with a text, in a window 1440 px wide; nothing may have been logged by the end."""
    from tests.views.browser.driver import Page
    from tests.views.browser.pages import TEXT, shown

    opened = Page(window, server.address)
    opened.log()
    opened.open(f"#text={TEXT.replace(' ', '+')}")
    shown(opened, TEXT)
    yield opened
    assert opened.log() == []
    server.idle()
