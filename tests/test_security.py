"""What input can never do: run code, reach a shell, leave the project's folders, or become HTML, a formula or LaTeX."""

import ast
import csv
import io
import re
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hsivi import layout, yaml_text
from hsivi.config import ROOT, SCALES, ConfigError, experiment_files, load_experiment, validate_config
from hsivi.experiment import Experiment
from hsivi.merging.product import products
from hsivi.methods import Cell
from hsivi.record import read_record, write_record
from hsivi.sources import SourceFile, published_sets
from reports import index
from reports._harmless import csv_cell, markdown_cell, visible
from reports._page_files import SCRIPTS, code
from reports._tables import LATEX, Table, latex
from reports._tables import Cell as Shown
from tests import page_results
from tests.test_workflow import Checkout

SOURCES = [p for folder in ("hsivi", "baselines", "reports") for p in sorted((ROOT / folder).rglob("*.py"))]
RUNS_CODE = {"eval", "exec", "compile", "__import__", "system", "popen", "spawnl", "getoutput", "mktemp", "read_pickle"}
"""Calls that run text, or open a file that somebody may have put there."""
RUNS_PICKLES = {"pickle", "_pickle", "cPickle", "shelve", "marshal", "dill", "cloudpickle", "joblib"}
NETWORK = {
    "urllib",
    "http",
    "requests",
    "socket",
    "ftplib",
    "huggingface_hub",
    "httpx",
    "aiohttp",
    "smtplib",
    "telnetlib",
}
DOWNLOADS = {
    "urlopen",
    "urlretrieve",
    "download_url_to_file",
    "load_state_dict_from_url",
    "from_pretrained",
    "hf_hub_download",
}


def _name(path: Path) -> str:
    return str(path.relative_to(ROOT))


