"""The documentation: it builds, its examples run, it names everything the code knows, and it needs no network."""

import re
import shutil
from html.parser import HTMLParser
from pathlib import Path

import pytest
import yaml
from mkdocs.commands.build import build
from mkdocs.config import load_config

from docs._hooks.commands import subcommands
from docs._hooks.experiments import budgets, load
from docs._hooks.methods import references
from hsivi.baseline_file import describe
from hsivi.config import ROOT, SCALES, SCOPES, experiment_files
from hsivi.listing import METRICS
from hsivi.methods import cells, method_files, rows
from hsivi.problem import SCHEDULES
from hsivi.time_grid import grids
from tests.doc_examples import DOCS, PAGES, run_python, run_shell, shell_blocks

RESOURCES = {"script": "src", "link": "href", "img": "src", "iframe": "src", "source": "src", "use": "href"}
"""Elements whose address a browser loads by itself, unlike that of a link a reader follows."""
NOT_LOADED = ("canonical", "next", "prev", "alternate")
ALREADY_RUN: set[str] = set()
"""Blocks of shell that several pages show are run once."""


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The site, built as `make docs` does: a broken link or anchor is an error."""
    folder = tmp_path_factory.mktemp("site")
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(ROOT)
        patch.setenv("NO_MKDOCS_2_WARNING", "1")
        config = load_config(str(ROOT / "mkdocs.yml"), site_dir=str(folder))
        assert config.strict
        config.plugins.on_startup(command="build", dirty=False)
        build(config)
    return folder


def page(site: Path, name: str) -> str:
    return (site / name).read_text()


# --------------------------------------------------------------------------------------------------------- examples
@pytest.mark.parametrize("name", [name for name, path in PAGES.items() if "```python" in path.read_text()])
def test_python_examples(name: str) -> None:
    assert run_python(PAGES[name]) == PAGES[name].read_text().count("```python")


@pytest.fixture(scope="module")
def copy(tmp_path_factory: pytest.TempPathFactory) -> Path:
    from tests.test_workflow import Checkout

    folder = Checkout(tmp_path_factory.mktemp("docs")).folder
    for name in ("Makefile", "references.bib", "pyproject.toml", "constraints.txt"):
        shutil.copy(ROOT / name, folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", [name for name, path in PAGES.items() if shell_blocks(path)])
def test_shell_examples(name: str, copy: Path) -> None:
    for block in shell_blocks(PAGES[name]):
        if block.reason is None and block.code not in ALREADY_RUN:
            run_shell(block.code, copy)
            ALREADY_RUN.add(block.code)


def test_few_shell_examples_are_not_run_and_each_says_why() -> None:
    blocks = [block for path in PAGES.values() for block in shell_blocks(path)]
    unrun = [block for block in blocks if block.reason is not None]
    assert len(blocks) == sum(path.read_text().count("```bash") for path in PAGES.values())
    assert len(blocks) - len(unrun) >= 6
    assert len(unrun) <= 9
    assert all(len((block.reason or "").split()) >= 4 for block in unrun), "a reason is a few words"


def test_an_example_that_prints_something_else_is_found(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.md"
    wrong.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="prints"):
        run_python(wrong)
    wrong.write_text("```python\nprint(1)\n```\n")
    with pytest.raises(AssertionError, match="does not say"):
        run_python(wrong)


# ----------------------------------------------------------------------------------------------------- completeness
def test_the_navigation_has_every_page() -> None:
    def pages(node: object) -> list[str]:
        if isinstance(node, str):
            return [node]
        parts = node.values() if isinstance(node, dict) else node
        return [name for part in parts for name in pages(part)]  # type: ignore[union-attr]

    (text,) = re.findall(r"^nav:\n(?:.*\n)*", (ROOT / "mkdocs.yml").read_text(), re.MULTILINE)
    named = pages(yaml.safe_load(text)["nav"])
    assert len(named) == len(set(named))
    assert set(named) == set(PAGES)


def test_every_experiment_has_a_section_with_its_budgets(site: Path) -> None:
    text = page(site, "experiments.html")
    for name in experiment_files():
        assert f'id="{name}"' in text
        assert f"<!-- generated: budgets {name} -->" in PAGES["experiments.md"].read_text()
        tables = budgets(name)
        for scale in SCALES:
            experiment = load(name, scale)
            assert all(f"| `{label}` |" in tables for label in rows(experiment))
            assert f"{experiment.num_samples:,}" in tables
        counted = [[str(len(cells(load(name, scale, scope)))) for scale in SCALES] for scope in SCOPES]
        for scope, numbers in zip(SCOPES, counted, strict=True):
            assert f"| cells, scope {scope} | {' | '.join(numbers)} |" in tables
    assert "<!-- generated" not in text


def test_every_time_grid_has_its_rule(site: Path) -> None:
    text = page(site, "experiments.html")
    for kind in SCHEDULES.values():
        assert all(f"<code>{name}</code>" in text for name in grids(kind()))


def test_every_method_has_a_section_with_its_reference(site: Path) -> None:
    text = " ".join(page(site, "methods.html").split())
    cited = references()
    for name, path in method_files().items():
        found = describe(path)
        assert f'id="{name}"' in text and found.title in text
        section = text.partition(f'id="{name}"')[2].partition("<h3")[0]
        words = re.sub(r"<[^>]*>|&nbsp;|&\w+;", " ", cited[found.citation]).split()
        assert all(word in section for word in words), name
    assert len(cited) == (ROOT / "references.bib").read_text().count("\n@")


def test_every_metric_is_defined() -> None:
    text = PAGES["metrics.md"].read_text()
    for name in {name for names in METRICS.values() for name in names}:
        wanted = name.removeprefix("fd_<set>_classifier@..., or with Inception ")
        assert wanted in text, name
    measured = {f"{kind}_inception@..." for kind in ("fid", "isc")} | {"fd_<set>_classifier@..."}
    assert all(name in text for name in measured | {"forward_equivalents"})


def test_every_command_has_a_section_with_its_arguments(site: Path) -> None:
    text = page(site, "commands.html")
    for name, command, _ in subcommands():
        section = text.partition(f'id="{name}"')[2].partition("<h3")[0]
        assert section, name
        options = [o for action in command._actions for o in action.option_strings if o not in ("-h", "--help")]
        assert all(f"<code>{option}</code>" in section for option in options), name


def test_every_environment_variable_is_explained() -> None:
    sources = [
        *ROOT.glob("hsivi/**/*.py"),
        *ROOT.glob("reports/*.py"),
        *ROOT.glob("baselines/*.py"),
        ROOT / "Snakefile",
    ]
    known = {name for path in sources for name in re.findall(r"(?<!\w)HSIVI_[A-Z_]+", path.read_text())}
    table = PAGES["commands.md"].read_text().partition("## Environment variables")[2]
    assert known <= set(re.findall(r"`(HSIVI_[A-Z_]+)`", table))


def test_every_variable_and_target_of_make_is_explained() -> None:
    makefile, text = (ROOT / "Makefile").read_text(), PAGES["commands.md"].read_text()
    for name in re.findall(r"^([A-Z]+) \?=", makefile, re.MULTILINE):
        assert f"| `{name}` |" in text
    (targets,) = re.findall(r"^\.PHONY: (.*)$", makefile, re.MULTILINE)
    assert all(f"make {target}" in text for target in targets.split() if target != "environment")


def test_the_picture_shows_the_rules_of_the_graph() -> None:
    rules = "".join(path.read_text() for path in ROOT.glob("workflows/rules/*.smk"))
    named = set(re.findall(r"^rule (\w+):", rules, re.MULTILINE)) | set(re.findall(r'f"(\w+)_\{\w+\.name\}"', rules))
    drawn = re.findall(r'class="stage"[^>]*>(\w+)<', (DOCS / "assets" / "graph.svg").read_text())
    assert sorted(drawn) == sorted(named)


# ---------------------------------------------------------------------------------------------------- the built site
class Resources(HTMLParser):
    """Collects what a browser would load for a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        values = dict(attrs)
        if tag in RESOURCES and values.get("rel") not in NOT_LOADED and (address := values.get(RESOURCES[tag])):
            self.found.append(address)
        self.found += re.findall(r"url\(([^)]*)\)", values.get("style") or "")


