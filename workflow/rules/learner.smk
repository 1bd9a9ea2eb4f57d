# Validation of packages/learner: PPO, TRPO and DDPG beside Stable-Baselines3's. It runs when the papers that are asked
# for name it, in the environment of `make setup-dev`: the peers are not in the images.
LEARNER_FIGURES = [
    "learning_curves",
]


rule learner_train:
    output:
        scores="results/{scale}/learner/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/learner/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/learner/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/learner/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/learner/{method}/{task}.jsonl"
    container:
        image("rl")
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=growing(60),
    params:
        sources=digest_of("core", "walle", "learner"),
        job=training("learner"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m learner train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule learner_figures:
    input:
        tables=collected("learner"),
    output:
        figure_files("learner", LEARNER_FIGURES),
    log:
        "logs/{scale}/learner/figures.log",
    benchmark:
        "benchmarks/{scale}/learner/figures.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("learner"),
        out="results/{scale}/figures/learner",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