def faults(tree: ast.AST) -> Iterator[str]:
    """Yield what a source file does that could run what somebody else wrote."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Attribute | ast.Name) and isinstance(node.ctx, ast.Load):
            name = node.attr if isinstance(node, ast.Attribute) else node.id
            owner = ast.unparse(node.value) if isinstance(node, ast.Attribute) else ""
            if name in RUNS_CODE and (owner in ("", "os", "builtins", "subprocess", "tempfile", "pd", "pandas")):
                yield f"{owner}.{name}"
            if owner in RUNS_PICKLES and name in ("load", "loads", "Unpickler"):
                yield f"{owner}.{name}"
        if isinstance(node, ast.ImportFrom) and (node.module or "").split(".")[0] in RUNS_PICKLES:
            yield f"from {node.module}"
        if isinstance(node, ast.Call):
            yield from _call_faults(node)


def _call_faults(node: ast.Call) -> Iterator[str]:
    called, words = ast.unparse(node.func), {word.arg: ast.unparse(word.value) for word in node.keywords}
    if words.get("shell", "False") != "False":
        yield f"{called}(shell)"
    if called in ("torch.load", "load_object") and words.get("weights_only") != "True":
        yield f"{called} without weights_only"
    if called in ("np.load", "numpy.load") and words.get("allow_pickle", "False") != "False":
        yield f"{called} with pickles"
    reads_yaml = re.fullmatch(r"yaml\.(\w*load\w*|parse|compose)", called) and called != "yaml.safe_load"
    if reads_yaml and words.get("Loader") not in ("LOADER", "yaml.SafeLoader"):
        yield f"{called} that is not safe"


@pytest.mark.parametrize("path", SOURCES, ids=_name)
def test_no_source_file_runs_what_others_wrote(path: Path) -> None:
    assert not list(faults(ast.parse(path.read_text())))


@pytest.mark.parametrize(
    "text",
    [
        "eval(x)", "exec(x)", "compile(x, '', 'exec')", "__import__(x)", "os.system(x)", "os.popen(x)", "f = eval",
        "subprocess.run(x, shell=True)", "subprocess.run(x, shell=y)", "subprocess.getoutput(x)", "pickle.loads(x)",
        "pickle.Unpickler(x)", "from pickle import loads", "import pickle; pickle.load(x)", "torch.load(x)",
        "torch.load(x, weights_only=False)", "torch.load(x, weights_only=y)", "np.load(x, allow_pickle=True)",
        "yaml.load(x)", "yaml.load(x, Loader=yaml.Loader)", "yaml.unsafe_load(x)", "yaml.full_load(x)",
        "pd.read_pickle(x)", "tempfile.mktemp()",
    ],
)  # fmt: skip
def test_what_runs_code_is_found(text: str) -> None:
    assert list(faults(ast.parse(text)))


def test_the_yaml_loader_is_safe() -> None:
    assert issubclass(yaml_text.LOADER, yaml_text.yaml.constructor.SafeConstructor)


def test_downloads_are_in_two_places_and_checked() -> None:
    """Who opens a connection is `hsivi.fetching` for listed files, and the Inception weights with their hash."""
    opening = set()
    for path in SOURCES:
        for node in ast.walk(ast.parse(path.read_text())):
            names = [a.name for a in node.names] if isinstance(node, ast.Import) else []
            names += [node.module or ""] if isinstance(node, ast.ImportFrom) else []
            if any(name.split(".")[0] in NETWORK for name in names):
                opening.add(_name(path))
            if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] in DOWNLOADS:
                opening.add(_name(path))
                if "download_url_to_file" in ast.unparse(node.func):
                    assert "hash_prefix" in {word.arg for word in node.keywords}
    assert opening == {"hsivi/fetching.py", "hsivi/metrics/extractor.py"}
    assert not [p for p in SOURCES if re.search(r"\bdownload=True\b", p.read_text())]


def test_every_file_that_is_downloaded_has_a_hash_and_a_plain_name() -> None:
    assert SourceFile.model_fields["sha256"].is_required() and SourceFile.model_fields["bytes"].is_required()
    files = [file for entry in published_sets().values() for file in entry.files]
    assert len(files) >= 10
    for file in files:
        assert re.fullmatch(r"[0-9a-f]{64}", file.sha256) and file.bytes > 0
        assert Path(file.name).name == file.name and not file.name.startswith(".")
        for source in file.sources:
            assert re.match(r"https?://", getattr(source, "url", "https://")), source


RULES = [ROOT / "Snakefile", *sorted((ROOT / "workflows" / "rules").glob("*.smk"))]


@pytest.mark.parametrize("path", RULES, ids=_name)
def test_rules_put_nothing_into_a_shell_that_was_not_checked(path: Path) -> None:
    """Wildcards are constrained, and scale, scope, experiments and names were looked up before any rule is read."""
    allowed = {"threads", "log"} | {f"wildcards.{name}" for name in ("experiment", "dataset", "label", "nfe")}
    allowed |= {f"params.{name}" for name in ("scale", "scope", "experiments", "name")}
    text = path.read_text()
    for command in re.findall(r"shell:\n((?:\s+\"[^\n]*\n)+)", text):
        assert set(re.findall(r"\{([^{}]*)\}", command)) <= allowed
        assert not re.search(r"[`;&]|\$\(", command.replace("2>&1", ""))
    assert text.count("shell:") == len(re.findall(r"shell:\n\s+\"python -m hsivi ", text))
    assert not re.search(r"^\s*run:|\bshell\(", text, re.MULTILINE)


def test_wildcards_are_constrained_to_plain_names() -> None:
    found = dict(re.findall(r'^    (\w+)="(\[.*\]\+)",$', (ROOT / "Snakefile").read_text(), re.MULTILINE))
    assert set(found) == {"experiment", "dataset", "label", "nfe"}
    for pattern in found.values():
        assert not [c for c in map(chr, range(256)) if re.fullmatch(pattern, c) and not re.match(r"[a-z0-9_-]", c)]
    for name in experiment_files():
        for product in products(load_experiment(name, "smoke")):
            assert re.fullmatch(found["experiment"], name) and re.fullmatch(found["dataset"], product.dataset)
            assert product.cell is None or re.fullmatch(found["label"], product.cell.label)


@pytest.mark.slow
@pytest.mark.parametrize(
    "settings",
    [
        "experiments=toy2d; touch hacked", "experiments=$(touch hacked)", "experiments=../toy2d",
        "experiments=/etc/passwd",
        "scale=$(touch hacked)", "scale='; touch hacked; '", "scope=core; touch hacked", "devices=1; touch hacked",
        "scale=[1, 2]", "experiments={a: b}",
    ],
)  # fmt: skip
def test_settings_of_a_run_reach_no_shell(settings: str, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path)
    done = checkout.snakemake("--cores", "1", "--config", settings)
    output = done.stdout + done.stderr
    assert done.returncode != 0 and "Traceback" not in output
    (line,) = [line for line in output.splitlines() if line.strip() and not line.startswith("Using workflow")]
    assert line.startswith("snakemake: ") and "got" in line and "expected" in line
    assert not list(tmp_path.rglob("hacked")) and not (tmp_path / "results").exists()


@given(
    name=st.text(max_size=12) | st.sampled_from(["../x", "/x", "a/../b", "..", ".", "", "a\n", "~", "a b", "$x", "é"])
)
def test_names_that_are_accepted_stay_in_their_folder(name: str) -> None:
    content = load_experiment("ring", "smoke").model_dump()
    for changes in ({"name": name}, {"methods": {name: {"baseline": "ddim"}}}):
        try:
            found: Experiment = validate_config(Experiment, content | changes, "x")
        except ConfigError:
            continue
        (label,) = found.methods if "methods" in changes else ("ddim",)
        place = layout.CellFiles(Cell("smoke", found.name, "unit_ring", label, 5)).record
        assert layout.inside_results(place).parts[:4] == ("smoke", found.name, "unit_ring", label)
        assert ".." not in place.parts and re.fullmatch(r"[a-z0-9_-]+", label)


TEXTS = [
    page_results.HOSTILE, "<script>window.hacked=1</script>", "' onmouseover='window.hacked=1", '" onload="hacked()',
    "{{ 7 * 191 }}{% for x in y %}", "<!-- hacked", "--><svg/onload=hacked()>", "]]><x-hacked>", "&lt;x-hacked&gt;",
    "javascript:hacked()", "\u202e<b>hacked</b>\u2066", "</textarea></title></style><x-hacked>",
    "<\x00script>hacked</script>",
]  # fmt: skip


class Elements(HTMLParser):
    """What a page consists of."""

    def __init__(self) -> None:
        super().__init__()
        self.names: dict[str, int] = {}
        self.handlers: list[tuple[str, str]] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names[tag] = self.names.get(tag, 0) + 1
        self.handlers += [(tag, name) for name, _ in attrs if name.startswith("on")]
        self.links += [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction")]


def _elements(text: str) -> Elements:
    found = Elements()
    found.feed(text)
    return found


@pytest.fixture(scope="module")
def pages(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The page of the same results, once with plain names and once with hostile ones wherever a text may stand."""
    made = {}
    for kind, text in (("plain", "plain"), ("hostile", "".join(TEXTS))):
        with pytest.MonkeyPatch.context() as patch:
            patch.chdir(tmp_path_factory.mktemp(kind))
            patch.setattr(page_results, "HOSTILE", text)
            patch.setattr(index, "outcomes", lambda *_: [])
            toys = page_results.experiments()[0]
            toys = toys.model_copy(update={"title": text, "source": text})
            page_results.write([toys])
            _spoil(text)
            index.render("quick", [toys])
            made[kind] = (layout.reports("quick") / "index.html").read_text()
    return made


