# Reads the prompts of a generation, one row each, and checks its scorers.
rule read_prompts:
    input:
        prompts=lookup("{generation}", within=inputs.generations.prompts),
        reference=lookup("{generation}", within=inputs.generations.reference),
    output:
        prompts="<results>/generations/{generation}/prompts.parquet",
        counts="<results>/generations/{generation}/prompts.json",
    log:
        "<logs>/read_prompts/{generation}.log",
    benchmark:
        "<benchmarks>/read_prompts/{generation}.tsv"
    conda:
        "../../envs/cpu.yaml"
    resources:
        mem_mb=jobs.mem_mb,
        runtime=jobs.runtime,
    params:
        config=jobs.config,
        settings=lookup("{generation}", within=settings.generations.read_prompts),
    message:
        "Reading the prompts of {wildcards.generation}"
    shell:
        "printf '%s' {params.config:q} | evo2-tasks read-prompts --config - --log {log:q}"
        " --generation {wildcards.generation:q} --out {output.prompts:q}"
