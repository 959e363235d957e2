"""The documentation as a site: it builds without a warning, is complete and fetches nothing."""

import functools
import http.server
import importlib
import os
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import urlsplit

import pytest
import typer

import hf_attn
from hf_attn import cli
from hf_attn.loading import load_classifier
from hf_attn.settings import settings_from_flags

ROOT = Path(__file__).parents[1]
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Where readers may be sent. A new address is added here by hand, since no test follows links.
LINKED_HOSTS = {
    "arxiv.org",
    "doi.org",
    "fasttext.cc",
    "github.com",
    "huggingface.co",
    "squidfunk.github.io",
    "transformer-circuits.pub",
}
# Attributes that a browser follows by itself, and those of `a`, which only a reader does.
LOADED = {"src", "href", "data", "poster", "srcset", "action", "xlink:href"}
CSS_ADDRESS = re.compile(r"url\(\s*[\"']?((?:https?:)?//[^)\"']+)|@import\s+[\"']([^\"']+)")


class Page(HTMLParser):
    """What a page links to, what it loads, and the code of its scripts and styles."""

    def __init__(self, text):
        super().__init__()
        self.links, self.loaded, self.ids, self.code = [], [], set(), {"script": "", "style": ""}
        self.inside = None
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.inside = tag if tag in self.code else None
        for name, value in attrs:
            if name == "id":
                self.ids.add(value)
            elif name in LOADED and value:
                (self.links if (tag, name) == ("a", "href") else self.loaded).append(value)

    def handle_endtag(self, tag):
        if tag == self.inside:
            self.inside = None

    def handle_data(self, data):
        if self.inside:
            self.code[self.inside] += data


def is_elsewhere(address):
    return bool(urlsplit(address).netloc)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    built = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False
    )
    assert built.returncode == 0, built.stderr
    return folder


@pytest.fixture(scope="module")
def pages(site):
    return {
        str(file.relative_to(site)): Page(file.read_text(encoding="utf-8"))
        for file in site.rglob("*.html")
    }


def test_every_page_of_the_navigation_is_built(site, pages):
    assert {"index.html", "tutorial/index.html", "from-fasttext/index.html"} <= set(pages)
    assert (site / "notebooks/inside-attention/index.html").is_file()


def test_every_public_name_has_its_place_on_an_api_page(pages):
    places = set().union(*(page.ids for name, page in pages.items() if name.startswith("api/")))
    missing = [name for name in hf_attn.__all__ if f"hf_attn.{name}" not in places]
    assert missing == ["__version__"]  # a string, named in words


def test_names_in_docstrings_are_links(pages, site):
    text = (site / "api/training/index.html").read_text(encoding="utf-8")
    assert "[<code>" not in text
    assert "#hf_attn.load_text_dataset" in pages["api/training/index.html"].links


def test_configuration_shows_its_fields_and_defaults(site):
    text = (site / "api/model/index.html").read_text(encoding="utf-8")
    signature = re.sub(r"<[^>]+>", "", text[text.index('id="hf_attn.HfAttnConfig"') :])
    assert "vocab_size: int = 30000" in re.sub(r"\s+", " ", signature)[:2000]


def test_pages_load_nothing_from_elsewhere(pages):
    found = [
        (name, address)
        for name, page in pages.items()
        for address in page.loaded
        if is_elsewhere(address)
    ]
    assert found == []


def test_scripts_and_styles_of_pages_name_no_other_host(pages):
    for name, page in pages.items():
        assert not CSS_ADDRESS.search(page.code["style"]), name
        assert not re.search(r"https?://", page.code["script"]), name


def test_style_sheets_load_nothing_from_elsewhere(site):
    sheets = list(site.rglob("*.css"))
    assert sheets
    found = [sheet.name for sheet in sheets if CSS_ADDRESS.search(sheet.read_text("utf-8"))]
    assert found == []


def test_links_to_elsewhere_go_where_we_know_of(pages):
    hosts = {urlsplit(link).netloc for page in pages.values() for link in page.links} - {""}
    assert hosts <= LINKED_HOSTS
    schemes = {urlsplit(link).scheme for page in pages.values() for link in page.links} - {""}
    assert schemes <= {"https", "mailto"}


