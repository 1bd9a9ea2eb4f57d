# One paper's runs as one table, verdicts, the report page, and what redraws a published run.


rule evaluate:
    input:
        scores=runs("scores.parquet"),
        timing=runs("timing.parquet"),
        cards=runs("run.json"),
    output:
        scores="results/{scale}/{paper}/scores.parquet",
        timing="results/{scale}/{paper}/timing.parquet",
        cards="results/{scale}/{paper}/runs.json",
    log:
        "logs/{scale}/{paper}/evaluate.log",
    benchmark:
        "benchmarks/{scale}/{paper}/evaluate.jsonl"
    wildcard_constraints:
        scale=RUN_SCALES,
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        sources=digest_of_modules("septet.report.merge"),
        job=evaluation,
        out=subpath(output.scores, parent=True),
    shell:
        "printf %s {params.job:q} | python -m septet.report evaluate --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule adopt:  # `published` has checked the files
    input:
        scores=published("scores.parquet"),
        timing=published("timing.parquet"),
        cards=published("runs.json"),
    output:
        scores="results/{scale}/{paper}/scores.parquet",
        timing="results/{scale}/{paper}/timing.parquet",
        cards="results/{scale}/{paper}/runs.json",
    log:
        "logs/{scale}/{paper}/adopt.log",
    wildcard_constraints:
        scale=ADOPTED,
    priority: 5  # the drawings wait for it
    container:
        image("light")
    params:
        out=subpath(output.scores, parent=True),
    shell:
        "cp {input:q} {params.out:q} 2> {log:q} || {{ cat {log:q} >&2; exit 1; }}"


rule judge:
    input:
        tables=collected("{paper}"),
        claims=claims(["{paper}"]),
    output:
        verdicts=report(
            "results/{scale}/{paper}/verdicts.json",
            caption="../report/verdicts.rst",
            category="verdicts",
            labels={"table": "{paper}"},
        ),
        tables=expand("results/{{scale}}/{{paper}}/verdicts.{suffix}", suffix=VERDICT_TABLES),
    log:
        "logs/{scale}/{paper}/judge.log",
    benchmark:
        "benchmarks/{scale}/{paper}/judge.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        sources=digest_of_modules("septet.report.judge"),
        job=judgement,
        out=subpath(output.verdicts, parent=True),
    shell:
        "printf %s {params.job:q} | python -m septet.report judge --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


# `snakemake figure/dynts/regret_curves`: that figure of the published run, as files to put in a paper.
rule figure:
    input:
        tables=tables_of_figure,
    output:
        folder=directory("figure/{paper}/{name}"),
    log:
        "logs/published/{paper}/figure_{name}.log",
    benchmark:
        "benchmarks/published/{paper}/figure_{name}.jsonl"
    wildcard_constraints:
        name="[a-z0-9_]+",
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        sources=sources_of_figure,
        job=drawing_of_one,
    shell:
        "printf %s {params.job:q} | python -m septet.report draw --config - --out {output.folder:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule page:
    input:
        verdicts=verdicts_of_page,
        others=others_of_page,
        tables=tables_of_page,
        figures=figures_of_page,
        claims=claims_of_page,
        replicate=replicate(),
        films=films_of_page,
    output:
        page=report(
            "results/{scale}/report/index.html",
            caption="../report/page.rst",
            category="verdicts",
            labels={"table": "the whole report page"},
        ),
        verdicts="results/{scale}/report/verdicts.json",
    log:
        "logs/{scale}/page.log",
    benchmark:
        "benchmarks/{scale}/page.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        sources=digest_of_modules("septet.report.page"),
        job=judgement,
        out=subpath(output.page, parent=True),
    shell:
        "printf %s {params.job:q} | python -m septet.report page --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"


# The run's description for others, as an RO-Crate.
rule crate:
    input:
        tables=tables_of_page,
        verdicts=verdicts_of_page,
        page="results/{scale}/report/index.html",
    output:
        crate="results/{scale}/ro-crate-metadata.json",
    log:
        "logs/{scale}/crate.log",
    benchmark:
        "benchmarks/{scale}/crate.jsonl"
    container:
        image("light")
    threads: 1
    resources:
        mem_mb=growing(1000),
        runtime=10,
    params:
        sources=digest_of_modules("septet.ops.crate"),
        job=description,
        out=subpath(output.crate, parent=True),
    shell:
        "printf %s {params.job:q} | python -m septet.ops crate --config - --out {params.out:q} 2> {log:q}"
        " || {{ cat {log:q} >&2; exit 1; }}"
