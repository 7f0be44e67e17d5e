"""The contract itself: every check finds the mistake it is for, says so in plain words, and nothing else fails."""

import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from hsivi import methods, new_baseline
from hsivi.__main__ import main
from hsivi.config import ROOT
from hsivi.contract import case
from hsivi.contract.checks import CHECKS, Result, examine
from hsivi.new_baseline import render

SAMPLER, INFERENCE = render("mine"), render("mine", "inference")
DEF, START, STEP, YIELD = "def sample(", "x = noise.prior()", "        x = signal[t] *", "        yield x\n"
EVALUATE = "eps = problem.score_model.noise(x, levels[t + 1])"
IMPORT = "from torch import Tensor\n"
ELBO = 'return {"elbo": target.log_prob(state["mean"] + state["log_std"].exp() * z) - log_q}'
PRIOR = "    z = noise.prior()\n"
AT = r" at line \d+ of baselines/mine.py"


def before(text: str) -> tuple[str, str]:
    """Put a top-level statement in front of ``sample``, with what statements of tests need."""
    return DEF, f"import torch  # noqa\n\n{text}\n\n\n{DEF}"


def function(head: str, result: str) -> tuple[str, str]:
    return before(f"def {head}:\n    return {result}")


def learning(result: str) -> tuple[str, str]:
    return function("fit(problem, config, seeds, session)", result)


CORRELATED = """        centre, width = x.new_tensor([0.5, -0.3]), x.new_tensor([0.6, 0.2]).sqrt()
        if t == 0 and x.ndim == 2:
            z = (x - centre) / width
            x = centre + width * (0.8 * z + 0.6 * z[:, :1]).where(x.new_tensor([False, True]).bool(), z)
        yield x
"""
TOO_LONG = """class Training:
    iteration = 0

    def step(self):
        self.iteration += 1


def fit(problem, config, seeds, session):
    session.train(Training(), 10**9)
"""