def _spoil(text: str) -> None:
    """Put a text into every field of records that may hold any, and in every note."""
    for number, path in enumerate(sorted(Path("results").rglob("record.json"))):
        record = read_record(path)
        changes: dict[str, Any] = {
            "title": text, "command": text, "commit": text, "device": text,
            "environment": {"processor": text, text: text},
            "config": {text: text}, "reason": text, "digests": {text: text, "code": text, "settings": text},
        }  # fmt: skip
        if number % 5 == 0 and record.label == "fastdpm":
            changes |= {"status": "declined", "measurements": ()}
        write_record(path, record.model_copy(update=changes))
    for path in Path("results").rglob("*.log"):
        path.write_text(text)


def test_hostile_texts_add_no_element_handler_or_link(pages: dict[str, str]) -> None:
    plain, hostile = _elements(pages["plain"]), _elements(pages["hostile"])
    assert plain.names["script"] >= len({"own", "tables", "plots"}) and sum(plain.names.values()) > 200
    assert hostile.names == plain.names
    assert hostile.handlers == plain.handlers == []
    assert not [link for link in hostile.links if link.startswith(("javascript:", "data:text"))]
    assert len(hostile.links) == len(plain.links)


def test_hostile_texts_are_shown_all_the_same(pages: dict[str, str]) -> None:
    text = pages["hostile"]
    for shown in ("&lt;script&gt;window.hacked=1&lt;/script&gt;", "{{ 7 * 191 }}", "\\u202e"):
        assert shown in text
    assert "1337" not in re.sub(r"<script.*?</script>", "", text, flags=re.DOTALL), "it is no template"
    assert not set("\u202e\u2066\x00") & set(text)
    own = "".join(str(script) for script in (code().own, code().tables, code().plots))
    assert "<script>window.hacked" not in text.replace(own, ""), "not even inside of the embedded data"


