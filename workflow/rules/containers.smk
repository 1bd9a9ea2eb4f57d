# Container images, built on this machine: `make containers`. No rule depends on one, for natively none is needed; a run
# in containers is refused at its start if one is missing or not of this recipe and lock.


rule container_image:
    input:
        recipe=recipe_of_image,
    output:
        image=f"{IMAGE_FOLDER}/{{image}}.sif",
        bom=f"{IMAGE_FOLDER}/{{image}}.cdx.json",
    log:
        "logs/containers/{image}.log",
    benchmark:
        "benchmarks/containers/{image}.jsonl"
    wildcard_constraints:
        image="|".join(Path(image_file(name)).stem for name in IMAGES),
    handover: True  # to Apptainer: the one kind of rule that needs no software environment
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=60,
    params:
        builder=str(HOUSE / "containers/build.py"),
    shell:
        "python {params.builder:q} build {output.image:q} > {log:q} 2>&1" " || {{ cat {log:q} >&2; exit 1; }}"


rule container_release:
    input:
        image=f"{IMAGE_FOLDER}/{{image}}.sif",
        recipe=str(HOUSE / "containers/release.def"),
        sources=release_sources,
    output:
        image=f"{IMAGE_FOLDER}/{{image}}-release-{{sources}}.sif",
        bom=f"{IMAGE_FOLDER}/{{image}}-release-{{sources}}.cdx.json",
    log:
        "logs/containers/{image}-release-{sources}.log",
    benchmark:
        "benchmarks/containers/{image}-release-{sources}.jsonl"
    wildcard_constraints:
        image="|".join(Path(image_file(name)).stem for name in IMAGES),
        sources="[0-9a-f]{16}",
    handover: True  # to Apptainer: the one kind of rule that needs no software environment
    threads: 1
    resources:
        mem_mb=growing(4000),
        runtime=30,
    params:
        builder=str(HOUSE / "containers/build.py"),
    shell:
        "python {params.builder:q} release {input.image:q} {output.image:q} > {log:q} 2>&1"
        " || {{ cat {log:q} >&2; exit 1; }}"


rule containers:
    input:
        [image_file(name) for name in SEPTET.config.images],


rule containers_release:
    input:
        release_images(SEPTET.config.images),