def test_nothing_is_loaded_from_elsewhere(site: Path) -> None:
    for path in site.rglob("*.html"):
        found = Resources(path.read_text()).found
        assert found
        assert not [address for address in found if re.match(r"(\w+:)?//", address)], path.name
    for path in site.rglob("*.css"):
        assert not re.search(r"url\(['\"]?(\w+:)?//|@import", path.read_text()), path.name


def test_formulas_are_mathml(site: Path) -> None:
    text = page(site, "metrics.html")
    source = PAGES["metrics.md"].read_text()
    blocks = source.count("$$") // 2
    assert text.count("<math xmlns") == blocks + source.replace("$$", "").count("$") // 2
    assert text.count('display="block"') == blocks
    assert not re.search(r"arithmatex|\\(frac|sum|text|hat)\b", text.partition("<article")[2].partition("</article")[0])


def test_root_files_are_included_not_copied(site: Path) -> None:
    for name in ("DEVIATIONS", "CHANGELOG"):
        headings = re.findall(r"^## (.*)$", (ROOT / f"{name}.md").read_text(), re.MULTILINE)
        shown = re.findall(r"<h2 [^>]*>(.*?)<a", page(site, f"{name.lower()}.html"))
        assert [heading.replace("`", "") for heading in headings] == [
            re.sub(r"</?code>", "", heading) for heading in shown
        ]
    assert "hsivi new-baseline euler" in page(site, "add_baseline.html")
    assert "generated_files.py" in page(site, "add_dataset.html")


