"""Configuration of the workflow: what is refused and in which words, what a job gets, where a mistake comes from."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from septet.errors import InputError
from septet.reading import parse_yaml
from septet.workflow_config import Workflow, check_sources, read_papers, typed

ROOT = Path(__file__).parents[3]
OF_DYNTS = "configuration of dynts (--config or --configfile)"


def read(text):
    """As Snakemake hands over what stands after --config: every value inside a mapping or list is text."""
    key, _, value = text.partition("=")

    def texts(data):
        if isinstance(data, dict):
            return {name: texts(inner) for name, inner in data.items()}
        return [texts(inner) for inner in data] if isinstance(data, list) else str(data)

    data = parse_yaml(value, key)
    given = {key: texts(data) if isinstance(data, dict | list) else data}
    chosen = Workflow(ROOT, given)
    return {paper: chosen.settings(paper, "smoke") for paper in (given.keys() & chosen.papers) or chosen.chosen}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scale=enormous", "configuration: scale: expected 'smoke', 'laptop', 'overnight' or 'paper', found enormous"),
        ("colour=blue", "configuration: expected one of the keys scale, papers, "),
        ("papers=[dynt]", "configuration: papers: expected some of dynts, vrda, walle, "),
        ("papers=dynts vrda dynt", "configuration: papers: expected some of dynts, vrda, walle, "),
        ("papers=[dynts, dynts]", "configuration: papers: expected papers, each once"),
        ("papers=[]", "configuration: papers: expected papers, each once, found []"),
        ("dynts=3", "configuration: dynts: expected a mapping of settings, found 3"),
        ('dynts={"horizn": 3}', f"{OF_DYNTS}: expected one of the keys base_rate, data_dir, "),
        ('dynts={"horizon": "long"}', f"{OF_DYNTS}: horizon: expected a valid integer"),
        (f'dynts={{"horizon": {10**30}}}', f"{OF_DYNTS}: horizon: expected a whole number of at most 63 bits"),
        (f'dynts={{"root_seed": {10**20}}}', f"{OF_DYNTS}: root_seed: expected a whole number of at most 63 bits"),
        ('dynts={"seeds": []}', f"{OF_DYNTS}: seeds: "),
        ('dynts={"seeds": [3, 3]}', f"{OF_DYNTS}: seeds: expected different seeds"),
        ('dynts={"seeds": [-1]}', f"{OF_DYNTS}: seeds: expected different seeds, none negative"),
        ('walle={"tasks": {"half_cheetah": {"seeds": [-1]}}}', "tasks.half_cheetah.seeds: expected different seeds"),
        ('dynts={"methods": {"ts": {"epsilon": 2}}}', f"{OF_DYNTS}: methods.ts.epsilon: expected less than or equal"),
        ('dynts={"methods": {"ts-fast": {"schedules": ["none"]}}}', "methods: expected names in lower-case letters"),
        ('dynts={"runs": {"static": ["nobody"]}}', "runs.static: expected methods, some of random, oracle, "),
        ('dynts={"runs": {"static": ["ts", "ts"]}}', "runs.static: expected methods, each once, found ts, ts"),
        ('dynts={"runs": {"nowhere": ["ts"]}}', "runs: expected tasks, some of static, tau5000, "),
        (
            'rl={"methods": {"ppo": {"rat": 1}}}',
            "methods.ppo: expected one of the keys algorithm, bootstrap_time_limits, ",
        ),
        (
            'metaexplore={"methods": {"meta": {"gama": 1}}}',
            "methods.meta: expected one of the keys actor_learning_rate, batch_size, ",
        ),
        ('svrpo={"seeds_of": {"trpo": [0]}}', "svrpo (--config or --configfile): seeds_of: expected task or "),
        ('svrpo={"seeds_of": {"trpo/pond": [0]}}', "found trpo/pond"),
        ('svrpo={"seeds_of": {"trpo/cart_pole": [1, 1]}}', "seeds_of.trpo/cart_pole: expected different seeds, "),
        ('vipg={"tasks": {"cart_pole": {"kind": "game"}}}', "tasks.cart_pole.kind: expected one of 'environment', "),
        ('empg={"tasks": {"warm": {"model": {"width": 3}}}}', "tasks.warm.model: expected one of the keys base, kind"),
        ('dynts={"tasks": {"new": {"period": 3}}}', f"{OF_DYNTS}: tasks.new.kind: expected a value, found nothing"),
    ],
)
def test_a_mistake_is_one_line_that_names_the_key(text, says):
    with pytest.raises(InputError) as refusal:
        read(text)
    assert says in str(refusal.value) and "\n" not in str(refusal.value)


@pytest.mark.parametrize("given", ["dynts, vrda", "dynts vrda", ["dynts", "vrda"], " vrda,dynts "])
def test_papers_are_named_in_any_of_the_usual_ways(given):
    assert set(Workflow(ROOT, {"papers": given}).chosen) == {"dynts", "vrda"}


def test_optional_papers_run_when_they_are_named():
    assert not {"rl", "empgreal"} & set(Workflow(ROOT, {}).chosen)
    assert Workflow(ROOT, {"papers": ["rl"]}).chosen == ["rl"]


def test_layers_are_laid_over_each_other_key_by_key():
    chosen = Workflow(ROOT, {"data_dir": "here", "dynts": {"tasks": {"tau200": {"period": "150"}}, "seeds": ["7"]}})
    settings = chosen.settings("dynts", "smoke")
    assert settings["tasks"]["tau200"]["period"] == 150 and settings["tasks"]["tau200"]["kind"] == "simulation"
    assert settings["seeds"] == [7] and settings["horizon"] == 400 and settings["data_dir"] == "here"
    assert Workflow(ROOT, {}).settings("dynts", "smoke")["seeds"] == [0, 1, 2, 3], "layers are not changed"


def test_a_job_gets_what_it_uses_and_nothing_else():
    chosen = Workflow(ROOT, {"scale": "smoke"})
    job = chosen.training("dynts", "smoke", "ts", "tau200")
    assert job["method"]["name"] == "ts" and job["task"]["name"] == "tau200"
    assert not {"methods", "tasks", "runs", "data_dir", "data_source"} & job.keys()
    with pytest.raises(InputError, match=r"^dynts: methods: expected one of random, "):
        chosen.training("dynts", "smoke", "nobody", "tau200")
    with pytest.raises(InputError, match=r"^dynts: tasks: expected one of static, "):
        chosen.training("dynts", "smoke", "ts", "nowhere")


def test_a_job_may_have_seeds_of_its_own():
    own = {"svrpo/cart_pole": [7, 8], "bandit": [9]}
    chosen = Workflow(ROOT, {"svrpo": {"seeds": [5, 6], "seeds_of": own}})
    seeds = {job: chosen.training("svrpo", "laptop", *job)["seeds"] for job in chosen.runs("svrpo", "laptop")}
    assert seeds["svrpo", "cart_pole"] == [7, 8] and seeds["estimators", "bandit"] == [9]
    assert seeds["sgd", "cart_pole"] == seeds["svrpo_stop", "cart_pole"] == [5, 6]
    assert seeds["full", "cart_pole"] == list(range(100, 120)), "the scale's own"
    assert chosen.training("svrpo", "paper", "full", "cart_pole")["seeds"] == list(range(100, 140)), "the paper's own"
    assert "seeds_of" not in chosen.training("svrpo", "laptop", "sgd", "cart_pole")


def test_a_mistake_in_the_scale_s_overlay_names_that_file(tmp_path):
    for file in ("workflow/papers.yaml", "config/papers/dynts.yaml", "config/scale/smoke.yaml"):
        (tmp_path / file).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / file).write_bytes((ROOT / file).read_bytes())
    scale = tmp_path / "config/scale/smoke.yaml"
    scale.write_text(scale.read_text(encoding="utf-8").replace("horizon: 400", "horizon: -400"), encoding="utf-8")
    with pytest.raises(InputError, match=re.escape("configuration of dynts (config/scale/smoke.yaml): horizon: ")):
        Workflow(tmp_path, {}).settings("dynts", "smoke")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("scale: smoke\nscale: laptop\n", "found the key scale again"),
        ("dynts:\n  horizon: 500\n  horizon: 600\n", "found the key horizon again"),
        ("base: &base {horizon: 3}\ndynts:\n  <<: *base\n", "found a merge"),
        ('data_dir: "a\\0b"\n', "expected text without NUL"),
        ("- 1\n", "expected a mapping of keys to values"),
    ],
)
def test_what_snakemake_has_read_is_read_again_strictly(tmp_path, text, says):
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=re.escape(says)):
        check_sources([tmp_path / "mine.yaml"], [])


def test_a_key_given_twice_on_the_command_line_is_refused():
    check_sources([], ["scale=smoke", 'dynts={"horizon": 3}', "papers=[dynts, vrda]"])
    with pytest.raises(InputError, match=r"^--config dynts: expected YAML, found the key horizon again"):
        check_sources([], ['dynts={"horizon": 3, "horizon": 4}'])


def test_numbers_inside_overrides_are_numbers():
    assert typed({"a": ["1", "1e-4", "x", "[1]"], "b": {"c": "null", "d": 2}}) == {
        "a": [1, 1e-4, "x", "[1]"],
        "b": {"c": None, "d": 2},
    }


def test_configuration_is_read_without_compiled_code():
    """The Snakefile reads it where Snakemake alone is installed, which brings pydantic and PyYAML along."""
    code = (
        "import sys\n"
        "for name in ('numpy', 'scipy', 'numba', 'torch', 'polars', 'gymnasium', 'transformers'):\n"
        "    sys.modules[name] = None\n"
        "from pathlib import Path\n"
        "from septet.workflow_config import Workflow\n"
        f"chosen = Workflow(Path({str(ROOT)!r}), {{}})\n"
        "print(sum(len(chosen.settings(paper, 'paper')['methods']) for paper in chosen.papers))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) > 50


def test_every_row_names_packages_that_are_here():
    for paper, row in read_papers(ROOT).items():
        for name in row.packages:
            assert (ROOT / f"packages/{name}/pyproject.toml").is_file(), f"{paper}: {name}"
        assert row.packages[0] == "core" and row.packages[-1] == (row.program or paper)