BROKEN = [
    ("python", (DEF, "def sample(("), r"got invalid Python in line \d+ \(.*\), expected Python; correct it"),
    ("declarations", ("TITLE = ", "NAME = "), "got no TITLE = '...', expected one in every baseline; add it"),
    ("declarations", ("class Config", "class Settings"), "got no class Config, expected one in every baseline"),
    ("declarations", (DEF, "def draw("), r"got no function sample\(problem, config, noise, state\)"),
    ("declarations", ('TITLE = "Mine"', "TITLE = str(1)"), r"got TITLE = str\(1\), expected a string, spelt out"),
    ("declarations", before("NFE = 10"), r"got NFE = 10, expected budgets such as \(0,\)"),
    (
        "declarations",
        before('TASKS = ("all",)'),
        r"got TASKS = \('all',\), expected a tuple with one of diffusion, inf",
    ),
    ("declarations", before("LIMIT: bool = not 1"), "got LIMIT = not 1, expected True or False"),
    ("citation", ("song2021score", "song2021scor"), "'song2021scor'.* did you mean 'song2021score'.*references.bib"),
    (
        "imports",
        (IMPORT, "import hsivi.config\n"),
        "import of hsivi.config in line 10, expected modules of hsivi that know",
    ),
    ("imports", (IMPORT, "from hsivi.stages import fit\n"), "import of hsivi.stages.fit in line 10"),
    ("imports", (IMPORT, "from baselines import ddim\n"), "import of baselines.ddim in line 10"),
    ("imports", (IMPORT, "from . import ddim\n"), "import of baselines in line 10"),
    (
        "loading",
        (IMPORT, "from torch import Tenser\n"),
        f"its import raised ImportError: cannot import name 'Tenser'.*{AT}",
    ),
    ("loading", before("raise SystemExit"), f"its import raised SystemExit: {AT}; expected no exception"),
    ("settings", before("CONTRACT = {'eta': 1}"), "got {'eta': 1}, expected settings by label such as"),
    ("settings", before("CONTRACT = {'a': {'eta': 1}}"), r"CONTRACT\['a'\]: config key: got 'eta', expected"),
    (
        "settings",
        ('experiments may set them."""', '..."""\n\n    eta: float'),
        "Config: eta: got nothing, expected a value",
    ),
    ("settings", ("@dataclass(frozen=True)\n", ""), "Config: got a class that cannot be built"),
    ("offers", function("skip(problem, config)", "'not today'"), r"not to run on every problem .*\(not today\)"),
    ("offers", function("skip(problem, config)", "True"), "skip: got True, expected None or a reason as a string"),
    ("offers", function("skip(problem, config)", "config.eta"), f"skip raised AttributeError: .*{AT}"),
    ("fit", learning("[{}]"), "fit: got 1 states for 2 seeds, expected a list with one state a seed"),
    ("fit", learning("{}"), "fit: got a dict for 2 seeds"),
    ("fit", learning("[{'a': 1.0} for _ in seeds]"), "fit: got a state of float, expected a dict of tensors"),
    ("fit", learning("problem.graph"), f"fit raised AttributeError: .*{AT}"),
    ("fit", before(TOO_LONG), r"fit: got \d+ of 1000000000 iterations after .* seconds, .* CONTRACT = {'short'"),
    (
        "fit_of_one_seed",
        learning("[{'a': torch.tensor(float(i))} for i in range(len(seeds))]"),
        "got another 'a' for seed 1 beside seed 0 than alone, expected the same; key all randomness by the seed",
    ),
    (
        "fit_of_one_seed",
        before(
            "CALLS = []\n\n\n"
            + learning("[CALLS.append(1) or {'a': torch.tensor(len(CALLS))} for _ in seeds]")[1][:-12]
        ),
        "got another state for seed 1 the second time, expected the same bits",
    ),
    ("running", (STEP, f"        1 / 0\n{STEP}"), f"sample raised ZeroDivisionError: division by zero{AT}"),
    ("running", (", state: dict[str, Tensor]", ""), "sample raised TypeError: .* takes 3 positional arguments but 4"),
    ("running", (YIELD, "    return [x]\n"), "sample: got a list returned, expected states yielded one by one"),
    ("running", (YIELD, "    return x\n"), "sample: got a Tensor returned, expected states yielded one by one"),
    ("running", (YIELD, "        yield 1.0\n"), "sample: got a float yielded, expected a tensor"),
    (
        "budget",
        (EVALUATE, f"{EVALUATE} if t else x"),
        "got 5 evaluations a sample, expected exactly 6; ask once at each",
    ),
    (
        "budget",
        (EVALUATE, f"{EVALUATE}\n        {EVALUATE}"),
        f"got more than 6 evaluations a sample{AT}, expected exactly",
    ),
    (
        "path",
        (START, f"{START}\n    yield x\n"),
        r"got 7 states yielded, expected 6: x_{T-1}, ..., x_0; yield once a step",
    ),
    ("path", (YIELD, "    yield x\n"), "got 1 states yielded, expected 6"),
    ("path", (YIELD, "        while True:\n            yield x\n"), "got 70 states yielded, expected 6"),
    (
        "shape",
        (YIELD, "        yield x if t else x[:, :1]\n"),
        r"got shape \(150, 1\) in yield number 6, .* \(150, 2\)",
    ),
    (
        "dtype",
        (YIELD, "        yield x.double()\n"),
        "got torch.float64 in yield number 1, .* torch.float32; problem.grid",
    ),
    (
        "finite",
        (YIELD, "        yield x / 0\n"),
        "got infinite or undefined numbers in yield number 1, expected finite",
    ),
    (
        "global_randomness",
        (START, "import torch\n    x = noise.prior() + torch.randn(2)"),
        "got numbers from the global generator of torch, expected randomness from noise alone",
    ),
    (
        "global_randomness",
        (START, "import numpy\n    x = noise.prior() + numpy.random.rand()"),
        "got numbers from the global generator of numpy",
    ),
    (
        "global_randomness",
        (START, "import random\n    x = noise.prior() + random.random()"),
        "got numbers from the global generator of random",
    ),
    (
        "repeating",
        (START, "import time\n    x = noise.prior() + time.monotonic_ns() % 1e9 / 1e9"),
        "got other samples for the same seed the second time, expected the same bits",
    ),
    (
        "seeds",
        (START, "x = SampleNoise(0, noise.start, noise.stop, noise.event_shape).prior()"),
        "got the same samples for two seeds, expected others; take randomness from noise",
    ),
    (
        "batches",
        (START, f"{START}\n    x = x - x.mean(0)"),
        "differ by 0.* between batches of 64 and of 150, expected the",
    ),
    (
        "batches",
        (
            START,
            "import torch\n    x = noise.prior() + torch.randn(2, generator=torch.Generator().manual_seed(noise.stop))",
        ),
        "no noise but noise.step",
    ),
    (
        "start",
        (START, "x = noise.step(99)"),
        r"the same samples for x_T and for -x_T, .* depend on x_T = noise.prior\(\)",
    ),
    ("figures", function("illustrate(problem, config, noise, state)", "[]"), "illustrate: got list, expected a dict"),
    (
        "figures",
        function(
            "illustrate(problem, config, noise, state)", "problem.score_model.noise(noise.prior(), problem.grid[1])"
        ),
        "illustrate: got evaluations of problem.score_model, expected none",
    ),
    (
        "figures",
        function("estimated_score(problem, config, state, x, t)", "x[0]"),
        r"got shape \(2,\), expected a tensor",
    ),
    (
        "figures",
        function("estimated_score(problem, config, state, x, t)", "x.foo"),
        f"score raised AttributeError: .*{AT}",
    ),
    ("images", (YIELD, "        yield x[..., :2]\n"), r"got shape \(150, 1, 4, 2\) in yield .* \(on images at 6 eval"),
    ("images", (START, f"{START}.reshape(-1, 2)"), f"sample raised RuntimeError: .*{AT}.*on images"),
    ("images", (YIELD, "        yield x / std[0] * std[0]\n"), r"got infinite .* division by sigma .* \(on images at"),
    ("images", (START, f"{START}\n    x = x - (x.mean(0) if x.ndim > 2 else 0)"), "between batches of 64 .*on images"),
    ("limit", (EVALUATE, f"{EVALUATE} * 0.9"), "got variance .* at 200 evaluations, expected the data's 0.6, 0.2"),
    ("limit", (EVALUATE, f"{EVALUATE}.flip(1)"), "got mean .* expected the data's 0.5, -0.3 .* declare LIMIT = False"),
    ("limit", (YIELD, CORRELATED), "got correlation 0.6.* expected the data's 0"),
]