def test_flags_that_pages_name_exist(capsys):
    known = set()
    for command in typer.main.get_command(cli.app).commands.values():
        known |= {flag for option in command.params for flag in option.opts + option.secondary_opts}
    with pytest.raises(SystemExit):
        settings_from_flags(["--help"], "hf-attn train")
    known |= set(re.findall(r"--[\w-]+", capsys.readouterr().out))
    for page in (
        "train",
        "evaluate",
        "predict",
        "explain",
        "lexicon",
        "export",
        "from-fasttext",
        "limits",
    ):
        text = (ROOT / "docs" / f"{page}.md").read_text(encoding="utf-8")
        text = re.sub(r"^(?:accelerate|torchrun).*$", "", text, flags=re.M)
        named = set(re.findall(r"(?<![\w-])--[a-z][\w-]+", text))
        assert named - known == set(), page


def figures(name):
    """The numbers in the rows of tables, and those of lists, of a page."""
    text = (ROOT / name).read_text(encoding="utf-8").replace("\u2212", "-")
    return set(re.findall(r"\d[\d,]*\.\d+(?:e-\d+)?|\d+,\d{3}|\d+(?= [%×])", text))


def test_benchmarks_state_no_figure_that_is_not_measured_elsewhere():
    pages = [
        "README.md",
        *(f"docs/{name}-measured.md" for name in ("accuracy", "explanations", "speed")),
    ]
    measured = set().union(*map(figures, pages))
    rounded = {f"{float(number):.1f}" for number in measured if re.fullmatch(r"\d+\.\d\d", number)}
    assert figures("docs/benchmarks.md") - measured - rounded - {"3.11"} == set()


@pytest.fixture
def server(site):
    """Serves the site on loopback and gives its address."""

    class Handler(http.server.SimpleHTTPRequestHandler):
        def log_message(self, *_):
            pass

    handler = functools.partial(Handler, directory=site)
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as running:
        threading.Thread(target=running.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{running.server_port}"
        running.shutdown()


@pytest.fixture
def browser_page():
    """A page in Chromium, with what it asked for and what its console said."""
    if CHROMIUM is None:
        pytest.skip("needs Chromium")
    from playwright.sync_api import sync_playwright

    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": 390, "height": 800})
        page.asked, page.said = [], []
        page.on("request", lambda request: page.asked.append(request.url))
        page.on("console", lambda message: page.said.append(message.text))
        page.on("pageerror", lambda error: page.said.append(str(error)))
        yield page
        browser.close()


@pytest.mark.parametrize(
    "path", ["", "tutorial/", "from-fasttext/", "benchmarks/", "api/model/", "notebooks/decisions/"]
)
def test_page_in_a_browser_stays_on_its_server_and_fits_a_phone(server, browser_page, path):
    browser_page.goto(f"{server}/{path}", wait_until="networkidle")
    assert [address for address in browser_page.asked if not address.startswith(server)] == []
    assert browser_page.said == []
    assert browser_page.evaluate("document.documentElement.scrollWidth") <= 390


def test_search_works_without_a_network(server, browser_page):
    # With the words in the address none are typed before the page listens.
    browser_page.goto(f"{server}/?q=quantize")
    result = browser_page.locator(".md-search-result__link").first
    result.wait_for(timeout=60_000)
    assert "from-fasttext" in result.get_attribute("href")
    assert [address for address in browser_page.asked if not address.startswith(server)] == []


def test_picture_is_the_same_bytes_each_time(trained_folder, tmp_path, monkeypatch):
    monkeypatch.syspath_prepend(ROOT / "scripts")
    script = importlib.import_module("make_pictures")
    model, tokenizer = load_classifier(str(trained_folder))
    for name in ("first.png", "second.png"):
        script.draw_decision(model, tokenizer, tmp_path / name, attentions=True)
    first = (tmp_path / "first.png").read_bytes()
    assert first == (tmp_path / "second.png").read_bytes()
    assert first.startswith(b"\x89PNG")
    assert len(first) < 100_000
