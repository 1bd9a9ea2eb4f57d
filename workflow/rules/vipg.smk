# Variational inference for policy gradient (packages/vipg).
VIPG_FIGURES = [
    "returns",
    "mean_policy",
    "alpha",
    "posterior",
    "sampled_policies",
    "baselines",
    "exploration",
]
# At scale paper, ten seeds on one core: HalfCheetah was timed for one seed, see "Cost" in packages/vipg/README.md.
VIPG_MINUTES = {"swimmer": 600, "half_cheetah": 600, "hopper": 600}
VIPG_MEMORY_MB = {"swimmer": 8000, "half_cheetah": 8000, "hopper": 8000}


rule vipg_train:
    output:
        scores="results/{scale}/vipg/runs/{method}/{task}/scores.parquet",
        timing="results/{scale}/vipg/runs/{method}/{task}/timing.parquet",
        card="results/{scale}/vipg/runs/{method}/{task}/run.json",
    log:
        "logs/{scale}/vipg/{method}/{task}.log",
    benchmark:
        "benchmarks/{scale}/vipg/{method}/{task}.jsonl"
    container:
        image("rl")
    threads: threads_of("vipg")
    resources:
        mem_mb=by_task(VIPG_MEMORY_MB, 1500),
        runtime=by_task(VIPG_MINUTES, 30),
    params:
        sources=digest_of("core", "walle", "learner", "vipg"),
        job=training("vipg"),
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m vipg train --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule vipg_figures:
    input:
        tables=collected("vipg"),
    output:
        figure_files("vipg", VIPG_FIGURES),
    log:
        "logs/{scale}/vipg/figures.log",
    benchmark:
        "benchmarks/{scale}/vipg/figures.jsonl"
    priority: 2  # long ones first
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(2000),
        runtime=growing(10),
    params:
        sources=digest_of("core", "report"),
        job=drawing("vipg"),
        out="results/{scale}/figures/vipg",
    shell:
        "printf %s {params.job:q} | python -m septet_report draw --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
