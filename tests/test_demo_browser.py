"""The page in a real browser, each tab used as a person would."""

import json
import re
import shutil
import socket
from urllib.parse import urlsplit

import pytest

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None
)
TABS = ("Classify", "Look inside", "Training", "Check yourself")
PHONE = {"width": 390, "height": 844}
# The largest findings of axe-core; it calls the smaller ones moderate and minor.
GRAVE = {"serious", "critical"}


@pytest.fixture(scope="module")
def address(trained_folder):
    """Where a page is served while the tests of this file run."""
    pytest.importorskip("gradio")
    from hf_attn.demo.server import start_page

    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    page = start_page(str(trained_folder), host="127.0.0.1", port=port)
    yield page.local_url
    page.close(verbose=False)


@pytest.fixture(scope="module")
def browser():
    sync_api = pytest.importorskip("playwright.sync_api")
    if BROWSER is None:
        pytest.skip("no Chromium here: install it for the tests of the page in a browser")
    with sync_api.sync_playwright() as playwright:
        # Without a sandbox, as tests may run as root in a container.
        browser = playwright.chromium.launch(executable_path=BROWSER, args=["--no-sandbox"])
        yield browser
        browser.close()


@pytest.fixture
def visit(browser, address):
    """Opens the page; what a console or a request says against it fails the test."""
    complaints, contexts = [], []

    def watch_request(request):
        host = urlsplit(request.url).hostname
        if host not in (None, "127.0.0.1"):
            complaints.append(f"request to {host}")

    def open_page(**settings):
        context = browser.new_context(**{"viewport": {"width": 1200, "height": 900}, **settings})
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(20_000)
        page.on("request", watch_request)
        page.on("pageerror", lambda error: complaints.append(str(error)))
        page.on(
            "console",
            lambda said: said.type == "error" and complaints.append(f"console: {said.text}"),
        )
        page.goto(address)
        page.get_by_role("tab", name="Classify").wait_for()
        return page

    yield open_page
    for context in contexts:
        context.close()
    assert complaints == []


def read(page, text):
    """Types a text and waits until the page has read it."""
    page.get_by_label("Text", exact=True).fill(text)
    page.get_by_role("button", name="Read").click()
    whole = re.compile(r"^\s*" + r"\s*".join(map(re.escape, text.split())) + r"\s*$")
    page.locator(".reading .text", has_text=whole).wait_for()


def open_tab(page, name):
    page.get_by_role("tab", name=name).click()
    page.locator(f'[role="tab"][aria-selected="true"]:has-text("{name}")').wait_for()


def choose(page, label, option):
    """Chooses from a list."""
    field = page.get_by_label(label)
    field.click()
    options = page.locator(f"#{field.get_attribute('aria-controls')}")
    options.get_by_role("option", name=option, exact=True).click()


def answer(page, choice):
    """Chooses an answer and gives what the page says of it."""
    page.get_by_role("radio").nth(choice).check()
    page.get_by_role("button", name="Answer", exact=True).click()
    return page.locator(".answer h3").inner_text()


def test_text_is_classified_and_a_word_struck_out(visit):
    page = visit()
    read(page, "wheat and corn fell while crude rose")
    assert re.search(r"farm\s+\d+\.\d %", page.locator("table.labels").inner_text())
    word = page.locator("button.word", has_text="crude")
    word.hover()
    page.locator("output", has_text="crude: contribution").wait_for()
    word.click()
    page.get_by_role("heading", name="Without “crude”").wait_for()
    assert "wheat and corn fell while rose" in page.locator(".without").inner_text()
    assert word.get_attribute("aria-pressed") == "true"
    word.click()
    page.locator(".without").wait_for(state="detached")


def test_class_is_compared_with_another(visit):
    page = visit()
    read(page, "wheat and corn fell while crude rose")
    heading = page.locator(".reading h2")
    assert heading.inner_text().startswith("farm against oil")
    choose(page, "and not", "farm")
    page.locator(".reading h2", has_text="oil against farm").wait_for()
    choose(page, "Why", "farm")
    page.locator(".message", has_text="against must be another class").wait_for()


def test_stages_are_gone_through_with_slider_and_buttons(visit):
    page = visit()
    read(page, "wheat and corn fell")
    open_tab(page, "Look inside")
    here = page.locator(".way [aria-current]")
    assert here.inner_text() == "Input text"
    page.get_by_role("button", name="Next").click()
    page.locator(".way [aria-current]", has_text="Tokenization").wait_for()
    slider = page.get_by_role("slider")
    slider.focus()
    for name in ("Embedding", "Attention scores", "Attention weights"):
        slider.press("ArrowRight")
        page.locator(".way [aria-current]", has_text=name).wait_for()
    across = page.locator(".map thead th").all_inner_texts()
    down = page.locator(".map tbody th, .map tr:not(thead tr) > th").all_inner_texts()
    assert across == ["wheat", "and?", "corn", "fell?"]
    assert down[:4] == across
    page.get_by_role("button", name="Back").click()
    page.locator(".way [aria-current]", has_text="Attention scores").wait_for()


def test_training_is_drawn_with_its_numbers(visit, trained_folder):
    epochs = json.loads((trained_folder / "training_trace.json").read_text())["epochs"]
    page = visit()
    open_tab(page, "Training")
    assert page.locator("svg[role=img]:visible").count() >= 3
    table = page.get_by_role("region", name="Epochs")
    assert table.locator("tr").count() == 1 + len(epochs)
    assert f"{epochs[0]['loss']:.4f}" in table.inner_text()