def test_scripts_of_the_page_build_no_html_of_texts() -> None:
    for name in SCRIPTS:
        source = (ROOT / "reports" / "page" / f"{name}.js").read_text()
        assert not re.search(r"innerHTML|outerHTML|insertAdjacentHTML|document\.write|\beval\(|new Function", source)


@pytest.mark.parametrize(
    "text",
    [
        "=1+1",
        "@SUM(A1)",
        "+cmd|' /C calc'!A0",
        "-2+3+cmd|' /C calc'!A0",
        "-2 +cmd|x!A0",
        '-1 +LINK("x")',
        "\t=1",
        "\r=1",
        " =1",
    ],
)
def test_a_spreadsheet_finds_no_formula(text: str) -> None:
    table = Table((text,), (("", text),), (((text,), (Shown(text),)),))
    for row in csv.reader(io.StringIO(table.text("csv"), newline="")):
        assert row == [f"'{' '.join(text.splitlines())}"] * 2


@pytest.mark.parametrize(
    "text",
    ["-0.0123 ± 0.1", "-0.1000 (-1224.7 s.e.)", "+3.5", "-.5", "–", "-", "1e-3", "DDIM", "-inf", "a=b", "", "− 3"],
)
def test_numbers_and_words_stay_as_they_are(text: str) -> None:
    assert csv_cell(text) == text


def test_markdown_keeps_a_cell_a_cell() -> None:
    assert markdown_cell("a|b\nc <script>x</script> p < 0.01") == r"a\|b c \<script>x\</script> p < 0.01"


@given(text=st.text(st.characters(max_codepoint=126, min_codepoint=32)))
def test_latex_reads_a_text_as_words(text: str) -> None:
    rest = latex(text)
    for replacement in sorted(LATEX.values(), key=len, reverse=True):
        rest = rest.replace(replacement, "")
    assert not set("\\{}$&#%_^~") & set(rest)


def test_what_turns_text_round_is_spelt_out() -> None:
    assert visible({"a\u202e": ["x\u200by", 1, None, ("\x1b",)]}) == {"a\\u202e": ["x\\u200by", 1, None, ("\\x1b",)]}


@pytest.mark.parametrize("scale", SCALES)
def test_results_stay_below_their_folder(scale: str) -> None:
    for name in experiment_files():
        for product in products(load_experiment(name, scale)):
            for file in (*product.files, *product.inputs, product.log):
                assert not file.is_absolute() and ".." not in file.parts