BROKEN_INFERENCE = [
    ("lower_bound", ('"elbo"', '"bound"'), r"elbo: got \['bound'\], expected a dict with one entry"),
    ("lower_bound", (ELBO, "return log_q"), "elbo: got Tensor, expected a dict with one entry"),
    ("lower_bound", (ELBO, 'return {"elbo": log_q.mean()}'), r"elbo: got shape \(\), expected one value a sample"),
    ("lower_bound", (ELBO, 'return {"elbo": 1}'), "elbo: got int, expected one value a sample"),
    ("lower_bound", (ELBO, "return {}[0]"), f"elbo raised KeyError: 0{AT}"),
    ("lower_bound", (ELBO, 'return {"elbo": log_q / 0}'), "elbo: got 'elbo' with values that are not finite"),
    ("lower_bound", ("- log_q}", "- log_q + 3}"), "elbo: got a mean of 2.*, expected at most the log evidence 1.7"),
    ("lower_bound", ("- log_q}", "}"), "elbo: got a log q that does not fall away from the centre of the samples"),
    (
        "lower_bound",
        (PRIOR, '    z = standard_normal((noise.stop - noise.start, 2), 1, "x")\n'),
        "elbo: got other values for samples 700 to 720 alone than among 2000",
    ),
]


def examined(path: Path, source: str, *edits: tuple[str, str]) -> dict[str, Result]:
    for old, new in edits:
        assert source.count(old) == 1, old
        source = source.replace(old, new)
    path.write_text(source)
    return {result.check.name: result for result in examine(path)}


def failed(results: dict[str, Result]) -> list[str]:
    return [name for name, result in results.items() if result.status == "failed"]