def test_ten_questions_are_answered_explained_and_scored(visit):
    page = visit()
    open_tab(page, "Check yourself")
    page.get_by_role("button", name="Answer", exact=True).click()
    page.locator(".message", has_text="Choose an answer first").wait_for()
    right = 0
    for number in range(1, 11):
        page.get_by_role("heading", name=f"Question {number} of 10", exact=True).wait_for()
        run = page.locator("button.live:visible")
        if run.count():
            run.click()
            page.locator(".computed").wait_for()
        right += answer(page, 1) == "Right."
        name = "Next question" if number < 10 else "See the score"
        page.get_by_role("button", name=name).click()
    page.get_by_role("heading", name=f"{right} of 10 right").wait_for()
    page.get_by_role("button", name="Start again").click()
    page.get_by_role("heading", name="Question 1 of 10").wait_for()


def test_questions_are_about_the_text_that_was_typed(visit):
    page = visit()
    read(page, "barrel prices rose")
    open_tab(page, "Check yourself")
    for number in (1, 2):
        page.get_by_role("heading", name=f"Question {number} of 10", exact=True).wait_for()
        answer(page, 0)
        page.get_by_role("button", name="Next question").click()
    page.locator("blockquote", has_text="barrel prices rose").wait_for()
    page.get_by_role("button", name="Count them in the model").click()
    page.locator(".computed", has_text="3 × 3: 9 numbers").wait_for()


def test_page_works_by_keyboard_alone(visit):
    page = visit()
    text = page.get_by_label("Text", exact=True)
    text.focus()
    page.keyboard.press("Control+a")
    page.keyboard.type("wheat and crude rose")
    page.keyboard.press("Enter")
    first = page.locator("button.word").first
    page.locator("button.word", has_text="rose").wait_for()
    for _ in range(20):  # past the button, the tabs and the lists
        page.keyboard.press("Tab")
        if page.evaluate("document.activeElement.matches('.word')"):
            break
    assert first.evaluate("word => word === document.activeElement")
    page.keyboard.press("ArrowRight")
    page.keyboard.press("ArrowRight")
    page.locator("output", has_text="crude: contribution").wait_for()
    page.keyboard.press("Enter")
    page.get_by_role("heading", name="Without “crude”").wait_for()
    struck = page.locator("button.word[aria-pressed=true]")
    struck.and_(page.locator(":focus")).wait_for()
    page.keyboard.press("Enter")
    page.locator(".without").wait_for(state="detached")
    page.get_by_role("tab", name="Check yourself").focus()
    page.keyboard.press("Enter")
    page.get_by_role("radio").first.focus()
    page.keyboard.press("Tab")
    page.keyboard.press("Space")
    for _ in range(3):  # past the other choices
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    page.locator(".answer h3", has_text="Right.").wait_for()


def test_strange_texts_are_shown_as_they_are(visit):
    page = visit()
    for text in (
        "<img src=x onerror=console.error(1)> <script>console.error(2)</script> crude",
        "{{constructor}} ${console.error(3)} {%crude%}",
        "ארה״ב crude النفط",
        "crude 👩‍👩‍👧",
        "opec",
    ):
        read(page, text)
        for tab in TABS:
            open_tab(page, tab)
        open_tab(page, "Classify")
    assert page.locator("img[src=x]").count() == 0


def test_long_text_is_refused_and_the_last_one_stays(visit):
    page = visit()
    read(page, "wheat fell")
    page.get_by_label("Text", exact=True).fill("crude " * 5000)
    page.get_by_role("button", name="Read").click()
    page.locator("#notice .message", has_text="up to 4,000 characters").wait_for()
    assert page.locator("button.word").all_inner_texts() == ["wheat", "fell"]
    read(page, "crude rose")
    assert page.locator("#notice .message").count() == 0


def test_very_long_word_does_not_widen_a_phone(visit):
    page = visit(viewport=PHONE)
    read(page, "crude " + "w" * 300)
    page.locator("button.word").last.click()
    page.locator(".without").wait_for()
    for tab in TABS:
        open_tab(page, tab)
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab


def test_empty_text_has_the_bias_alone(visit):
    page = visit()
    page.get_by_label("Text", exact=True).fill("")
    page.get_by_role("button", name="Read").click()
    page.locator(".note", has_text="No words were read").wait_for()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_tabs_have_no_grave_finding_of_axe_and_fit_a_phone(visit, scheme):
    axe = pytest.importorskip("axe_playwright_python.sync_playwright").Axe()
    page = visit(viewport=PHONE, color_scheme=scheme)
    read(page, "wheat and corn fell in april while crude oil rose")
    page.locator("button.word", has_text="crude").click()
    page.locator(".without").wait_for()
    for tab in TABS:
        open_tab(page, tab)
        if tab == "Look inside":
            for name in ("Tokenization", "Embedding", "Attention scores", "Attention weights"):
                page.get_by_role("button", name="Next").click()
                page.locator(".way [aria-current]", has_text=name).wait_for()
        if tab == "Check yourself":
            answer(page, 0)
        found = axe.run(page).response["violations"]
        grave = [(one["id"], [node["html"][:120] for node in one["nodes"]])
                 for one in found if one["impact"] in GRAVE]  # fmt: skip
        assert grave == [], tab
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE["width"], tab
