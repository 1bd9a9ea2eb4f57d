# Preparation, training and figures: the same rules for every paper of workflow/papers.yaml.
# A shell command is put together when its job runs, after the loop: it names no variable of the loop.
JOB = "printf %s {params.job:q} | "
OPTIONS = " --config - --out {params.out:q} 2> {log:q} || {{ cat {log:q} >&2; exit 1; }}"

for paper, row in SEPTET.papers.items():
    folder = f"results/{{scale}}/{paper}"
    program = row.program or paper

    if row.prepare:
        prepared_files = [f"{folder}/{file}" for file in row.prepare.files]
        suffix = "".join(f"_{{{name}}}" for name in ("task", "data") if f"{{{name}}}" in prepared_files[0])

        rule:
            name:
                f"{paper}_prepare"
            output:
                prepared_files,
            log:
                f"logs/{{scale}}/{paper}/prepare{suffix}.log",
            benchmark:
                f"benchmarks/{{scale}}/{paper}/prepare{suffix}.jsonl"
            wildcard_constraints:
                data=r"[a-z0-9]+\.(parquet|safetensors)",
            container:
                image(row.image)
            threads: 1
            resources:
                mem_mb=growing(row.prepare.memory_mb),
                runtime=row.prepare.minutes,
            params:
                sources=digest_of(*row.packages, image=row.image),
                job=preparation(paper),
                launch=f"{PYTHON} -m septet.{program}",
                out=subpath(output[0], parent=True),
            shell:
                f"{JOB}{{params.launch}} prepare{OPTIONS}"

    rule:
        name:
            f"{paper}_train"
        input:
            unpack(prepared(paper)),
        output:
            scores=f"{folder}/runs/{{method}}/{{task}}/scores.parquet",
            timing=f"{folder}/runs/{{method}}/{{task}}/timing.parquet",
            card=f"{folder}/runs/{{method}}/{{task}}/run.json",
        log:
            f"logs/{{scale}}/{paper}/{{method}}/{{task}}.log",
        benchmark:
            f"benchmarks/{{scale}}/{paper}/{{method}}/{{task}}.jsonl"
        priority: as_listed(paper) if row.in_order else 0
        container:
            image(row.image)
        threads: threads_of(paper)
        resources:
            mem_mb=memory_of(paper),
            runtime=minutes_of(paper),
            gpu=gpus_of(paper),
        params:
            sources=digest_of(*row.packages, image=row.image),
            job=training(paper),
            launch=launcher(paper, program),
            out=subpath(output.scores, parent=True),
        shell:
            f"{JOB}{{params.launch}} train{OPTIONS}"

    # Those of adopted runs in one job for all scales: Python and Vega take a second to start.
    for name, scales in (("figures", ["{scale}"]), ("published_figures", list(evidence_on(paper)))):

        rule:
            name:
                f"{paper}_{name}"
            input:
                tables=expand(collected(paper), scale=scales),
            output:
                [reported(paper, file) for file in expand(figure_files(paper), scale=scales)],
            log:
                f"logs/{scales[0]}/{paper}/figures.log",
            benchmark:
                f"benchmarks/{scales[0]}/{paper}/figures.jsonl"
            wildcard_constraints:
                scale=RUN_SCALES,
            priority: row.priority
            container:
                image("light")
            threads: 1
            resources:
                mem_mb=growing(2000),
                runtime=10,
            params:
                sources=digest_of_modules("septet.report.draw", f"septet.report.papers.{paper}"),
                job=drawing(paper, scales),
                out=subpath(output[0], ancestor=4),
            shell:
                f"{JOB}python -m septet.report draw{OPTIONS}"