def test_the_api_shows_docstrings(site: Path) -> None:
    shown = page(site, "api/model.html") + page(site, "api/training.html") + page(site, "api/running.html")
    modules = ("schedule", "target", "score_model", "bridge", "gaussian", "hierarchy", "objective", "train")
    for name in (*modules, "sequential", "sampler", "noise", "record", "experiment", "config"):
        assert f'id="hsivi.{name}"' in shown
        public = re.findall(r"^(?:class|def) ([A-Za-z]\w*)", (ROOT / "hsivi" / f"{name}.py").read_text(), re.MULTILINE)
        assert all(f'id="hsivi.{name}.{noun}"' in shown for noun in public), name


def test_no_machine_path_in_the_site(site: Path) -> None:
    # Written in pieces, so that this file is not its own finding.
    patterns = ["/" + "work/", "/" + "root/", "/" + "tmp/", "pypi" + r"\.org", "python" + "hosted"]
    own = [*site.rglob("*.html"), site / "search" / "search_index.json"]
    for path in [*own, *PAGES.values(), ROOT / "mkdocs.yml"]:
        assert not re.search("|".join(patterns), path.read_text()), path


@pytest.mark.slow
def test_a_browser_without_a_network_reads_and_searches_the_site(site: Path) -> None:
    sync_api = pytest.importorskip("playwright.sync_api")
    chromium = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if chromium is None:
        pytest.skip("no Chromium on this machine")
    with sync_api.sync_playwright() as browsers:
        browser = browsers.chromium.launch(executable_path=chromium, args=["--no-sandbox"])
        view = browser.new_context(offline=True, viewport={"width": 390, "height": 844}).new_page()
        asked, errors = [], []
        view.on("request", lambda request: asked.append(request.url))
        view.on("console", lambda message: errors.append(message.text) if message.type == "error" else None)
        for name in ("index", "concepts", "experiments", "metrics", "methods", "commands", "api/examples", "api/model"):
            view.goto((site / f"{name}.html").as_uri())
            assert view.evaluate("document.documentElement.scrollWidth <= window.innerWidth"), f"{name} is too wide"
        view.locator("label[for=__search]").first.click()
        view.locator("input.md-search__input").press_sequentially("covariance_frobenius", delay=20)
        view.locator(".md-search-result__item a").first.wait_for(state="attached", timeout=15_000)
        assert "metrics.html" in str(view.locator(".md-search-result__item a").first.get_attribute("href"))
        browser.close()
    assert all(address.startswith(("file:", "data:", "blob:")) for address in asked)
    assert not errors