@pytest.mark.parametrize(
    ("source", "broken"),
    [
        *(pytest.param(SAMPLER, b, id=b[0]) for b in BROKEN),
        *(pytest.param(INFERENCE, b, id=b[0]) for b in BROKEN_INFERENCE),
    ],
)
def test_a_mistake_fails_its_own_check_in_plain_words(
    source: str, broken: tuple[str, tuple[str, str], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    name, edit, words = broken
    monkeypatch.setattr(case, "SECONDS", 0.02 if edit == before(TOO_LONG) else 10.0)
    results = examined(tmp_path / "mine.py", source, edit)
    assert failed(results) == [name], "\n".join(map(str, results.values()))
    message = results[name].message
    assert re.search(words, message), message
    assert "\n" not in str(results[name]) and str(results[name]).startswith("FAILED  ")
    elsewhere = "lower_bound" if source == SAMPLER else "limit"
    assert elsewhere not in results or name in ("python", "declarations"), "it is about the other task"
    waiting = {check.name for check in CHECKS if name in check.after} & set(results)
    assert all(results[other].message.startswith("not checked") for other in waiting)


def test_every_check_has_a_mistake_that_fails_it() -> None:
    elsewhere = {"name", "rows"}
    assert {name for name, *_ in [*BROKEN, *BROKEN_INFERENCE]} | elsewhere == {check.name for check in CHECKS}
    for i, check in enumerate(CHECKS):
        assert set(check.after) <= {earlier.name for earlier in CHECKS[:i]}


@pytest.mark.parametrize("source", [SAMPLER, INFERENCE], ids=["diffusion", "inference"])
def test_a_template_keeps_the_contract(source: str, tmp_path: Path) -> None:
    results = examined(tmp_path / "mine.py", source)
    idle = {name for name, result in results.items() if result.status != "ok"}
    assert idle == ({"fit", "fit_of_one_seed"} if source == SAMPLER else set()) | {"rows", "figures"}
    assert ("limit" in results, "lower_bound" in results) == (source == SAMPLER, source == INFERENCE)


@pytest.mark.parametrize("task", ["diffusion", "inference"])
@pytest.mark.parametrize("command", [["check"], ["format", "--check"]], ids=["lint", "format"])
def test_a_template_is_in_the_projects_style(command: list[str], task: str) -> None:
    arguments = [sys.executable, "-m", "ruff", *command, "--stdin-filename", "baselines/one_of_a_long_name.py", "-"]
    source = render("one_of_a_long_name", task)
    done = subprocess.run(arguments, input=source, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stdout + done.stderr


# ------------------------------------------------------------------------------------------- what is not a mistake
CHOOSY = """from hsivi.time_grid import time_grid


def skip(problem, config):
    wanted = time_grid(problem.schedule, "fast_logsnr", problem.nfe)
    return None if problem.grid.shape == wanted.shape and (problem.grid == wanted).all() else "another grid"
"""


@pytest.mark.parametrize(
    ("edit", "idle"),
    [
        (before(CHOOSY), {}),
        (
            function("skip(problem, config)", "None if len(problem.event_shape) == 1 else 'no images'"),
            {"images": "not checked, it declines them: no images"},
        ),
        (
            function("skip(problem, config)", "None if len(problem.event_shape) > 1 else 'no vectors'"),
            {"limit": "not checked, it declines 200 evaluations: no vectors"},
        ),
        (before("LIMIT = False"), {"limit": "not checked, it declares LIMIT = False"}),
        (before("NFE = (5, 10)"), {"limit": "not checked, its largest budget is 10"}),
        (before("NFE = (200,)"), {}),
    ],
    ids=["one-grid", "no-images", "no-vectors", "no-limit", "few", "many"],
)
def test_what_a_baseline_may_decline(edit: tuple[str, str], idle: dict[str, str], tmp_path: Path) -> None:
    results = examined(tmp_path / "mine.py", SAMPLER, edit)
    assert not failed(results), "\n".join(map(str, results.values()))
    others = {name: result.message for name, result in results.items() if result.status == "-"}
    assert {k: v for k, v in others.items() if k not in ("fit", "fit_of_one_seed", "rows", "figures")} == idle


def test_a_lower_bound_is_optional(tmp_path: Path) -> None:
    results = examined(tmp_path / "mine.py", INFERENCE, ("def elbo(", "def bound("))
    assert not failed(results)
    assert (results["lower_bound"].status, results["lower_bound"].message) == ("-", "it has no elbo")


@pytest.mark.parametrize(
    ("source", "edits", "name", "words"),
    [
        (
            SAMPLER,
            [('"Mine"', '"DDIM"')],
            "mine",
            "got the title 'DDIM' of ddim, expected one of its own; change TITLE",
        ),
        (SAMPLER, [before("NFE = (7,)")], "mine", "got no grid for NFE 7"),
        (
            SAMPLER,
            [('experiments may set them."""', '..."""\n\n    eta: float'), before("CONTRACT = {'a': {'eta': 1}}")],
            "mine",
            "yaml: mine: eta: got nothing, expected a value",
        ),
        (INFERENCE, [], "sivi_lb", "got a name under which .*.yaml runs hsivi_sequential, expected one of its own"),
    ],
)
def test_rows_that_a_file_could_not_serve(
    source: str,
    edits: list[tuple[str, str]],
    name: str,
    words: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    path = tmp_path / f"{name}.py"
    known = {**methods.method_files(), name: path}
    monkeypatch.setattr(methods, "method_files", lambda: known)
    results = examined(path, source, *edits)
    assert failed(results) == ["rows"], "\n".join(map(str, results.values()))
    assert re.search(words, results["rows"].message), results["rows"].message


def test_a_file_is_called_like_a_row(tmp_path: Path) -> None:
    results = examined(tmp_path / "My-Sampler.py", SAMPLER)
    assert failed(results) == ["name"]
    assert results["name"].message == "got 'My-Sampler', expected a name such as my_sampler; rename the file"


# ------------------------------------------------------------------------------------------------- the command line
@pytest.fixture
def checkout(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with baselines of its own."""
    shutil.copytree(ROOT / "baselines", tmp_path / "baselines", ignore=shutil.ignore_patterns("__pycache__"))
    for module in (methods, new_baseline):
        monkeypatch.setattr(module, "ROOT", tmp_path)
    return tmp_path / "baselines"


@pytest.mark.parametrize("task", ["diffusion", "inference"])
def test_a_new_file_is_good_at_once(task: str, checkout: Path, capsys: pytest.CaptureFixture[str]) -> None:
    name = f"new_{task}"
    assert main(["new-baseline", name, "--task", task]) == 0
    assert f"hsivi check {name}" in capsys.readouterr().out
    assert (checkout / f"{name}.py").read_text() == render(name, task)
    assert main(["check", name]) == 0
    said = capsys.readouterr()
    assert said.err == "" and "FAILED" not in said.out
    assert said.out.splitlines()[-1].startswith(f"baselines/{name}.py keeps the contract")
    assert "ok      can serve its rows in all experiments" in said.out


@pytest.mark.parametrize(
    ("edit", "words"),
    [(("def sample(", "def sample(("), "is Python"), ((START, "x = noise.step(9)"), "starts from noise.prior()")],
)
def test_a_bad_file_is_explained(
    edit: tuple[str, str], words: str, checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (checkout / "bad.py").write_text(render("bad").replace(*edit))
    assert main(["check", "bad"]) == 2
    said = capsys.readouterr()
    (line,) = [line for line in said.out.splitlines() if line.startswith("FAILED")]
    assert words in line and "got" in line and "expected" in line
    assert re.fullmatch(
        r"hsivi check: baselines/bad.py: got 1 of \d+ requirements not kept, .*run .* again\n", said.err
    )
    assert "Traceback" not in said.out + said.err


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (["check", "eular"], ["baseline: got 'eular'", "expected one of", "choose a listed name"]),
        (["check", "dimm"], ["baseline: got 'dimm'", "did you mean 'ddim'?"]),
        (["new-baseline", "ddim"], ["got 'ddim'", "expected a new one", "baselines/ddim.py exists"]),
        *((["new-baseline", n], [f"got {n!r}", "lower-case letters"]) for n in ("Mine", "a-b", "1a", "a__b", "if")),
        (["new-baseline", "mine", "--task", "diffuse"], ["--task: got 'diffuse'", "did you mean 'diffusion'?"]),
    ],
)
def test_a_wrong_name_is_one_line(
    arguments: list[str], words: list[str], checkout: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    files = {path: path.read_text() for path in checkout.iterdir()}
    assert main(arguments) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1
    assert all(word in error for word in words), error
    assert {path: path.read_text() for path in checkout.iterdir()} == files
